"""Core of all consumers of activities: a record becomes one activity, and is settled when that is answered.

    record ─▶ take ─▶ an activity, held until it is settled
                └──▶ no activity: to the dead letters; answered before, or held: a repeat
    settle (any thread) ─▶ settle_all ─▶ answered: its records are accepted; given up: they are released

The consumer group, the share group and the webhooks differ in their records (`Receipt`), and in what is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from backbeat.delivery.records import ConsumerState, Delivery, Key, Receipt, RecentKeys, key_of
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.activities import ActivityRecord

#: The record as its topic gave it.
M = TypeVar("M")
R = TypeVar("R", bound=Receipt)

#: Deliveries set aside that take no room; more of them do.
_ASIDE_MAX = 10_000
D = TypeVar("D", bound=Delivery)


class Intake(Generic[M, R, D]):
    """Activities that a consumer holds. Used from its thread, but for `settle`, `set_aside` and `state`."""

    def __init__(self, make: Callable[[ActivityRecord, Key, R], D], dead_letter: Callable[[M, R, str], None]) -> None:
        """`make`: what is held of an activity. `dead_letter`: sends a record there, with the reason, and accepts it."""
        self._make = make
        self._dead_letter = dead_letter
        self.held: dict[Key, D] = {}
        self._recent = RecentKeys()
        self._settled: deque[D] = deque()
        self._repeats = self._dead_letter_count = 0
        #: Deliveries that were set aside, and those of them that are settled: each is counted by one thread.
        self._set_aside = self._settled_aside = 0

    @property
    def room_taken(self) -> int:
        """Number of deliveries that are held and not set aside."""
        return len(self.held) - min(self._set_aside - self._settled_aside, _ASIDE_MAX)

    def set_aside(self, delivery: D) -> None:
        """Have a delivery take no room until it is settled: what it waits for is not the worker's. By one thread."""
        if not delivery.is_aside:
            delivery.is_aside = True
            self._set_aside += 1

    def take(
        self, raw: M, value: bytes | None, receipt: R, refuse: Callable[[ActivityRecord], bool] | None = None
    ) -> D | None:
        """The activity of a record, held from now on; None: it is dealt with otherwise.

        `refuse` is called for one that was not answered before. True: it is not to be held, and is dealt with.
        """
        try:
            record = decode_activity(value)
        except (DecodeError, RecursionError) as reason:
            self._dead_letter_count += 1
            self._dead_letter(raw, receipt, str(reason))
            return None
        key = key_of(record)
        if key in self._recent:
            self._repeats += 1
            receipt.accept()
            return None
        if refuse is not None and refuse(record):
            return None
        known = self.held.get(key)
        if known is not None:
            self._repeats += 1
            known.receipts.append(receipt)
            return None
        delivery = self.held[key] = self._make(record, key, receipt)
        return delivery

    def settle(self, delivery: D) -> None:
        """Settle an activity, with the next `settle_all`. From any thread."""
        self._settled.append(delivery)

    def settle_all(self, *, draining: bool = False, gone: Callable[[D], None] | None = None) -> list[D]:
        """Settle what was left here. Activities that were given up and are still ours are returned, and stay held.

        So it is where a partition came back. While `draining` there are none: they are left to the next owner. `gone`
        is called for each that is held no longer.
        """
        ours = []
        while self._settled:
            delivery = self._settled.popleft()
            if delivery.answered:
                self._recent.add(delivery.key)
                for receipt in delivery.receipts:
                    receipt.accept()
            else:
                for receipt in delivery.receipts:
                    receipt.release()
                if not (draining or delivery.revoked):
                    delivery.begun = False
                    ours.append(delivery)
                    continue
            if self.held.pop(delivery.key, None) is not None:
                self._settled_aside += delivery.is_aside
                if gone is not None:
                    gone(delivery)
        return ours

    def state(self, *, requeued: int = 0, rebalanced_at: float, alive: bool) -> ConsumerState:
        """Counts for reports, from any thread."""
        deliveries = list(self.held.values())
        return ConsumerState(
            held=len(deliveries),
            unacknowledged=sum(1 for delivery in deliveries if delivery.unsent),
            repeats=self._repeats,
            dead_letters=self._dead_letter_count,
            requeued=requeued,
            rebalanced_at=rebalanced_at,
            alive=alive,
        )
