"""Counters of a worker's activities, where a status is served: plain numbers, made into metrics when asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backbeat.activities.context import Activity
from backbeat.delivery.records import Delivery
from backbeat.observe.histograms import OTHER, SECONDS, Buckets
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import AnyCommand, ChangeNode
from backbeat.worker.handlers import Handlers

COMPLETE, ERRORED, FAILED, POSTPONED, DROPPED, GIVEN_UP, HANDED_BACK = (
    "complete", "errored", "failed", "postponed", "dropped", "given_up", "handed_back",
)  # fmt: skip
OUTCOMES = (COMPLETE, ERRORED, FAILED, POSTPONED, DROPPED, GIVEN_UP, HANDED_BACK)

_LONG_SECONDS = (*SECONDS, 300.0, 900.0, 3_600.0)


class Counters:
    """Numbers and durations of attempts. Counted in the worker's event loop; read from any thread by copying."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        #: (activity, outcome) -> number of attempts
        self.ended: dict[tuple[str, str], int] = {}
        #: activity -> durations of its attempts, in seconds
        self.seconds: dict[str, Buckets] = {}
        self.notifications = 0

    def begin(self, delivery: Delivery) -> None:
        """Note the start of a delivery."""
        delivery.begun_at = time.perf_counter()

    def end(self, delivery: Delivery) -> None:
        """Count one that has ended. Activities that are not registered are counted together: names have no bound."""
        if delivery.record.kind is ActivityKind.NOTIFICATION:
            self.notifications += 1
            return
        name = delivery.record.node.name
        if self._handlers.find(name) is None:
            name = OTHER
        key = (name, delivery.outcome or GIVEN_UP)
        self.ended[key] = self.ended.get(key, 0) + 1
        buckets = self.seconds.get(name)
        if buckets is None:
            buckets = self.seconds[name] = Buckets(_LONG_SECONDS)
        buckets.observe(time.perf_counter() - delivery.begun_at)


def outcome_of(activity: Activity, commands: Sequence[AnyCommand]) -> str:
    """Outcome of an attempt, one of `OUTCOMES`, from its commands."""
    answer = commands[-1] if commands else None
    if not isinstance(answer, ChangeNode):
        return DROPPED if activity.cancelled else POSTPONED
    if answer.status == "completed":
        return COMPLETE
    if not answer.attempted:
        return HANDED_BACK
    return ERRORED if answer.retriable else FAILED
