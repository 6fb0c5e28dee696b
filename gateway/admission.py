"""Admission of calls: bounds for each client, so that one that floods delays itself most, and the others little.

A number of calls of each client is at work, of one that is alone more than of one beside others; more wait for their
turn, the oldest first, their bodies unread. A call that meets too many, or has waited too long, is refused with 429:
nothing of it was done. One whose caller has hung up meanwhile is dropped: nobody would read its answer, and a repeat
comes as a call of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from backbeat.gateway.http import errors

#: Time for which a client counts as beside another that has called.
_BESIDE_SECONDS = 1.0

#: Name under which calls are counted that need no client.
NOBODY = ""
#: Beginning of the names of people: no client's name has a space. A client beside people counts as alone.
PERSON = "person "


@dataclass(frozen=True, kw_only=True)
class ClientBounds:
    """Bounds of one client's calls at one gateway."""

    #: Calls at work at once of a client that is alone.
    calls_max: int = 128
    #: The same beside calls of other clients.
    calls_beside_max: int = 32
    #: Calls that wait for their turn.
    waiting_max: int = 1_000
    #: Bytes of the bodies of calls at work; a call alone may be larger.
    bytes_max: int = 64 * 1024 * 1024
    #: Longest wait for a turn.
    wait_seconds_max: float = 10.0


class _Waiting:
    """A call that waits for its turn."""

    __slots__ = ("bytes", "is_gone", "turn")

    def __init__(self, size: int, is_gone: Callable[[], bool], turn: asyncio.Future[None]) -> None:
        self.bytes = size
        self.is_gone = is_gone
        self.turn = turn


class ClientCalls:
    """Calls of one client."""

    def __init__(self, name: str, bounds: ClientBounds, is_alone: Callable[[], bool] = lambda: True) -> None:
        self.name = name
        self._bounds = bounds
        self._is_alone = is_alone
        self.at_work = 0
        self._bytes = 0  #: of the calls at work
        self._waiting: deque[_Waiting] = deque()
        #: Number of calls refused so far.
        self.refused = 0

    @property
    def waiting(self) -> int:
        """Number of calls that wait."""
        return len(self._waiting)

    def turn(self, size: int, is_gone: Callable[[], bool]) -> Turn:
        """The turn of a call with a body of `size` bytes; `is_gone`: true where its caller has hung up."""
        return Turn(self, size, is_gone)

    async def enter(self, size: int, is_gone: Callable[[], bool]) -> None:
        """Begin a call, once it is its turn; `leave` ends it. 429, 499."""
        if self._waiting or not self._has_place(size):
            await self._wait(size, is_gone)
        else:
            self._begin(size)

    def leave(self, size: int) -> None:
        """End a call; those that wait get their turn."""
        self.at_work -= 1
        self._bytes -= size
        self._drop_gone()
        while self._waiting and self._has_place(self._waiting[0].bytes):
            first = self._waiting.popleft()
            self._begin(first.bytes)
            first.turn.set_result(None)
            self._drop_gone()

    def _drop_gone(self) -> None:
        """Drop the oldest of those that wait, as far as they are over or their callers have hung up."""
        while self._waiting and (self._waiting[0].turn.done() or self._waiting[0].is_gone()):
            first = self._waiting.popleft()
            if not first.turn.done():
                first.turn.set_exception(errors.hung_up())

    def _has_place(self, size: int) -> bool:
        bounds = self._bounds
        if self.at_work >= bounds.calls_beside_max and (self.at_work >= bounds.calls_max or not self._is_alone()):
            return False
        return self.at_work == 0 or self._bytes + size <= bounds.bytes_max

    def _begin(self, size: int) -> None:
        self.at_work += 1
        self._bytes += size

    async def _wait(self, size: int, is_gone: Callable[[], bool]) -> None:
        bounds = self._bounds
        self._drop_gone()
        if not self._waiting and self._has_place(size):
            self._begin(size)
            return
        if len(self._waiting) >= bounds.waiting_max:
            raise self._refuse(f"{len(self._waiting)} wait, and more may not")
        waiting = _Waiting(size, is_gone, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(bounds.wait_seconds_max):
                await waiting.turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiting.turn.cancelled():
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                if isinstance(error, TimeoutError):
                    raise self._refuse(f"this one has waited for {bounds.wait_seconds_max:g} s") from None
                raise
            # Its turn has come in the same round.
            waiting.turn.result()
            if isinstance(error, asyncio.CancelledError):
                self.leave(size)
                raise

    def _refuse(self, reason: str) -> errors.Refusal:
        self.refused += 1
        caller = "callers without a client"
        if self.name:
            caller = self.name if self.name.startswith(PERSON) else f"client {self.name!r}"
        return errors.too_many(
            f"{caller} has {self.at_work} calls at work at this gateway, and {reason}; nothing was done. What to do: "
            "call again after Retry-After, with fewer calls at once; operators raise the bound by --client-calls-max"
        )


class Turn:
    """Turn of one call, as a context: 429 and 499 where it does not come."""

    __slots__ = ("_calls", "_is_gone", "_size")

    def __init__(self, calls: ClientCalls, size: int, is_gone: Callable[[], bool]) -> None:
        self._calls = calls
        self._size = size
        self._is_gone = is_gone

    async def __aenter__(self) -> None:
        await self._calls.enter(self._size, self._is_gone)

    async def __aexit__(self, *_: object) -> None:
        self._calls.leave(self._size)


class Admission:
    """Calls of all clients at one gateway. Used from one event loop."""

    def __init__(self, bounds: ClientBounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        # Those that only wait for something to happen cost nothing meanwhile.
        self._long_bounds = ClientBounds(
            calls_max=bounds.waiting_max,
            calls_beside_max=bounds.waiting_max,
            waiting_max=bounds.waiting_max,
            bytes_max=bounds.bytes_max,
            wait_seconds_max=bounds.wait_seconds_max,
        )
        #: Calls by the client's name, apart for those that stay for long; registered clients are few.
        self.clients: dict[tuple[str, bool], ClientCalls] = {}
        #: client that has called last, and the time of the newest call of another one before it
        self._newest = NOBODY
        self._beside_at = clock() - _BESIDE_SECONDS

    def of(self, name: str, *, stays: bool) -> ClientCalls:
        """Calls of a client; `stays`: those that wait for a node to end, which are counted apart."""
        if name not in (self._newest, NOBODY) and not name.startswith(PERSON):
            if self._newest != NOBODY:
                self._beside_at = self._clock()
            self._newest = name
        calls = self.clients.get((name, stays))
        if calls is None:
            bounds = self._long_bounds if stays else self._bounds
            calls = self.clients[name, stays] = ClientCalls(name, bounds, self._is_alone)
        return calls

    def _is_alone(self) -> bool:
        """True where all calls of the last second are of one client."""
        return self._clock() - self._beside_at >= _BESIDE_SECONDS
