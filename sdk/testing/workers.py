"""Workers of a Backbeat in memory: the activities that wait and run there."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from backbeat.activities.context import Activity
from backbeat.client.client import Client
from backbeat.client.lent import lent_client
from backbeat.errors import BackbeatError, InvalidParameters
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.testing.clock import Clock
from backbeat.testing.engine import MemoryEngine
from backbeat.testing.faults import FaultKind, Faults
from backbeat.testing.memory_registry import MemoryRegistry
from backbeat.testing.queued import Queued
from backbeat.testing.run_sync import run_sync
from backbeat.transport.base import Transport
from backbeat.worker.cancellation_watcher import still_runs
from backbeat.worker.extensions.lifespan import Lifespan, MakeLifespan
from backbeat.worker.handlers import Handler
from backbeat.worker.runner import Runner
from backbeat.worker.worker import Worker

T = TypeVar("T")

#: Further calls of a rescue that raises, at most: a worker goes on until it returns.
_RESCUES_MAX = 10


class MemoryEnvironment:
    """Clients and engine in memory, as handlers know them (`backbeat.activities.environment.EngineEnvironment`)."""

    #: At once: no time passes in memory.
    progress_seconds = 0.0
    answers_at_once = True

    def __init__(self, worker: Worker, registry: MemoryRegistry, clock: Clock, transport: Transport) -> None:
        self._name = worker.name
        self._registry = registry
        self._clock = clock
        self._transport = transport

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own."""
        return self._registry.find(self._name if client is None else client).id_bytes

    def client(self, packing: PayloadCodec) -> Client:
        """A client of the worker's own application."""
        return lent_client(self._name, self.user_id(None), self._transport, packing)

    def now(self) -> float:
        """The time of the test's clock."""
        return self._clock.seconds()

    def ask(self, request: Callable[[Transport], Awaitable[T]]) -> Future[T]:
        """Answer a request before this returns, so a plain handler need not wait in the loop."""
        future: Future[T] = Future()
        try:
            future.set_result(run_sync(request(self._transport)))
        except Exception as error:  # noqa: BLE001 - its caller gets it
            future.set_exception(error)
        return future


