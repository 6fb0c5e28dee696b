"""Commands and queries of one HTTP call: with its user and transaction id; rejections become HTTP errors."""

from __future__ import annotations

from typing import Any

from backbeat.errors import Rejected
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.views import NodeView, WorkflowView

#: Time beyond the end of a wait for its answer.
GRACE_SECONDS = 1.0


async def change(call: Call, kind: type[commands.AnyCommand], key: bytes, target: str, **fields: Any) -> Any:
    """Send a command of this kind; its reply. `key`: the id that determines the partition; `target`: for errors."""
    identity = call.identity()
    try:
        return await call.engine.command(
            lambda reply_to: kind(reply_to=reply_to, **identity, **fields), key, key, target
        )
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=call.preferences.whole) from rejected


async def ask(
    call: Call, kind: type[queries.AnyQuery], target: str, *, anybodys: bool = False, **fields: Any
) -> list[Any]:
    """Send a query of this kind; the parts of its reply. `anybodys`: include other clients' nodes."""
    user_id = None if anybodys else call.asker_id
    try:
        return await call.engine.query(
            lambda reply_to, deadline: kind(
                reply_to=reply_to, deadline=deadline, user_id=user_id, tid=call.tid, **fields
            ),
            target,
        )
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=call.preferences.whole) from rejected


async def get_workflow(call: Call, workflow_id: bytes) -> WorkflowView:
    """A workflow of the caller."""
    (view,) = await ask(call, queries.GetWorkflow, f"workflow {id_text(workflow_id)}", workflow_id=workflow_id)
    assert isinstance(view, WorkflowView)
    return view


async def get_node(call: Call, node_id: bytes, *, anybodys: bool = False) -> NodeView:
    """A node that the caller runs; `anybodys`: or that another client runs."""
    target = f"node {id_text(node_id)}"
    (view,) = await ask(call, queries.GetNode, target, anybodys=anybodys, node_id=node_id)
    assert isinstance(view, NodeView)
    return view


async def wait_for_node(call: Call, node_id: bytes) -> NodeView:
    """A node once it has ended, or as it is at the end of the call's wait."""
    seconds = call.preferences.wait_seconds
    deadline = int((call.engine.now() + seconds) * 1000)
    target = f"node {id_text(node_id)}"
    try:
        view, *_ = await call.engine.query(
            lambda reply_to, _: queries.WaitNode(
                reply_to=reply_to, deadline=deadline, user_id=call.asker_id, tid=call.tid, node_id=node_id
            ),
            target,
            seconds + GRACE_SECONDS,
        )
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=call.preferences.whole) from rejected
    assert isinstance(view, NodeView)
    return view


async def get_history(call: Call, node_id: bytes) -> list[StatusChange]:
    """Status changes of a node that the caller runs, oldest first."""
    replies = await ask(call, queries.GetHistory, f"node {id_text(node_id)}", node_id=node_id)
    return [change for reply in replies for change in reply.changes]


async def get_tree(
    call: Call,
    workflow_id: bytes,
    *,
    top_level_only: bool = False,
    limit: int | None = None,
    after: bytes | None = None,
) -> tuple[WorkflowView, list[NodeView]]:
    """A workflow of the caller and its nodes, parents before children; or a page of them."""
    view, *replies = await ask(
        call,
        queries.GetTree,
        f"workflow {id_text(workflow_id)}",
        workflow_id=workflow_id,
        top_level_only=top_level_only,
        limit=limit,
        after=after,
    )
    return view, [node for reply in replies for node in reply.nodes]
