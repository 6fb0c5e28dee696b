"""Limits of activity types: how many nodes may be out at once, how often one may start, and who waits."""

from __future__ import annotations

import msgspec


class LimitValues(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """How many nodes of an activity type may be out at once, and how often one may start. Null: no bound."""

    concurrency: int | None = None  #: started and not yet answered
    rate_count: int | None = None  #: starts in every `rate_period_seconds`
    rate_period_seconds: float = 1.0
    rate_burst: int = 1  #: starts that may come at once after a quiet time
    #: an expression over the node (`slots`): each value of it has slots of its own; empty: all share the same
    key: str = ""
    aging_seconds: float = 300.0  #: a node that waits this long counts as one priority higher, and so on


class Limit(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """A limit as every partition keeps it: of one activity type of one client."""

    client_id: bytes  #: who runs the nodes
    activity: str  #: their name
    values: LimitValues = LimitValues()
    paused: bool = False  #: what runs goes on, what would start waits
    revision: int = 0  #: raised by the partition that orders changes of limits, at every one of them

    @property
    def binds(self) -> bool:
        """Whether it may ever hold anybody up."""
        values = self.values
        return self.paused or values.concurrency is not None or values.rate_count is not None


def limit_key(client_id: bytes, activity: str) -> bytes:
    """What a limit is found by."""
    return client_id + activity.encode()


class PoolView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The slots of one key of a limit, as the outside sees them."""

    key: str  #: JSON text; empty: the limit has none
    out: int
    waiting: tuple[int, ...]  #: nodes by priority, from 1
    oldest_asked_at: int | None  #: since when the oldest of them waits
    next_start_at: int | None  #: when the rate allows the next start; null: the rate holds nobody up


class LimitView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A limit, and what goes on at its pools in one partition."""

    limit: Limit
    pools: tuple[PoolView, ...] = ()
    more: bool = False  #: there are more pools than these


class Limits(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="limits"):
    """Limits, each as one partition knows it."""

    limits: tuple[LimitView, ...]
