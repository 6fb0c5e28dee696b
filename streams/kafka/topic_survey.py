"""Check of all topics against their specifications: every problem at once, and notes on settings worth knowing.

A start stops at the first problem (topics.py); an operator who mends it wants to see all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, TopicDescription, describe, reach, with_configs
from backbeat.schemas.kafka.client_registry import BadRecord, ClientRegistry, RegisteredClient
from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    CLIENTS,
    COMMANDS,
    PARTITIONS_DEFAULT,
    SIGNALS_PREFIX,
    TopicError,
    TopicSpec,
    client_topics,
    console_topics,
    has_topics,
    missing,
    problems,
    system_topics,
)

_KEPT_FOR_EVER = "-1"
_REPLICATION_SAFE = 3


@dataclass(frozen=True, kw_only=True)
class SurveyedTopic:
    """A topic's specification, its state on the brokers, problems and notes."""

    spec: TopicSpec
    #: None: the topic does not exist.
    description: TopicDescription | None
    #: Faults that must be mended.
    problems: list[TopicError] = field(default_factory=list)
    #: Settings that an operator has changed, or may want to.
    notes: list[str] = field(default_factory=list)


def survey(bootstrap_servers: str, partitions: int | None = None, *, development: bool = False) -> list[SurveyedTopic]:
    """Check the system's topics and those of every client.

    Without `partitions`, the number that most of commands, queries, state and history have: a topic that was changed
    stands out then, whichever it is.
    """
    admin = reach(bootstrap_servers)
    names = [spec.name for spec in system_topics(PARTITIONS_DEFAULT) + console_topics()]
    described = describe(admin, names)
    count = partitions or usual_partitions({name: topic.partitions for name, topic in described.items()})
    specs = system_topics(count) + console_topics()
    bad_records: list[BadRecord] = []
    if CLIENTS in described:
        with ClientRegistry(bootstrap_servers) as registry:
            clients, bad_records = registry.all(), registry.bad_records()
        specs += _client_specs(admin, clients, count)
        described |= describe(admin, [spec.name for spec in specs if spec.name not in described])
    described = with_configs(admin, described)
    # If one replica is enough for the commands it is enough for the other topics.
    surveyed = [_look_at(spec, described.get(spec.name), development=development) for spec in specs]
    for topic in surveyed:
        if topic.spec.name == CLIENTS:
            topic.problems.extend(map(_bad_record, bad_records))
    return surveyed


def usual_partitions(counts: Mapping[str, int]) -> int:
    """Partitions of the topics whose number is fixed: the most frequent number, in a tie that of the commands."""
    fixed = [spec.name for spec in system_topics(PARTITIONS_DEFAULT) if spec.partitions_fixed and spec.name != CLIENTS]
    frequency = Counter(counts[name] for name in fixed if name in counts)
    if not frequency:
        return PARTITIONS_DEFAULT
    most = max(frequency.values())
    candidates = [count for count, times in frequency.items() if times == most]
    return counts[COMMANDS] if counts.get(COMMANDS) in candidates else candidates[0]


def _bad_record(record: BadRecord) -> TopicError:
    return TopicError(
        CLIENTS,
        f"at {record.offset} under the key {record.key.decode(errors='backslashreplace')[:64]} a record that is no "
        f"client ({record.reason})",
        "records of `backbeat user` only",
        "nothing stops meanwhile, it is passed over; to delete it run `backbeat user repair`",
    )


def _client_specs(admin: AdminClient, clients: Sequence[RegisteredClient], partitions: int) -> list[TopicSpec]:
    """Specifications of clients' topics: of all registered clients, and of removed ones that left topics."""
    names = {client.name for client in clients if has_topics(client.name)}
    topics = admin.list_topics(timeout=ASK_SECONDS_MAX).topics
    topic_owners = {
        name.removeprefix(prefix)
        for name in topics
        for prefix in (SIGNALS_PREFIX, ACTIVITIES_PREFIX)
        if name.startswith(prefix)
    }
    return [
        spec
        for name in sorted(names | topic_owners)
        if has_topics(name)
        for spec in client_topics(name, partitions)
        if name in names or spec.name in topics
    ]


def _look_at(spec: TopicSpec, description: TopicDescription | None, *, development: bool) -> SurveyedTopic:
    if description is None:
        return SurveyedTopic(spec=spec, description=None, problems=[missing(spec.name)])
    return SurveyedTopic(
        spec=spec,
        description=description,
        problems=list(problems(spec, description, development=development)),
        notes=list(_notes(spec, description)),
    )


def _notes(spec: TopicSpec, description: TopicDescription) -> Iterator[str]:
    for key, made_with in spec.config.items():
        value = description.config.get(key)
        if key in spec.fixed or key == "max.message.bytes" or value == made_with:
            continue
        if spec.name == COMMANDS and key in {"retention.ms", "retention.bytes"}:
            yield (
                f"{key}={value}: commands are deleted after that, and an engine that is further behind can never run "
                f"again; {_KEPT_FOR_EVER} keeps them"
            )
        else:
            yield f"{key}={value}, made with {made_with}"
    in_sync = int(description.config.get("min.insync.replicas", "1"))
    if 1 < description.replication <= in_sync:
        count = description.replication
        yield f"min.insync.replicas={in_sync} of {count} replicas: nothing is written while one is away"
    if description.replication >= _REPLICATION_SAFE and in_sync == 1:
        yield "min.insync.replicas=1: what was acknowledged may lie on one broker alone; 2 is usual"
