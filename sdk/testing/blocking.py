"""Backbeat in memory for tests without an event loop: each call runs what it has to, and nothing runs in between."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Self, TypeVar

from backbeat.activities.pending import in_a_loop
from backbeat.client.blocking.calls import Blocking, blocking, direct
from backbeat.client.blocking.client import PlainClient
from backbeat.client.blocking.loop import Loop
from backbeat.errors import BackbeatError
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.testing.environment import CLIENT_DEFAULT, Backbeat
from backbeat.testing.faults import Faults
from backbeat.testing.queued import Queued
from backbeat.testing.topics import DeadLetter
from backbeat.worker.worker import Worker

T = TypeVar("T")


class CallerLoop(Loop):
    """An event loop in the caller's thread, that runs while a call lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        #: True: nothing runs in it any more.
        self.is_closed = False

    def start(self) -> bool:
        """Nothing: it begins with the first call."""
        return False

    def stop(self) -> None:
        """Nothing, since others may still use it: `close` ends it."""

    def close(self) -> None:
        """End it, and what is still under way in it."""
        self.is_closed = True
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Result of a coroutine, which runs in the caller's context. BackbeatError in an event loop."""
        if in_a_loop():
            coroutine.close()
            raise BackbeatError("this test runs in an event loop: use `Backbeat` (the fixture `backbeat`), and await")
        if self.is_closed:
            coroutine.close()
            raise BackbeatError("this `PlainBackbeat` is stopped, and its clients with it: ask inside of its `with`")
        return self._runner.run(coroutine, context=contextvars.copy_context())


class _Client(PlainClient):
    """A plain client whose calls run in the test's own loop."""

    def __init__(self, loop: Loop, **options: Any) -> None:
        super().__init__(**options)
        self._loop = loop


class PlainBackbeat(Blocking):
    """`Backbeat` for plain tests: `with PlainBackbeat(worker) as backbeat`. Its parameters are those of `Backbeat`."""

    _original: Backbeat
    _loop: CallerLoop

    def __init__(self, *workers: Worker, **options: Any) -> None:
        super().__init__(Backbeat(*workers, **options), CallerLoop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the handlers that still run; `with` does it. Nothing where that is done."""
        if self._loop.is_closed:
            return
        self._loop.run(self._original.stop())
        self._loop.close()

    add = direct(Backbeat.add)
    register = direct(Backbeat.register)
    publish = direct(Backbeat.publish)

    def client(self, name: str = CLIENT_DEFAULT, **options: Any) -> PlainClient:
        """A client, ready to be used, of the client application of this name, which is added if there is none."""
        self._original.register(name)
        client = _Client(self._loop, client=name, transport=self._original.transport(), **options)
        client.start()
        return client

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """Faults to inject."""
        return self._original.faults

    @property
    def now(self) -> datetime:
        """The clock's time."""
        return self._original.now

    @property
    def queued(self) -> list[Queued]:
        """The activities that wait to be run, in the order in which they came."""
        return self._original.queued

    sent = direct(Backbeat.sent)
    notified = direct(Backbeat.notified)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Records that the engine refused where no answer was awaited."""
        return self._original.dead_letters

    @property
    def history(self) -> list[StatusChangesRecord]:
        """Every status change so far: what is on the topic `backbeat.history`."""
        return self._original.history

    @property
    def next_due(self) -> datetime | None:
        """Due time of the next timer; None: no timer is set."""
        return self._original.next_due

    # --- running ---------------------------------------------------------------------------------------------------

    run = blocking(Backbeat.run)
    run_one = blocking(Backbeat.run_one)
    advance = blocking(Backbeat.advance)
