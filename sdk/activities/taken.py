"""Results of a group as its taker has them: a list that is read page by page while the handler goes through it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, SupportsIndex, TypeVar, overload

from backbeat.activities.pending import in_a_loop
from backbeat.errors import BackbeatError

T = TypeVar("T")
V = TypeVar("V")
_IN_A_LOOP = (
    "this is an event loop, which reading the next page would stop. What to do: go through the results by `async for`; "
    "or annotate the parameter with list, to get all of them at once"
)
#: Values of a page, never none, and the mark that the next one begins behind.
Page = tuple[list[Any], bytes]


@dataclass(frozen=True, slots=True)
class FailedMember:
    """A member of a group that has failed for good, within the group's `failures_allowed`.

    >>> from backbeat import FailedMember, Results
    >>> Results.of(["a", None], failed=[FailedMember(1, "no such file")]).failed
    (FailedMember(index=1, error='no such file'),)
    """

    index: int  #: place of its value among those that were spread; its result in the list is None
    error: str  #: message of its error


class Pages(NamedTuple):
    """Pages behind the first one."""

    first_mark: bytes | None  #: None: the first one is empty
    ask: Callable[[bytes | None], Future[Any]]  #: the engine's answer with the page behind a mark
    unpack: Callable[[Any], Page]  #: the page in an answer
    waits: bool  #: unpacking it may wait for a store


if TYPE_CHECKING:
    # What takes a `list` may be given the results, too: the handler that annotates with `list` gets one.
    _Base = list
else:

    class _Base(Sequence, Generic[T]):
        __slots__ = ()


class Results(_Base[T]):
    """Results of a group, in the order of its values, for a handler that annotates its parameter with it.

    `len()` and `failed` are known from the start. What did not fit into the activity is read from the engine while the
    handler goes through it, by `for` in a plain handler and by `async for` in an async one, and is not kept: each way
    through reads it again. A handler that annotates with `list[T]` gets all of them at once.

    >>> from backbeat import FailedMember, Results
    >>> pages = Results.of(["a", None, "c"], failed=[FailedMember(1, "no such file")])
    >>> len(pages), list(pages), pages.failed[0].error
    (3, ['a', None, 'c'], 'no such file')
    """

    __slots__ = ("_convert", "_count", "_first", "_is_for_async", "_pages", "failed")

    def __init__(
        self,
        first: list[Any],
        count: int,
        failed: Sequence[FailedMember] = (),
        pages: Pages | None = None,
        *,
        is_for_async: bool = False,
    ) -> None:
        #: Members that have failed, in their order: see `spread(…, failures_allowed=…)`.
        self.failed: tuple[FailedMember, ...] = tuple(failed)
        self._first = first
        self._count = count
        self._pages = pages
        self._is_for_async = is_for_async
        self._convert: Callable[[Any], Any] | None = None

    @staticmethod
    def of(values: Sequence[V], failed: Sequence[FailedMember] = ()) -> Results[V]:
        """Results that are there already: to call a handler in a test."""
        return Results(list(values), len(values), failed)

    def converted(self, convert: Callable[[Any], Any] | None) -> Results[Any]:
        """The same with values made into what the handler's annotation says, each as it is read."""
        results: Results[Any] = Results(
            self._first, self._count, self.failed, self._pages, is_for_async=self._is_for_async
        )
        results._convert = convert
        results._first = results._values(self._first)
        return results

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0

    def __iter__(self) -> Iterator[T]:
        if self._is_for_async and in_a_loop():
            raise BackbeatError(_IN_A_LOOP)
        return self._plain()

    def __aiter__(self) -> AsyncIterator[T]:
        return self._async()

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, index: slice[Any, Any, Any], /) -> list[T]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if self._pages is None:
            return self._first[index]
        if isinstance(index, int) and -self._count <= index < self._count:
            place = index % self._count
            return self._first[place] if place < len(self._first) else next(islice(iter(self), place, None))
        return list(self)[index]

    # A sequence's own would read from the beginning again for each value.

    def __reversed__(self) -> Iterator[T]:
        return reversed(list(iter(self)))

    def index(self, value: T, start: SupportsIndex = 0, stop: SupportsIndex = sys.maxsize, /) -> int:
        """The place of the first value that is equal."""
        return list(iter(self)).index(value, start, stop)

    def __repr__(self) -> str:
        return f"<{self._count} results, {len(self.failed)} of them failed>"

    def _plain(self) -> Iterator[T]:
        yield from self._first
        pages, left = self._pages, self._count - len(self._first)
        if pages is None:
            return
        mark = pages.first_mark
        while left > 0:
            answer = pages.ask(mark)
            if not answer.done() and in_a_loop():
                raise BackbeatError(_IN_A_LOOP)
            values, mark = pages.unpack(answer.result())
            left -= len(values)
            yield from self._values(values)

    async def _async(self) -> AsyncIterator[T]:
        for value in self._first:
            yield value
        pages, left = self._pages, self._count - len(self._first)
        if pages is None:
            return
        mark = pages.first_mark
        while left > 0:
            answer = await asyncio.wrap_future(pages.ask(mark))
            values, mark = await asyncio.to_thread(pages.unpack, answer) if pages.waits else pages.unpack(answer)
            left -= len(values)
            for value in self._values(values):
                yield value

    def _values(self, values: list[Any]) -> list[Any]:
        convert = self._convert
        return values if convert is None else [convert(value) for value in values]
