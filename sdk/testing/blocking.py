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


class CallerLoop(Loop):
    """An event loop in the caller's thread, that runs while a call lasts."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()

    def start(self) -> bool:
        """Nothing: it begins with the first call."""
        return False

    def stop(self) -> None:
        """Nothing, since others may still use it: `close` ends it."""

    def close(self) -> None:
        """End it, and what is still under way in it."""
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Result of a coroutine, which runs in the caller's context. BackbeatError in an event loop."""
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
    """`Backbeat` for plain tests: `with PlainBackbeat(worker) as backbeat`. Its parameters are those of `Backbeat`."""

    def __init__(self, *workers: Worker, **options: Any) -> None:
        self._backbeat = Backbeat(*workers, **options)
        self._loop = CallerLoop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the handlers that still run; `with` does it."""
        self._loop.run(self._backbeat.stop())
        self._loop.close()

    def add(self, *workers: Worker) -> None:
        """Add workers: from now on their handlers run the activities of their client."""
        self._backbeat.add(*workers)

    def register(self, *names: str) -> None:
        """Register client applications, as `backbeat user add` does."""
        self._backbeat.register(*names)

    def client(self, name: str = CLIENT_DEFAULT, **options: Any) -> PlainClient:
        """A client, ready to be used, of the client application of this name, which is added if there is none."""
        self._backbeat.register(name)
        client = _Client(self._loop, client=name, transport=self._backbeat.transport(), **options)
        client.start()
        return client

    def publish(self, value: bytes | Mapping[str, Any], client: str = CLIENT_DEFAULT, headers: Headers = ()) -> None:
        """Publish on `backbeat.signals.<client>` as a service does: JSON, as bytes or as a mapping, or Avro."""
        self._backbeat.publish(value, client, headers)

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """Faults to inject."""
        return self._backbeat.faults

    @property
    def now(self) -> datetime:
        """The clock's time."""
        return self._backbeat.now

    @property
    def queued(self) -> list[Queued]:
        """The activities that wait to be run, in the order in which they came."""
        return self._backbeat.queued

    def sent(self, name: str | None = None) -> list[Queued]:
        """The activities that were ever sent to workers, all or those of one name; each attempt is one."""
        return self._backbeat.sent(name)

    def notified(self, name: str | None = None) -> list[Queued]:
        """The notifications that workers were ever sent."""
        return self._backbeat.notified(name)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Records that the engine refused where no answer was awaited."""
        return self._backbeat.dead_letters

    @property
    def history(self) -> list[StatusChangesRecord]:
        """Every status change so far: what is on the topic `backbeat.history`."""
        return self._backbeat.history

    @property
    def next_due(self) -> datetime | None:
        """Due time of the next timer; None: no timer is set."""
        return self._backbeat.next_due

    # --- running ---------------------------------------------------------------------------------------------------

    def run(self, **options: Any) -> None:
        """Run until nothing is left to run now; with `skip_time`, until no timer is left either."""
        self._loop.run(self._backbeat.run(**options))

    def run_one(self, activity: Queued | str | None = None) -> Queued:
        """Run one activity that waits, and return it: the first one, the first of a name, or this one."""
        return self._loop.run(self._backbeat.run_one(activity))

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
