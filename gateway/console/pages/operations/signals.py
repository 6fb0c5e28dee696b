"""Signals: a form that sends one to a workflow, and one that sends an earlier one again with the same arguments."""

from __future__ import annotations

from typing import Any

from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.console import responses
from backbeat.gateway.console.actions import SIGNAL
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    object_of,
    reason_problem,
)
from backbeat.gateway.console.page_error import not_found
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.people.audit import DONE
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView, WorkflowView

_SERVER_ERROR_STATUS = 500


async def show(visit: Visit) -> Page:
    """GET /ui/workflows/{id}/signal?like=…: `like` is the signal that is sent again."""
    view = await visit.workflow(visit.path_id("workflow"))
    return _form(visit, view, await _like(visit, view, visit.query.get("like")))


async def _like(visit: Visit, view: WorkflowView, text: str | None) -> NodeView | None:
    """The signal that is sent again; None: a new one is asked for. 404: it is no signal of this workflow."""
    if not text:
        return None
    identity = find_id(text)
    if identity is None:
        raise not_found("signal")
    node = await visit.node(identity)
    if node.workflow_id != view.id or node.parent_id is not None:
        raise not_found("signal of this workflow")
    return node


def _form(visit: Visit, view: WorkflowView, like: NodeView | None, problem: str = "", status: int = 200) -> Page:
    return visit.page(
        "signal.html",
        f"Signal: {view.name}",
        workflow=view,
        like=like,
        action=SIGNAL,
        is_allowed=SIGNAL.is_allowed(view),
        name=visit.form.get("name", ""),
        arguments=visit.form.get("arguments", "{}"),
        problem=problem,
        response_status=status,
        **form_fields(visit),
    )


async def send(visit: Visit) -> Page | Response:
    """POST /ui/workflows/{id}/signal."""
    view = await visit.workflow(visit.path_id("workflow"))
    like = await _like(visit, view, visit.form.get("like"))
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=False)
    if problem:
        return _form(visit, view, like, problem, 400)
    try:
        node = _new_node(visit, view) if like is None else _same(like)
    except errors.Refusal as refusal:
        return _form(visit, view, like, str(refusal), refusal.status)
    # What is another signal is another command, although the form is the same.
    content = f" {id_text(view.id)} {node.name} {node.client_data.decode(errors='replace')}"
    identity = command_id(visit, content)
    entry = new_entry(
        visit,
        action="signal",
        kind="workflow",
        subject_id=id_text(view.id),
        subject_name=f"{view.name}: {node.name}",
        workflow_id=id_text(view.id),
        client_id=id_text(view.user_id),
        reason=reason,
        command_id=identity.hex(),
    )
    header: dict[str, Any] = {"id": identity, "tid": visit.tid, "body_hash": body_hash(content)}
    made: list[bytes] = []

    async def send_it() -> str:
        try:
            reply = await visit.services.engine.command(
                lambda reply_to: commands.Signal(reply_to=reply_to, workflow_id=view.id, node=node, **header),
                view.id,
                view.id,
                f"workflow {id_text(view.id)}",
            )
        except Rejected as rejected:
            return f"refused: {rejected.message}"
        assert isinstance(reply, NodeView)
        made.append(reply.id)
        return DONE

    try:
        await carry_out(visit, entry, send_it)
    except errors.Refusal as refusal:
        if refusal.status < _SERVER_ERROR_STATUS:
            raise
        problem = f"{refusal}. It may still have been sent: sending this form again is safe, it is done once."
        return _form(visit, view, like, problem, 503)
    at = f"at={id_text(made[0])}&" if made else ""
    return responses.redirect(f"../{id_text(view.id)}?{at}done={entry.id}")


def _new_node(visit: Visit, view: WorkflowView) -> NewNode:
    """The signal that the form asks for. Refusal 400."""
    name = visit.form.get("name", "").strip()
    if not name or "\0" in name:
        raise errors.invalid("name is missing: the signal's")
    return NewNode(
        name=name, user_id=view.user_id, type="decision", client_data=object_of(visit.form.get("arguments", ""))
    )


def _same(like: NodeView) -> NewNode:
    """The same signal once more."""
    return NewNode(
        name=like.name,
        user_id=like.user_id,
        type="decision",
        client_data=like.client_data,
        metadata=like.metadata,
        priority=like.priority,
        fairness_key=like.fairness_key or None,
    )
