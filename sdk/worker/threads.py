"""Threads for handlers that are plain functions.

Not a ThreadPoolExecutor: that makes two futures per call and wakes the loop for each. Here results come to the loop in
batches, and a handler that never ends does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from backbeat.errors import BackbeatError

T = TypeVar("T")

Work = Callable[[], Callable[[], None]]


class Threads:
    """Pool of threads, at most `count_max`, each started when it is first needed."""

    def __init__(self, count_max: int, loop: asyncio.AbstractEventLoop) -> None:
        self._count_max = count_max
        self._loop = loop
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._ended: list[Callable[[], None]] = []
        self._woken = False
        self._busy = 0
        self._count = 0

    def run(self, work: Work) -> None:
        """Run it in a thread; what it returns is called in the loop. It must not raise.

        BackbeatError where no thread can be started.
        """
        if self._busy >= self._count and self._count < self._count_max:
            number = self._count + 1
            try:
                threading.Thread(target=self._serve, name=f"backbeat-handler-{number}", daemon=True).start()
            except RuntimeError as error:
                raise BackbeatError(
                    f"no thread can be started beside the {self._count} that run handlers: {error}. What to do: fewer "
                    "at once (Worker(concurrency=…)), or a higher limit of threads or memory for the process"
                ) from error
            self._count = number
        self._busy += 1
        self._work.put(work)

    async def call(self, function: Callable[[], T]) -> T:
        """The value of a function, which runs in a thread, in the caller's context (`contextvars`)."""
        future: asyncio.Future[T] = self._loop.create_future()
        context = contextvars.copy_context()

        def work() -> Callable[[], None]:
            try:
                value = context.run(function)
            except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
                failure = error if not isinstance(error, StopIteration) else RuntimeError(f"it raised {error!r}")
                return lambda: None if future.done() else future.set_exception(failure)
            return lambda: None if future.done() else future.set_result(value)

        self.run(work)
        return await future

    def stop(self) -> None:
        """Let each thread end after its present work."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            end = work()
            with self._lock:
                self._ended.append(end)
                wake, self._woken = not self._woken, True
            if wake:
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:
                    # The loop is closed: the worker did not wait for this handler.
                    return

    def _drain(self) -> None:
        with self._lock:
            ended, self._ended, self._woken = self._ended, [], False
        self._busy -= len(ended)
        for end in ended:
            end()
