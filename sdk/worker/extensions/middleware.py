"""Middleware of a worker: what is around each handler's call, and sees arguments, result and error.

    async def timed(call: Call, call_next: CallNext) -> Any:
        begun = time.perf_counter()
        try:
            return await call_next(call)
        finally:
            print(call.activity.name, time.perf_counter() - begun)

The first one of a worker is the outermost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from backbeat.activities.context import Activity


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a handler: its activity, and its arguments as they are for the handler.

    >>> from backbeat import CallNext, Worker, activity
    >>> from backbeat.testing import PlainBackbeat
    >>> @activity
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> async def doubled(call: Call, call_next: CallNext) -> int:
    ...     return 2 * await call_next(call)
    >>> with PlainBackbeat(Worker(activities=[add], middleware=[doubled])) as backbeat:
    ...     print(backbeat.client().signal("Sums", 1, add, 3, 4).result())
    14
    """

    activity: Activity
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


CallNext: TypeAlias = Callable[[Call], Awaitable[Any]]
#: Gets the call and what comes next; gives the result. Whatever it raises is the attempt's error.
Middleware: TypeAlias = Callable[[Call, CallNext], Awaitable[Any]]


def chained(middleware: Sequence[Middleware], handle: CallNext) -> CallNext:
    """The call of a handler with its middleware around it, the first one outermost."""
    call_next = handle
    for outer in reversed(middleware):
        call_next = partial(_around, outer, call_next)
    return call_next


async def _around(outer: Middleware, call_next: CallNext, call: Call) -> Any:
    return await outer(call, call_next)


async def to_its_end(activity: Activity, call: Awaitable[Any]) -> Any:
    """The value of a function in a thread. A cancel of the activity waits for it: its slot is taken that long."""
    thread = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        if activity.cancelled:
            await asyncio.wait([thread])
        raise
