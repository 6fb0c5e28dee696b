"""The client: what a service uses to start workflows, to ask how they are, and to step in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from backbeat.activities.definition import ActivityFunction, BoundActivity
from backbeat.client import node_calls, workflow_calls
from backbeat.client.jobs.jobs import Jobs
from backbeat.client.limits.limits import Limits
from backbeat.client.node import Node, get_tree
from backbeat.client.operations.archives import Archives
from backbeat.client.operations.dead_letters import DeadLetters
from backbeat.client.operations.retention import Retention
from backbeat.client.operations.settings import Settings
from backbeat.client.schedules.schedules import Schedules
from backbeat.client.searches import Searches
from backbeat.client.session import Session
from backbeat.client.signalled import signalled
from backbeat.client.signals import SignalOptions
from backbeat.client.views import StatusChange, Tree, Workflow
from backbeat.client.waiting import wait_for_result
from backbeat.client.waits import Child, Outcome, Wait, get_children, get_outcome, get_waits
from backbeat.codecs import Codec
from backbeat.delivery.changes import Change
from backbeat.errors import KeyReused, WorkflowComplete
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.payload.values import Id, id_text, to_id, to_subject
from backbeat.schemas.messages import ids
from backbeat.stores import Store
from backbeat.transport.base import Transport
from backbeat.transport.opening import Caller, open_transport

P = ParamSpec("P")
T = TypeVar("T")


class Client(Searches):
    """Signals workflows and asks about them, as one client application. Use it as `async with Client(…) as client`.

    `address` says how it speaks: Kafka's bootstrap servers (without it the variable BACKBEAT_BOOTSTRAP_SERVERS, else
    `127.0.0.1:9092`), or a gateway's URL, `http://127.0.0.1:9292`; `transport` replaces both. `client` is the client
    application's name (`default`), over HTTP also its id; `token` its token, where the gateway asks for it. With Kafka,
    `gateway` is the URL that searches are asked of.

    Over HTTP a person may ask, too: `person` is the name (`backbeat person`), `token` the person's, `reason` why
    something is changed, for the audit. Then `client` is the client application that it is about; without: all are.
    `codec` and `store` are what arguments and results go through: `backbeat.codecs`, `backbeat.stores`. `timeout` is
    how long an answer is awaited, in seconds. A command without one (`Timeout`) may still be applied.
    >>> from backbeat.testing import PlainBackbeat
    >>> with PlainBackbeat() as backbeat:
    ...     print(backbeat.client().signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"]).status)
    ready
    """

    def __init__(
        self,
        address: str | None = None,
        client: str | None = None,
        *,
        timeout: float = 10.0,
        gateway: str | None = None,
        token: str | None = None,
        person: str | None = None,
        reason: str = "",
        codec: Codec | None = None,
        store: str | Store | None = None,
        transport: Transport | None = None,
    ) -> None:
        if client is None:
            client = "default" if person is None else ""
        if transport is None:
            transport = open_transport(address, Caller(client, token, person, reason), timeout, gateway)
        self._session = Session(client, transport, PayloadCodec(codec, store), timeout)
        self._publisher = workflow_calls.Publisher(self._session)
        #: Limits of activities: `await client.limits.set("Send to Bank", concurrency=3)`.
        self.limits = Limits(self._session)
        #: Workflows that are signalled at times: `await client.schedules.put("nightly", …)`.
        self.schedules = Schedules(self._session)
        #: Changes of all nodes that match: `await client.jobs.start("retry", name="Charge card")`.
        self.jobs = Jobs(self._session)
        #: How long finished workflows are kept: `await client.retention.set("Camera sale", keep=timedelta(days=30))`.
        self.retention = Retention(self._session)
        #: Records that could not be processed: `await client.dead_letters.redrive("0@17", note="mended")`.
        self.dead_letters = DeadLetters(self._session)
        #: Archives of workflows that were removed: `await client.archives.list("shop")`.
        self.archives = Archives(self._session)
        #: Settings of the engines: `(await client.settings.get()).children_max`.
        self.settings = Settings(self._session)

    @property
    def name(self) -> str:
        """The client application that asks: its name, or over HTTP also its id."""
        return self._session.name

    @property
    def timeout(self) -> float:
        """Time limit of each answer, in seconds."""
        return self._session.timeout

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect; `async with` does it. Nothing where it is connected already."""
        await self._session.start()

    async def stop(self) -> None:
        """Send what was published, and leave; `async with` does it."""
        await self._session.stop()

    # --- signals and workflows ---------------------------------------------------------------------------------------

    @overload
    async def signal(
        self,
        workflow: str,
        subject: Any,
        activity: ActivityFunction[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Node[T]: ...
    @overload
    async def signal(
        self, workflow: str, subject: Any, activity: ActivityFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Node[T]: ...
    @overload
    async def signal(
        self,
        workflow: str,
        subject: Any,
        activity: BoundActivity[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Node[T]: ...
    @overload
    async def signal(
        self, workflow: str, subject: Any, activity: BoundActivity[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Node[T]: ...
    @overload
    async def signal(self, workflow: str, subject: Any, name: str, /, **options: Unpack[SignalOptions]) -> Node: ...
    async def signal(
        self,
        workflow: str,
        subject: Any,
        activity: str | ActivityFunction[..., Any] | BoundActivity[..., Any],
        /,
        *args: Any,
        **options: Any,
    ) -> Node[Any]:
        """Add a signal to the workflow of this name and subject, which is made if there is none.

        The activity is its function, and its handler's arguments follow: `signal("Sale", 703, make_purchase, "Ann")`;
        a type checker looks at them, and `result()` has its type. What else is to be said is said by
        `make_purchase.with_options(…)`; what is not said is as declared. By its name, arguments are `args=["Ann"]`, and
        keywords are options: `backbeat.client.signals.SignalOptions`. UnknownOption for one that is not there.
        """
        signal = signalled("signal", activity, args, options)
        command = await workflow_calls.signal_command(self._session, workflow, subject, signal.name, signal.options)
        key = signal.options.get("idempotency_key")
        try:
            view = await self._session.transport.command(command, self.timeout, f"signal {signal.name!r}", key=key)
        except WorkflowComplete as refusal:
            text = f"The workflow {workflow!r} of {subject!r} is complete and takes no more signals"
            raise WorkflowComplete(refusal.reason, text, refusal.found, refusal.wanted) from None
        except KeyReused as refusal:
            text = (
                f"idempotency_key {key!r} was used before, for a signal with another name, workflow, subject, "
                "arguments or options. What to do: the same request, or a key of its own"
            )
            raise KeyReused(refusal.reason, text, refusal.found, refusal.wanted) from None
        return Node(self._session, view, signal.convert)

    @overload
    async def publish(
        self,
        workflow: str,
        subject: Any,
        activity: ActivityFunction[P, Any] | BoundActivity[P, Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> str: ...
    @overload
    async def publish(self, workflow: str, subject: Any, name: str, /, **options: Unpack[SignalOptions]) -> str: ...
    async def publish(
        self,
        workflow: str,
        subject: Any,
        activity: str | ActivityFunction[..., Any] | BoundActivity[..., Any],
        /,
        *args: Any,
        **options: Any,
    ) -> str:
        """Like `signal`, without waiting for the engine: for many at once. Gives the id that the node will have.

        `flush()` says whether all of them were taken. What the engine refuses goes to the dead letters; a gateway says
        it, and `flush` raises it.
        """
        signal = signalled("publish", activity, args, options)
        command = await workflow_calls.signal_command(self._session, workflow, subject, signal.name, signal.options)
        return await self._publisher.publish(command, signal.options.get("idempotency_key"))

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything published so far has been taken; Unavailable if any was refused."""
        await self._session.transport.flush(self.timeout if timeout is None else timeout)

    async def send(
        self, workflow: str, subject: Any, name: str, value: Any = None, /, *, idempotency_key: str | None = None
    ) -> None:
        """Send a message to a workflow: the oldest node that waits for one of this name (`wait_for`) has it as result.

        Where none waits, the workflow keeps it for the next one, up to 1,000 messages and 1 MiB (LimitExceeded).
        """
        await workflow_calls.send_message(self._session, workflow, subject, name, value, key=idempotency_key)

    async def find_or_create(self, workflow: str, subject: Any, *, decider: str | None = None) -> Workflow:
        """The workflow of this name and subject; one that is there keeps its own decider."""
        return await workflow_calls.create_workflow(self._session, workflow, subject, decider)

    def workflow_id(self, workflow: str, subject: Any) -> str:
        """The id that this client's workflow of this name and subject has, or will have."""
        workflow_id = ids.workflow_id(self._session.user_id, workflow, to_subject(subject))
        self._session.remember(workflow_id, workflow, subject)
        return id_text(workflow_id)

    async def workflow(self, workflow_id: Id) -> Workflow:
        """A workflow by its id."""
        return await workflow_calls.get_workflow(self._session, workflow_id)

    async def tree(self, workflow_id: Id, *, top_level_only: bool = False) -> Tree[Node]:
        """A workflow with its nodes, nested."""
        return await get_tree(self._session, workflow_id, top_level_only=top_level_only)

    async def follow(self, workflow_id: Id, *, after: str | None = None) -> AsyncIterator[Change]:
        """The changes of nodes' statuses in a workflow as they come, from when the first is asked for; without an end.

        `after`: go on behind a change, by its `id`; "0" is before the oldest that is kept. Unavailable: changes were
        missed. Over Kafka it needs the right to read the history topic; in memory it ends when nothing is left to run.
        """
        async for change in workflow_calls.follow_workflow(self._session, workflow_id, after):
            yield change

    async def outcome(self, workflow: str, subject: Any) -> Outcome:
        """State of a workflow (running, waiting, retrying, failed, done) and what fails. It reads the whole tree."""
        return await get_outcome(self._session, self.workflow_id(workflow, subject))

    async def outcome_of(self, workflow_id: Id) -> Outcome:
        """As `outcome`, of a workflow by its id."""
        return await get_outcome(self._session, workflow_id)

    async def pause(self, workflow_id: Id) -> None:
        """Start nothing in the workflow until it is resumed."""
        await workflow_calls.change_workflow(self._session, workflow_id, "pause")

    async def resume(self, workflow_id: Id) -> None:
        """Go on with a paused workflow."""
        await workflow_calls.change_workflow(self._session, workflow_id, "resume")

    async def close(self, workflow_id: Id) -> None:
        """Take no more signals in the workflow; what is in it goes on. What ends the client is `stop`."""
        await workflow_calls.change_workflow(self._session, workflow_id, "complete")

    # --- nodes, each by its id; a `Node` has the same calls without --------------------------------------------------

    async def node(self, node_id: Id | bytes) -> Node:
        """A node by its id."""
        return Node(self._session, await node_calls.get_node(self._session, to_id(node_id)))

    async def status(self, node_id: Id | bytes) -> str:
        """The server status of a node now, `sent_to_client` or `complete` for example."""
        return (await self.node(node_id)).status

    async def history(self, node_id: Id | bytes) -> list[StatusChange]:
        """The status changes of a node, oldest first."""
        return [StatusChange(change) for change in await node_calls.get_history(self._session, to_id(node_id))]

    async def waits(self, node_id: Id | bytes) -> list[Wait]:
        """Why a node does not go on: what holds it up now, then what comes after; empty: it waits for nothing."""
        return await get_waits(self._session, node_id)

    async def children(
        self, parent_id: Id | bytes, *, limit: int | None = None, after: Id | bytes | None = None
    ) -> list[Child]:
        """The nodes right below a node, or at the top of a workflow, in their order, each with what it waits for.

        At most `limit`, behind the child `after`; without their data (`tree` and `node` give it).
        """
        return await get_children(self._session, parent_id, limit, after)

    async def wait(self, node_id: Id | bytes, timeout: float | None = None, *, fail_fast: bool = False) -> Any:
        """The return value of the node's handler, once the node and everything below it are complete.

        NodeFailed where its retries are exhausted, it was deactivated, or it or a step below was given up; `fail_fast`:
        also where a step below has failed and waits for somebody. Timeout after `timeout` seconds.
        """
        return await wait_for_result(self._session, to_id(node_id), timeout, fail_fast=fail_fast)

    async def answer(
        self,
        node_id: Id | bytes,
        *,
        result: Any = None,
        error: str | BaseException | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Complete an activity that is not completed by its handler's return (`asynchronous`).

        With an `error` it failed, and is tried again while it has retries; with a `Fail` it is not. InvalidStatus where
        it is not with its worker: it was answered before, or has not begun.
        """
        await node_calls.answer_node(self._session, to_id(node_id), result, error, idempotency_key)

    # A repeat of any of these with the same idempotency key does nothing and is answered as the first was. All but
    # `cancel` raise InvalidStatus for a node that was canceled, reset or passed over: it never runs again.

    async def retry(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Try a node again now, whether a retry waits for its time or none is left."""
        await node_calls.restart_node(self._session, to_id(node_id), idempotency_key)

    async def reset(self, node_id: Id | bytes) -> None:
        """Deactivate everything below a node."""
        await node_calls.reset_node(self._session, to_id(node_id))

    async def start_next(self, node_id: Id | bytes) -> None:
        """Start what can start below a node, and complete it where all there is done: the engine looks again."""
        await node_calls.start_next(self._session, to_id(node_id))

    async def cancel(
        self, node_id: Id | bytes, *, compensate: bool = False, idempotency_key: str | None = None
    ) -> None:
        """Deactivate a node and everything below it; what waited for it goes on.

        `compensate`: what was done below it is undone first (`undo` of activities), the newest first; what is not done
        is deactivated at once, and what waited for the node goes on once it is undone. InvalidStatus: it is complete.
        """
        await node_calls.cancel_node(self._session, to_id(node_id), idempotency_key, compensate=compensate)

    async def resolve(
        self, node_id: Id | bytes, response: Any = None, *, result: Any = None, idempotency_key: str | None = None
    ) -> None:
        """Count a node as done though its retries are exhausted; the tree goes on.

        `result`: what those get that take it, as if its handler had returned it; or `response`, kept as it is.
        """
        await node_calls.resolve_node(self._session, to_id(node_id), response, result, idempotency_key)

    async def shutdown(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give up a node whose retries are exhausted; if it is blocking, what comes after it is deactivated."""
        await node_calls.change_node(self._session, to_id(node_id), "shutdown", idempotency_key, response)

    async def deactivate_previous(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of the node's workflow, ancestors too; nothing is started by that."""
        await node_calls.change_node(self._session, to_id(node_id), "deactivated", idempotency_key)
