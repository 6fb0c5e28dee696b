"""The topics: names and settings, created where missing, refused where wrong.

Order and exactly-once depend on these settings: equal partition counts (a subject's commands, queries and records are
on the same partition number), the broker's clock on every record, a compacted changelog, a command log that is never
cut by accident. So a start checks them and reports what is wrong before anything is written.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, TopicDescription, describe, reach, result, with_configs

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

COMMANDS = "backbeat.commands"
QUERIES = "backbeat.queries"
STATE = "backbeat.state"
HISTORY = "backbeat.history"
REPLIES = "backbeat.replies"
DEAD_LETTERS = "backbeat.dead-letters"
CLIENTS = "backbeat.clients"
PAYLOADS = "backbeat.payloads"
PEOPLE = "backbeat.people"
AUDIT = "backbeat.audit"
SIGNALS_PREFIX = "backbeat.signals."
ACTIVITIES_PREFIX = "backbeat.activities."

#: Partitions of commands, queries, state and history by default. Fixed once the topics exist.
PARTITIONS_DEFAULT = 8
REPLICATION_DEFAULT = 3
#: A reply goes to the partition that its request names, so their number is independent of the others'.
REPLIES_PARTITIONS = 8
DEAD_LETTERS_PARTITIONS = 1
PAYLOADS_PARTITIONS = 8

#: Largest record a service may publish.
SIGNAL_BYTES_MAX = 1024 * 1024
#: Largest record on the internal topics: a signal's content and its envelope.
RECORD_BYTES_MAX = 2 * SIGNAL_BYTES_MAX
#: Largest dead letter: any record, and the reason in its headers.
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
#: Largest value of a reply: its batch has a header and a key beside it.
REPLY_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024
#: Retention of tombstones on the changelog. A store left aside for half of that is not used again.
STATE_DELETE_RETENTION_MS = 24 * 60 * 60 * 1000

_MINUTE_MS = 60 * 1000
_DAY_MS = 24 * 60 * _MINUTE_MS
_MEBIBYTE = 1024 * 1024
_REPLICATION_SAFE = 3
#: Until brokers, short of processor time perhaps, know of a topic that was created a moment ago.
_CREATED_SECONDS_MAX = 120.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class TopicError(Exception):
    """A topic is missing or wrong: its name, the value found, the value wanted, the remedy."""

    def __init__(self, topic: str, found: str, wanted: str, remedy: str) -> None:
        super().__init__(f"topic {topic}: found {found}, wanted {wanted}. What to do: {remedy}.")
        self.topic = topic
        self.found = found
        self.wanted = wanted
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """Specification of a topic."""

    name: str
    partitions: int
    #: Settings at creation.
    config: Mapping[str, str]
    #: Settings that must still hold later; the others are an operator's to change.
    fixed: Sequence[str] = ("cleanup.policy", "message.timestamp.type")
    #: True if the number of partitions must stay as created.
    partitions_fixed: bool = True


def has_topics(client_name: str) -> bool:
    """True if a client of this name can have topics of its own; others are served by webhook only."""
    return _NAME.fullmatch(client_name) is not None


def signals_topic(client_name: str) -> str:
    """Topic on which this client's services publish signals."""
    return SIGNALS_PREFIX + _checked(client_name)


def activities_topic(client_name: str) -> str:
    """Topic from which this client's workers consume activities."""
    return ACTIVITIES_PREFIX + _checked(client_name)


def _checked(client_name: str) -> str:
    if not has_topics(client_name):
        raise ValueError(f"client {client_name!r} cannot have topics: its name must match {_NAME.pattern}")
    return client_name