class MemoryWorkers:
    """The activities that wait, those that run, and the workers that run them.

    Handlers run as tasks of the caller's event loop, side by side as far as their worker allows (`concurrency`,
    `max_concurrent`). A plain function runs in the loop too: no thread, so the order is the same every time.
    """

    def __init__(self, engine: MemoryEngine, clock: Clock, registry: MemoryRegistry, faults: Faults) -> None:
        self._engine = engine
        self._clock = clock
        self._registry = registry
        self._faults = faults
        self._workers: dict[str, list[Worker]] = defaultdict(list)
        self._turn: Counter[str] = Counter()
        #: Transport of a running handler's requests; they are answered at once.
        self.transport: Transport
        #: Sent and not begun, in the order in which they came.
        self.queue: list[Queued] = []
        #: Everything that was ever sent, repeats left out.
        self.sent: list[Queued] = []
        self._seen: set[tuple[bytes, int, bool]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._activities: dict[int, Activity] = {}
        self._running_counts: Counter[Worker] = Counter()
        self._in_lane: Counter[tuple[Worker, str]] = Counter()
        #: Tasks that wait for others: a handler that waits for a workflow is not what brings it forward.
        self.waiting: set[asyncio.Task[object] | None] = set()
        self._failure: BaseException | None = None
        self._lifespans: dict[Worker, Lifespan] = {}
        self._states: dict[Worker, asyncio.Future[Any]] = {}
        self._stopping = False
        #: Number of handlers that were begun.
        self.begun = 0

    def add(self, worker: Worker) -> None:
        """Add a worker."""
        client = self._registry.add(worker.name)
        if worker not in self._workers[client.name]:
            self._workers[client.name].append(worker)
            environment = MemoryEnvironment(worker, self._registry, self._clock, self.transport)
            limits = environment.client(worker.runner.packing).limits
            for name, limit in worker.runner.handlers.limits.items():
                run_sync(limits.declare(name, limit))

    def take(self, topic: str, record: ActivityRecord) -> None:
        """Take an activity that the engine sends. A repeat of the engine is dropped, as a worker does it."""
        client = self._registry.by_id(record.node.user_id)
        assert client is not None, f"{topic} is nobody's"
        queued = Queued(record, client.name)
        if queued.key in self._seen:
            return
        self._seen.add(queued.key)
        self.sent.append(queued)
        self.queue.append(queued)
        if self._faults.strikes(FaultKind.DUPLICATE, queued.name, queued.attempt, queued.id):
            self.queue.append(Queued(record, client.name))

    def end_attempts(self) -> None:
        """Tell the handlers whose attempt is over by now. A real worker tells those that run for a second or more."""
        for activity in list(self._activities.values()):
            view = self._engine.node(activity.record.node.id)
            if view is None or not still_runs(view, activity.attempt):
                activity.tell_cancelled()

    # --- running ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise an error from outside of the handlers, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def others(self) -> set[asyncio.Task[None]]:
        """Handlers that run and do not wait for others."""
        return {task for task in self._running if task not in self.waiting}

    def begin_all(self) -> bool:
        """Begin the activities that may begin. False: there was none."""
        begun_before = self.begun
        room = sum(worker.concurrency - self._running_counts[worker] for worker in self._all())
        for queued in self._faults.order(self.queue) if room > 0 else ():
            if self._free(queued) is not None:
                self.begin(queued)
                room -= 1
                if room <= 0:
                    break
        return self.begun > begun_before

    def begin(self, queued: Queued) -> asyncio.Task[None]:
        """Begin one that waits, at once, even where its worker has enough to do."""
        workers = self._workers_of(queued)
        self._turn[queued.client] += 1
        worker = self._free(queued) or workers[self._turn[queued.client] % len(workers)]
        self.queue.remove(queued)
        self.begun += 1
        self._running_counts[worker] += 1
        self._in_lane[worker, queued.name] += 1
        task = asyncio.get_running_loop().create_task(self._perform(queued, worker), name=repr(queued))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, worker, queued))
        return task

    def _all(self) -> list[Worker]:
        return [worker for workers in self._workers.values() for worker in workers]

    def _workers_of(self, queued: Queued) -> list[Worker]:
        """The workers of its client that have it; all, where none has. On Kafka the others would hand it back."""
        workers = self._workers.get(queued.client)
        if not workers:
            raise BackbeatError(
                f"{queued!r} is for the client {queued.client!r}, which has no worker here: add(worker)"
            )
        if queued.is_notification:
            return workers
        return [worker for worker in workers if self._handler(worker, queued) is not None] or workers

    @staticmethod
    def _handler(worker: Worker, queued: Queued) -> Handler | None:
        return worker.runner.handler(queued.record)

    def _free(self, queued: Queued) -> Worker | None:
        """The worker that would begin it now, the one that runs least. None: there is none, or all run enough."""
        free = [
            worker
            for worker in (self._workers_of(queued) if queued.client in self._workers else ())
            if self._running_counts[worker] < worker.concurrency and self._has_lane(worker, queued)
        ]
        return min(free, key=lambda worker: self._running_counts[worker], default=None)

    def _has_lane(self, worker: Worker, queued: Queued) -> bool:
        """True where fewer activities of this name run at this worker than may (`max_concurrent`)."""
        handler = self._handler(worker, queued)
        limit = None if handler is None else handler.activity_slots.limit
        return limit is None or self._in_lane[worker, queued.name] < limit

    async def _perform(self, queued: Queued, worker: Worker) -> None:
        """Run an activity, from its begin to its answer."""
        runner = worker.runner.within(MemoryEnvironment(worker, self._registry, self._clock, self.transport))
        if worker.lifespan is not None:
            runner.state = await self._entered(worker, worker.lifespan)
        activity = runner.open(queued.record)
        fault_key = (queued.name, queued.attempt, queued.id)
        if queued.is_notification:
            is_told = await runner.notify(activity)
            for _ in range(_RESCUES_MAX):
                if is_told:
                    break
                is_told = await runner.notify(activity, again=True)
            return
        if self._faults.strikes(FaultKind.HANG, *fault_key):
            return
        if self._faults.strikes(FaultKind.FAIL, *fault_key):
            commands = runner.failed(activity, self._faults.message(queued.name))
        else:
            commands = await self._handle(runner, activity)
        if self._faults.strikes(FaultKind.CRASH, *fault_key):
            self.queue.append(Queued(queued.record, queued.client))
            return
        try:
            self._send(commands)
        except InvalidParameters as error:
            self._send(runner.failed(activity, error))
        self._engine.settle()

    async def _entered(self, worker: Worker, make: MakeLifespan) -> Any:
        """What the lifespan of a worker yields; it is entered before the worker's first activity."""
        if worker not in self._lifespans:
            self._lifespans[worker] = lifespan = Lifespan(make)
            self._states[worker] = asyncio.ensure_future(lifespan.start())
        return await asyncio.shield(self._states[worker])

    async def _handle(self, runner: Runner, activity: Activity) -> list[AnyCommand]:
        handler = runner.handler(activity.record)
        if handler is None:
            return runner.unknown(activity)
        if not runner.is_async(handler):
            commands = runner.run_plain(activity, handler)
            return commands if isinstance(commands, list) else await commands
        # A duplicate is the same node, and another run.
        self._activities[id(activity)] = activity
        try:
            return await runner.run_async(activity, handler)
        except asyncio.CancelledError as error:
            if self._stopping:
                raise
            return runner.failed(activity, error)
        finally:
            del self._activities[id(activity)]

    def _send(self, commands: Sequence[AnyCommand]) -> None:
        for command in commands:
            self._engine.send(command)

    def _ended(self, task: asyncio.Task[None], worker: Worker, queued: Queued) -> None:
        self._running.discard(task)
        self._running_counts[worker] -= 1
        self._in_lane[worker, queued.name] -= 1
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    async def stop(self) -> None:
        """End the handlers that still run."""
        self._stopping = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        lifespans, self._lifespans = self._lifespans, {}
        for lifespan in lifespans.values():
            await lifespan.stop()
