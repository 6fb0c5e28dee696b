"""A node as a client holds it: what it was when it was asked for, and what can be asked of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from backbeat.client.session import Session, as_id
from backbeat.client.views import NodeValue, StatusChange, Tree, Workflow
from backbeat.errors import Fail, InvalidParameters, InvalidStatus, NodeFailed, Timeout, never_runs_again
from backbeat.payload.values import Id, from_json, id_text, to_id, to_json
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.history import StatusChange as Change
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.responses import error_response, result_response

_ENDED = (ClientStatus.COMPLETE, ClientStatus.RESOLVED, ClientStatus.SHUTDOWN)
#: A wait is asked in slices: a partition's new owner does not know of it, and a node that failed for good is no end.
_SLICE_SECONDS_FIRST = 1.0
_SLICE_SECONDS_MIN = 0.05
_SLICE_SECONDS_MAX = 5.0
#: What may keep a node that is so from being complete.
_WHY_NOT_DONE = {
    ServerStatus.READY: ", since something before it in its workflow is not done",
    ServerStatus.STARTED: ", since its time has not come, or a limit holds it up",
    ServerStatus.SENT_TO_CLIENT: ", and no worker has answered: does one of the client application that runs it run?",
    ServerStatus.PROCESSING_CHILDREN: ", and something below it is not: `backbeat workflow tree` shows what",
    ServerStatus.PAUSED: " with its workflow: `backbeat workflow resume` lets it go on",
    ServerStatus.RETRYING: ", since its last attempt failed: `backbeat node errors` shows why",
}
#: What an answer may take beyond the slice's end before the slice is given up.
_GRACE_SECONDS = 1.0


class Node(NodeValue):
    """A node, and what can be asked of it. It does not change by itself: `refresh` gives a newer one.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def approve() -> None:
    ...     node = await Backbeat().client().signal("Camera sale", "Camera 703", "Approve")
    ...     await node.answer(result="by Ann")
    ...     print(node.name, node.status, await node.result(), (await node.refresh()).status)
    >>> asyncio.run(approve())
    Approve ready by Ann complete
    """

    __slots__ = ("_client",)

    def __init__(self, client: NodeCalls, view: NodeView) -> None:
        super().__init__(view)
        self._client = client

    async def refresh(self) -> Node:
        """The node as it is now."""
        return await self._client.node(self._view.id)

    async def result(self, timeout: float | None = None) -> Any:
        """What its handler returned, once it and everything below it are complete (`Client.wait`)."""
        return await self._client.wait(self._view.id, timeout)

    async def history(self) -> list[StatusChange]:
        """Its status changes, oldest first."""
        return await self._client.history(self._view.id)

    async def tree(self) -> Tree[Node]:
        """Its workflow with all nodes, nested; NotFound where the workflow is another client application's."""
        return await self._client.tree(self.workflow_id)

    async def answer(
        self,
        *,
        result: Any = None,
        error: str | BaseException | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Say what came of it, where that is not its handler's return (`Client.answer`)."""
        await self._client.answer(self._view.id, result=result, error=error, idempotency_key=idempotency_key)

    async def retry(self, *, idempotency_key: str | None = None) -> None:
        """Try it again now, whether a retry waits for its time or none is left."""
        await self._client.retry(self._view.id, idempotency_key=idempotency_key)

    async def restart(self, *, idempotency_key: str | None = None) -> None:
        """The same as `retry`, by the name that the HTTP API has for it."""
        await self._client.retry(self._view.id, idempotency_key=idempotency_key)

    async def reset(self) -> None:
        """Deactivate everything below it."""
        await self._client.reset(self._view.id)

    async def cancel(self, *, idempotency_key: str | None = None) -> None:
        """Deactivate it and everything below; what waited for it goes on."""
        await self._client.cancel(self._view.id, idempotency_key=idempotency_key)

    async def resolve(self, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Count it as done though its retries are exhausted; the tree goes on."""
        await self._client.resolve(self._view.id, response, idempotency_key=idempotency_key)

    async def shutdown(self, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give it up; if it is blocking, what comes after it is deactivated."""
        await self._client.shutdown(self._view.id, response, idempotency_key=idempotency_key)

    async def deactivate(self, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of its workflow (`Client.deactivate`)."""
        await self._client.deactivate(self._view.id, idempotency_key=idempotency_key)


async def wait_for(client: NodeCalls, node_id: bytes, timeout: float | None) -> Any:
    """The result of a node once it is complete. See `Client.wait`."""
    ends_at = None if timeout is None else time.monotonic() + timeout
    slice_seconds = _SLICE_SECONDS_FIRST
    view: NodeView | None = None
    is_asked = False
    while True:
        left = slice_seconds if ends_at is None else min(slice_seconds, ends_at - time.monotonic())
        if left <= 0:
            if is_asked:
                raise Timeout(_not_done(node_id, view, timeout))
            # One that is complete already gives its result however little time there is.
            left = _SLICE_SECONDS_MIN
        is_asked = True
        asked_at = time.monotonic()
        try:
            view, changes = await client.ask_wait(node_id, left, left + _GRACE_SECONDS)
        except Timeout:
            # Nobody answers: an engine starts, or the partition changes its owner.
            await asyncio.sleep(0)
            continue
        if view.server in CLOSED:
            return await _result(client, view, changes)
        if view.server is ServerStatus.RETRIES_EXHAUSTED:
            raise _failed(view, changes)
        slice_seconds = min(2 * slice_seconds, _SLICE_SECONDS_MAX)
        # An answer that came too early must not make this loop spin.
        await asyncio.sleep(max(0.0, asked_at + min(left, 0.05) - time.monotonic()))


async def _result(client: NodeCalls, view: NodeView, changes: list[Change]) -> Any:
    if view.server is ServerStatus.DEACTIVATED:
        raise _failed(view, changes)
    for change in reversed(changes):
        if not change.server and change.to_status in _ENDED:
            response = None if change.response is None else from_json(change.response)
            # A worker's response is JSON-RPC shaped; a client of the HTTP API may say anything.
            if isinstance(response, dict) and "result" in response:
                return await client.unpack_result(view.id, response["result"])
            return response
    return None


def _failed(view: NodeView, changes: list[Change]) -> NodeFailed:
    message, traceback = "it was canceled, reset or passed over", []
    for change in reversed(changes):
        if change.to_status is ClientStatus.ERRORED and not change.server:
            response = None if change.response is None else from_json(change.response)
            error = response.get("error") if isinstance(response, dict) else response
            message = str(error.get("message", error)) if isinstance(error, dict) else str(error)
            data = error.get("data") if isinstance(error, dict) else None
            traceback = [str(line) for line in data] if isinstance(data, list) else []
            break
    return NodeFailed(NodeValue(view).id, word(view.server), message, traceback)


def _not_done(node_id: bytes, view: NodeView | None, timeout: float | None) -> str:
    if view is None:
        return (
            f"node {id_text(node_id)} was not complete within {timeout:g} s: nobody said how it is; does an engine run?"
        )
    why = _WHY_NOT_DONE.get(view.server, "")
    return f"{view.name} {id_text(node_id)} was not complete within {timeout:g} s: it is {word(view.server)}{why}"


class NodeCalls(Session):
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
