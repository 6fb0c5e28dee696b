"""What can be asked of nodes, and said of them."""

from __future__ import annotations

from typing import Any

from backbeat.client.node import Node, wait_for
from backbeat.client.session import Speaker, as_id
from backbeat.client.views import StatusChange, Tree, Workflow
from backbeat.errors import Fail, InvalidParameters, InvalidStatus, never_runs_again
from backbeat.payload.values import Id, id_text, to_id, to_json
from backbeat.streams.core import commands, queries
from backbeat.streams.core.effects import NodeView, Reason
from backbeat.streams.core.tree.history import StatusChange as Change
from backbeat.worker.responses import error_response, result_response


class NodeCalls(Speaker):
    """The calls about nodes, each by the node's id; a `Node` has them without."""

    async def node(self, node_id: Id | bytes) -> Node:
        """A node by its id."""
        identity, text = as_id(node_id)
        answers = await self._ask(queries.GetNode(node_id=identity, **self._asked()), f"node {text}")
        return Node(self, answers[0])

    async def status(self, node_id: Id | bytes) -> str:
        """Where the engine is with a node now, `sent_to_client` or `complete` for example."""
        return (await self.node(node_id)).status

    async def tree(self, workflow_id: Id, *, top_level_only: bool = False) -> Tree[Node]:
        """A workflow with its nodes, nested."""
        identity, text = as_id(workflow_id)
        workflow, *parts = await self._ask(
            queries.GetTree(workflow_id=identity, top_level_only=top_level_only, **self._asked()),
            f"tree of workflow {text}",
        )
        return Tree(Workflow(workflow), [Node(self, view) for part in parts for view in part.nodes])

    async def history(self, node_id: Id | bytes) -> list[StatusChange]:
        """The status changes of a node, oldest first."""
        identity, text = as_id(node_id)
        answers = await self._ask(queries.GetHistory(node_id=identity, **self._asked()), f"history of node {text}")
        return [StatusChange(change) for part in answers for change in part.changes]

    async def wait(self, node_id: Id | bytes, timeout: float | None = None) -> Any:
        """What the node's handler returned, once the node and everything below it are complete.

        NodeFailed where its retries are exhausted or it was deactivated; Timeout after `timeout` seconds.
        """
        return await wait_for(self, to_id(node_id), timeout)

    async def answer(
        self,
        node_id: Id | bytes,
        *,
        result: Any = None,
        error: str | BaseException | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Say what came of an activity that is not completed by its handler's return (`asynchronous`).

        With an `error` it failed, and is tried again while it has retries; with a `Fail` it is not. InvalidStatus where
        it is not with its worker: it was answered before, or has not begun.
        """
        identity, text = as_id(node_id)
        if error is not None:
            if result is not None:
                raise InvalidParameters(
                    Reason.INVALID_PARAMETERS, "Give a result or an error, not both", "both", "one of them"
                )
            status, response = "errored", error_response(error)
        else:
            packed = await self._pack(f"result of node {text}", result)
            status, response = "completed", result_response(packed)
        command = commands.ChangeNode(
            node_id=identity,
            status=status,
            response=response,
            retriable=not isinstance(error, Fail),
            **self._common(),
        )
        await self._change(command, identity, "answer", idempotency_key)

    # --- stepping in -------------------------------------------------------------------------------------------------

    # A repeat of any of these with the same idempotency key does nothing and is answered as the first was. All but
    # `cancel` raise InvalidStatus for a node that was canceled, reset or passed over: it never runs again.

    async def retry(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Try a node again now, whether a retry waits for its time or none is left."""
        identity = to_id(node_id)
        await self._change(commands.RestartNode(node_id=identity, **self._common()), identity, "retry", idempotency_key)

    async def restart(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """The same as `retry`, by the name that the HTTP API has for it."""
        await self.retry(node_id, idempotency_key=idempotency_key)

    async def reset(self, node_id: Id | bytes) -> None:
        """Deactivate everything below a node."""
        identity = to_id(node_id)
        await self._change(commands.ResetNode(node_id=identity, **self._common()), identity, "reset")

    async def schedule(self, node_id: Id | bytes) -> None:
        """Look again what below a node can start."""
        identity = to_id(node_id)
        await self._change(commands.ScheduleNode(node_id=identity, **self._common()), identity, "schedule")

    async def cancel(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate a node and everything below it; what waited for it goes on."""
        await self._change_node(node_id, "canceled", None, idempotency_key)

    async def resolve(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Count a node as done though its retries are exhausted; the tree goes on."""
        await self._change_node(node_id, "resolved", response, idempotency_key)

    async def shutdown(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give up a node whose retries are exhausted; if it is blocking, what comes after it is deactivated."""
        await self._change_node(node_id, "shutdown", response, idempotency_key)

    async def deactivate(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of the node's workflow, ancestors too; nothing of it is scheduled by that."""
        await self._change_node(node_id, "deactivated", None, idempotency_key)

    async def deactivate_previous(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """The same as `deactivate`, by what it does."""
        await self.deactivate(node_id, idempotency_key=idempotency_key)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def ask_wait(self, node_id: bytes, wait: float, timeout: float) -> tuple[NodeView, list[Change]]:
        """One slice of a wait: the node once it is final, else as it is after `wait` seconds, and its history."""
        deadline = int((self._transport.now() + wait) * 1000)
        view, *parts = await self._ask(
            queries.WaitNode(node_id=node_id, **{**self._asked(), "deadline": deadline}),
            f"wait for node {id_text(node_id)}",
            timeout,
        )
        return view, [change for part in parts for change in part.changes]

    async def unpack_result(self, node_id: bytes, value: Any) -> Any:
        """What a node's handler returned, from what stands in the node's response."""
        return await self._unpack(f"result of node {id_text(node_id)}", value)

    async def _change_node(self, node_id: Id | bytes, status: str, response: Any, key: str | None) -> None:
        text = None if response is None else to_json("response", response)
        identity = to_id(node_id)
        command = commands.ChangeNode(node_id=identity, status=status, response=text, **self._common())
        if status == "canceled":
            # Said twice it is done once: it is canceled.
            await self._command(command, status, key)
        else:
            await self._change(command, identity, status, key)

    async def _change(self, command: commands.AnyCommand, node_id: bytes, what: str, key: str | None = None) -> None:
        """Send a change of a node. InvalidStatus: the node was canceled, reset or passed over, and nothing is changed.

        Old clients of the HTTP API are told that it was done, so the engine refuses nothing.
        """
        done = await self._command(command, what, key)
        if not done.changed:
            raise InvalidStatus(*never_runs_again(node_id))
