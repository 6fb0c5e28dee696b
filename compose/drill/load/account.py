"""Account of the load: each payment, from the journals; and what its figures are at a moment and over a span."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from backbeat.compose.drill.load.journal import Entry, JournalReader
from backbeat.compose.drill.load.payments import MAKE, WAYS, way_of

#: Latencies and rates are those of so many seconds back.
WINDOW_SECONDS = 5.0


class Payment(msgspec.Struct):
    """A payment as the journals have it."""

    way: str
    asked_at: float = 0.0
    taken_at: float = 0.0
    paid_at: float = 0.0
    #: id of its topmost node, once that has begun
    root: str = ""
    #: nodes that paid it: more than one is money lost
    nodes: list[str] = []


class WayFigures(msgspec.Struct, kw_only=True):
    """Figures of a way in, over a span."""

    asked: int = 0
    taken: int = 0
    paid: int = 0
    failures: int = 0
    longest_silence_seconds: float = 0.0
    taken_p50_ms: float = 0.0
    taken_p99_ms: float = 0.0


class Totals(msgspec.Struct, kw_only=True):
    """Figures of a whole run."""

    asked: int = 0
    taken: int = 0
    completed: int = 0
    #: taken and never paid
    lost: int = 0
    #: paid by two nodes
    paid_twice: int = 0
    #: attempts of a node that were begun again: at least once is what is promised
    executed_again: int = 0
    executions: int = 0
    examples_lost: list[str] = []


P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Account, P], R]) -> Callable[Concatenate[Account, P], R]:
    """A method that no other thread's runs beside: the watch reads while the tower asks."""

    @functools.wraps(method)
    def run(account: Account, /, *arguments: P.args, **options: P.kwargs) -> R:
        with account.lock:
            return method(account, *arguments, **options)

    return run


