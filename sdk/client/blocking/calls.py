"""Blocking calls made from the async ones: the same name, arguments and documentation, and the answer awaited."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from backbeat.client.blocking.loop import Loop

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """An async object, and the event loop that its calls run in."""

    def __init__(self, original: Any, loop: Loop) -> None:
        self._original = original
        self._loop = loop


def direct(call: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A call that waits for nothing in the original either."""
    method: Callable[Concatenate[Any, P], T] = made_from(call, lambda _, value: value)
    return method


def blocking(call: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """A call that waits for its answer."""
    method: Callable[Concatenate[Any, P], T] = made_from(call, lambda loop, answer: loop.run(answer))
    return method


def blocking_rows(call: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """A call that gives an iterator, which waits for each row."""
    returns = inspect.signature(call).return_annotation.replace("AsyncIterator", "Iterator")
    method: Callable[Concatenate[Any, P], Iterator[T]] = made_from(call, lambda loop, rows: loop.iterate(rows), returns)
    return method


def made_from(call: Callable[..., Any], give: Callable[[Loop, Any], Any], returns: str | None = None) -> Any:
    """The method of a `Blocking` that calls `call` of its original and has `give` wait for the answer, in the loop.

    `returns` is its return annotation, where it is not that of `call`.
    """

    @functools.wraps(call, assigned=("__doc__", "__name__"))
    def method(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        return give(self._loop, call(self._original, *args, **kwargs))

    signature = inspect.signature(call)
    made: Any = method
    made.__signature__ = signature if returns is None else signature.replace(return_annotation=returns)
    made.__qualname__ = f"Plain{call.__qualname__}"
    # `wraps` has set it; nobody is to find a coroutine function there.
    del made.__wrapped__
    return made
