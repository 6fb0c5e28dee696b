"""The worker: runs the activities of one client application.

    @activity("Reserve money", retries=3, backoff=2)
    async def reserve_money(amount: int) -> str: ...

    worker = Worker("127.0.0.1:9092", activities=[reserve_money])
    await worker.run()          # until stop(), SIGTERM or SIGINT; `worker.serve()` without an event loop

The way of one activity: `delivery` reads it, `concurrency_slots` say when it may begin, `attempts` has `runner` run its
handler in a task (or, a plain function, in a thread) and make the answer, `delivery` sends it and commits the offset
once Kafka has it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from backbeat import logs
from backbeat.activities.definition import ActivityFunction, ActivityOptions, ErrorHook, activity, declared_in
from backbeat.codecs import Codec
from backbeat.delivery.base import DeliveryWay, MakeConsumer, make_consumer
from backbeat.delivery.kafka import logger, servers_of
from backbeat.delivery.records import Delivery, Owner
from backbeat.errors import BackbeatError
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.schemas import environment
from backbeat.stores import Store
from backbeat.worker import os_signals
from backbeat.worker.attempts import Attempts
from backbeat.worker.cancellation_watcher import CancellationWatcher
from backbeat.worker.concurrency_slots import ConcurrencySlots
from backbeat.worker.counters import Counters
from backbeat.worker.environment import Environment, WorkerEnvironment
from backbeat.worker.extensions.lifespan import Lifespan, MakeLifespan
from backbeat.worker.extensions.middleware import Middleware
from backbeat.worker.handlers import Handler, Handlers
from backbeat.worker.responses import describe
from backbeat.worker.runner import Runner

if TYPE_CHECKING:
    from backbeat.observe.status_server import StatusServer

#: Growth in objects that starts a garbage collection in `serve()`, and the most that Python has by itself for it.
_GC_OBJECTS, _GC_OBJECTS_DEFAULT_MAX = 10_000, 2_000
#: Length of the activities' names in the log line of a worker that is ready.
_NAMES_CHARACTERS_MAX = 200

P = ParamSpec("P")
R = TypeVar("R")


class Worker:
    """Runs the activities of a client application. Several workers, in any number of processes, share them.

    `bootstrap_servers`: else the variable BACKBEAT_BOOTSTRAP_SERVERS, else 127.0.0.1:9092. `concurrency` is how many
    run at once here. `delivery`: through a consumer group, or through a share group for more workers than partitions
    and activities of very different lengths (docs/reference/sdk.md). `codec` and `store` are what arguments and
    results go through; clients have the same. When stopped, a worker finishes what it has begun, for at most
    `grace_seconds`. One that is killed is noticed after `session_timeout_seconds`: then others run what it had begun.
    `lifespan` is called at its start and gives an async context manager: what that yields is `current().state`.
    `middleware` is around each handler's call (`backbeat.worker.extensions.middleware`), the first one outermost.
    `log_context`: whether log records of a running activity say which it is (`backbeat.logs`). With a `status_port` (0:
    a free one, `status_url` says which) it serves `/metrics`, `/live` and `/ready` (docs/reference/metrics.md).

    >>> worker = Worker("127.0.0.1:9092", client="shop", concurrency=10)
    >>> @worker.activity("Make Purchase")
    ... async def make_purchase(buyer: str) -> str:
    ...     return f"{buyer} has it"

    `worker.serve()` runs it until it is stopped; here it runs in memory:

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def sell() -> str:
    ...     async with Backbeat(worker) as backbeat:
    ...         node = await backbeat.client("shop").signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
    ...         return await node.result()
    >>> asyncio.run(sell())
    'Ann has it'
    """

    def __init__(
        self,
        bootstrap_servers: str | None = None,
        client: str = "default",
        concurrency: int = 100,
        *,
        activities: Iterable[ActivityFunction[..., Any] | ModuleType] = (),
        codec: Codec | None = None,
        store: str | Store | None = None,
        delivery: DeliveryWay = "group",
        log_context: bool = True,
        grace_seconds: float = 30.0,
        session_timeout_seconds: float = 10.0,
        status_port: int | None = None,
        status_host: str = "127.0.0.1",
        lifespan: MakeLifespan | None = None,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        bootstrap_servers = servers_of(bootstrap_servers)
        self.grace_seconds = grace_seconds
        self._delivery = delivery
        self._session_timeout_seconds = session_timeout_seconds
        self._log_context = log_context
        self._handlers = Handlers()
        self._runner = Runner(self._handlers, Environment(bootstrap_servers), PayloadCodec(codec, store))
        self._runner.middleware = tuple(middleware)
        #: Lifespan of each run: what it yields is `current().state`.
        self.lifespan = lifespan
        self._lifespan: Lifespan | None = None
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counters = None if status_port is None else Counters(self._handlers)
        self._make_status = partial(self._status_of, status_host, status_port)
        self._status: StatusServer | None = None
        self.configure(bootstrap_servers, client, concurrency)
        self.register(*activities)

    def configure(self, bootstrap_servers: str, client: str, concurrency: int) -> None:
        """Run there, as that client application and with that concurrency, whatever it was made with.

        Only before it runs: `backbeat worker` does it for what is said at the command line.
        """
        self.bootstrap_servers, self.name = bootstrap_servers, client
        make = partial(
            make_consumer,
            self._delivery,
            bootstrap_servers,
            client,
            concurrency=concurrency,
            session_timeout_seconds=self._session_timeout_seconds,
        )
        self._connect(Environment(bootstrap_servers), make, concurrency)

    def _connect(self, environment: WorkerEnvironment, make: MakeConsumer, concurrency: int) -> None:
        """Have these ports: the engine and the clients as activities know them, and where activities come from."""
        self._environment = environment
        self._runner = self._runner.within(environment)
        self._slots: ConcurrencySlots[Delivery] = ConcurrencySlots(concurrency)
        self._watcher = CancellationWatcher(environment.connected)
        self._attempts = Attempts(
            self._runner,
            environment,
            self._slots,
            self._watcher,
            self._counters,
            stopping=self._stopping,
            fail=self._fail,
        )
        self._consumer = make(Owner(self._attempts.take, self._fail, self._joined))

    # --- registering -----------------------------------------------------------------------------------------------

    def activity(
        self, name: str | None = None, **options: Unpack[ActivityOptions]
    ) -> Callable[[Callable[P, R]], ActivityFunction[P, R]]:
        """Make a function, async or plain, an activity of this name (else its own name), and register it here.

        What the options mean: `backbeat.activities.ActivityOptions`.
        """

        def register(function: Callable[P, R]) -> ActivityFunction[P, R]:
            declared = activity(name, **options)(function)
            self.register(declared)
            return declared

        return register

    def register(self, *activities: ActivityFunction[..., Any] | ModuleType) -> None:
        """Run these activities; of a module those that are declared in it, or, of a package, in its modules.

        What a module only imports is not its own. BackbeatError: a name is taken already, or a function cannot run.
        """
        for item in activities:
            if isinstance(item, ModuleType):
                for declared in declared_in(item):
                    self._handlers.add(Handler(declared))
            elif isinstance(item, ActivityFunction):
                self._handlers.add(Handler(item))
            else:
                raise BackbeatError(f"{item!r} is no activity: put @backbeat.activity above it")

    def on_error(self, hook: ErrorHook) -> ErrorHook:
        """Register a function called with the activity and its error when any activity's retries are exhausted."""
        self._runner.error_hook = hook
        return hook

    def defaults(self, activity: str | Callable[..., Any]) -> Handler | None:
        """The handler of an activity; None: somebody else runs it."""
        return self._handlers.of(activity)

    @property
    def concurrency(self) -> int:
        """Number of activities that run at once here, at most."""
        return self._slots.concurrency

    @property
    def runner(self) -> Runner:
        """Runner of its handlers: `backbeat.testing` uses it without Kafka."""
        return self._runner

    @property
    def status_url(self) -> str | None:
        """URL of its status; None: it serves none."""
        return None if self._status is None else self._status.url

    # --- running ---------------------------------------------------------------------------------------------------

    async def run(self, *, handle_signals: bool = True) -> None:
        """Run activities until `stop()`, SIGTERM or SIGINT. A second signal does not wait for what has begun.

        A cancel (of a TaskGroup, a timeout) stops it in the same way before it is raised, and a second cancel does not
        wait for what has begun either.

        Unavailable if Kafka refuses an answer or cannot be used at all. Signals are left alone outside the main thread.
        """
        if self._loop is not None:
            raise BackbeatError(
                "a worker runs once: make another one. A module for `backbeat worker` calls serve() only below "
                '`if __name__ == "__main__":`'
            )
        environment.tell(logger)
        self._loop = asyncio.get_running_loop()
        self._attempts.begin(self._consumer)
        uninstall = logs.install() if self._log_context else None
        unlisten = os_signals.listen(self._loop, self._interrupted) if handle_signals else None
        try:
            await self._start_or_stop()
            await self._stopping.wait()
        except BaseException:
            self._stopping.set()
            raise
        finally:
            await self._leave()
            if unlisten is not None:
                unlisten()
            if uninstall is not None:
                uninstall()
        if self._failure is not None:
            raise self._failure

    def serve(self) -> None:
        """`run()` in an event loop of its own, the fast one (uvloop) where it is installed.

        Python looks for garbage less often meanwhile, unless the process has settings of its own for that.
        """
        if 0 < gc.get_threshold()[0] <= _GC_OBJECTS_DEFAULT_MAX:
            # Thousands of activities come and go each second, and what is imported stays: looking through all of it
            # again and again is a tenth of a busy worker's time.
            gc.freeze()
            gc.set_threshold(_GC_OBJECTS)
        try:
            factory = importlib.import_module("uvloop").new_event_loop
        except ImportError:
            factory = None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self.run())

    async def _start_or_stop(self) -> None:
        """Start, unless it is stopped before: what a lifespan waits for may not come for hours."""
        starting, stopping = asyncio.ensure_future(self._start()), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                logger.info("stopped before it was ready")
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
            await asyncio.wait((starting,))
        if not starting.cancelled():
            starting.result()

    async def _start(self) -> None:
        self._status = self._make_status()
        if self._status is not None:
            self._status.start()
        await self._environment.start(self.name)
        if self.lifespan is not None:
            self._lifespan = Lifespan(self.lifespan)
            self._runner.state = await self._lifespan.start()
        for name, limit in self._handlers.limits.items():
            await self._runner.client.limits.declare(name, limit)
        await self._consumer.start()
        self._consumer.has_room(self._slots.free)
        self._watcher.start()

    async def _leave(self) -> None:
        """Let attempts that have begun end, give back the rest, and disconnect, whoever is cancelled meanwhile."""
        leaving = asyncio.ensure_future(self._disconnect())
        cancelled: asyncio.CancelledError | None = None
        while not leaving.done():
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError as error:
                cancelled = error
                self._attempts.end_grace()
            except Exception:  # noqa: BLE001 - it is raised below
                break
        leaving.result()
        if cancelled is not None:
            raise cancelled

    async def _disconnect(self) -> None:
        try:
            self._consumer.drain()
            await self._attempts.finish(0 if self._failure is not None else self.grace_seconds)
        finally:
            self._attempts.stop()
            await self._watcher.stop()
            await self._consumer.stop()
            try:
                if self._lifespan is not None:
                    await self._lifespan.stop()
            finally:
                await self._environment.stop()
            if self._status is not None:
                await asyncio.to_thread(self._status.stop)

    def stop(self) -> None:
        """Take nothing more, finish what has begun, leave. From any thread; `run()` returns when it is done."""
        if self._loop is None:
            self._stopping.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _interrupted(self) -> None:
        if self._stopping.is_set():
            self._attempts.end_grace()
        self._stopping.set()

    def _joined(self) -> None:
        names = textwrap.shorten(", ".join(self._handlers.names) or "none", _NAMES_CHARACTERS_MAX, placeholder=" …")
        logger.info("ready: client %s, Kafka at %s, activities: %s", self.name, self.bootstrap_servers, names)

    def _fail(self, error: BaseException) -> None:
        """End a worker that cannot go on: `run()` raises this error."""
        if self._failure is None:
            self._failure = error
            logger.error("the worker of %s ends: %s", self.name, describe(error))
        self._stopping.set()

    def _status_of(self, host: str, port: int | None) -> StatusServer | None:
        if port is None or self._counters is None:
            return None
        try:
            # It needs the extra `metrics`.
            from backbeat.observe.status import WorkerStatus, make_status  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BackbeatError(
                f"status_port needs the package {error.name}. What to do: pip install 'backbeat[metrics]'"
            ) from error
        status = WorkerStatus(
            client=self.name,
            delivery=self._delivery,
            counters=self._counters,
            handlers=self._handlers,
            slots=self._slots,
            consumer=self._consumer,
            came_round_at=lambda: self._watcher.came_round_at,
            stopping=self._stopping.is_set,
            failure=lambda: self._failure,
        )
        return make_status(status, host, port)
