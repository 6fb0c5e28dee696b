"""Counters of the engine's loop: plain numbers, exported by `metrics`.

On the path of every command, so nothing here takes a lock or makes an object: the budget is a microsecond a command.
Written on the loop's thread; read from another by copying.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args

from backbeat.observe.histograms import OTHER
from backbeat.schemas.messages import replies
from backbeat.schemas.messages.commands import AnyCommand, ChangeNode, DeliveryFailed, TimerFired
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.core.effects import DeadLetter, Dispatch, Effect, StatusChanged
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES

#: Activity names with counters of their own; later names are counted together.
ACTIVITIES_MAX = 200

#: Outcomes of an activity.
OUTCOMES = ("complete", "errored", "expired", "undeliverable")

_FINISHED = {ClientStatus.COMPLETE, ClientStatus.ERRORED}


class ActivityCounters:
    """Counters of the nodes of one name."""

    __slots__ = ("dispatched", "finished", "retried")

    def __init__(self) -> None:
        self.dispatched = 0
        self.retried = 0
        self.finished = dict.fromkeys(OUTCOMES, 0)


class EngineCounters:
    """Counters since the process began."""

    def __init__(self) -> None:
        #: Counters of the loop by name: commands, repeats, queries …
        self.counts: Counter[str] = Counter()
        self.commands: dict[type, int] = dict.fromkeys(get_args(AnyCommand), 0)
        self.effects: dict[type, int] = dict.fromkeys(get_args(Effect), 0)
        self.rejections: dict[replies.Reason, int] = dict.fromkeys(replies.Reason, 0)
        #: Status changes, by the status's number.
        self.server = [0] * len(ServerStatus)
        self.client = [0] * len(ClientStatus)
        self.activities: dict[str, ActivityCounters] = {}
        self.busy_seconds = 0.0
        self.timers_fired = 0

    def note(self, command: AnyCommand, effects: list[Effect], store: Store) -> None:
        """Count a command and its effects; `store` holds the state after it."""
        self.commands[type(command)] += 1
        for effect in effects:
            kind = type(effect)
            self.effects[kind] += 1
            if kind is StatusChanged:
                self._changed(command, effect, store)  # type: ignore[arg-type]  # `is` is quicker, and narrows nothing
            elif kind is Dispatch:
                node = effect.node  # type: ignore[union-attr]  # as above
                activity = self.of(node.name)
                activity.dispatched += 1
                if node.attempt > 1:
                    activity.retried += 1
            elif kind is DeadLetter:
                self.rejections[effect.rejection.reason] += 1  # type: ignore[union-attr]  # as above

    def _changed(self, command: AnyCommand, effect: StatusChanged, store: Store) -> None:
        server, client = self.server, self.client
        finished = None
        for node_change in effect.changes:
            change = node_change.change
            if change.server:
                server[change.to_status] += 1
            else:
                client[change.to_status] += 1
                if change.to_status in _FINISHED:
                    finished = finished or node_change
        if finished is None:
            return
        kind = type(command)
        if kind is ChangeNode:
            outcome = "complete" if finished.change.to_status is ClientStatus.COMPLETE else "errored"
        elif kind is TimerFired:
            outcome = "expired"
        elif kind is DeliveryFailed:
            outcome = "undeliverable"
        else:
            return
        node = store.get(NODES, finished.node_id)
        if node is not None:
            self.of(node.name).finished[outcome] += 1

    def of(self, name: str) -> ActivityCounters:
        """Counters of the nodes of this name; past `ACTIVITIES_MAX` names, those shared by all others."""
        activity = self.activities.get(name)
        if activity is None:
            name = name if len(self.activities) < ACTIVITIES_MAX else OTHER
            activity = self.activities.setdefault(name, ActivityCounters())
        return activity


def label_of(kind: type) -> str:
    """Label of a command or an effect: `change_node`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
