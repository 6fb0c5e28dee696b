"""The topics: their names and settings, made where missing, refused where wrong.

Order and exactly-once stand on these settings: equal partition counts (a subject's commands, queries and records are
on the same partition number), the broker's clock on every record, a changelog that is compacted, a command log that is
never cut by accident. So a start looks at them and says what is wrong, before anything is written.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, FoundTopic, describe, reach, result, with_configs

COMMANDS = "backbeat.commands"
QUERIES = "backbeat.queries"
STATE = "backbeat.state"
HISTORY = "backbeat.history"
REPLIES = "backbeat.replies"
DEAD_LETTERS = "backbeat.dead-letters"
CLIENTS = "backbeat.clients"
PAYLOADS = "backbeat.payloads"
SIGNALS_PREFIX = "backbeat.signals."
ACTIVITIES_PREFIX = "backbeat.activities."

#: Partitions of commands, queries, state and history where nothing else is asked for. Fixed once they are made.
PARTITIONS_DEFAULT = 8
REPLICATION_DEFAULT = 3
#: Replies go to the partition that the asker named, so their number is free of the others'.
REPLIES_PARTITIONS = 8
DEAD_LETTERS_PARTITIONS = 1
PAYLOADS_PARTITIONS = 8

#: The largest record a service may publish.
SIGNAL_BYTES_MAX = 1024 * 1024
#: The largest record on the topics behind the doors: a signal's content and what we put around it.
RECORD_BYTES_MAX = 2 * SIGNAL_BYTES_MAX
#: The largest dead letter: any record as it came, and the reason in its headers.
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
#: The largest value of a reply: its batch has a header and a key beside it.
REPLY_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024
#: How long the changelog keeps the mark of a deleted record. A store left aside for half of that is not used again.
STATE_DELETE_RETENTION_MS = 24 * 60 * 60 * 1000

_MINUTE_MS = 60 * 1000
_DAY_MS = 24 * 60 * _MINUTE_MS
_MEBIBYTE = 1024 * 1024
_REPLICATION_SAFE = 3
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class TopicError(Exception):
    """A topic is missing or not as it must be: which, what was found, what is wanted, what to do."""

    def __init__(self, topic: str, found: str, wanted: str, remedy: str) -> None:
        super().__init__(f"topic {topic}: found {found}, wanted {wanted}. What to do: {remedy}.")
        self.topic = topic
        self.found = found
        self.wanted = wanted
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be."""

    name: str
    partitions: int
    #: Settings it is made with.
    config: Mapping[str, str]
    #: Those of them that must still hold later; the others are an operator's to change.
    fixed: Sequence[str] = ("cleanup.policy", "message.timestamp.type")
    #: Whether its number of partitions is part of how the system works.
    partitions_fixed: bool = True


def has_topics(client_name: str) -> bool:
    """Whether a client of this name can have topics of its own (others are served by webhook only)."""
    return _NAME.fullmatch(client_name) is not None


def signals_topic(client_name: str) -> str:
    """The topic on which this client's services publish signals."""
    return SIGNALS_PREFIX + _checked(client_name)


def activities_topic(client_name: str) -> str:
    """The topic from which this client's workers take activities."""
    return ACTIVITIES_PREFIX + _checked(client_name)


def _checked(client_name: str) -> str:
    if not has_topics(client_name):
        raise ValueError(f"client {client_name!r} cannot have topics: its name must match {_NAME.pattern}")
    return client_name


