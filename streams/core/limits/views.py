"""Views of the limits and their pools in one partition."""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.schemas.messages.limits import LimitView, PoolView
from backbeat.streams.core.limits.records import Pool
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import POOLS, SLOT_TICKETS

#: Pools of one limit in one answer, at most, and bytes of their keys: a key is any text out of a node.
_POOLS_MAX = 100
_KEYS_BYTES_MAX = 65_536


def limit_views(store: Store, user_id: bytes | None) -> Iterator[LimitView]:
    """The limits of a client, or all (null), by client and activity."""
    meta = store.meta
    for key, limit in sorted(meta.limits.items()):
        if user_id in (None, limit.client_id):
            pools, has_more = _pools(store, meta.pools.get(key))
            yield LimitView(limit, tuple(_pool_view(store, pool, meta.now) for pool in pools), more=has_more)


def _pools(store: Store, pool_id: bytes | None) -> tuple[list[Pool], bool]:
    """The first pools of a chain; true: there are more."""
    pools: list[Pool] = []
    size = 0
    while pool_id is not None and len(pools) < _POOLS_MAX:
        pool = store.get(POOLS, pool_id)
        assert pool is not None, "a chain of pools with a hole"
        size += len(pool.key)
        if pools and size > _KEYS_BYTES_MAX:
            break
        pools.append(pool)
        pool_id = pool.next
    return pools, pool_id is not None


def _pool_view(store: Store, pool: Pool, now: int) -> PoolView:
    oldest = [store.get(SLOT_TICKETS, (pool.id, band.oldest)) for band in pool.bands if band.oldest is not None]
    return PoolView(
        key=pool.key,
        out=pool.in_use,
        waiting=tuple(band.waiting for band in pool.bands),
        oldest_asked_at=min((ticket.asked_at for ticket in oldest if ticket is not None), default=None),
        next_start_at=pool.timer_at if pool.timer_at is not None and pool.timer_at > now else None,
    )
