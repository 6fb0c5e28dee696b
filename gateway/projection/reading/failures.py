"""Failed nodes by kind, activity, client and workflow.

It costs as much as there are failed nodes, as their causes do: one walk over an index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.reports import FAILURE_KINDS, FailureGroup, Failures
from backbeat.gateway.projection.reading.reports import node_names, plan_freely
from backbeat.gateway.projection.storage import facts, rows, states
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import ServerStatus

#: Server statuses of failed nodes, by word.
STATUSES = {
    "retries_exhausted": ServerStatus.RETRIES_EXHAUSTED,
    "errored": ServerStatus.ERRORED,
    "retrying": ServerStatus.RETRYING,
}
#: Numbers of nodes by status: columns of a statement that groups `failed_nodes`.
BY_STATUS = ", ".join(
    f"SUM(CASE WHEN server = {int(server)} THEN 1 ELSE 0 END) AS {word}" for word, server in STATUSES.items()
)
#: A retry that is due is sent within moments; an engine that starts, or a partition that moves, takes some more.
_GRACE_MS = 120_000
_GROUPS = {"activity": "c.name_key", "client": "c.user_key", "workflow": "f.workflow_no"}


def failures(
    connection: Connection, user_ids: Iterable[bytes] | None, by: str, count: int, kinds: Collection[str] = ()
) -> Failures:
    """Failed nodes of these clients (None: of all) by activity, client or workflow, those first that need a person.

    `kinds`: only these; none: all.
    """
    plan_freely(connection)
    now = facts.now_ms()
    user_ids = None if user_ids is None else list(user_ids)
    shown = connection.execute(
        text(
            "SELECT g.*, COUNT(*) OVER () AS all_groups"  # noqa: S608 - our own words and whole numbers
            f" FROM (SELECT {_GROUPS[by]} AS key, MIN(c.name_key) AS name_key, {BY_STATUS},"
            " COUNT(DISTINCT f.workflow_no) AS workflows, MIN(f.at) AS first_at, MAX(f.at) AS last_at"
            f" FROM failed_nodes AS f JOIN causes AS c ON c.key = f.cause_key{where(user_ids, kinds, now)}"
            f" GROUP BY {_GROUPS[by]}) AS g"
            " ORDER BY g.retries_exhausted + g.errored DESC, g.retrying DESC, g.first_at, g.key LIMIT :count"
        ),
        {"count": count},
    ).all()
    if by == "workflow":
        owners = _workflows(connection, [row.key for row in shown])
    else:
        names = node_names(connection, sorted({row.name_key for row in shown}))
        owners = {
            row.key: {"user_id": names[row.name_key].user_id}
            | ({"activity": names[row.name_key].name} if by == "activity" else {})
            for row in shown
            if row.name_key in names
        }
    return Failures(
        at=now,
        by=by,
        groups=[
            FailureGroup(
                nodes={word: int(getattr(row, word)) for word in STATUSES},
                workflows=row.workflows,
                first_at=row.first_at,
                last_at=row.last_at,
                **owners[row.key],
            )
            for row in shown
            if row.key in owners
        ],
        more=shown[0].all_groups - len(shown) if shown else 0,
        kinds=by_kind(connection, user_ids, now),
    )


def by_kind(connection: Connection, user_ids: Iterable[bytes] | None, now: int) -> dict[str, int]:
    """Numbers of failed nodes of these clients (None: of all) by kind; one that is overdue is retrying, too."""
    counted = ", ".join(f"SUM(CASE WHEN {_condition(kind, now)} THEN 1 ELSE 0 END) AS {kind}" for kind in FAILURE_KINDS)
    row = connection.execute(text(f"SELECT {counted} FROM failed_nodes{where(user_ids, (), now)}")).one()  # noqa: S608 - our own words and whole numbers
    return {kind: int(getattr(row, kind) or 0) for kind in FAILURE_KINDS}


def where(user_ids: Iterable[bytes] | None, kinds: Collection[str], now: int, *conditions: str) -> str:
    """Clause for the failed nodes of these clients and kinds; `conditions`: on their causes."""
    of_causes = list(conditions)
    if user_ids is not None:
        listed = ", ".join(str(states.user_key(user_id)) for user_id in user_ids)
        of_causes.append(f"user_key IN ({listed or 'NULL'})")
    clauses = [f"cause_key IN (SELECT key FROM causes WHERE {' AND '.join(of_causes)})"] if of_causes else []  # noqa: S608 - whole numbers
    if kinds:
        clauses.append(f"({' OR '.join(_condition(kind, now) for kind in kinds)})")
    return f" WHERE {' AND '.join(clauses)}" if clauses else ""


def _condition(kind: str, now: int) -> str:
    if kind == "overdue":
        return f"(server = {int(ServerStatus.RETRYING)} AND due_at <= {now - _GRACE_MS})"
    return f"server = {int(STATUSES['retries_exhausted' if kind == 'exhausted' else kind])}"


def _workflows(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Owner, id, name and subject of workflows, by their numbers in the tables."""
    if not numbers:
        return {}
    listed = ", ".join(map(str, numbers))
    statement = f"SELECT no, id, created, user_key, subject, body FROM workflows WHERE no IN ({listed})"  # noqa: S608 - whole numbers
    views = {row.no: rows.workflow_view(row) for row in connection.execute(text(statement))}
    return {
        number: {
            "user_id": id_text(view.user_id),
            "workflow_id": id_text(view.id),
            "workflow": view.name,
            "subject": view.subject.decode(),
        }
        for number, view in views.items()
    }