def system_topics(partitions: int) -> list[TopicSpec]:
    """The topics that every installation has."""
    return [
        TopicSpec(
            COMMANDS,
            partitions,
            {
                **_log(retention_ms=-1),
                # A leader that lost acknowledged commands would take the truth back.
                "unclean.leader.election.enable": "false",
                "segment.bytes": str(256 * _MEBIBYTE),
            },
            fixed=("cleanup.policy", "message.timestamp.type", "unclean.leader.election.enable"),
        ),
        TopicSpec(QUERIES, partitions, _short_lived()),
        TopicSpec(
            STATE,
            partitions,
            {
                **_compacted(),
                # Only closed segments are compacted: small ones keep a restore short.
                "segment.bytes": str(32 * _MEBIBYTE),
                "segment.ms": str(60 * _MINUTE_MS),
                "min.cleanable.dirty.ratio": "0.3",
                "delete.retention.ms": str(STATE_DELETE_RETENTION_MS),
                "unclean.leader.election.enable": "false",
            },
            fixed=("cleanup.policy", "message.timestamp.type", "delete.retention.ms", "unclean.leader.election.enable"),
        ),
        TopicSpec(HISTORY, partitions, _log(retention_ms=30 * _DAY_MS)),
        TopicSpec(REPLIES, REPLIES_PARTITIONS, _short_lived(), partitions_fixed=False),
        TopicSpec(
            DEAD_LETTERS,
            DEAD_LETTERS_PARTITIONS,
            # Kept until an operator has looked at them.
            {**_log(retention_ms=-1), "max.message.bytes": str(DEAD_LETTER_BYTES_MAX)},
            partitions_fixed=False,
        ),
        # Workflows have references to them, and stay until somebody has them removed.
        TopicSpec(PAYLOADS, PAYLOADS_PARTITIONS, _log(retention_ms=-1), partitions_fixed=False),
        # One partition: the registry is read whole, in one order.
        TopicSpec(CLIENTS, 1, _compacted()),
    ]


def client_topics(client_name: str, partitions: int) -> list[TopicSpec]:
    """The topics of one client."""
    return [
        TopicSpec(
            signals_topic(client_name),
            partitions,
            {**_log(retention_ms=7 * _DAY_MS), "max.message.bytes": str(SIGNAL_BYTES_MAX)},
            partitions_fixed=False,
        ),
        TopicSpec(
            activities_topic(client_name),
            partitions,
            # What a worker has not taken by then is lost to it, and comes again only by the node's `complete_by`.
            _log(retention_ms=30 * _DAY_MS),
            partitions_fixed=False,
        ),
    ]


def _log(retention_ms: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        # The broker's clock, not the sender's: the engine's `now` is this.
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
    }


def _short_lived() -> dict[str, str]:
    """Questions and answers: nobody waits for them longer than seconds."""
    return {
        **_log(retention_ms=10 * _MINUTE_MS),
        "segment.ms": str(10 * _MINUTE_MS),
        "segment.bytes": str(64 * _MEBIBYTE),
    }


def _compacted() -> dict[str, str]:
    return {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(RECORD_BYTES_MAX),
    }


def ensure_topics(
    bootstrap_servers: str,
    partitions: int | None = None,
    replication: int = REPLICATION_DEFAULT,
    *,
    development: bool = False,
) -> dict[str, FoundTopic]:
    """Make the topics that are missing and check all of them; what they are, by name.

    Without `partitions`: as many as the commands topic has, else the usual number. In `development` one replica is
    enough.
    """
    admin = reach(bootstrap_servers)
    specs = system_topics(partitions or _partitions_of_commands(admin) or PARTITIONS_DEFAULT)
    made = _create_missing(admin, specs, replication)
    return _check(admin, specs, made, development=development)


def ensure_client_topics(bootstrap_servers: str, specs: Iterable[TopicSpec]) -> dict[str, FoundTopic]:
    """The same for topics of clients (`client_topics`). They get as many replicas as the commands topic has."""
    specs = list(specs)
    admin = reach(bootstrap_servers)
    commands = describe(admin, [COMMANDS]).get(COMMANDS)
    if commands is None:
        raise missing(COMMANDS)
    made = _create_missing(admin, specs, commands.replication)
    # Where one replica is enough for the commands it is enough for what follows from them.
    return _check(admin, specs, made, development=commands.replication == 1)


def check_topics(
    bootstrap_servers: str, partitions: int | None = None, *, development: bool = False
) -> dict[str, FoundTopic]:
    """Check the topics without making any; what they are, by name.

    Without `partitions`, the commands topic says how many the others must have.
    """
    admin = reach(bootstrap_servers)
    partitions = partitions or _partitions_of_commands(admin)
    if partitions is None:
        raise missing(COMMANDS)
    return _check(admin, system_topics(partitions), development=development)


def topic_id(bootstrap_servers: str, topic: str) -> str:
    """Kafka's id of a topic, a UUID as text: another one after the topic was deleted and made again."""
    found = describe(reach(bootstrap_servers), [topic])
    if topic not in found:
        raise missing(topic)
    return found[topic].topic_id


