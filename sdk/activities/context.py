"""The running activity as its handler has it: the node, children, signals, questions, heartbeats."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, Unpack, overload

import msgspec

from backbeat.activities.children import named_by_content
from backbeat.activities.definition import ActivityFunction, BoundActivity
from backbeat.activities.environment import ActivityEnvironment
from backbeat.activities.follow_ups import check_plain, followings
from backbeat.activities.parent import Parent
from backbeat.activities.pending import Pending
from backbeat.activities.running import running
from backbeat.client.signalled import signalled
from backbeat.client.signals import SignalOptions, make_signal, make_workflow
from backbeat.client.views import NodeValue, StatusChange, Tree, Workflow
from backbeat.delivery.kafka import logger
from backbeat.errors import BackbeatError, Cancelled, InvalidParameters, InvalidStatus
from backbeat.observe.tracing import Traced
from backbeat.payload.values import When, from_json, id_text, to_json, to_share, to_text
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.activities import ActivityRecord, error_of
from backbeat.schemas.messages.commands import Heartbeat, Signal
from backbeat.schemas.messages.history import StatusChange as Change
from backbeat.schemas.messages.status import ClientStatus
from backbeat.schemas.messages.values import FollowUp, NewWorkflow, Progress
from backbeat.transport.base import NOBODY, Transport

if TYPE_CHECKING:
    from backbeat.client.blocking.client import PlainClient
    from backbeat.client.client import Client

P = ParamSpec("P")

#: Time limit of an answer from the engine inside of a handler.
_ASK_SECONDS = 10.0


class Activity(Parent):
    """The activity that a handler runs: its node, what is added to it, and what can be asked about it.

    What is asked of the engine comes as a `Pending`: `await` it in an async handler, `.result()` in a plain one.

    >>> from backbeat import Worker, activity, current
    >>> from backbeat.testing import PlainBackbeat
    >>> @activity("Look")
    ... def look() -> str:
    ...     return f"attempt {current().attempt} for {current().subject}"
    >>> with PlainBackbeat(Worker(activities=[look])) as backbeat:
    ...     print(backbeat.client().signal("Camera sale", "Camera 703", look).result())
    attempt 1 for Camera 703
    """

    __slots__ = ("_on_cancel", "_progress", "_signals", "_tells", "cancelled", "is_over", "record", "traced")

    def __init__(self, record: ActivityRecord, environment: ActivityEnvironment) -> None:
        super().__init__(record.node, environment)
        #: The record that came from the engine.
        self.record = record
        #: True: the attempt is over while it runs: canceled, reset, expired, or answered by somebody else. An async
        #: handler gets a CancelledError, a plain one may look here now and then. Its answer is dropped.
        self.cancelled = False
        #: Span of the attempt, while it runs, where OpenTelemetry is installed.
        self.traced: Traced | None = None
        #: True: its handler has ended.
        self.is_over = False
        #: Progress that the engine does not know yet.
        self._progress: Progress | None = None
        self._tells = False
        self._signals: list[Signal] = []
        self._on_cancel: Callable[[], object] | None = None

    @property
    def node(self) -> NodeValue:
        """The node itself, to be kept or passed on."""
        return NodeValue(self._view)

    @property
    def state(self) -> Any:
        """What the worker's lifespan yields (`Worker(lifespan=…)`); None: it has none."""
        return self._environment.state

    @property
    def client(self) -> Client:
        """A client of the worker's own application, for async handlers: `await current().client.signal(…)`.

        What it does is done at once, whatever becomes of this attempt: give it idempotency keys.
        """
        return self._environment.client

    @property
    def plain_client(self) -> PlainClient:
        """The same client for plain handlers, whose calls wait for their answers."""
        from backbeat.client.lent import LentPlainClient  # noqa: PLC0415 - clients know the running activity

        environment = self._environment
        return LentPlainClient(environment.client, environment.ask, answers_at_once=environment.answers_at_once)

    # --- signals ---------------------------------------------------------------------------------------------------

    @overload
    def signal(
        self,
        workflow: str,
        subject: Any,
        activity: ActivityFunction[P, Any] | BoundActivity[P, Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> str: ...
    @overload
    def signal(
        self,
        workflow: str,
        subject: Any,
        activity: str | ActivityFunction[..., Any] | BoundActivity[..., Any],
        /,
        *,
        linked: bool = False,
        **options: Unpack[SignalOptions],
    ) -> str: ...
    def signal(
        self,
        workflow: str,
        subject: Any,
        activity: str | ActivityFunction[..., Any] | BoundActivity[..., Any],
        /,
        *args: Any,
        **given: Any,
    ) -> str:
        """Signal a workflow, when this handler has returned. Gives the id that the signal's node will have.

        The activity is its function, and arguments follow; or its name, and they are `args=[…]`, as of `Client.signal`.
        `linked`: this node does not complete before the signal does. The other options are those of `Client.signal`.
        The same node sends the same signal once, however often it is tried. What the engine refuses goes to the dead
        letters: to hear of it, use a `Client`.
        """
        linked = given.pop("linked", False)
        name, options, _ = signalled("signal", activity, args, given, also=("linked",))
        if linked and options.get("link") is not None:
            raise TypeError("give linked or link, not both")
        if linked:
            options["link"] = self.id
        user_id = self._environment.user_id(None)
        return self._send(make_workflow(user_id, workflow, subject, options.get("decider")), name, options)

    def continue_as(
        self,
        *args: Any,
        name: str | ActivityFunction[..., Any] | None = None,
        params: Mapping[str, Any] | None = None,
        at: When | None = None,
    ) -> str:
        """Go on with a new signal of the same workflow, with these arguments: it starts when what runs now is through.

        `name`: another activity than this one. `at`: not before. A workflow that goes on for ever does so by this: each
        round is a tree of its own. Gives the id that the signal's node will have.
        """
        if params is not None and args:
            raise TypeError("give positional arguments or params, not both")
        signal_name = self.name if name is None else name if isinstance(name, str) else name.name
        known = self._environment.defaults(signal_name)
        options: SignalOptions = {
            "args": args if params is None else params,
            "metadata": self.metadata,
            "at": at,
            "retry": None if known is None else replace(known.retry, give_up_on=()),
            "timeout": None if known is None else known.timeout,
            "on_failure": None if known is None else known.on_failure,
            "on_cancel": None if known is None else known.on_cancel,
        }
        return self._send(None, signal_name, options)

    def _send(self, workflow: NewWorkflow | None, name: str, options: SignalOptions) -> str:
        client, key = options.get("client"), options.get("idempotency_key")
        user_id = self._environment.user_id(None)
        args = options.get("args", ())
        follow_ups = self._follow_ups(options)
        content = _content(options.get("client_data") or args)
        if args:
            options["args"] = self._environment.pack(f"arguments of {name!r}", args)
        signal = make_signal(
            user_id=user_id,
            runs_it=self._environment.user_id(client),
            command_id=b"" if key is None else ids.command_id(user_id, key.encode()),
            tid=self.tid_sent,
            workflow=workflow or make_workflow(user_id, self._view.workflow_name, self.subject, self._view.decider),
            name=name,
            options=options,
            now=self._environment.now(),
            follow_ups=follow_ups,
        )
        if workflow is None:
            # The workflow that runs it, whosever it is.
            signal = msgspec.structs.replace(signal, workflow_id=self._view.workflow_id, workflow=None)
        if key is None:
            signal = named_by_content(signal, content, self._view, self._signals)
        self._signals.append(signal)
        return id_text(ids.node_id(signal.workflow_id, signal.id, 0))

    def _follow_ups(self, options: SignalOptions) -> tuple[FollowUp, ...]:
        """The activities that follow a signal."""
        environment, follow_ups = self._environment, []
        for following in followings(options, None, options.get("args") or (), environment.defaults):
            check_plain(following.name, following.params, 0)
            user_id = environment.user_id(following.client or options.get("client"))
            follow_ups.append(following.made(user_id, environment.pack))
        return tuple(follow_ups)

    # --- questions -------------------------------------------------------------------------------------------------

    def previous_error(self) -> Pending[dict[str, Any] | None]:
        """The error of the attempt before this one, {"message": …, "data": [traceback lines]}; None: there is none."""
        if self._view.attempt <= 1:
            return Pending.of(None)

        async def ask(transport: Transport) -> dict[str, Any] | None:
            for change in reversed(await self._changes(transport)):
                if not change.server and change.to_status is ClientStatus.ERRORED:
                    error: dict[str, Any] = from_json(error_of(change.response))
                    return error
            return None

        return Pending(self._environment.ask(ask))

    def history(self) -> Pending[list[StatusChange]]:
        """The status changes of this node, oldest first."""

        async def ask(transport: Transport) -> list[StatusChange]:
            return [StatusChange(change) for change in await self._changes(transport)]

        return Pending(self._environment.ask(ask))

    def parent(self) -> Pending[NodeValue | None]:
        """The node that this one was added to, as it is now; None at the top. NotFound where another client runs it."""
        parent_id = self._view.parent_id
        if parent_id is None:
            return Pending.of(None)

        async def ask(transport: Transport) -> NodeValue | None:
            (view,) = await self._ask(
                transport, queries.GetNode(node_id=parent_id, **self._query_fields()), "the parent"
            )
            return NodeValue(view)

        return Pending(self._environment.ask(ask))

    def workflow(self) -> Pending[Workflow]:
        """The workflow, as it is now. NotFound where it is another client's."""
        workflow_id = self._view.workflow_id

        async def ask(transport: Transport) -> Workflow:
            query = queries.GetWorkflow(workflow_id=workflow_id, **self._query_fields())
            (view,) = await self._ask(transport, query, "the workflow")
            return Workflow(view)

        return Pending(self._environment.ask(ask))

    def tree(self) -> Pending[Tree[NodeValue]]:
        """The workflow with all its nodes, as they are now. NotFound where it is another client's."""
        workflow_id = self._view.workflow_id

        async def ask(transport: Transport) -> Tree[NodeValue]:
            query = queries.GetTree(workflow_id=workflow_id, **self._query_fields())
            workflow, *parts = await self._ask(transport, query, "the tree")
            return Tree(Workflow(workflow), [NodeValue(view) for part in parts for view in part.nodes])

        return Pending(self._environment.ask(ask))

    async def _changes(self, transport: Transport) -> list[Change]:
        query = queries.GetHistory(node_id=self._view.id, **self._query_fields())
        return [change for part in await self._ask(transport, query, "the history") for change in part.changes]

    def _query_fields(self) -> dict[str, Any]:
        """Fields that every query has."""
        return {
            "reply_to": NOBODY,
            "deadline": 0,
            "user_id": self._environment.user_id(None),
            "tid": self._view.tid,
        }

    async def _ask(self, transport: Transport, query: queries.AnyQuery, label: str) -> list[Any]:
        return await transport.query(query, _ASK_SECONDS, f"{label} of node {self.id}")

    # --- while it runs ---------------------------------------------------------------------------------------------

    def heartbeat(self) -> Pending[None]:
        """Say that this is still at work: `complete_by` is moved to the activity's timeout from now.

        It need not be awaited. Awaited, it raises Cancelled once the attempt is over.
        """
        return Pending(self._environment.ask(self._beat))

    async def _beat(self, transport: Transport) -> None:
        progress = self._progress
        command = Heartbeat(
            id=os.urandom(16),
            user_id=self._environment.user_id(None),
            tid=self._view.tid,
            node_id=self._view.id,
            attempt=self._view.attempt,
            progress=progress,
        )
        try:
            await transport.command(command, _ASK_SECONDS, f"heartbeat of node {self.id}")
        except InvalidStatus:
            self.tell_cancelled()
            self.raise_if_cancelled()
        if self._progress is progress:
            self._progress = None

    def progress(self, fraction: float | None = None, note: str = "") -> None:
        """Say how far this is: `progress(0.4, "page 40")`. The tree, `waits` and `follow` show it.

        It may be said as often as one likes: the newest goes to the engine every 2 seconds at most, as a heartbeat,
        which renews `complete_by`. What is said in between, or by an attempt that ends sooner, nobody sees; nor does it
        outlive the attempt.
        """
        share = None if fraction is None else to_share("the progress", fraction)
        self._progress = Progress(share, to_text("note", note, may_be_empty=True))
        if not self._tells:
            self._tells = True
            self._environment.ask(self._tell_progress)

    async def _tell_progress(self, transport: Transport) -> None:
        """Tell the engine the newest progress, after a while, unless the handler has ended or a heartbeat told it."""
        if self._environment.progress_seconds:
            await asyncio.sleep(self._environment.progress_seconds)
        self._tells = False
        if self._progress is None or self.is_over or self.cancelled:
            return
        try:
            await self._beat(transport)
        except Cancelled:
            return
        except BackbeatError as error:
            logger.warning("the progress of %s %s is not told: %s", self.name, self.id, error)

    def raise_if_cancelled(self) -> None:
        """Cancelled where the attempt is over: for plain handlers that run for long."""
        if self.cancelled:
            raise Cancelled(f"attempt {self.attempt} of node {self.id} is over")

    def tell_cancelled(self) -> None:
        """Mark the attempt as over (`cancelled`). For whoever runs it, in its event loop."""
        if not self.cancelled:
            self.cancelled = True
            if self._on_cancel is not None:
                self._on_cancel()

    def when_cancelled(self, stop: Callable[[], object]) -> None:
        """Register the function that `tell_cancelled` calls, once. For whoever runs it."""
        self._on_cancel = stop

    @property
    def tid_sent(self) -> str:
        """Transaction id of its commands: it carries the span of this attempt, where there is one."""
        return self._view.tid if self.traced is None else self.traced.tid

    # --- its outcome -----------------------------------------------------------------------------------------------

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals sent so far."""
        return tuple(self._signals)


def _content(arguments: Any) -> bytes:
    """Bytes that a repeat of a signal is known by; empty for arguments that only the caller's codec can write."""
    try:
        return to_json("arguments", arguments)
    except InvalidParameters:
        return b""


def current() -> Activity:
    """The activity that is running here. BackbeatError outside of a handler.

    >>> current()
    Traceback (most recent call last):
    backbeat.errors.BackbeatError: no activity is running here: current() is for handlers, ...
    """
    activity: Activity | None = running.get(None)
    if activity is None:
        raise BackbeatError(
            "no activity is running here: current() is for handlers, and what they call. A thread that a handler "
            "starts has none. What to do: pass it what it needs, or run it by contextvars.copy_context().run"
        )
    return activity
