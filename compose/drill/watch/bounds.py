"""Bounds: how far a figure may go while a fault lasts, and what is beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

Sample = dict[str, float]


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bound of a figure: `at_most` or `at_least`."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def is_kept(self, sample: Sample) -> bool:
        """True where the figure is within the bound, or is not known."""
        value = sample.get(self.figure)
        if value is None:
            return True
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        parts = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        parts += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        return f"{self.figure} {' and '.join(parts)}"


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A figure beyond its bound."""

    bound: Bound
    value: float
    #: monotonic seconds
    at: float

    def __str__(self) -> str:
        return f"{self.bound.figure} was {self.value:.4g}: {self.bound}"


def beyond(bounds: Iterable[Bound], sample: Sample) -> list[Bound]:
    """Bounds that a sample does not keep."""
    return [bound for bound in bounds if not bound.is_kept(sample)]


def known_before(bounds: Sequence[Bound], samples: Iterable[Sample]) -> list[Bound]:
    """Bounds that were not kept before the fault: what goes beyond them says nothing about it."""
    seen = list(samples)
    return [bound for bound in bounds if any(not bound.is_kept(sample) for sample in seen)]
