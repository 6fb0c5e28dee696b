"""Runner of one activity, without Kafka: its handler is run, and its outcome told as commands.

    activity = runner.open(record)
    for command in await runner.run(activity): ...

`Worker` sends the commands to Kafka, `backbeat.testing` applies them in memory. Nothing here knows which.
"""

from __future__ import annotations

import asyncio
import copy
import difflib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from backbeat.activities.context import Activity
from backbeat.activities.definition import ErrorHook
from backbeat.activities.environment import EngineEnvironment
from backbeat.activities.running import running
from backbeat.codecs import mark_of
from backbeat.delivery.kafka import logger
from backbeat.errors import BackbeatError, Fail, RetryAfter
from backbeat.observe.tracing import Traced, Tracing, is_set_up
from backbeat.payload.payload_codec import PayloadCodec, is_stored
from backbeat.payload.values import from_json
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.transport.base import Transport
from backbeat.worker.extensions.middleware import Call, Middleware, chained, to_its_end
from backbeat.worker.extensions.notices import CLIENT_ERROR, Notice, runs, tell
from backbeat.worker.handlers import Handler, Handlers
from backbeat.worker.outcome import completed, errored, handed_back, postponed
from backbeat.worker.responses import describe, handlers_own
from backbeat.worker.taken_results import TakenResults, UnreadResultsError

if TYPE_CHECKING:
    from backbeat.client.client import Client

T = TypeVar("T")


