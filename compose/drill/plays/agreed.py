"""Bounds that a play of the playbook agrees to: completion, errors, latency, lag and memory while its fault lasts."""

from __future__ import annotations

from backbeat.compose.drill.watch.bounds import Bound

#: Latencies of a slow machine are long before the fault already.
_TIMES_BEFORE = 20.0
_MEMORY_MEBIBYTES, _MEMORY_TIMES = 800.0, 5.0
#: Less than one payment of the watch's window.
_NONE_PER_SECOND = 0.1


def bounds_of(
    *,
    standstill_seconds: float,
    failures_share: float,
    failing_seconds: float,
    p50_seconds: float,
    p99_seconds: float,
    lag_records: float = 20_000,
) -> tuple[Bound, ...]:
    """Bounds, beyond which the fault is ended.

    `standstill_seconds`: longest time in which no payment is completed. `failures_share`: of calls that fail, at most,
    or for no longer than `failing_seconds`. `p50_seconds`, `p99_seconds`: of a payment from being asked for to its end,
    or twenty times those of before. `lag_records`: that the engines are behind.
    """
    return (
        Bound(figure="completed_per_second", at_least=_NONE_PER_SECOND, for_seconds=standstill_seconds),
        Bound(figure="failures_share", at_most=failures_share, for_seconds=failing_seconds),
        Bound(figure="p50_seconds", at_most=p50_seconds, times_before=_TIMES_BEFORE),
        Bound(figure="p99_seconds", at_most=p99_seconds, times_before=_TIMES_BEFORE),
        Bound(figure="lag_records", at_most=lag_records),
        Bound(figure="engine_memory_mebibytes", at_most=_MEMORY_MEBIBYTES, times_before=_MEMORY_TIMES),
        Bound(figure="gateway_memory_mebibytes", at_most=_MEMORY_MEBIBYTES, times_before=_MEMORY_TIMES),
    )
