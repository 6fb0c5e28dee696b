"""Changes: a form that says what will happen and asks why, then the audit, then the command."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.console import responses
from backbeat.gateway.console.actions import NODE_ACTIONS, WORKFLOW_ACTIONS, Action
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    reason_problem,
)
from backbeat.gateway.console.page_error import not_found
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http import errors
from backbeat.gateway.people.audit import DONE
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.views import NodeView, WorkflowView

#: Nodes below one that are counted before a change.
_COUNTED_MAX = 200
_ACTS_BELOW = ("cancel", "reset")
_SERVER_ERROR_STATUS = 500


class Subject(msgspec.Struct, frozen=True):
    """Subject of a change: a node or a workflow."""

    #: `node` or `workflow`.
    kind: str
    view: NodeView | WorkflowView

    @property
    def text(self) -> str:
        """Its id as text."""
        return id_text(self.view.id)

    @property
    def workflow_id(self) -> bytes:
        """The workflow that it is in, or is."""
        return self.view.workflow_id if isinstance(self.view, NodeView) else self.view.id


async def node_form(visit: Visit) -> Page:
    """GET /ui/nodes/{id}/{action}."""
    return await _form(visit, _find(NODE_ACTIONS, visit), await _node(visit))


async def workflow_form(visit: Visit) -> Page:
    """GET /ui/workflows/{id}/{action}."""
    return await _form(visit, _find(WORKFLOW_ACTIONS, visit), await _workflow(visit))


async def node(visit: Visit) -> Page | Response:
    """POST /ui/nodes/{id}/{action}."""
    return await _change(visit, _find(NODE_ACTIONS, visit), await _node(visit))


async def workflow(visit: Visit) -> Page | Response:
    """POST /ui/workflows/{id}/{action}."""
    return await _change(visit, _find(WORKFLOW_ACTIONS, visit), await _workflow(visit))


def _find(actions: tuple[Action, ...], visit: Visit) -> Action:
    for action in actions:
        if action.word == visit.values["action"]:
            return action
    raise not_found("page")


async def _node(visit: Visit) -> Subject:
    return Subject("node", await visit.node(visit.path_id("node")))


async def _workflow(visit: Visit) -> Subject:
    return Subject("workflow", await visit.workflow(visit.path_id("workflow")))


async def _form(visit: Visit, action: Action, subject: Subject, problem: str = "", status: int = 200) -> Page:
    below = None
    if isinstance(subject.view, NodeView) and action.word in _ACTS_BELOW:
        below = await _count_below(visit, subject.view)
    return visit.page(
        "change.html",
        f"{action.label}: {subject.view.name}",
        action=action,
        subject=subject,
        view=subject.view,
        is_allowed=action.is_allowed(subject.view),
        below=below,
        counted_max=_COUNTED_MAX,
        problem=problem,
        **form_fields(visit),
        response_status=status,
    )


async def _count_below(visit: Visit, view: NodeView) -> int | None:
    """Nodes below it, at most one more than are counted; None: the engine does not answer."""
    try:
        _, *parts = await visit.ask(
            queries.GetTree, "workflow", workflow_id=view.workflow_id, limit=_COUNTED_MAX + 1, after=view.id
        )
    except errors.Refusal:
        return None
    below = 0
    for other in (node for part in parts for node in part.nodes):
        if other.depth <= view.depth:
            break
        below += 1
    return below


async def _change(visit: Visit, action: Action, subject: Subject) -> Page | Response:
    reason = visit.form.get("reason", "").strip()
    problem = reason_problem(reason, is_required=action.is_final)
    if problem:
        return await _form(visit, action, subject, problem, 400)
    identity = command_id(visit)
    entry = new_entry(
        visit,
        action=action.word,
        kind=subject.kind,
        subject_id=subject.text,
        subject_name=subject.view.name,
        workflow_id=id_text(subject.workflow_id),
        client_id=id_text(subject.view.user_id),
        reason=reason,
        command_id=identity.hex(),
    )
    try:
        await carry_out(visit, entry, lambda: _send(visit, action, subject, identity))
    except errors.Refusal as refusal:
        if refusal.status < _SERVER_ERROR_STATUS:
            raise
        problem = f"{refusal}. It may still have been done: sending this form again is safe, it is done once."
        return await _form(visit, action, subject, problem, 503)
    return responses.redirect(f"../{subject.text}?done={entry.id}")


async def _send(visit: Visit, action: Action, subject: Subject, identity: bytes) -> str:
    """Send the command; its outcome as the audit has it. Refusal 503: nothing was heard."""
    # A form that is sent twice is done once, and answered with what came of it.
    header: dict[str, Any] = {
        "id": identity,
        "tid": visit.tid,
        "body_hash": body_hash(f"{action.word} {subject.text}"),
        f"{subject.kind}_id": subject.view.id,
    }
    try:
        reply = await visit.services.engine.command(
            lambda reply_to: action.kind(reply_to=reply_to, **header, **action.fields),
            subject.view.id,
            subject.view.id,
            f"{subject.kind} {subject.text}",
        )
    except Rejected as rejected:
        return f"refused: {rejected.message}"
    if isinstance(reply, Done) and not reply.changed:
        return "refused: it was canceled or deactivated before, and never runs again"
    return DONE
