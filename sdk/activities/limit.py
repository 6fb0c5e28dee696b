"""The limit of an activity: how many nodes of it may be out at once, and how often one may start, over all workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from backbeat.client.limits.rates import read_rate
from backbeat.payload.values import seconds, to_count, to_text
from backbeat.schemas.messages.limits import LimitValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Bounds of an activity, as `Client.limits.set` has them. What is not given is no bound.

    >>> Limit(concurrency=20).values().concurrency
    20
    """

    #: Number of nodes of it that are out at once, at most.
    concurrency: int | None = None
    #: Number of starts in a time, at most: `100/min`.
    rate: str | None = None
    #: Number of starts at once after a quiet time.
    burst: int = 1
    #: Path into the node (`subject`, `metadata.bank`, `client_data.params[0]`): each value there has bounds of its own.
    key: str = ""
    #: Wait after which a node counts as one priority higher, in seconds.
    aging: float | timedelta = 300.0

    def __post_init__(self) -> None:
        self.values()

    def values(self) -> LimitValues:
        """The bounds as the engine has them. InvalidParameters."""
        count, period = (None, 1.0) if self.rate is None else read_rate(self.rate)
        return LimitValues(
            concurrency=None if self.concurrency is None else to_count("concurrency", self.concurrency, 1),
            rate_count=count,
            rate_period_seconds=period,
            rate_burst=to_count("burst", self.burst, 1),
            key=to_text("key", self.key, may_be_empty=True),
            aging_seconds=seconds(self.aging, "aging"),
        )