def _partitions_of_commands(admin: AdminClient) -> int | None:
    found = describe(admin, [COMMANDS])
    return found[COMMANDS].partitions if found else None


def missing(topic: str) -> TopicError:
    """The error of a topic that is not there."""
    return TopicError(
        topic, "no such topic", "one made by us", "run `backbeat topics create`, or check --bootstrap-servers"
    )


def _create_missing(admin: AdminClient, specs: Iterable[TopicSpec], replication: int) -> frozenset[str]:
    """Make what is missing; its names."""
    specs = list(specs)
    wanted = {spec.name: spec for spec in specs}
    for name, found in describe(admin, list(wanted)).items():
        spec = wanted.pop(name)
        if spec.partitions_fixed and found.partitions != spec.partitions:
            # Before anything is made: what was missing would have a number that does not belong to the others.
            raise _other_partitions(spec, found)
    if not wanted:
        return frozenset()
    # With three replicas two must have a record before it counts as written: one may fail and nothing is lost.
    safe = {"min.insync.replicas": "2" if replication >= _REPLICATION_SAFE else "1"}
    new = [
        NewTopic(
            spec.name, num_partitions=spec.partitions, replication_factor=replication, config={**spec.config, **safe}
        )
        for spec in wanted.values()
    ]
    for name, created in admin.create_topics(new, operation_timeout=ASK_SECONDS_MAX).items():
        try:
            result(created)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            # Somebody else made it in the meantime: the check says whether it is right.
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(
                    name,
                    f"that it cannot be made ({reason.str()})",
                    f"{_count(wanted[name].partitions, 'partition')} with {_count(replication, 'replica')}",
                    "see the reason; fewer brokers than replicas need a smaller --replication",
                ) from error
    return frozenset(wanted)


def _check(
    admin: AdminClient, specs: Iterable[TopicSpec], made: frozenset[str] = frozenset(), *, development: bool
) -> dict[str, FoundTopic]:
    specs = list(specs)
    found = _look(admin, [spec.name for spec in specs], made)
    for spec in specs:
        for problem in problems(spec, found[spec.name], development=development):
            raise problem
    return found


def _look(admin: AdminClient, names: list[str], made: frozenset[str]) -> dict[str, FoundTopic]:
    """What the topics are, settings included.

    Brokers hear of a topic that was `made` one after the other, and each question may go to another one: a moment ago
    it was there, now it is unknown. So it is asked again until both answers know it.
    """
    deadline = time.monotonic() + ASK_SECONDS_MAX
    while True:
        found = describe(admin, names)
        absent = [name for name in names if name not in found]
        for name in absent:
            if name not in made or time.monotonic() > deadline:
                raise missing(name)
        try:
            if not absent:
                return with_configs(admin, found)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def problems(spec: TopicSpec, found: FoundTopic, *, development: bool) -> Iterator[TopicError]:
    """What is wrong with a topic, the worst first. The settings of `found` must be known."""
    if spec.partitions_fixed and found.partitions != spec.partitions:
        yield _other_partitions(spec, found)
    for key in spec.fixed:
        if found.config.get(key) != spec.config[key]:
            yield TopicError(
                spec.name,
                f"{key}={found.config.get(key)}",
                f"{key}={spec.config[key]}",
                f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
                f"--add-config {key}={spec.config[key]}, after asking who changed it and whether records were lost",
            )
    if int(found.config.get("max.message.bytes", "0")) < int(spec.config["max.message.bytes"]):
        yield TopicError(
            spec.name,
            f"max.message.bytes={found.config.get('max.message.bytes')}",
            f"at least {spec.config['max.message.bytes']}",
            "raise it: a record that we may write would be refused",
        )
    if found.replication == 1 and not development:
        yield TopicError(
            spec.name,
            _count(found.replication, "replica"),
            "2 or more (3 are usual)",
            "give it more replicas (kafka-reassign-partitions.sh), or pass --development where it is "
            "acceptable to lose everything with one disk",
        )


def _other_partitions(spec: TopicSpec, found: FoundTopic) -> TopicError:
    return TopicError(
        spec.name,
        _count(found.partitions, "partition"),
        str(spec.partitions),
        f"start with the number it was made with (--partitions {found.partitions}). It cannot be changed "
        "afterwards, since every id carries its partition: for another one drain into a new cluster "
        "(docs/how-to/partitions.md)",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
