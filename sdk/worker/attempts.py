"""Attempts in a worker: begun in their turn, run, answered, or given back when it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from backbeat.activities.context import Activity
from backbeat.delivery.base import ActivityConsumer
from backbeat.delivery.kafka import logger
from backbeat.delivery.records import Delivery
from backbeat.delivery.result_producer import routed
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.worker.cancellation_watcher import CancellationWatcher
from backbeat.worker.concurrency_slots import ActivitySlots, ConcurrencySlots
from backbeat.worker.counters import Counters, outcome_of
from backbeat.worker.environment import WorkerEnvironment
from backbeat.worker.extensions.notices import waits
from backbeat.worker.handlers import Handler
from backbeat.worker.runner import Runner
from backbeat.worker.staleness_check import is_late, still_runs
from backbeat.worker.threads import Threads

#: Time that handlers which are cut off have to tidy up.
_CUT_OFF_SECONDS = 5.0


class Attempts:
    """Runs what a consumer hands over (`take`), in the worker's event loop, from `begin()` to `finish()`.

    `stopping` is set when nothing more is to be begun; `fail` gets the error that keeps the worker from going on.
    """

    def __init__(
        self,
        runner: Runner,
        environment: WorkerEnvironment,
        slots: ConcurrencySlots[Delivery],
        watcher: CancellationWatcher,
        counters: Counters | None,
        *,
        stopping: asyncio.Event,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._runner = runner
        self._environment = environment
        self._slots = slots
        self._watcher = watcher
        self._counters = counters
        self._stopping = stopping
        self._fail = fail
        #: Slots of notifications, and of activities that nothing is registered for.
        self._free: ActivitySlots[Delivery] = ActivitySlots()
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._grace_is_over = False
        #: Task of `Worker.run()`.
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._consumer: ActivityConsumer
        self._threads: Threads

    def begin(self, consumer: ActivityConsumer) -> None:
        """Take deliveries from this consumer from now on, and send answers there. In the task that runs the worker."""
        self._consumer = consumer
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(self._slots.concurrency, self._loop)
        self._runner.in_thread = self._threads.call

    def end_grace(self) -> None:
        """Wait no longer for attempts that have begun."""
        self._idle.set()

    async def finish(self, grace_seconds: float) -> None:
        """Give back deliveries that have not begun, let the others end for at most so long, and cut off the rest."""
        for delivery in self._slots.clear():
            self._consumer.settle(delivery, answered=False)
        if self._slots.running and grace_seconds:
            logger.info("stopping: %d activities may end within %g s", self._slots.running, grace_seconds)
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
            except TimeoutError:
                logger.warning("%d activities had not ended after %g s", self._slots.running, grace_seconds)
        self._grace_is_over = True
        tasks = self._tasks.copy()
        for task in tasks:
            task.cancel()
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_CUT_OFF_SECONDS)
        if tasks:
            logger.warning("%d activities go on though they are cancelled: others run them, too", len(tasks))

    def stop(self) -> None:
        """Let each thread end after its present work."""
        self._threads.stop()

    @property
    def _gives_back(self) -> bool:
        """True: a handler that is cancelled is not at fault. The grace is over, or everything here is cancelled."""
        return self._grace_is_over or (self._task is not None and self._task.cancelling() > 0)

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Add deliveries, which begin in their turn."""
        for delivery in deliveries:
            self._slots.offer(delivery, self._slots_of(delivery))
        self._pump()

    def _slots_of(self, delivery: Delivery) -> ActivitySlots[Delivery]:
        handler = self._runner.handler(delivery.record)
        return self._free if handler is None else handler.activity_slots

    def _pump(self) -> None:
        """Begin the deliveries that may begin. A delivery that ends at once frees its slot within this very loop."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self._stopping.is_set() and (next_delivery := self._slots.take()) is not None:
                delivery, activity_slots = next_delivery
                # Before it is looked whose it is: whoever takes its partition away waits for it, or is seen here.
                delivery.begun = True
                if delivery.revoked:
                    self._consumer.settle(delivery, answered=False)
                    self._slots.done(activity_slots)
                else:
                    if self._counters is not None:
                        self._counters.begin(delivery)
                    self._begin(delivery)
        finally:
            self._pumping = False
        self._consumer.has_room(self._slots.free)

    def _begin(self, delivery: Delivery) -> None:
        if is_late(delivery.record, self._environment.now()):
            self._start(self._open_late(delivery))
        else:
            self._open(delivery)

    async def _open_late(self, delivery: Delivery) -> None:
        try:
            runs = await still_runs(delivery.record, self._environment.connected, self._stopping)
        except asyncio.CancelledError:
            # The grace is over.
            runs = None
        if runs:
            self._open(delivery)
        else:
            self._consumer.settle(delivery, answered=runs is False)
            self._end(delivery)

    def _open(self, delivery: Delivery) -> None:
        """Begin an activity. An error that keeps it from being begun is its node's."""
        activity = self._runner.open(delivery.record)
        handler = self._runner.handler(delivery.record)
        try:
            if delivery.record.kind is ActivityKind.NOTIFICATION:
                self._start(self._notify(delivery, activity))
            elif handler is None:
                self._answer(delivery, activity, self._runner.unknown(activity))
                self._end(delivery)
            else:
                self._watcher.began(activity, handler)
                if self._runner.is_async(handler):
                    self._start(self._run_async(delivery, activity, self._runner.run_async(activity, handler)))
                else:
                    run = partial(contextvars.copy_context().run, self._run_plain, delivery, activity, handler)
                    self._threads.run(run)
        except Exception as error:  # noqa: BLE001 - no thread can be started, for example
            failure: BaseException | None = None
            try:
                self._answer(delivery, activity, self._runner.failed(activity, error))
            except Exception as unanswered:  # noqa: BLE001 - it is raised again where run() is awaited
                failure = unanswered
            self._ended(delivery, activity, failure)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_async(
        self, delivery: Delivery, activity: Activity, attempt: Coroutine[Any, Any, list[AnyCommand]]
    ) -> None:
        try:
            self._answer(delivery, activity, await attempt)
        except asyncio.CancelledError as error:
            if self._gives_back:
                self._consumer.settle(delivery, answered=False)
            else:
                self._answer(delivery, activity, self._runner.failed(activity, error))
        except BaseException as error:  # noqa: BLE001 - it is raised again where run() is awaited
            self._break(delivery, error)
        finally:
            self._ended(delivery, activity)

    def _run_plain(self, delivery: Delivery, activity: Activity, handler: Handler) -> Callable[[], None]:
        """Run a plain handler, in a thread; the function returned is called in the loop."""
        try:
            commands = self._runner.run_plain(activity, handler)
            if not isinstance(commands, list):
                attempt = commands
                return lambda: self._start(self._run_async(delivery, activity, attempt))
            self._answer(delivery, activity, commands)
        except BaseException as error:  # noqa: BLE001 - as above
            failure = error
            return lambda: self._ended(delivery, activity, failure)
        return partial(self._ended, delivery, activity)

    async def _notify(self, delivery: Delivery, activity: Activity) -> None:
        """Tell of a notification. A rescue that raises is run again until it returns: here, or at another worker."""
        has_slot = True
        try:
            is_told = await self._runner.notify(activity)
            if not is_told:
                # It waits beside the activities, however long: what it tells of may be away for hours.
                self._consumer.set_aside(delivery)
                self._end(delivery)
                has_slot = False
            seconds = waits()
            while not is_told:
                await asyncio.sleep(next(seconds))
                is_told = await self._runner.notify(activity, again=True)
            self._consumer.settle(delivery, answered=True)
        except asyncio.CancelledError:
            # The grace is over: another worker tells of it.
            self._consumer.settle(delivery, answered=False)
        finally:
            if has_slot:
                self._end(delivery)

    def _answer(self, delivery: Delivery, activity: Activity, commands: Sequence[AnyCommand]) -> None:
        """Send the commands of an attempt. Where they cannot be written, that is an error of its node."""
        if self._counters is not None:
            delivery.outcome = outcome_of(activity, commands)
        if not commands:
            # Nobody waits for the answer, or somebody else gives it.
            self._consumer.settle(delivery, answered=True)
            return
        try:
            answers = [routed(command) for command in commands]
        except Exception as error:  # noqa: BLE001 - whatever an encoder raises
            answers = [routed(command) for command in self._runner.failed(activity, error)]
        self._consumer.send(answers, delivery)

    def _ended(self, delivery: Delivery, activity: Activity, failure: BaseException | None = None) -> None:
        """End an attempt; `failure` keeps its outcome from being told, so that others must run it."""
        if failure is not None:
            self._break(delivery, failure)
        self._watcher.ended(activity)
        self._end(delivery)

    def _break(self, delivery: Delivery, error: BaseException) -> None:
        """End this worker, which cannot tell a delivery's outcome: others get the delivery."""
        self._consumer.settle(delivery, answered=False)
        self._fail(error)

    def _end(self, delivery: Delivery) -> None:
        assert self._loop is not None
        if self._loop.is_closed():
            # Nobody has waited for it.
            return
        self._slots.done(self._slots_of(delivery))
        if self._counters is not None:
            self._counters.end(delivery)
        if self._stopping.is_set() and self._slots.running == 0:
            self._idle.set()
        self._pump()
