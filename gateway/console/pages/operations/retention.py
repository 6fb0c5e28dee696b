"""Retention: how long finished workflows are kept, and which wait to be archived."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import (
    body_hash,
    carry_out,
    command_id,
    form_fields,
    new_entry,
    reason_problem,
)
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.people.audit import DONE
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.retention import DueWorkflow, RetentionPolicy
from backbeat.transport.base import to_every_partition

_ROWS = 200
_DUE = 100
_DAY_SECONDS = timedelta(days=1).total_seconds()
_DAYS_MAX = 36_500
#: Kind of the entries in the audit, whose subject is the policy's client and name.
KIND = "retention"


class PolicyRow(msgspec.Struct, frozen=True):
    """A policy, and in how many partitions it is."""

    policy: RetentionPolicy
    client: str
    partitions: int


async def show(visit: Visit) -> Page:
    """GET /ui/retention."""
    return await _page(visit)


async def _page(visit: Visit, problem: str = "", status: int = 200) -> Page:
    parts, _ = await visit.ask_all(queries.GetRetention, "retention")
    counts: dict[RetentionPolicy, int] = {}
    for policy in (policy for part in parts for policy in part.policies if visit.who.sees(policy.owner_id)):
        counts[policy] = counts.get(policy, 0) + 1
    rows = [PolicyRow(policy, visit.client_name(policy.owner_id), count) for policy, count in counts.items()]
    rows.sort(key=lambda row: (row.client, row.policy.name))
    due = await _due(visit)
    done = visit.parts.audit.find(visit.query.get("done", ""))
    return visit.page(
        "retention.html",
        "Retention",
        rows=rows[:_ROWS],
        more=max(0, len(rows) - _ROWS),
        partitions=visit.services.engine.partitions,
        due=due[:_DUE],
        is_more_due=len(due) > _DUE,
        archives=visit.services.archive_store is not None,
        clients=[client.name for client in visit.clients()],
        values={name: visit.form.get(name, "") for name in ("client", "workflow", "keep_days")},
        problem=problem,
        response_status=status,
        done=done if done is not None and done.kind == KIND and visit.sees_entry(done) else None,
        **form_fields(visit),
    )


async def _due(visit: Visit) -> list[DueWorkflow]:
    """Workflows that wait to be archived, the oldest first."""
    parts, _ = await visit.ask_all(queries.GetDue, "workflows", limit=_DUE + 1)
    due = [workflow for part in parts for workflow in part.workflows if visit.who.sees(workflow.owner_id)]
    return sorted(due, key=lambda workflow: (workflow.due_at, workflow.workflow_id))


async def change(visit: Visit) -> Page | Response:
    """POST /ui/retention: set or remove a policy."""
    action = visit.form.get("action", "")
    if action not in ("keep", "forget"):
        raise PageError(400, "This form was not whole", "action is keep or forget.")
    name, client = visit.form.get("workflow", "").strip(), visit.form.get("client", "")
    owner_id = visit.client_id(client)
    if owner_id is None and action == "forget" and visit.who.clients is None:
        # A client that was removed has left its policies.
        owner_id = find_id(client)
    if owner_id is None:
        raise PageError(400, "There is no such client", f"Nobody that you may see is called {client[:60]!r}.")
    reason = visit.form.get("reason", "").strip()
    # What is removed without an archive is gone.
    problem = reason_problem(reason, is_required=action == "keep")
    keep_seconds = _DAY_SECONDS
    if not problem and action == "keep":
        days = _number(visit.form.get("keep_days", ""))
        if not name or days is None:
            problem = f"A policy has a workflow's name and a number of days, up to {_DAYS_MAX:,}."
        else:
            keep_seconds = days * _DAY_SECONDS
    if problem:
        return await _page(visit, problem, 400)
    policy = RetentionPolicy(
        owner_id=owner_id, name=name, keep_seconds=keep_seconds, archive=visit.form.get("archive") == "on"
    )
    if action == "keep":
        kept = f"keep for {keep_seconds / _DAY_SECONDS:g} days, then {'archive' if policy.archive else 'remove'}"
    else:
        kept = "keep for ever"
    content = f" {action} {policy}"
    identity = command_id(visit, content)
    registered = visit.services.engine.client(owner_id)
    entry = new_entry(
        visit,
        action=kept,
        kind=KIND,
        subject_id=f"{client}/{name}"[:300],
        subject_name=name,
        workflow_id="",
        client_id="" if registered is None else registered.id,
        reason=reason,
        command_id=identity.hex(),
    )
    command = commands.ChangeRetention(
        id=identity, tid=visit.tid, body_hash=body_hash(content), policy=policy, forget=action == "forget"
    )
    await carry_out(visit, entry, lambda: _send(visit, command))
    return responses.redirect(f"retention?done={entry.id}")


async def _send(visit: Visit, command: commands.ChangeRetention) -> str:
    """Send a change to every partition; what the audit says of it."""
    engine = visit.services.engine

    async def to_partition(route: bytes) -> object:
        return await engine.command(
            lambda reply_to: msgspec.structs.replace(command, reply_to=reply_to),
            route,
            route,
            f"retention of {command.policy.name[:100]!r}",
        )

    try:
        await to_every_partition(engine.every_partition(), to_partition)
    except Rejected as rejected:
        return f"refused: {rejected.message}"
    except Refusal as refusal:
        raise PageError(
            503, "Not every partition has answered", f"{refusal}. Sending the form again is safe."
        ) from refusal
    return DONE


def _number(text: str) -> float | None:
    try:
        days = float(text)
    except ValueError:
        return None
    return days if 0 < days <= _DAYS_MAX else None