class Account:
    """All payments, brought up to date by `read()`; from any thread."""

    def __init__(self, folder: Path) -> None:
        self.lock = threading.RLock()
        self._reader = JournalReader(folder)
        self.payments: dict[str, Payment] = {}
        self._open: set[str] = set()
        self._begun: Counter[tuple[str, int]] = Counter()
        self._failures: list[Entry] = []
        self._paid: list[tuple[float, float]] = []
        self._taken: list[float] = []
        self._last_taken: dict[str, float] = {}

    @_alone
    def read(self) -> None:
        """Take what the journals have by now."""
        for entry in self._reader.read():
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        payment = self.payments.get(entry.payment)
        if payment is None:
            payment = self.payments[entry.payment] = Payment(way_of(entry.payment))
        match entry.event:
            case "asked":
                payment.asked_at = entry.at
                if not payment.paid_at:
                    self._open.add(entry.payment)
            case "taken":
                payment.taken_at = payment.taken_at or entry.at
                self._taken.append(entry.at)
                self._last_taken[payment.way] = max(entry.at, self._last_taken.get(payment.way, 0.0))
            case "failed":
                self._failures.append(entry)
            case "begun":
                self._begun[entry.node, entry.attempt] += 1
                if entry.step == MAKE:
                    payment.root = entry.node
            case "paid":
                if entry.node not in payment.nodes:
                    payment.nodes = [*payment.nodes, entry.node]
                if not payment.paid_at:
                    payment.paid_at = entry.at
                    self._open.discard(entry.payment)
                    self._paid.append((entry.at, payment.asked_at))

    # --- the moment --------------------------------------------------------------------------------------------------

    @_alone
    def sample(self) -> dict[str, float]:
        """Figures of now: rates and latencies of the last seconds, what is open, the silence of each way in."""
        now = time.monotonic()
        since = now - WINDOW_SECONDS
        latencies = sorted(paid - asked for paid, asked in _tail(self._paid, since) if asked)
        open_payments = [self.payments[name] for name in self._open]
        taken = sum(at >= since for at in self._taken[-10_000:])
        failures = sum(each.at >= since for each in self._failures[-10_000:])
        sample = {
            "completed_per_second": len(latencies) / WINDOW_SECONDS,
            "taken_per_second": taken / WINDOW_SECONDS,
            "failures_per_second": failures / WINDOW_SECONDS,
            "failures_share": failures / max(1, taken + failures),
            "open_payments": len(open_payments),
            "oldest_open_seconds": max((now - each.asked_at for each in open_payments), default=0.0),
        }
        if latencies:
            sample["p50_seconds"], sample["p99_seconds"] = quantile(latencies, 0.5), quantile(latencies, 0.99)
        waiting = {payment.way for payment in open_payments if not payment.taken_at}
        for way in WAYS:
            is_silent = way in waiting and way in self._last_taken
            sample[f"silence_{way}_seconds"] = now - self._last_taken[way] if is_silent else 0.0
        return sample

    @_alone
    def open_before(self, moment: float) -> int:
        """Payments asked for before a moment that are not paid yet."""
        return sum(self.payments[name].asked_at < moment for name in self._open)

    @_alone
    def paid_after(self, moment: float) -> float:
        """Seconds from a moment until the last payment that was asked for before it was paid."""
        paid = [each.paid_at for each in self.payments.values() if each.asked_at < moment]
        return max(0.0, max(paid, default=moment) - moment)

    @_alone
    def roots(self) -> dict[str, str]:
        """Topmost nodes of all payments that are paid."""
        return {name: each.root for name, each in self.payments.items() if each.paid_at and each.root}

    # --- a span ------------------------------------------------------------------------------------------------------

    @_alone
    def ways(self, begin: float, end: float) -> dict[str, WayFigures]:
        """Figures of each way in, of what was asked for within a span."""
        figures = {}
        for way in WAYS:
            of_way = [each for each in self.payments.values() if each.way == way]
            payments = [each for each in of_way if begin <= each.asked_at < end]
            taken = sorted(each.taken_at for each in payments if each.taken_at)
            waits = sorted(each.taken_at - each.asked_at for each in payments if each.taken_at)
            # Silence ends when somebody is answered again, also where that is after the span; never, where nobody is.
            last = taken[-1] if taken and len(taken) == len(payments) else time.monotonic() if payments else begin
            moments = sorted([begin, *(each.taken_at for each in of_way if begin < each.taken_at <= last), last])
            silence = max(later - earlier for earlier, later in itertools.pairwise(moments))
            figures[way] = WayFigures(
                asked=len(payments),
                taken=len(taken),
                paid=sum(bool(each.paid_at) for each in payments),
                failures=sum(each.way == way and begin <= each.at < end for each in self._failures),
                longest_silence_seconds=silence,
                taken_p50_ms=quantile(waits, 0.5) * 1000,
                taken_p99_ms=quantile(waits, 0.99) * 1000,
            )
        return figures

    @_alone
    def failure_kinds(self, begin: float, end: float) -> dict[str, int]:
        """Errors that callers were told within a span, and how often."""
        kinds = Counter(each.error.partition(":")[0] for each in self._failures if begin <= each.at < end)
        return dict(kinds.most_common(10))

    @_alone
    def totals(self) -> Totals:
        """Figures of everything."""
        payments = self.payments
        lost = [name for name, each in payments.items() if each.taken_at and not each.paid_at]
        return Totals(
            asked=sum(bool(each.asked_at) for each in payments.values()),
            taken=sum(bool(each.taken_at) for each in payments.values()),
            completed=sum(bool(each.asked_at and each.paid_at) for each in payments.values()),
            lost=len(lost),
            paid_twice=sum(len(each.nodes) > 1 for each in payments.values()),
            executed_again=sum(count - 1 for count in self._begun.values()),
            executions=self._begun.total(),
            examples_lost=lost[:10],
        )


def quantile(ordered: list[float], share: float) -> float:
    """The value below which a share of the ordered values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _tail(paid: list[tuple[float, float]], since: float) -> list[tuple[float, float]]:
    # Journals of several processes: nearly in order. What is older than the window by far is never looked at again.
    return [each for each in paid[-10_000:] if each[0] >= since]
