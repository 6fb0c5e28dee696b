"""Failed nodes by cause: how many, of how many workflows, since when, and how many in the last hour.

It costs as much as there are failed nodes: 100,000 of them are one walk over an index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.reports import CAUSE_BINS, Cause, Causes
from backbeat.gateway.projection.reading.failures import BY_STATUS, STATUSES, by_kind, where
from backbeat.gateway.projection.reading.reports import node_names, plan_freely
from backbeat.gateway.projection.storage import facts, states
from backbeat.gateway.projection.storage.cause import fixed_piece, id_of_key, key_of_id
from backbeat.schemas.messages.status import ServerStatus

_HOUR_MS = 3_600_000
_BIN_MS = _HOUR_MS // CAUSE_BINS


def causes(
    connection: Connection,
    user_ids: Iterable[bytes] | None,
    count: int,
    cause_id: str | None = None,
    kinds: Collection[str] = (),
) -> Causes:
    """The causes of the failed nodes of these clients (None: of all), those first that need a person.

    `cause_id`: that one alone; `kinds`: of nodes of these kinds alone, none: of all.
    """
    plan_freely(connection)
    now = facts.now_ms()
    user_ids = None if user_ids is None else list(user_ids)
    key = None if cause_id is None else key_of_id(cause_id)
    alone = [] if cause_id is None else [f"key = {'NULL' if key is None else key}"]
    condition = where(user_ids, kinds, now, *alone)
    totals = ", ".join(f"SUM(f.{word}) OVER () AS all_{word}" for word in STATUSES)
    # Only what is shown leaves the database: there may be as many causes as failed nodes.
    shown = connection.execute(
        text(
            f"SELECT c.key, c.name_key, c.text, c.sample, f.*, {totals}, COUNT(*) OVER () AS all_causes"  # noqa: S608 - our own words and whole numbers
            f" FROM (SELECT cause_key, {BY_STATUS}, COUNT(DISTINCT workflow_no) AS workflows,"
            f" MIN(at) AS first_at, MAX(at) AS last_at FROM failed_nodes{condition} GROUP BY cause_key) AS f"
            " JOIN causes AS c ON c.key = f.cause_key"
            " ORDER BY f.retries_exhausted + f.errored DESC, f.retrying DESC, f.first_at, c.text LIMIT :count"
        ),
        {"count": count},
    ).all()
    names = node_names(connection, sorted({row.name_key for row in shown}))
    recent = _recent(connection, [row.key for row in shown], now - _HOUR_MS)
    return Causes(
        at=now,
        causes=[
            Cause(
                id=id_of_key(row.key),
                user_id=names[row.name_key].user_id,
                activity=names[row.name_key].name,
                cause=bytes(row.text).decode(),
                sample=(sample := bytes(row.sample).decode()),
                fixed=fixed_piece(sample),
                nodes={word: int(getattr(row, word)) for word in STATUSES},
                workflows=row.workflows,
                first_at=row.first_at,
                last_at=row.last_at,
                last_hour=recent[row.key],
            )
            for row in shown
            if row.name_key in names
        ],
        more=shown[0].all_causes - len(shown) if shown else 0,
        nodes={word: int(getattr(shown[0], f"all_{word}")) if shown else 0 for word in STATUSES},
        kinds=by_kind(connection, user_ids, now) if cause_id is None else {},
    )


def text_of(connection: Connection, user_ids: Iterable[bytes] | None, cause_id: str) -> str | None:
    """Text of a cause of these clients' nodes (None: of anybody's); None: nothing has failed with it any more."""
    row = connection.execute(
        text("SELECT user_key, text FROM causes WHERE key = :key"), {"key": key_of_id(cause_id)}
    ).first()
    if row is None or (user_ids is not None and row.user_key not in map(states.user_key, user_ids)):
        return None
    return bytes(row.text).decode()


def next_retry(connection: Connection, user_ids: Iterable[bytes] | None) -> int | None:
    """Time of the first retry of these clients' nodes (None: of all); None: none waits for one."""
    of_clients = ""
    if user_ids is not None:
        listed = ", ".join(str(states.user_key(user_id)) for user_id in user_ids) or "NULL"
        of_clients = f" AND cause_key IN (SELECT key FROM causes WHERE user_key IN ({listed}))"  # noqa: S608 - whole numbers
    statement = (
        f"SELECT due_at FROM failed_nodes WHERE server = {int(ServerStatus.RETRYING)} AND due_at IS NOT NULL"  # noqa: S608 - as above
        f"{of_clients} ORDER BY due_at LIMIT 1"
    )
    due_at: int | None = connection.execute(text(statement)).scalar()
    return due_at


def _recent(connection: Connection, keys: Sequence[int], since: int) -> dict[int, list[int]]:
    """Failures of the last hour by cause, in equal parts of it, the oldest first."""
    bins: dict[int, list[int]] = defaultdict(lambda: [0] * CAUSE_BINS)
    if keys:
        listed = ", ".join(map(str, keys))
        statement = (
            f"SELECT cause_key, (at - :since) / {_BIN_MS} AS bin, COUNT(*) FROM failed_nodes"  # noqa: S608 - whole numbers
            f" WHERE cause_key IN ({listed}) AND at > :since GROUP BY cause_key, bin"
        )
        for key, number, count in connection.execute(text(statement), {"since": since}):
            # The clocks of brokers and of this host differ.
            bins[key][min(max(int(number), 0), CAUSE_BINS - 1)] += count
    return bins


def failed_of_workflow(
    connection: Connection, workflow_id: bytes, servers: Sequence[ServerStatus], count: int
) -> list[bytes]:
    """Ids of the first failed nodes of a workflow, in the order of their creation."""
    # The index has an order within each status: of each only the first are read, however many have failed.
    first = " UNION ALL ".join(
        "SELECT * FROM (SELECT node_no, seq FROM failed_nodes"  # noqa: S608 - whole numbers
        " WHERE workflow_no = (SELECT no FROM workflows WHERE id = :id)"
        f" AND server = {int(server)} ORDER BY seq LIMIT :count) AS at_{int(server)}"
        for server in servers
    )
    statement = f"SELECT n.id FROM ({first}) AS f JOIN nodes AS n ON n.no = f.node_no ORDER BY f.seq LIMIT :count"  # noqa: S608 - as above
    return [bytes(row.id) for row in connection.execute(text(statement), {"id": workflow_id, "count": count})]


def failed_by_parent(connection: Connection, workflow_id: bytes) -> dict[bytes | None, dict[ServerStatus, int]]:
    """Numbers of failed children by parent of a workflow's nodes, by server status. None: the top of the workflow."""
    by_parent: dict[bytes | None, dict[ServerStatus, int]] = defaultdict(dict)
    statement = (
        "SELECT parent_id, server, COUNT(*) FROM failed_nodes"
        " WHERE workflow_no = (SELECT no FROM workflows WHERE id = :id) GROUP BY parent_id, server"
    )
    for parent_id, server, count in connection.execute(text(statement), {"id": workflow_id}):
        by_parent[None if parent_id is None else bytes(parent_id)][ServerStatus(server)] = count
    return by_parent
