"""All topics beside what they must be: everything that is wrong at once, and what is not wrong but worth knowing.

A start stops at the first thing that is wrong (topics.py); whoever mends it wants to see all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, FoundTopic, describe, reach, with_configs
from backbeat.schemas.kafka.client_registry import BadRecord, RegisteredClient, Registry
from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    CLIENTS,
    COMMANDS,
    PARTITIONS_DEFAULT,
    SIGNALS_PREFIX,
    TopicError,
    TopicSpec,
    client_topics,
    has_topics,
    missing,
    problems,
    system_topics,
)

_KEPT_FOR_EVER = "-1"
_REPLICATION_SAFE = 3


@dataclass(frozen=True, kw_only=True)
class SurveyedTopic:
    """One topic."""

    spec: TopicSpec
    #: None: it is not there
    found: FoundTopic | None
    #: what must be mended
    problems: list[TopicError] = field(default_factory=list)
    #: what an operator has changed, or may want to
    notes: list[str] = field(default_factory=list)


def survey(bootstrap_servers: str, partitions: int | None = None, *, development: bool = False) -> list[SurveyedTopic]:
    """Look at the system's topics and at those of every client.

    Without `partitions` most of commands, queries, state and history say how many these must have: one of them that
    was changed stands out then, whichever it is.
    """
    admin = reach(bootstrap_servers)
    names = [spec.name for spec in system_topics(PARTITIONS_DEFAULT)]
    known = describe(admin, names)
    wanted = partitions or usual_partitions({name: found.partitions for name, found in known.items()})
    specs = system_topics(wanted)
    bad: list[BadRecord] = []
    if CLIENTS in known:
        with Registry(bootstrap_servers) as registry:
            clients, bad = registry.all(), registry.bad_records()
        specs += _of_clients(admin, clients, wanted)
        known |= describe(admin, [spec.name for spec in specs if spec.name not in known])
    known = with_configs(admin, known)
    # Where one replica is enough for the commands it is enough for what follows from them.
    surveyed = [_look_at(spec, known.get(spec.name), development=development) for spec in specs]
    for each in surveyed:
        if each.spec.name == CLIENTS:
            each.problems.extend(map(_bad_record, bad))
    return surveyed


def usual_partitions(found: Mapping[str, int]) -> int:
    """How many partitions the topics have whose number is fixed: as most of them do, else as the commands."""
    fixed = [spec.name for spec in system_topics(PARTITIONS_DEFAULT) if spec.partitions_fixed and spec.name != CLIENTS]
    counts = Counter(found[name] for name in fixed if name in found)
    if not counts:
        return PARTITIONS_DEFAULT
    most = max(counts.values())
    candidates = [count for count, times in counts.items() if times == most]
    return found[COMMANDS] if found.get(COMMANDS) in candidates else candidates[0]


def _bad_record(bad: BadRecord) -> TopicError:
    return TopicError(
        CLIENTS,
        f"at {bad.offset} under the key {bad.key.decode(errors='backslashreplace')[:64]} a record that is no client "
        f"({bad.reason})",
        "records of `backbeat user` only",
        "nothing stops meanwhile, it is passed over; to delete it run `backbeat user repair`",
    )


def _of_clients(admin: AdminClient, clients: Sequence[RegisteredClient], partitions: int) -> list[TopicSpec]:
    """What the topics of clients must be: of all that are registered, and of those that are gone and left some."""
    names = {client.name for client in clients if has_topics(client.name)}
    there = admin.list_topics(timeout=ASK_SECONDS_MAX).topics
    left = {
        name.removeprefix(prefix)
        for name in there
        for prefix in (SIGNALS_PREFIX, ACTIVITIES_PREFIX)
        if name.startswith(prefix)
    }
    return [
        spec
        for name in sorted(names | left)
        if has_topics(name)
        for spec in client_topics(name, partitions)
        if name in names or spec.name in there
    ]


def _look_at(spec: TopicSpec, found: FoundTopic | None, *, development: bool) -> SurveyedTopic:
    if found is None:
        return SurveyedTopic(spec=spec, found=None, problems=[missing(spec.name)])
    return SurveyedTopic(
        spec=spec,
        found=found,
        problems=list(problems(spec, found, development=development)),
        notes=list(_notes(spec, found)),
    )


def _notes(spec: TopicSpec, found: FoundTopic) -> Iterator[str]:
    for key, made_with in spec.config.items():
        now = found.config.get(key)
        if key in spec.fixed or key == "max.message.bytes" or now == made_with:
            continue
        if spec.name == COMMANDS and key in {"retention.ms", "retention.bytes"}:
            yield (
                f"{key}={now}: commands are deleted after that, and an engine that is further behind can never run "
                f"again; {_KEPT_FOR_EVER} keeps them"
            )
        else:
            yield f"{key}={now}, made with {made_with}"
    in_sync = int(found.config.get("min.insync.replicas", "1"))
    if 1 < found.replication <= in_sync:
        yield f"min.insync.replicas={in_sync} of {found.replication} replicas: nothing is written while one is away"
    if found.replication >= _REPLICATION_SAFE and in_sync == 1:
        yield "min.insync.replicas=1: what was acknowledged may lie on one broker alone; 2 is usual"