class Runner:
    """Runs activities with the handlers that are registered for their names.

    `handlers` may grow while it runs. `environment` knows the client applications, and brings commands and queries
    of a running handler to an engine.
    """

    def __init__(self, handlers: Handlers, environment: EngineEnvironment, packing: PayloadCodec | None = None) -> None:
        self.handlers = handlers
        #: Codec and store of arguments and results.
        self.packing = packing or PayloadCodec()
        self._environment = environment
        #: Tracing, made when it is first needed: the application may set up OpenTelemetry after this.
        self._tracing: Tracing | None = None
        #: Hook called with the activity and its error when an activity's retries are exhausted; None: a log line.
        self.error_hook: ErrorHook | None = None
        #: What is around each handler's call, the first one outermost.
        self.middleware: tuple[Middleware, ...] = ()
        #: What the worker's lifespan yields; None: it has none.
        self.state: Any = None
        #: Runs a plain function in a thread of the worker; None: here and now.
        self.in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None

    def within(self, environment: EngineEnvironment) -> Runner:
        """The same handlers and hooks in another environment."""
        runner = copy.copy(self)
        runner._environment = environment  # noqa: SLF001 - it is one of us
        return runner

    def open(self, record: ActivityRecord) -> Activity:
        """The activity of a record, to be run once."""
        return (Notice if record.kind is ActivityKind.NOTIFICATION else Activity)(record, self)

    def handler(self, record: ActivityRecord) -> Handler | None:
        """The handler of an activity; None for a notification, and for a name that nothing is registered for."""
        return None if record.kind is ActivityKind.NOTIFICATION else self.handlers.find(record.node.name)

    async def run(self, activity: Activity) -> list[AnyCommand]:
        """Run it, a plain function in a thread. The commands that tell the engine, in order.

        There are none for a notification, for an attempt that was canceled while it ran, and where an asynchronous
        activity adds nothing. Whatever a handler raises becomes its node's error, `sys.exit()` too; only a
        CancelledError that is not of such a cancel is passed on.
        """
        handler = self.handler(activity.record)
        if activity.record.kind is ActivityKind.NOTIFICATION:
            await self.notify(activity)
            return []
        if handler is None:
            return self.unknown(activity)
        if not self.is_async(handler):
            commands = await asyncio.to_thread(self.run_plain, activity, handler)
            return commands if isinstance(commands, list) else await commands
        return await self.run_async(activity, handler)

    def is_async(self, handler: Handler) -> bool:
        """True: it is run in the event loop. Middleware is, whatever it is around."""
        return handler.is_async or bool(self.middleware)

    async def run_async(
        self, activity: Activity, handler: Handler, result: Awaitable[Any] | None = None
    ) -> list[AnyCommand]:
        """Run an async handler in this task; or await the `result` that a plain one gave."""
        if not is_set_up():
            return await self._run_async(activity, handler, result)
        activity.traced = self._begin_span(activity)
        try:
            return await self._run_async(activity, handler, result)
        finally:
            activity.traced.end()

    async def _run_async(self, activity: Activity, handler: Handler, result: Awaitable[Any] | None) -> list[AnyCommand]:
        running.set(activity)
        task = asyncio.current_task()
        assert task is not None
        activity.when_cancelled(task.cancel)
        try:
            if result is None:
                params = handler.params(activity)
                if is_stored(params):
                    params = await asyncio.to_thread(self._unpack, activity, params)
                elif self._is_packed(params):
                    params = self._unpack(activity, params)
                record = activity.record
                if record.takes:
                    taken = self._taken(activity, handler, params)
                    if taken.must_be_read:
                        await asyncio.wrap_future(self.ask(taken.read))
                    if self.packing.is_plain:
                        params = self._arguments(activity, handler, taken)
                    else:
                        params = await asyncio.to_thread(self._arguments, activity, handler, taken)
                result = self._call(activity, handler, params)
            value = await result
            if value is None or self.packing.is_plain:
                return self._returned(activity, value, handler)
            # It may wait for a store.
            return await asyncio.to_thread(self._returned, activity, value, handler)
        except asyncio.CancelledError:
            if activity.cancelled:
                return []
            raise
        except GeneratorExit as error:
            if not runs(task):
                # The loop was closed while it ran: it has not failed.
                raise
            return self.failed(activity, error)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its node's error
            return self.failed(activity, error)

    def _call(self, activity: Activity, handler: Handler, params: Any) -> Any:
        if not self.middleware:
            return handler.call(params)

        async def handle(call: Call) -> Any:
            run = functools.partial(handler.function, *call.args, **call.kwargs)
            in_thread = None if handler.is_async else self.in_thread
            result = run() if in_thread is None else await to_its_end(activity, in_thread(run))
            return await result if inspect.isawaitable(result) else result

        args, kwargs = handler.bind(params)
        return chained(self.middleware, handle)(Call(activity, args, kwargs))

    def run_plain(
        self, activity: Activity, handler: Handler
    ) -> list[AnyCommand] | Coroutine[Any, Any, list[AnyCommand]]:
        """Run a plain handler here and now, in a context (`contextvars`) of its own.

        The commands; or, where it gave an awaitable (an async function below a decorator), the coroutine that makes
        them, for the event loop.
        """
        if not is_set_up():
            return self._run_plain(activity, handler)
        activity.traced = self._begin_span(activity)
        try:
            return self._run_plain(activity, handler)
        finally:
            activity.traced.end()

    def _run_plain(
        self, activity: Activity, handler: Handler
    ) -> list[AnyCommand] | Coroutine[Any, Any, list[AnyCommand]]:
        running.set(activity)
        try:
            params = handler.params(activity)
            if self._is_packed(params):
                params = self._unpack(activity, params)
            record = activity.record
            if record.takes:
                taken = self._taken(activity, handler, params)
                if taken.must_be_read:
                    self.ask(taken.read).result()
                params = self._arguments(activity, handler, taken)
            result = handler.call(params)
            if inspect.isawaitable(result):
                return self.run_async(activity, handler, result)
            return self._returned(activity, result, handler)
        except BaseException as error:  # noqa: BLE001 - the thread must go on, also after sys.exit()
            return self.failed(activity, error)

    def _begin_span(self, activity: Activity) -> Traced:
        if self._tracing is None:
            self._tracing = Tracing()
        return self._tracing.begin(activity, activity.record.node.tid)

    def _is_packed(self, params: Any) -> bool:
        # What another worker's codec made is unpacked even by one without: the error says what is missing.
        return not self.packing.is_plain or mark_of(params) is not None

    def _unpack(self, activity: Activity, params: Any) -> Any:
        return self.packing.unpack(f"arguments of node {activity.id}", params)

    def _taken(self, activity: Activity, handler: Handler, params: Any) -> TakenResults:
        places = handler.arguments.places_of_results(params)
        return TakenResults(activity.record, params, places, self.user_id(None))

    def _arguments(self, activity: Activity, handler: Handler, taken: TakenResults) -> Any:
        """The arguments with the results that they refer to. It may wait for a store."""
        label = f"results that node {activity.id} takes"
        return taken.arguments(
            lambda value: self.packing.unpack(label, value),
            self.ask,
            waits=self.packing.has_store,
            is_async=handler.is_async,
        )

    async def notify(self, activity: Activity, *, again: bool = False) -> bool:
        """Tell the activity's rescue, and the hook for all, of a notification; `again`: the rescue alone.

        False: the rescue raised, which is logged, and is to be run again. What the hook for all raises is logged.
        """
        record = activity.record
        handler = self.handlers.find(activity.name)
        rescue = handler.rescue if handler is not None and record.message == CLIENT_ERROR else None
        error = from_json(record.error) if record.error else {}
        if rescue is None and self.error_hook is None:
            is_allowed = record.node.server is ServerStatus.DEACTIVATED
            logger.log(logging.WARNING if is_allowed else logging.ERROR, "%s", _exhausted(activity, error))
            return True
        running.set(activity)
        is_told = rescue is None or await tell(activity, rescue, error)
        if self.error_hook is not None and not again:
            await tell(activity, self.error_hook, error)
        return is_told

    # --- its outcome -----------------------------------------------------------------------------------------------

    def _returned(self, activity: Activity, result: Any, handler: Handler) -> list[AnyCommand]:
        """The commands of an attempt whose handler returned. It raises what packing the result raises."""
        if activity.cancelled:
            return []
        node, user_id, added, signals = _node_of(activity), self.user_id(None), activity.added, activity.signals
        returned_place = activity.returned_place
        if returned_place is not None and (result is not None or handler.asynchronous):
            raise BackbeatError(
                "the activity has two results: returns() was called, and its handler returns another, or it is "
                "completed from outside. What to do: give one of them"
            )
        if activity.gives_up and handler.asynchronous:
            raise BackbeatError("an activity that is completed from outside cannot give up")
        if handler.asynchronous:
            return list(postponed(node, user_id, added, signals))
        if result is not None:
            result = self.packing.pack(f"result of node {activity.id}", result)
        outcome: dict[str, Any] = {"returned_place": returned_place, "gives_up": activity.gives_up}
        return list(completed(node, user_id, result, added, signals, **outcome))

    def failed(self, activity: Activity, error: BaseException | str) -> list[AnyCommand]:
        """The commands of an attempt that failed."""
        if activity.cancelled:
            return []
        if activity.traced is not None:
            activity.traced.failed(error)
        if isinstance(error, UnreadResultsError):
            logger.warning("%s %s is handed back: %s", activity.name, activity.id, error)
            return [handed_back(_node_of(activity), self.user_id(None), str(error))]
        handler = self.handlers.find(activity.name)
        gives_up = isinstance(error, (Fail, *(handler.retry.give_up_on if handler is not None else ())))
        _log_failed(activity, error, gives_up=gives_up)
        return [errored(_node_of(activity), self.user_id(None), error, gives_up=gives_up)]

    def unknown(self, activity: Activity) -> list[AnyCommand]:
        """The commands for an activity that nothing is registered for: it is handed back, for another worker."""
        names = sorted(self.handlers.names)
        nearest = "".join(f"did you mean {name!r}? " for name in difflib.get_close_matches(activity.name, names, 1))
        known = ", ".join(names) or "none"
        reason = f"no activity {activity.name!r} is registered here; {nearest}known: {known}"
        logger.warning("%s %s is handed back: %s", activity.name, activity.id, reason)
        return [handed_back(_node_of(activity), self.user_id(None), reason)]

    # --- the environment of an activity (`activities.environment.ActivityEnvironment`) -------------------------------

    def defaults(self, activity: str | Callable[..., Any]) -> Handler | None:
        """The handler of an activity; None: somebody else runs it."""
        return self.handlers.of(activity)

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own."""
        return self._environment.user_id(client)

    @property
    def client(self) -> Client:
        """A client of the worker's own application."""
        return self._environment.client(self.packing)

    def now(self) -> float:
        """Time, in seconds since the epoch."""
        return self._environment.now()

    def pack(self, label: str, value: Any) -> Any:
        """A JSON value for arguments; `label` names it in errors."""
        return self.packing.pack(label, value)

    @property
    def progress_seconds(self) -> float:  # noqa: D102 - as the environment's
        return self._environment.progress_seconds

    @property
    def answers_at_once(self) -> bool:  # noqa: D102 - likewise
        return self._environment.answers_at_once

    def ask(self, question: Callable[[Transport], Awaitable[T]]) -> Future[T]:
        """Have a question asked with a transport that is connected."""
        return self._environment.ask(question)


