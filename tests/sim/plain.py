"""The same plan without engine, Kafka or faults: the pure core alone, each command applied at once.

How it ends is how every quiet workflow has to end.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Any

from backbeat.schemas import routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import Source, TimerKind
from backbeat.streams.core import apply
from backbeat.streams.core import effects as fx
from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES

from .clients import answers
from .plan import Plan, name_of
from .virtual import BEGIN_MS

Outcome = Counter[tuple[str, str, str]]


def outcome(stores: Iterable[MemoryStore]) -> Outcome:
    """The quiet nodes by name with their last statuses; what a retry put aside does not count."""
    return Counter(
        (name_of(node), node.server.name, node.client.name)
        for store in stores
        for node in store[NODES].values()
        if node.name.startswith("quiet") and node.server is not ServerStatus.DEACTIVATED
    )


class PlainRun:
    """One process, one log, nothing ever fails."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.stores = [MemoryStore(Meta(settings=plan.settings)) for _ in range(plan.partitions_count)]
        self._now = BEGIN_MS
        self._log: list[tuple[int, int, c.AnyCommand]] = []
        self._count = 0

    def run(self) -> Outcome:
        """Play the plan to its end."""
        for signal in self._plan.signals:
            link = None if signal.link_to is None else self._plan.signals[signal.link_to].node_id
            node = self._plan.new_node(signal.name, parent_link_id=link, type="decision")
            workflow_id = signal.workflow_id
            self._later(c.Signal(id=signal.id, workflow_id=workflow_id, workflow=signal.workflow, node=node), 10)
            self._drain(self._now + 10)
        for _ in range(100_000):
            self._drain(None)
            if not self._fire():
                return outcome(self.stores)
        raise AssertionError("the plan has no end")

    def _later(self, command: c.AnyCommand, delay_ms: int) -> None:
        self._count += 1
        heapq.heappush(self._log, (self._now + delay_ms, self._count, command))

    def _drain(self, until: int | None) -> None:
        while self._log and (until is None or self._log[0][0] <= until):
            when, _, command = heapq.heappop(self._log)
            self._now = max(self._now, when)
            self._apply(command)

    def _apply(self, command: c.AnyCommand) -> None:
        identity = routes.route(command)
        assert identity is not None
        number = ids.partition_of(identity, len(self.stores))
        self._count += 1
        for index, effect in enumerate(apply(command, self._now, self.stores[number])):
            self._perform(effect, Source(number, self._count, index))

    def _perform(self, effect: Any, source: Source) -> None:
        match effect:
            case fx.Dispatch():
                for command in answers(self._plan, effect.node):
                    self._later(command, 1)
            case fx.Send(command=command):
                carried = {name: getattr(command, name) for name in command.__struct_fields__}
                self._apply_later(type(command)(**{**carried, "source": source}))

    def _apply_later(self, command: c.AnyCommand) -> None:
        self._later(command, 0)

    def _fire(self) -> bool:
        """The next timer. False: there is none."""
        timers = [(key, number) for store in self.stores for key, number in store.timers.items()]
        timers = [timer for timer in timers if timer[0][2] != TimerKind.ANSWER]
        if not timers:
            return False
        (due, subject_id, kind), number = min(timers)
        self._now = max(self._now, due)
        self._later(c.TimerFired(id=bytes(16), subject_id=subject_id, kind=TimerKind(kind), number=number), 0)
        return True
