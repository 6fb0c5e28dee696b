"""Alarms: sentences about what is not well, each with the page, and the section of the runbook, that help."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from backbeat.gateway.console.health.standing import Standing
from backbeat.gateway.console.health.watch import Watch
from backbeat.gateway.console.health.workers import Workers
from backbeat.payload.values import id_text
from backbeat.schemas.messages.views import PartitionState

#: Commands from which a partition is looked at that does not move, and from which one is late that does.
_STILL_COMMANDS, _LATE_COMMANDS = 100, 1_000
#: How long that lasts until it is said: a burst is over by then.
_LASTING_MS = 60_000
#: Lateness from which a timer is overdue: clocks differ.
_OVERDUE_MS = 30_000
#: Records from which the search is behind, for as long as `_LASTING_MS`.
_BEHIND_RECORDS = 10_000
_LISTED_MAX = 20


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence about what is not well."""

    text: str
    #: Page below `/ui/` that shows more, and the words of the link to it.
    address: str = "system"
    label: str = "System"
    #: Section of docs/how-to/runbook.md that says what to do; empty: the page does.
    runbook: str = ""
    #: Milliseconds since the epoch.
    since: int | None = None
    #: The client application that it is about; None: it is everybody's concern.
    client_id: bytes | None = None

    @property
    def mark(self) -> object:
        """Value that differs where the alarm is another one; its numbers are no difference."""
        return self.address, self.runbook, self.since, self.client_id


def kafka_alarm(reason: str) -> Alarm:
    """Kafka is away, as far as this gateway sees."""
    return Alarm(text=reason, runbook="BackbeatGatewayCutOff")


def search_alarm(reason: str) -> Alarm:
    """The search is away, or does not follow."""
    return Alarm(text=reason, address="system#search", runbook="BackbeatProjectionTrouble")


def engine_alarms(
    missing: Collection[int], partitions: int, standing: Standing | None, watch: Watch, at: int
) -> list[Alarm]:
    """Partitions without an engine (`missing`: those that do not answer), those that are late, and their timers."""
    views = {} if standing is None else {view.partition: view for view in standing.views if view is not None}
    restoring = [number for number in missing if number in views and views[number].state is PartitionState.RESTORING]
    alone = [number for number in missing if number not in restoring]
    alarms = []
    if alone:
        alarms.append(
            Alarm(
                text=f"No engine answers for {len(alone)} of {partitions} partitions ({_numbers(alone)}): "
                "their workflows stand still.",
                address="system#partitions",
                runbook="BackbeatNoEngine" if len(alone) == partitions else "BackbeatPartitionsUnowned",
                since=min(watch.since(("alone", number), None, at) for number in alone),
            )
        )
    if restoring:
        alarms.append(
            Alarm(
                text=f"The state of {_partitions(restoring)} is being restored: until then its workflows stand still.",
                address="system#partitions",
                runbook="BackbeatRestoreSlow",
                since=min(watch.since(("restoring", number), None, at) for number in restoring),
            )
        )
    if standing is not None:
        alarms += _command_alarms(missing, standing, watch, at)
        alarms += _timer_alarms(missing, standing)
    return alarms


def _command_alarms(missing: Collection[int], standing: Standing, watch: Watch, at: int) -> list[Alarm]:
    """Partitions that have an engine, and do not move or are late."""
    still: dict[int, int] = {}
    late: dict[int, int] = {}
    positions, waiting = standing.positions, standing.commands_waiting
    for number, commands in waiting.items():
        if number in missing:
            continue
        if commands > _STILL_COMMANDS:
            since = watch.since(("position", number), positions[number], at)
            if at - since >= _LASTING_MS:
                still[number] = since
        if commands > _LATE_COMMANDS:
            since = watch.since(("late", number), None, at)
            if at - since >= _LASTING_MS and number not in still:
                late[number] = since
    alarms = []
    if still:
        commands = sum(waiting[number] for number in still)
        alarms.append(
            Alarm(
                text=f"{commands:,} commands wait in {_partitions(still)}, and none is applied: workflows stand still.",
                address="system#partitions",
                runbook="BackbeatPartitionStuck",
                since=min(still.values()),
            )
        )
    if late:
        commands = sum(waiting[number] for number in late)
        alarms.append(
            Alarm(
                text=f"{commands:,} commands wait in {_partitions(late)}: what is done there is late.",
                address="system#partitions",
                runbook="BackbeatCommandsLag",
                since=min(late.values()),
            )
        )
    return alarms


def _timer_alarms(missing: Collection[int], standing: Standing) -> list[Alarm]:
    overdue = [
        (view.partition, view.timers_overdue, view.overdue_since)
        for view in standing.views
        if view is not None
        and view.partition not in missing
        and view.overdue_since is not None
        and standing.at - view.overdue_since >= _OVERDUE_MS
    ]
    if not overdue:
        return []
    timers = sum(count for _, count, _ in overdue)
    where = _partitions([number for number, _, _ in overdue])
    return [
        Alarm(
            text=f"Timers of {where} are overdue ({timers:,}): retries and dates are late.",
            address="system#timers",
            runbook="BackbeatTimersOverdue",
            since=min(since for _, _, since in overdue),
        )
    ]


def behind_alarms(records: int | None, watch: Watch, at: int) -> list[Alarm]:
    """The search is behind by so many records of the changelog."""
    if records is None or records <= _BEHIND_RECORDS:
        return []
    since = watch.since("behind", None, at)
    if at - since < _LASTING_MS:
        return []
    return [
        Alarm(
            text=f"The search is {records:,} records behind: lists and counts are those of a while ago.",
            address="system#search",
            runbook="BackbeatProjectionBehind",
            since=since,
        )
    ]


def worker_alarms(workers: Iterable[Workers]) -> list[Alarm]:
    """Client applications that nobody works for."""
    return [
        Alarm(
            text=f"Nobody takes the activities of {of_client.client} ({of_client.waiting:,} waiting).",
            address=f"clients/{id_text(of_client.client_id)}",
            label="What to do",
            since=of_client.nobody_since,
            client_id=of_client.client_id,
        )
        for of_client in sorted(workers, key=lambda of_client: (of_client.nobody_since or 0, of_client.client))
        if of_client.nobody_since is not None
    ]


# --- words -----------------------------------------------------------------------------------------------------------


def _numbers(numbers: Collection[int]) -> str:
    listed = sorted(numbers)
    return ", ".join(map(str, listed[:_LISTED_MAX])) + (", …" if len(listed) > _LISTED_MAX else "")


def _partitions(numbers: Collection[int]) -> str:
    return f"partition{'s' if len(numbers) != 1 else ''} {_numbers(numbers)}"
