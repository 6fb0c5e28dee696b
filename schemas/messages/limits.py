"""Limits of activity types: how many nodes may be out at once, how often one may start, and who waits."""

from __future__ import annotations

import msgspec

from backbeat.schemas.marks import Id, Long, Time


class LimitValues(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """Bounds of an activity type: nodes that may be out at once, and starts in a time. Null: no bound."""

    concurrency: int | None = None  #: nodes that may be started and not yet answered at once
    rate_count: int | None = None  #: starts in every rate_period_seconds
    rate_period_seconds: float = 1.0  #: the time in which rate_count nodes may start
    rate_burst: int = 1  #: starts that may come at once after a quiet time
    #: a path into the node (subject, metadata.bank, client_data.params[0]): each value there has slots of its own;
    #: empty: all share the same
    key: str = ""
    aging_seconds: float = 300.0  #: a node that waits this long counts as one priority higher, and so on


class Limit(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """A limit as every partition keeps it: of one activity type of one client."""

    client_id: Id  #: the client application that runs the nodes
    activity: str  #: the nodes' name
    values: LimitValues = LimitValues()  #: its bounds
    paused: bool = False  #: what runs goes on, what would start waits
    revision: Long = 0  #: raised at every change, by the partition that orders them

    @property
    def binds(self) -> bool:
        """True where it may ever hold anybody up."""
        values = self.values
        return self.paused or values.concurrency is not None or values.rate_count is not None


def limit_key(client_id: bytes, activity: str) -> bytes:
    """Key of a limit."""
    return client_id + activity.encode()


class PoolView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The slots of one key of a limit, as the outside sees them."""

    key: str  #: JSON text of the key's value; empty: the limit has no key
    out: int  #: slots given and not taken back
    waiting: tuple[int, ...]  #: nodes that wait, by priority, from 1
    oldest_asked_at: Time | None  #: since when the oldest of them waits, in milliseconds since the epoch
    next_start_at: Time | None  #: when the rate allows the next start; null: it holds nobody up


class LimitView(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A limit, and what goes on at its pools in one partition."""

    limit: Limit  #: the limit
    pools: tuple[PoolView, ...] = ()  #: its pools here, at most 100
    more: bool = False  #: whether there are more pools than these


class Limits(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="limits"):
    """Limits, each as one partition knows it."""

    limits: tuple[LimitView, ...]  #: by client and activity
