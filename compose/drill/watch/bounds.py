"""Bounds: how far a figure may go while a fault lasts, and what is beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

Sample = dict[str, float]
#: Figure of each sample: its time, in monotonic seconds.
TIME = "at"


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bound of a figure: `at_most` or `at_least`."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    #: as many times the median of before the fault are kept, too, where that is more than `at_most`; 0: not
    times_before: float = 0.0
    #: beyond it for so long without a break, it is not kept; 0: at once
    for_seconds: float = 0.0

    def is_kept(self, sample: Sample) -> bool:
        """True where the figure is within the bound, or is not known."""
        value = sample.get(self.figure)
        if value is None:
            return True
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        parts = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        parts += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        times = f" or {self.times_before:g} times that of before" if self.times_before else ""
        length = f", or not for longer than {self.for_seconds:g} s" if self.for_seconds else ""
        return f"{self.figure} {' and '.join(parts)}{times}{length}"


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A figure beyond its bound."""

    bound: Bound
    value: float
    #: monotonic seconds
    at: float

    def __str__(self) -> str:
        return f"{self.bound.figure} was {self.value:.4g}: {self.bound}"


class Guard:
    """Bounds in force, and since when each is not kept."""

    def __init__(self, bounds: Iterable[Bound]) -> None:
        self._bounds = list(bounds)
        self._since: dict[Bound, float] = {}

    def look(self, sample: Sample) -> Anomaly | None:
        """The first bound that this sample, after those before it, is beyond for long enough."""
        first = None
        for bound in self._bounds:
            if bound.is_kept(sample):
                self._since.pop(bound, None)
                continue
            since = self._since.setdefault(bound, sample[TIME])
            if first is None and sample[TIME] - since >= bound.for_seconds:
                first = Anomaly(bound=bound, value=sample[bound.figure], at=sample[TIME])
        return first


class BoundOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a bound: what the worst was, and whether it was kept."""

    bound: str
    #: None: it was never seen
    worst: float | None
    is_kept: bool


def agreed(bounds: Iterable[Bound], before: Sequence[Sample]) -> list[Bound]:
    """The bounds with the multiples of what was before the fault as values."""
    return [_agreed(bound, before) for bound in bounds]


def _agreed(bound: Bound, before: Sequence[Sample]) -> Bound:
    values = [sample[bound.figure] for sample in before if bound.figure in sample]
    if not bound.times_before or not values:
        return bound
    most = max(bound.at_most or 0.0, bound.times_before * median(values))
    return msgspec.structs.replace(bound, at_most=most, times_before=0.0)


def known_before(bounds: Sequence[Bound], samples: Iterable[Sample]) -> list[Bound]:
    """Bounds that were not kept before the fault: what goes beyond them says nothing about it.

    One that may be passed for a while was not kept where no sample of before keeps it.
    """
    seen = list(samples)
    return [
        bound
        for bound in bounds
        if seen and (all if bound.for_seconds else any)(not bound.is_kept(sample) for sample in seen)
    ]


def outcome_of(bound: Bound, samples: Iterable[Sample]) -> BoundOutcome:
    """Outcome of a bound over the samples of a fault."""
    seen = list(samples)
    guard = Guard([bound])
    anomalies = [guard.look(sample) for sample in seen]
    values = [sample[bound.figure] for sample in seen if bound.figure in sample]
    worst = (max if bound.at_most is not None else min)(values) if values else None
    return BoundOutcome(bound=str(bound), worst=worst, is_kept=not any(anomalies))
