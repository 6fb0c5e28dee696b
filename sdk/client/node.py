"""A node as a client holds it: what it was when it was asked for, and what can be asked of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from backbeat.client.views import NodeValue, StatusChange, Tree
from backbeat.errors import NodeFailed, Timeout
from backbeat.payload.values import from_json, id_text
from backbeat.streams.core.effects import NodeView
from backbeat.streams.core.tree.history import StatusChange as Change
from backbeat.streams.core.tree.status import CLOSED, ClientStatus, ServerStatus, word

if TYPE_CHECKING:
    from backbeat.client.nodes import NodeCalls

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
