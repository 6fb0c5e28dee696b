"""Waiting for a node's result, in slices: an engine that takes a partition over does not know who waited before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from backbeat.client.node_calls import get_node
from backbeat.client.session import Session
from backbeat.client.views import NodeValue
from backbeat.errors import BackbeatError, NodeFailed, NotFound, Rejected, Timeout
from backbeat.payload.values import from_json, id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import NodeView, WaitKind

#: Statuses of a step that keeps what is above it from being complete, the worst first.
_FAILING = (ServerStatus.RETRIES_EXHAUSTED, ServerStatus.ERRORED, ServerStatus.RETRYING)
_FAILING_SECONDS_MAX = 2.0
_ENDED = (ClientStatus.COMPLETE, ClientStatus.RESOLVED, ClientStatus.SHUTDOWN)
#: A wait is asked in slices: a partition's new owner does not know of it, and a node that failed for good is no end.
_SLICE_SECONDS_FIRST = 1.0
_SLICE_SECONDS_MIN = 0.05
_SLICE_SECONDS_MAX = 5.0
#: Time that an answer may take beyond the slice's end before the slice is given up.
_GRACE_SECONDS = 1.0
_OVER = "it was canceled, reset or passed over"
#: Reasons why a node of this status is not complete.
_WHY_NOT_DONE = {
    ServerStatus.READY: ", since something before it in its workflow is not done",
    ServerStatus.STARTED: ", since its time has not come, or a limit holds it up",
    ServerStatus.SENT_TO_CLIENT: ", and no worker has answered: does one of the client application that runs it run?",
    ServerStatus.PROCESSING_CHILDREN: ", and something below it is not: `backbeat workflow tree` shows what",
    ServerStatus.PAUSED: " with its workflow: `backbeat workflow resume` lets it go on",
    ServerStatus.RETRYING: ", since its last attempt failed: `backbeat node errors` shows why",
}


async def wait_for_result(session: Session, node_id: bytes, timeout: float | None, *, fail_fast: bool = False) -> Any:
    """The result of a node once it and everything below are complete. NodeFailed; Timeout after `timeout` seconds.

    `fail_fast`: NodeFailed of a step below that has failed and waits for somebody, too. Each look reads the tree.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    slice_seconds = _SLICE_SECONDS_FIRST
    view: NodeView | None = None
    is_asked = False
    while True:
        left = slice_seconds if ends_at is None else min(slice_seconds, ends_at - time.monotonic())
        if left <= 0:
            if is_asked:
                raise Timeout(_not_done(node_id, view, timeout) + await _failing_below(session, view))
            # One that is complete already gives its result however little time there is.
            left = _SLICE_SECONDS_MIN
        is_asked = True
        asked_at = time.monotonic()
        try:
            view, changes = await _wait_slice(session, node_id, left)
        except Timeout:
            # Nobody answers: an engine starts, or the partition changes its owner. Or the host's clock is behind by
            # more than the slice, which engines take for late: a longer one is not.
            slice_seconds = min(2 * slice_seconds, _SLICE_SECONDS_MAX)
            await asyncio.sleep(0)
            continue
        except BackbeatError:
            if fail_fast:
                # In memory nothing is left to run: a step may have failed.
                await _raise_failed(session, await get_node(session, node_id), is_stuck)
            raise
        if view.server in CLOSED:
            return await _result(session, view, changes)
        if view.server is ServerStatus.RETRIES_EXHAUSTED and not await _is_handled(session, view):
            raise _failure(view, changes)
        if fail_fast and view.server is ServerStatus.PROCESSING_CHILDREN:
            await _raise_failed(session, view, is_stuck)
        slice_seconds = min(2 * slice_seconds, _SLICE_SECONDS_MAX)
        # An answer that came too early must not make this loop spin.
        await asyncio.sleep(max(0.0, asked_at + min(left, 0.05) - time.monotonic()))


async def _wait_slice(session: Session, node_id: bytes, seconds: float) -> tuple[NodeView, list[StatusChange]]:
    """The node once it is final, else as it is after so many seconds, and its history."""
    deadline = int((session.transport.now() + seconds) * 1000)
    query = queries.WaitNode(node_id=node_id, **{**session.query_fields(), "deadline": deadline})
    view, *parts = await session.query(query, f"wait for node {id_text(node_id)}", seconds + _GRACE_SECONDS)
    return view, [change for part in parts for change in part.changes]


