"""Commands and queries about one node, by its id: `Client` has them as calls, a `Node` has them without the id."""

from __future__ import annotations

from typing import Any

from backbeat.client.session import Session
from backbeat.errors import InvalidParameters, InvalidStatus, never_runs_again
from backbeat.payload.values import from_json, id_text, to_flag, to_json
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.responses import error_response, outlook, result_response

#: Statuses, of engine or client, of a node that is not with its worker yet, or no more.
_NOT_ITS_TURN = {
    "pending": "has not begun",
    "ready": "has not begun",
    "started": "has not begun",
    "paused": "is paused",
    "retrying": "waits for another attempt",
    "errored": "has failed",
    "retries_exhausted": "has failed",
}


async def get_node(session: Session, node_id: bytes) -> NodeView:
    """The node as it is now. NotFound."""
    query = queries.GetNode(node_id=node_id, **session.query_fields())
    view: NodeView = (await session.query(query, f"node {id_text(node_id)}"))[0]
    return view


async def get_history(session: Session, node_id: bytes) -> list[StatusChange]:
    """The node's status changes, oldest first. NotFound."""
    query = queries.GetHistory(node_id=node_id, **session.query_fields())
    parts = await session.query(query, f"history of node {id_text(node_id)}")
    return [change for part in parts for change in part.changes]


async def answer_node(
    session: Session, node_id: bytes, result: Any, error: str | BaseException | None, key: str | None
) -> None:
    """Complete the node with a result, or fail its attempt with an error. InvalidStatus: it is not with its worker."""
    if error is not None:
        if result is not None:
            raise InvalidParameters(
                Reason.INVALID_PARAMETERS, "Give a result or an error, not both", "both", "one of them"
            )
        status, response = "errored", error_response(error)
    else:
        packed = await session.pack(f"result of node {id_text(node_id)}", result)
        status, response = "completed", result_response(packed)
    command = commands.ChangeNode(
        node_id=node_id,
        status=status,
        response=response,
        **outlook(error),
        **session.command_fields(),
    )
    try:
        await _change(session, command, node_id, "answer", key)
    except InvalidStatus as refusal:
        if refusal.found == "deactivated":
            raise
        how = _NOT_ITS_TURN.get(refusal.found, "was answered already")
        text = f"Node {id_text(node_id)} {how}: it is {refusal.found}; it is answered while it is with its worker"
        raise InvalidStatus(refusal.reason, text, refusal.found, refusal.wanted) from None


# All but `canceled` raise InvalidStatus for a node that was canceled, reset or passed over: it never runs again. A
# repeat with the same idempotency key does nothing and is answered as the first was.


async def restart_node(session: Session, node_id: bytes, key: str | None) -> None:
    """Try the node again now."""
    command = commands.RestartNode(node_id=node_id, **session.command_fields())
    await _change(session, command, node_id, "retry", key)


async def reset_node(session: Session, node_id: bytes) -> None:
    """Deactivate everything below the node."""
    await _change(session, commands.ResetNode(node_id=node_id, **session.command_fields()), node_id, "reset")


async def start_next(session: Session, node_id: bytes) -> None:
    """Start what can start below the node, and complete it where all there is done."""
    await _change(session, commands.ScheduleNode(node_id=node_id, **session.command_fields()), node_id, "start next")


async def change_node(
    session: Session, node_id: bytes, status: str, key: str | None = None, response: Any = None
) -> None:
    """Change the node's client status to `resolved`, `shutdown` or `deactivated` (all before it)."""
    text = None if response is None else to_json("response", response)
    command = commands.ChangeNode(node_id=node_id, status=status, response=text, **session.command_fields())
    await _change(session, command, node_id, status, key)


async def cancel_node(session: Session, node_id: bytes, key: str | None, *, compensate: bool) -> None:
    """Deactivate the node and everything below, with `compensate` once what was done there is undone."""
    is_undone, fields = to_flag("compensate", compensate), session.command_fields()
    command = commands.ChangeNode(node_id=node_id, status="canceled", compensate=is_undone, **fields)
    # Asked twice it is done once: it is canceled.
    await session.command(command, "canceled", key)


async def resolve_node(session: Session, node_id: bytes, response: Any, result: Any, key: str | None) -> None:
    """Count the node as done, with a result or a whole response."""
    if result is not None:
        if response is not None:
            message = "Give a result or a response, not both: a response is kept as it is"
            raise InvalidParameters(Reason.INVALID_PARAMETERS, message, "both", "one of them")
        response = from_json(result_response(await session.pack(f"result of node {id_text(node_id)}", result)))
    await change_node(session, node_id, "resolved", key, response)


async def _change(
    session: Session, command: commands.AnyCommand, node_id: bytes, label: str, key: str | None = None
) -> None:
    """Send a change of a node. InvalidStatus: the node was canceled, reset or passed over, and nothing is changed.

    Old clients of the HTTP API are told that it was done, so the engine refuses nothing.
    """
    done = await session.command(command, label, key)
    if not done.changed:
        raise InvalidStatus(*never_runs_again(node_id))
