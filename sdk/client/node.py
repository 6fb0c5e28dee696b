"""A node with its calls: a snapshot of when it was asked for, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from backbeat.client import node_calls
from backbeat.client.session import Session, as_id
from backbeat.client.views import NodeValue, StatusChange, Tree, Workflow
from backbeat.client.waiting import wait_for_result
from backbeat.client.waits import Child, Wait, get_children, get_path, get_waits
from backbeat.errors import CodecError, NotFound
from backbeat.payload.values import Id
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.arguments import Converter, reason_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=Any)
else:
    V = TypeVar("V")


class Node(NodeValue, Generic[V]):
    """A node, and what can be asked of it. It does not change by itself: `refresh` gives a newer one.

    `Node[int]` is one whose handler returns an int: what is signalled by its function.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def approve() -> None:
    ...     node = await Backbeat().client().signal("Camera sale", "Camera 703", "Approve")
    ...     await node.answer(result="by Ann")
    ...     print(node.name, node.status, await node.result(), (await node.refresh()).status)
    >>> asyncio.run(approve())
    Approve ready by Ann complete
    """

    __slots__ = ("_convert", "_session")

    def __init__(self, session: Session, view: NodeView, convert: Converter | None = None) -> None:
        super().__init__(view)
        self._session = session
        #: Converter of its result to what its function says that it returns; None: it stays as JSON has it.
        self._convert = convert

    async def refresh(self) -> Node[V]:
        """The node as it is now."""
        return Node(self._session, await node_calls.get_node(self._session, self._view.id), self._convert)

    async def result(self, timeout: float | None = None, *, fail_fast: bool = False) -> V:
        """The return value of its handler, once it and everything below it are complete (`Client.wait`).

        NodeFailed where it fails, is canceled, or a step below it was given up. `fail_fast`: also, at once, where a
        step below it has failed and waits for somebody. CodecError for a value that is not what its function says that
        it returns.
        """
        result: Any = await wait_for_result(self._session, self._view.id, timeout, fail_fast=fail_fast)
        if self._convert is not None and result is not None:
            try:
                result = self._convert(result)
            except (ValueError, TypeError) as error:
                text = f"the result of {self.name} {self.id} is not what its annotation says: {reason_of(error)}"
                raise CodecError(text) from None
        return result  # type: ignore[no-any-return]  # it was made into it

    async def history(self) -> list[StatusChange]:
        """Its status changes, oldest first."""
        return [StatusChange(change) for change in await node_calls.get_history(self._session, self._view.id)]

    async def waits(self) -> list[Wait]:
        """Why it does not go on (`Client.waits`)."""
        return await get_waits(self._session, self._view.id)

    async def children(self, *, limit: int | None = None, after: Id | bytes | None = None) -> list[Child]:
        """The nodes right below it, in their order, each with what it waits for (`Client.children`)."""
        return await get_children(self._session, self._view.id, limit, after)

    async def path(self) -> list[Child]:
        """The nodes above it, from the top of its workflow down, and itself."""
        return await get_path(self._session, self._view.id)

    async def tree(self) -> Tree[Node]:
        """Its workflow with all nodes, nested; NotFound where the workflow is another client application's."""
        return await get_tree(self._session, self.workflow_id)

    async def answer(
        self,
        *,
        result: Any = None,
        error: str | BaseException | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Complete it from outside, where its handler's return does not (`Client.answer`)."""
        await node_calls.answer_node(self._session, self._view.id, result, error, idempotency_key)

    async def retry(self, *, idempotency_key: str | None = None) -> None:
        """Try it again now, whether a retry waits for its time or none is left."""
        await node_calls.restart_node(self._session, self._view.id, idempotency_key)

    async def reset(self) -> None:
        """Deactivate everything below it."""
        await node_calls.reset_node(self._session, self._view.id)

    async def cancel(self, *, compensate: bool = False, idempotency_key: str | None = None) -> None:
        """Deactivate it and everything below; what waited for it goes on (`Client.cancel`)."""
        await node_calls.cancel_node(self._session, self._view.id, idempotency_key, compensate=compensate)

    async def resolve(self, response: Any = None, *, result: Any = None, idempotency_key: str | None = None) -> None:
        """Count it as done though its retries are exhausted; the tree goes on (`Client.resolve`)."""
        await node_calls.resolve_node(self._session, self._view.id, response, result, idempotency_key)

    async def shutdown(self, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give it up; if it is blocking, what comes after it is deactivated."""
        await node_calls.change_node(self._session, self._view.id, "shutdown", idempotency_key, response)

    async def deactivate_previous(self, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of its workflow (`Client.deactivate_previous`)."""
        await node_calls.change_node(self._session, self._view.id, "deactivated", idempotency_key)


async def get_tree(session: Session, workflow_id: Id, *, top_level_only: bool = False) -> Tree[Node]:
    """A workflow with its nodes, nested. NotFound."""
    id_bytes, text = as_id(workflow_id)
    query = queries.GetTree(workflow_id=id_bytes, top_level_only=top_level_only, **session.query_fields())
    try:
        workflow, *parts = await session.query(query, f"tree of workflow {text}")
    except NotFound as refusal:
        raise session.not_found(id_bytes, refusal) from None
    return Tree(Workflow(workflow), [Node(session, view) for part in parts for view in part.nodes])