def _log_failed(activity: Activity, error: BaseException | str, *, gives_up: bool) -> None:
    """A line for an attempt that failed, with the traceback where the handler did not see it coming (`Fail`)."""
    retries = activity.record.node.retries_remaining
    if gives_up:
        outlook = "it is not tried again"
    elif isinstance(error, RetryAfter) and retries:
        outlook = f"it is tried again in {error.seconds:g} s, as it asks"
    else:
        outlook = f"{retries} {'retry' if retries == 1 else 'retries'} left" if retries else "no retry is left"
    text, raised = (error, None) if isinstance(error, str) else (describe(error), error)
    logger.warning(
        "%s %s failed in attempt %d (%s): %s",
        *(activity.name, activity.id, activity.attempt, outlook, text),
        exc_info=None
        if raised is None or isinstance(raised, Fail | RetryAfter)
        else (type(raised), raised, handlers_own(raised)),
    )


def _exhausted(activity: Activity, error: Any) -> str:
    """Text of a notification: the failure, and the remedy."""
    reason = (error.get("message") if isinstance(error, dict) else None) or "no reason was given"
    head = f"{activity.name} {activity.id}"
    if activity.record.message != CLIENT_ERROR:
        return f"{head}: {activity.record.message}: {reason}"
    if activity.record.node.server is ServerStatus.DEACTIVATED:
        return f"{head} is not tried again: {reason}. Its group allows so many failures, and goes on without it"
    return f"{head} is not tried again: {reason}. What to do: mend the cause, then `backbeat node retry {activity.id}`"


def _node_of(activity: Activity) -> NodeView:
    """The node as its answer names it: with the attempt's span behind the transaction id, where there is one."""
    node = activity.record.node
    return node if activity.traced is None else msgspec.structs.replace(node, tid=activity.traced.tid)
