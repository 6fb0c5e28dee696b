"""Coroutines that have nothing to wait for: in memory, every request is answered at once."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import TypeVar

from backbeat.errors import BackbeatError

T = TypeVar("T")


def run_sync(awaitable: Awaitable[T]) -> T:
    """Result of a coroutine, without an event loop. BackbeatError where it has to wait for something after all."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise BackbeatError("this has to wait for something, and cannot be done at once: await it, `async with Client(…)`")
