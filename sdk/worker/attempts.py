"""The activities that are in a worker: begun in their turn, run, answered, or given back when it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from backbeat.activities.context import Activity
from backbeat.delivery.base import AnyIntake
from backbeat.delivery.kafka import logger
from backbeat.delivery.records import Job
from backbeat.delivery.result_producer import routed
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.worker.cancellation_watcher import Watch
from backbeat.worker.concurrency_slots import Lane, Lanes
from backbeat.worker.counters import Figures, outcome_of
from backbeat.worker.environment import Environment
from backbeat.worker.handlers import Handler
from backbeat.worker.runner import Runner
from backbeat.worker.staleness_check import is_late, still_runs
from backbeat.worker.threads import Threads


class Attempts:
    """Runs what an intake hands over (`take`), in the worker's event loop, from `begin()` to `finish()`.

    `stopping` is set when nothing more is to be begun; `fail` is told what keeps the worker from going on.
    """

    def __init__(
        self,
        runner: Runner,
        around: Environment,
        lanes: Lanes[Job],
        watch: Watch,
        figures: Figures | None,
        *,
        stopping: asyncio.Event,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._runner = runner
        self._around = around
        self._lanes = lanes
        self._watch = watch
        self._figures = figures
        self._stopping = stopping
        self._fail = fail
        #: Notifications, and activities that nothing is registered for.
        self._free: Lane[Job] = Lane()
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._grace_is_over = False
        #: That of `Worker.run()`.
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._intake: AnyIntake
        self._threads: Threads

    def begin(self, intake: AnyIntake) -> None:
        """From now on jobs come from this intake, and answers go there. In the task that runs the worker."""
        self._intake = intake
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(self._lanes.concurrency, self._loop)

    def hurry(self) -> None:
        """Do not wait any longer for what has begun."""
        self._idle.set()

    async def finish(self, grace_seconds: float) -> None:
        """Give back what has not begun, let end what has, for at most so long, and cut off the rest."""
        for job in self._lanes.clear():
            self._intake.settle(job, answered=False)
        if self._lanes.running and grace_seconds:
            logger.info("stopping: %d activities may end within %g s", self._lanes.running, grace_seconds)
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
            except TimeoutError:
                logger.warning("%d activities had not ended after %g s", self._lanes.running, grace_seconds)
        self._grace_is_over = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Let the threads end, each when it is through."""
        self._threads.stop()

    @property
    def _gives_back(self) -> bool:
        """Whether a handler that is cancelled is not at fault: the grace is over, or everything here is cancelled."""
        return self._grace_is_over or (self._task is not None and self._task.cancelling() > 0)

    def take(self, jobs: Sequence[Job]) -> None:
        """Jobs have come: they begin in their turn."""
        for job in jobs:
            self._lanes.offer(job, self._lane(job))
        self._pump()

    def _lane(self, job: Job) -> Lane[Job]:
        handler = self._runner.handler(job.record)
        return self._free if handler is None else handler.lane

    def _pump(self) -> None:
        """Begin what may begin. What ends at once frees its place within this very loop."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self._stopping.is_set() and (taken := self._lanes.take()) is not None:
                job, lane = taken
                # Before it is looked whose it is: whoever takes its partition away waits for it, or is seen here.
                job.begun = True
                if job.revoked:
                    self._intake.settle(job, answered=False)
                    self._lanes.done(lane)
                else:
                    if self._figures is not None:
                        self._figures.begin(job)
                    self._begin(job)
        finally:
            self._pumping = False
        self._intake.has_room(self._lanes.free)

    def _begin(self, job: Job) -> None:
        if is_late(job.record, self._around.now()):
            self._start(self._open_late(job))
        else:
            self._open(job)

    async def _open_late(self, job: Job) -> None:
        try:
            runs = await still_runs(job.record, self._around.connected, self._stopping)
        except asyncio.CancelledError:
            # The grace is over.
            runs = None
        if runs:
            self._open(job)
        else:
            self._intake.settle(job, answered=runs is False)
            self._end(job)

    def _open(self, job: Job) -> None:
        """Begin an activity. What keeps it from being begun is its node's error."""
        activity = self._runner.open(job.record)
        handler = self._runner.handler(job.record)
        try:
            if job.record.kind is ActivityKind.NOTIFICATION:
                self._start(self._notify(job, activity))
            elif handler is None:
                self._answer(job, activity, self._runner.unknown(activity))
                self._end(job)
            else:
                self._watch.began(activity, handler)
                if handler.is_async:
                    self._start(self._run_async(job, activity, self._runner.run_async(activity, handler)))
                else:
                    run = partial(contextvars.copy_context().run, self._run_plain, job, activity, handler)
                    self._threads.run(run)
        except Exception as error:  # noqa: BLE001 - no thread can be started, for example
            self._answer(job, activity, self._runner.failed(activity, error))
            self._ended(job, activity)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_async(self, job: Job, activity: Activity, attempt: Coroutine[Any, Any, list[AnyCommand]]) -> None:
        try:
            self._answer(job, activity, await attempt)
        except asyncio.CancelledError as error:
            if self._gives_back:
                self._intake.settle(job, answered=False)
            else:
                self._answer(job, activity, self._runner.failed(activity, error))
        except BaseException as error:  # noqa: BLE001 - it is raised again where run() is awaited
            self._break(job, error)
        finally:
            self._ended(job, activity)

    def _run_plain(self, job: Job, activity: Activity, handler: Handler) -> Callable[[], None]:
        """In a thread; what is returned is done in the loop."""
        try:
            commands = self._runner.run_plain(activity, handler)
            if not isinstance(commands, list):
                attempt = commands
                return lambda: self._start(self._run_async(job, activity, attempt))
            self._answer(job, activity, commands)
        except BaseException as error:  # noqa: BLE001 - as above
            broken = error
            return lambda: self._ended(job, activity, broken)
        return partial(self._ended, job, activity)

    async def _notify(self, job: Job, activity: Activity) -> None:
        try:
            await self._runner.notify(activity)
            self._intake.settle(job, answered=True)
        except asyncio.CancelledError:
            # The grace is over: another worker tells of it.
            self._intake.settle(job, answered=False)
        finally:
            self._end(job)

    def _answer(self, job: Job, activity: Activity, commands: Sequence[AnyCommand]) -> None:
        """Send what came of it. What cannot be written is an error of its node."""
        if self._figures is not None:
            job.outcome = outcome_of(activity, commands)
        if not commands:
            # Nobody waits for the answer, or somebody else gives it.
            self._intake.settle(job, answered=True)
            return
        try:
            answers = [routed(one) for one in commands]
        except Exception as refused:  # noqa: BLE001 - whatever an encoder raises
            commands = self._runner.failed(activity, refused)
            answers = [routed(one) for one in commands]
        self._intake.send(answers, job)

    def _ended(self, job: Job, activity: Activity, broken: BaseException | None = None) -> None:
        """A handler has ended; `broken`: what came of it cannot be told, so that others must run it."""
        if broken is not None:
            self._break(job, broken)
        self._watch.ended(activity)
        self._end(job)

    def _break(self, job: Job, error: BaseException) -> None:
        """This worker cannot tell what came of a job: others get it, and this one ends."""
        self._intake.settle(job, answered=False)
        self._fail(error)

    def _end(self, job: Job) -> None:
        assert self._loop is not None
        if self._loop.is_closed():
            # Nobody has waited for it.
            return
        self._lanes.done(self._lane(job))
        if self._figures is not None:
            self._figures.end(job)
        if self._stopping.is_set() and self._lanes.running == 0:
            self._idle.set()
        self._pump()