def system_topics(partitions: int) -> list[TopicSpec]:
    """Topics of every installation."""
    return [
        TopicSpec(
            COMMANDS,
            partitions,
            {
                **_log(retention_ms=-1),
                # A leader that lost acknowledged commands would lose changes that were confirmed.
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
        # Workflows refer to them; they stay until somebody removes them.
        TopicSpec(PAYLOADS, PAYLOADS_PARTITIONS, _log(retention_ms=-1), partitions_fixed=False),
        # A single partition: the registry is read whole, in one order.
        TopicSpec(CLIENTS, 1, _compacted()),
    ]


def console_topics() -> list[TopicSpec]:
    """Topics of the web console: engines and workers do without them."""
    return [
        TopicSpec(PEOPLE, 1, _compacted()),
        TopicSpec(AUDIT, 1, _log(retention_ms=400 * _DAY_MS)),
    ]


def client_topics(client_name: str, partitions: int) -> list[TopicSpec]:
    """Topics of one client."""
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
            # An activity that no worker consumed by then comes again only by the node's `complete_by`.
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
    """Requests and replies: nobody waits for them longer than seconds."""
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
) -> dict[str, TopicDescription]:
    """Create missing topics and check all; their descriptions by name.

    Default of `partitions`: as many as the commands topic has, else 8. In `development` one replica is enough.
    """
    admin = reach(bootstrap_servers)
    specs = system_topics(partitions or _partitions_of_commands(admin) or PARTITIONS_DEFAULT) + console_topics()
    created = create_missing(admin, specs, replication)
    return _check(admin, specs, created, development=development)


def ensure_client_topics(bootstrap_servers: str, specs: Iterable[TopicSpec]) -> dict[str, TopicDescription]:
    """Create and check topics of clients (`client_topics`), with as many replicas as the commands topic has."""
    specs = list(specs)
    admin = reach(bootstrap_servers)
    commands = describe(admin, [COMMANDS]).get(COMMANDS)
    if commands is None:
        raise missing(COMMANDS)
    created = create_missing(admin, specs, commands.replication)
    # If one replica is enough for the commands it is enough for the clients' topics.
    return _check(admin, specs, created, development=commands.replication == 1)


def check_topics(
    bootstrap_servers: str, partitions: int | None = None, *, development: bool = False
) -> dict[str, TopicDescription]:
    """Check the topics without creating any; their descriptions by name.

    Default of `partitions`: as many as the commands topic has.
    """
    admin = reach(bootstrap_servers)
    partitions = partitions or _partitions_of_commands(admin)
    if partitions is None:
        raise missing(COMMANDS)
    return _check(admin, system_topics(partitions), development=development)


def topic_ids(admin: "AdminClient", *names: str) -> tuple[str, ...]:
    """Kafka's ids of topics, UUIDs as text: other ones after a topic was deleted and made again."""
    descriptions = describe(admin, list(names))
    for name in names:
        if name not in descriptions:
            raise missing(name)
    return tuple(descriptions[name].topic_id for name in names)


def topic_id(bootstrap_servers: str, topic: str) -> str:
    """Kafka's id of one topic."""
    return topic_ids(reach(bootstrap_servers), topic)[0]


def _partitions_of_commands(admin: "AdminClient") -> int | None:
    descriptions = describe(admin, [COMMANDS])
    return descriptions[COMMANDS].partitions if descriptions else None


def missing(topic: str) -> TopicError:
    """Error of a topic that does not exist."""
    return TopicError(
        topic, "no such topic", "one made by us", "run `backbeat topics create`, or check --bootstrap-servers"
    )


def create_missing(admin: "AdminClient", specs: Iterable[TopicSpec], replication: int) -> frozenset[str]:
    """Create missing topics; their names."""
    from confluent_kafka.admin import NewTopic  # noqa: PLC0415 - as in `brokers.reach`

    specs = list(specs)
    missing_specs = {spec.name: spec for spec in specs}
    for name, description in describe(admin, list(missing_specs)).items():
        spec = missing_specs.pop(name)
        if spec.partitions_fixed and description.partitions != spec.partitions:
            # Before any is created: the missing ones would not match the others.
            raise _other_partitions(spec, description)
    if not missing_specs:
        return frozenset()
    # With three replicas two must have a record before it counts as written: no loss if one fails.
    safe = {"min.insync.replicas": "2" if replication >= _REPLICATION_SAFE else "1"}
    new = [
        NewTopic(
            spec.name, num_partitions=spec.partitions, replication_factor=replication, config={**spec.config, **safe}
        )
        for spec in missing_specs.values()
    ]
    for name, created in admin.create_topics(new, operation_timeout=ASK_SECONDS_MAX).items():
        try:
            result(created)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            # Another process created it in the meantime: the check decides whether it is right.
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(
                    name,
                    f"that it cannot be made ({reason.str()})",
                    f"{_count(missing_specs[name].partitions, 'partition')} with {_count(replication, 'replica')}",
                    "see the reason; fewer brokers than replicas need a smaller --replication",
                ) from error
    return frozenset(missing_specs)


def _check(
    admin: "AdminClient", specs: Iterable[TopicSpec], created: frozenset[str] = frozenset(), *, development: bool
) -> dict[str, TopicDescription]:
    specs = list(specs)
    descriptions = look(admin, [spec.name for spec in specs], created)
    for spec in specs:
        for problem in problems(spec, descriptions[spec.name], development=development):
            raise problem
    return descriptions


def look(admin: "AdminClient", names: list[str], created: frozenset[str]) -> dict[str, TopicDescription]:
    """Descriptions of topics, settings included.

    Brokers learn of a newly `created` topic one after the other, and each request may go to another one: known a moment
    ago, unknown now. So the request is repeated until both answers have it.
    """
    deadline = time.monotonic() + _CREATED_SECONDS_MAX
    while True:
        descriptions = describe(admin, names)
        absent = [name for name in names if name not in descriptions]
        for name in absent:
            if name not in created or time.monotonic() > deadline:
                raise missing(name)
        try:
            if not absent:
                return with_configs(admin, descriptions)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def problems(spec: TopicSpec, description: TopicDescription, *, development: bool) -> Iterator[TopicError]:
    """Faults of a topic, the worst first. `description` must have its settings."""
    if spec.partitions_fixed and description.partitions != spec.partitions:
        yield _other_partitions(spec, description)
    for key in spec.fixed:
        if description.config.get(key) != spec.config[key]:
            yield TopicError(
                spec.name,
                f"{key}={description.config.get(key)}",
                f"{key}={spec.config[key]}",
                f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
                f"--add-config {key}={spec.config[key]}, after asking who changed it and whether records were lost",
            )
    if int(description.config.get("max.message.bytes", "0")) < int(spec.config["max.message.bytes"]):
        yield TopicError(
            spec.name,
            f"max.message.bytes={description.config.get('max.message.bytes')}",
            f"at least {spec.config['max.message.bytes']}",
            "raise it: a record that we may write would be refused",
        )
    if description.replication == 1 and not development:
        yield TopicError(
            spec.name,
            _count(description.replication, "replica"),
            "2 or more (3 are usual)",
            "give it more replicas (kafka-reassign-partitions.sh), or pass --development where it is "
            "acceptable to lose everything with one disk",
        )


def _other_partitions(spec: TopicSpec, description: TopicDescription) -> TopicError:
    return TopicError(
        spec.name,
        _count(description.partitions, "partition"),
        str(spec.partitions),
        f"start with the number it was made with (--partitions {description.partitions}). It cannot be changed "
        "afterwards, since every id carries its partition: for another one drain into a new cluster "
        "(docs/how-to/partitions.md)",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
