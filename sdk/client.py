"""The client: what a service uses to start workflows, to ask how they are, and to step in."""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType
from typing import Any, Self, Unpack

import msgspec

from backbeat.context import transaction_id
from backbeat.errors import Unavailable
from backbeat.kafka_transport import KafkaTransport
from backbeat.node import Node, wait_for
from backbeat.payloads import Id, id_text, to_id, to_json, to_subject
from backbeat.signals import SignalOptions, change_hash, make_signal, make_workflow
from backbeat.streams.core import commands, ids, queries
from backbeat.streams.core.effects import NodeView
from backbeat.streams.core.history import StatusChange as Change
from backbeat.transport import NOBODY, Transport
from backbeat.views import StatusChange, Tree, Workflow

#: Records that `publish` leaves unacknowledged before it waits.
_UNDER_WAY_MAX = 100_000
#: The library is asked for their number every so many signals.
_LOOK_EVERY = 1_000
_BACK_OFF_SECONDS = 0.005


class Client:
    """Signals workflows and asks about them, as one client application. Use it as `async with Client(…) as client`.

    `timeout` is how long an answer is awaited, in seconds. A command without one (`Timeout`) may still be applied.
    """

    def __init__(
        self,
        bootstrap_servers: str = "127.0.0.1:9092",
        client: str = "default",
        *,
        timeout: float = 10.0,
        transport: Transport | None = None,
    ) -> None:
        self.name = client
        self.timeout = timeout
        self._transport = KafkaTransport(bootstrap_servers, timeout) if transport is None else transport
        self._user_id: bytes = b""
        self._published = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect; `async with` does it."""
        await self._transport.start()
        try:
            self._user_id = self._transport.user_id(self.name)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Send what was published, and leave; `async with` does it."""
        self._user_id = b""
        await self._transport.stop()

    # --- workflows -------------------------------------------------------------------------------------------------

    async def signal(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> Node:
        """Add a signal to the workflow of this name and subject, which is made if there is none.

        What the options mean: `backbeat.signals.SignalOptions`.
        """
        command = self._signal(workflow, subject, name, options)
        key = options.get("idempotency_key")
        return Node(self, await self._transport.command(command, self.timeout, f"signal {name!r}", key=key))

    async def publish(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> str:
        """Like `signal`, without waiting for the engine: for many at once. Gives the id that the node will have.

        `await flush()` says whether Kafka has taken all of them. What the engine refuses goes to the dead letters.
        """
        command = self._signal(workflow, subject, name, options)
        self._published += 1
        if self._published % _LOOK_EVERY == 0:
            # Other tasks get their turn, too.
            await asyncio.sleep(0)
            # The library has no event for this; only a Kafka that does not keep up leads here.
            while self._transport.under_way() > _UNDER_WAY_MAX:  # noqa: ASYNC110
                await asyncio.sleep(_BACK_OFF_SECONDS)
        while True:
            try:
                return id_text(self._transport.publish(command, key=options.get("idempotency_key")))
            except BufferError:
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until Kafka has acknowledged everything published so far; Unavailable if it refused any."""
        await self._transport.flush(self.timeout if timeout is None else timeout)

    async def find_or_create(self, workflow: str, subject: Any, *, decider: str | None = None) -> Workflow:
        """The workflow of this name and subject; one that is there keeps its own decider."""
        new = make_workflow(self._connected(), workflow, subject, decider)
        command = commands.CreateWorkflow(workflow=new, **self._common())
        return Workflow(await self._transport.command(command, self.timeout, f"workflow {workflow!r}"))

    def workflow_id(self, workflow: str, subject: Any) -> str:
        """The id that this client's workflow of this name and subject has, or will have."""
        return id_text(ids.workflow_id(self._connected(), workflow, to_subject(subject)))

    async def workflow(self, workflow_id: Id) -> Workflow:
        """A workflow by its id."""
        identity = to_id(workflow_id)
        answers = await self._ask(queries.GetWorkflow(workflow_id=identity, **self._asked()), f"workflow {workflow_id}")
        return Workflow(answers[0])

    async def tree(self, workflow_id: Id, *, top_level_only: bool = False) -> Tree[Node]:
        """A workflow with its nodes, nested."""
        identity = to_id(workflow_id)
        workflow, *parts = await self._ask(
            queries.GetTree(workflow_id=identity, top_level_only=top_level_only, **self._asked()),
            f"tree of workflow {workflow_id}",
        )
        return Tree(Workflow(workflow), [Node(self, view) for part in parts for view in part.nodes])

    async def pause(self, workflow_id: Id) -> None:
        """Start nothing in the workflow until it is resumed."""
        await self._change_workflow(workflow_id, "pause")

    async def resume(self, workflow_id: Id) -> None:
        """Go on with a paused workflow."""
        await self._change_workflow(workflow_id, "resume")

    async def complete(self, workflow_id: Id) -> None:
        """Take no more signals in the workflow."""
        await self._change_workflow(workflow_id, "complete")

    # --- nodes -----------------------------------------------------------------------------------------------------

    async def node(self, node_id: Id | bytes) -> Node:
        """A node by its id."""
        identity = to_id(node_id)
        answers = await self._ask(queries.GetNode(node_id=identity, **self._asked()), f"node {id_text(identity)}")
        return Node(self, answers[0])

    async def history(self, node_id: Id | bytes) -> list[StatusChange]:
        """The status changes of a node, oldest first."""
        identity = to_id(node_id)
        answers = await self._ask(
            queries.GetHistory(node_id=identity, **self._asked()), f"history of node {id_text(identity)}"
        )
        return [StatusChange(change) for part in answers for change in part.changes]

    async def wait(self, node_id: Id | bytes, timeout: float | None = None) -> Any:
        """What the node's handler returned, once the node and everything below it are complete.

        NodeFailed where its retries are exhausted or it was deactivated; Timeout after `timeout` seconds.
        """
        return await wait_for(self, to_id(node_id), timeout)

    async def restart(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Try a node again now. A repeat with the same key does nothing and is answered as the first was."""
        command = commands.RestartNode(node_id=to_id(node_id), **self._common())
        await self._command(command, "restart", idempotency_key)

    async def reset(self, node_id: Id | bytes) -> None:
        """Deactivate everything below a node."""
        await self._command(commands.ResetNode(node_id=to_id(node_id), **self._common()), "reset")

    async def schedule(self, node_id: Id | bytes) -> None:
        """Look again what below a node can start."""
        await self._command(commands.ScheduleNode(node_id=to_id(node_id), **self._common()), "schedule")

    async def cancel(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate a node and everything below it; what waited for it goes on."""
        await self._change_node(node_id, "canceled", None, idempotency_key)

    async def resolve(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Count a node as done though its retries are exhausted; the tree goes on."""
        await self._change_node(node_id, "resolved", response, idempotency_key)

    async def shutdown(self, node_id: Id | bytes, response: Any = None) -> None:
        """Give up a node whose retries are exhausted; if it is blocking, what comes after it is deactivated."""
        await self._change_node(node_id, "shutdown", response)

    async def deactivate_previous(self, node_id: Id | bytes) -> None:
        """Deactivate every older node of the node's workflow."""
        await self._change_node(node_id, "deactivated", None)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def ask_wait(self, node_id: bytes, wait: float, timeout: float) -> tuple[NodeView, list[Change]]:
        """One slice of a wait: the node once it is final, else as it is after `wait` seconds, and its history."""
        deadline = int((time.time() + wait) * 1000)
        view, *parts = await self._ask(
            queries.WaitNode(node_id=node_id, **{**self._asked(), "deadline": deadline}),
            f"wait for node {id_text(node_id)}",
            timeout,
        )
        return view, [change for part in parts for change in part.changes]

    def _signal(self, workflow: str, subject: Any, name: str, options: SignalOptions) -> commands.Signal:
        runner = options.get("client")
        user_id = self._connected()
        return make_signal(
            user_id=user_id,
            runs_it=user_id if runner is None else self._transport.user_id(runner),
            command_id=self._command_id(options.get("idempotency_key")),
            tid=transaction_id(),
            workflow=make_workflow(user_id, workflow, subject, options.get("decider")),
            name=name,
            options=options,
            now=self._transport.now(),
        )

    def _connected(self) -> bytes:
        if not self._user_id:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        return self._user_id

    def _command_id(self, key: str | None) -> bytes:
        """A key is the client application's own: the same key of another one is another command."""
        return os.urandom(16) if key is None else ids.command_id(self._user_id, key.encode())

    def _common(self) -> dict[str, Any]:
        return {"id": self._command_id(None), "user_id": self._connected(), "tid": transaction_id()}

    async def _change_workflow(self, workflow_id: Id, change: str) -> None:
        command = commands.ChangeWorkflow(workflow_id=to_id(workflow_id), change=change, **self._common())
        await self._command(command, change)

    async def _change_node(self, node_id: Id | bytes, status: str, response: Any, key: str | None = None) -> None:
        text = None if response is None else to_json("response", response)
        command = commands.ChangeNode(node_id=to_id(node_id), status=status, response=text, **self._common())
        await self._command(command, status, key)

    async def _command(self, command: commands.AnyCommand, what: str, key: str | None = None) -> Any:
        route = commands.route(command)
        assert route is not None
        if key is not None:
            command = msgspec.structs.replace(command, id=self._command_id(key), body_hash=change_hash(command))
        return await self._transport.command(command, self.timeout, f"{what} {id_text(route)}", key=key)

    def _asked(self) -> dict[str, Any]:
        return {"reply_to": NOBODY, "deadline": 0, "user_id": self._connected(), "tid": transaction_id()}

    async def _ask(self, query: queries.AnyQuery, what: str, timeout: float | None = None) -> list[Any]:
        return await self._transport.query(query, self.timeout if timeout is None else timeout, what)