async def _result(session: Session, view: NodeView, changes: list[StatusChange]) -> Any:
    if view.server is ServerStatus.DEACTIVATED:
        raise _failure(view, changes)
    if view.given_up:
        if view.client is not ClientStatus.SHUTDOWN:
            await _raise_failed(session, view, _is_shut_down)
        raise _failure(view, changes, "it was given up")
    for change in reversed(changes):
        # The response of its end is that of the child that it returns.
        is_childs = change.server and change.to_status is ServerStatus.COMPLETE and change.response is not None
        if is_childs or (not change.server and change.to_status in _ENDED):
            response = None if change.response is None else from_json(change.response)
            # A worker's response is JSON-RPC shaped; a client of the HTTP API may say anything.
            if isinstance(response, dict) and "result" in response:
                return await session.unpack(f"result of node {id_text(view.id)}", response["result"])
            return response
    return None


async def _failing_below(session: Session, view: NodeView | None) -> str:
    """The step below a node that keeps it from being complete, and its error; empty where none is known."""
    if view is None or view.server is not ServerStatus.PROCESSING_CHILDREN:
        return ""
    try:
        failing = await _step_below(session, view, lambda node, _: node.server in _FAILING)
    except (Timeout, Rejected):
        # It is somebody else's workflow, or nobody answers: what was asked is still not done.
        return ""
    return "" if failing is None else f". Below it {failing[0].name} {failing[1]}"


#: True for a node that is looked for; given the nodes below each, too.
_Test = Callable[[NodeView, Mapping[bytes | None, list[NodeView]]], bool]


async def _step_below(session: Session, view: NodeView, test: _Test) -> tuple[NodeView, NodeFailed] | None:
    """The worst of the steps below a node that a test is true for, and its failure; null: there is none."""
    query = queries.GetTree(workflow_id=view.workflow_id, **session.query_fields())
    _, *parts = await session.query(query, f"tree of workflow {id_text(view.workflow_id)}", _FAILING_SECONDS_MAX)
    nodes = {node.id: node for part in parts for node in part.nodes}
    below: dict[bytes | None, list[NodeView]] = {}
    for node in nodes.values():
        below.setdefault(node.parent_id, []).append(node)
    steps = [node for node in nodes.values() if test(node, below) and _is_below(node, view.id, nodes)]
    if not steps:
        return None
    step = min(steps, key=lambda node: (_FAILING.index(node.server) if node.server in _FAILING else 0, node.seq))
    return step, await _failure_of(session, step)


async def _failure_of(session: Session, step: NodeView) -> NodeFailed:
    """The failure of a step, from its history; where another client application runs it, as a list shows it."""
    fields = session.query_fields()
    try:
        parts = await session.query(queries.GetHistory(node_id=step.id, **fields), "history")
    except NotFound:
        *_, path = await session.query(queries.GetPath(node_id=step.id, **fields), "path")
        return _failure(step, [], path.nodes[-1].error or _OVER)
    return _failure(step, [change for part in parts for change in part.changes])


async def _raise_failed(session: Session, view: NodeView, test: _Test) -> None:
    """NodeFailed of the step below a node that a test is true for, if there is one and it can be read."""
    try:
        failing = await _step_below(session, view, test)
    except (Timeout, Rejected):
        return
    if failing is not None:
        step, failure = failing
        given_up = " was given up" if step.client is ClientStatus.SHUTDOWN else ""
        raise NodeFailed(
            failure.node_id, failure.status, f"{step.name!r}{given_up}: {failure.message}", failure.traceback
        )


async def _is_handled(session: Session, view: NodeView) -> bool:
    """True for a failed node whose failure an activity is at."""
    query = queries.GetWaits(node_id=view.id, **session.query_fields())
    (answer,) = await session.query(query, f"waits of node {id_text(view.id)}")
    return any(wait.kind == WaitKind.CHILDREN for wait in answer.waits)


def is_stuck(node: NodeView, below: Mapping[bytes | None, list[NodeView]]) -> bool:
    """True for a node that waits for somebody: it has failed, and no activity below handles that."""
    if node.server is ServerStatus.ERRORED:
        return True
    if node.server is not ServerStatus.RETRIES_EXHAUSTED:
        return False
    return all(child.server in CLOSED or is_stuck(child, below) for child in below.get(node.id, ()))


def _is_below(node: NodeView, top: bytes, nodes: Mapping[bytes, NodeView]) -> bool:
    while node.parent_id is not None:
        if node.parent_id == top:
            return True
        node = nodes[node.parent_id]
    return False


def _is_shut_down(node: NodeView, _: Mapping[bytes | None, list[NodeView]]) -> bool:
    return node.client is ClientStatus.SHUTDOWN and node.server is not ServerStatus.DEACTIVATED


def _failure(view: NodeView, changes: list[StatusChange], why: str = _OVER) -> NodeFailed:
    message, traceback = why, []
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
    if view.waits_for_results:
        why = f", since it waits for the result of {', '.join(map(id_text, view.waits_for_results))}"
    return f"{view.name} {id_text(node_id)} was not complete within {timeout:g} s: it is {word(view.server)}{why}"
