"""Backbeat in memory for tests without an event loop: each call runs what it has to, and nothing runs in between."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from backbeat.activities.pending import in_a_loop
from backbeat.client.blocking.client import PlainClient
from backbeat.client.blocking.loop import Loop
from backbeat.errors import BackbeatError
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.signals import Headers
from backbeat.testing.environment import CLIENT_DEFAULT, Backbeat
from backbeat.testing.faults import Faults
from backbeat.testing.queued import Queued
from backbeat.testing.topics import DeadLetter
from backbeat.worker.worker import Worker

T = TypeVar("T")


class LoopHere(Loop):
    """An event loop in the caller's thread, that runs while a call lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()

    def start(self) -> bool:
        """It begins with the first call."""
        return False

    def stop(self) -> None:
        """Others may still use it: `close` ends it."""

    def close(self) -> None:
        """End it, and what is still under way in it."""
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives. It runs in the caller's context. BackbeatError in an event loop."""
        if in_a_loop():
            coroutine.close()
            raise BackbeatError("this test runs in an event loop: use `Backbeat` (the fixture `backbeat`), and await")
        return self._runner.run(coroutine, context=contextvars.copy_context())


class _Client(PlainClient):
    """A plain client whose calls run in the test's own loop."""

    def __init__(self, loop: Loop, **options: Any) -> None:
        super().__init__(**options)
        self._loop = loop


class PlainBackbeat:
    """`Backbeat` for plain tests: `with PlainBackbeat(worker) as backbeat`. What is given means the same there."""

    def __init__(self, *workers: Worker, **options: Any) -> None:
        self._backbeat = Backbeat(*workers, **options)
        self._loop = LoopHere()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the handlers that still run; `with` does it."""
        self._loop.run(self._backbeat.stop())
        self._loop.close()

    def add(self, *workers: Worker) -> None:
        """Workers, from now on: their handlers run what waits for their client."""
        self._backbeat.add(*workers)

    def register(self, *names: str) -> None:
        """Client applications that there are, as `backbeat user add` adds them."""
        self._backbeat.register(*names)

    def client(self, name: str = CLIENT_DEFAULT, **options: Any) -> PlainClient:
        """A client, ready to be used, of the client application of this name, which is added if there is none."""
        self._backbeat.register(name)
        client = _Client(self._loop, client=name, transport=self._backbeat.transport(), **options)
        client.start()
        return client

    def publish(self, value: bytes | Mapping[str, Any], client: str = CLIENT_DEFAULT, headers: Headers = ()) -> None:
        """What a service publishes on `backbeat.signals.<client>`: JSON, as bytes or as a mapping, or Avro."""
        self._backbeat.publish(value, client, headers)

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """What is to go wrong."""
        return self._backbeat.faults

    @property
    def now(self) -> datetime:
        """What the clock says."""
        return self._backbeat.now

    @property
    def queued(self) -> list[Queued]:
        """What waits to be run, in the order in which it came."""
        return self._backbeat.queued

    def sent(self, name: str | None = None) -> list[Queued]:
        """The activities that were ever sent to workers, all or those of one name; each attempt is one."""
        return self._backbeat.sent(name)

    def notified(self, name: str | None = None) -> list[Queued]:
        """The notifications that workers were ever sent."""
        return self._backbeat.notified(name)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What the engine refused where nobody waited for an answer."""
        return self._backbeat.dead_letters

    @property
    def history(self) -> list[StatusChangesRecord]:
        """Every status change so far: what is on the topic `backbeat.history`."""
        return self._backbeat.history

    @property
    def next_due(self) -> datetime | None:
        """When the next timer is due; None: nothing waits for a time."""
        return self._backbeat.next_due

    # --- running ---------------------------------------------------------------------------------------------------

    def run(self, **options: Any) -> None:
        """Run until nothing is left to run now; with `skip_time`, until no timer is left either."""
        self._loop.run(self._backbeat.run(**options))

    def run_one(self, which: Queued | str | None = None) -> Queued:
        """Run one activity that waits, and give it: the first one, the first of a name, or this one."""
        return self._loop.run(self._backbeat.run_one(which))

    def advance(
        self,
        by: timedelta | None = None,
        *,
        to: datetime | None = None,
        run: bool = True,
        outage: bool = False,
        **units: float,
    ) -> None:
        """Move the clock, and run what comes on the way: by a timedelta, `to` a time, or by units (`hours=3`)."""
        self._loop.run(self._backbeat.advance(by, to=to, run=run, outage=outage, **units))
