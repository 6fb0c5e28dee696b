"""Counts over all clients: by workflow, by activity, timers, results of a day (behaviour document, section 7).

`activities` without closed nodes may be requested every second: it costs as much as there is at work, however long the
history. The others read an index from end to end, which is quick enough for a report.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.reports import (
    SCHEDULED,
    Activities,
    ActivityFigures,
    Daily,
    DailyFigures,
    Summary,
    TimerFigures,
    WorkflowFigures,
)
from backbeat.gateway.projection.reading.search import all_states
from backbeat.gateway.projection.storage import facts, rows, states
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus, word

#: Statuses of nodes with a client, or that would be if their time had come or an operator let them.
AT_WORK = frozenset(
    {
        ServerStatus.STARTED,
        ServerStatus.SENT_TO_CLIENT,
        ServerStatus.RETRYING,
        ServerStatus.RETRIES_EXHAUSTED,
        ServerStatus.ERRORED,
        ServerStatus.PAUSED,
    }
)
#: Statuses in which a node should make progress. A paused node waits for its operator; one that is pending, ready or at
#: processing_children waits for others, which are counted themselves.
SHOULD_MOVE = AT_WORK - {ServerStatus.PAUSED}
#: Statuses in which a node that does not change waits for its worker or for an operator, and for no other node or time.
SILENT = (ServerStatus.SENT_TO_CLIENT, ServerStatus.PAUSED)

_EXHAUSTED_CODE = states.SERVER_CODES + ServerStatus.RETRIES_EXHAUSTED
#: Names that are queried one by one; with more of them the whole index is read.
_NAMES_MAX = 1_000
_AT_ONCE = 500
_MS = 1_000
_HOUR_MS = 3_600_000


class OwnedName(NamedTuple):
    """Name behind a key of the tables."""

    user_id: str
    name: str


def summary(connection: Connection) -> Summary:
    """The console report."""
    plan_freely(connection)
    return Summary(
        at=facts.now_ms(),
        workflows=_workflows(connection),
        activities=activities(connection, seconds=0, closed=True).activities,
        timers=timers(connection),
        positions=facts.read_positions(connection),
    )


# --- activities ----------------------------------------------------------------------------------------------------


def activities(connection: Connection, seconds: float, *, closed: bool) -> Activities:
    """Activities with nodes at work (with `closed`: in any status), and their results in the last `seconds`."""
    nodes = _nodes_by_name(connection, None if closed else AT_WORK)
    now = facts.now_ms()
    recent = _changes_by_name(connection, now - round(seconds * _MS), now) if seconds else {}
    names = node_names(connection, sorted(nodes.keys() | recent.keys()))
    activity_counts = [
        ActivityFigures(
            user_id=owned_name.user_id,
            activity=owned_name.name,
            nodes=_by_word(nodes.get(key, {})),
            completed=recent.get(key, {}).get(states.COMPLETE_CODE, 0),
            errored=recent.get(key, {}).get(states.ERRORED_CODE, 0),
        )
        for key, owned_name in names.items()
    ]
    return Activities(
        seconds=seconds, activities=sorted(activity_counts, key=lambda counts: (counts.user_id, counts.activity))
    )


def _nodes_by_name(connection: Connection, servers: frozenset[ServerStatus] | None) -> dict[int, dict[int, int]]:
    """Name key -> state -> number of nodes."""
    nodes_by_name: dict[int, dict[int, int]] = defaultdict(dict)
    keys = None if servers is None else _distinct(connection, "name_key", _NAMES_MAX)
    listed_states = _listed(
        state for state in all_states(connection) if servers is None or states.server_of(state) in servers
    )
    if not listed_states or keys == []:
        return {}
    if keys is None:
        statement = (
            "SELECT name_key, state, COUNT(*) FROM nodes"  # noqa: S608 - whole numbers
            f" WHERE state IN ({listed_states}) GROUP BY name_key, state"
        )
    else:
        # An index range for each pair, most of them empty.
        statement = (
            f"{_with(keys)} SELECT keys.name_key, node_states.state, (SELECT COUNT(*) FROM nodes"  # noqa: S608 - whole numbers
            " WHERE nodes.name_key = keys.name_key AND nodes.state = node_states.state)"
            f" FROM keys CROSS JOIN node_states WHERE node_states.state IN ({listed_states})"
        )
    for key, state, nodes in connection.execute(text(statement)):
        if nodes:
            nodes_by_name[key][state] = nodes
    return nodes_by_name


def _changes_by_name(connection: Connection, since: int, until: int) -> dict[int, dict[int, int]]:
    """Name key -> code of a status change -> number of changes."""
    changes_by_name: dict[int, dict[int, int]] = defaultdict(dict)
    for key, code, changes in _changes(connection, "n.name_key", since, until):
        changes_by_name[key][code] = changes_by_name[key].get(code, 0) + changes
    return changes_by_name


def _changes(
    connection: Connection, column: str, since: int, until: int, codes: Sequence[int] = ()
) -> Iterable[tuple[int, int, int]]:
    """(value of a column, code, number) of the changes in a time, by one index range for each user."""
    listed_codes = _listed(codes or (states.COMPLETE_CODE, states.ERRORED_CODE))
    statement = text(
        f"SELECT {column}, c.code, COUNT(*) FROM status_changes AS c JOIN nodes AS n ON n.no = c.node_no"  # noqa: S608 - our own words and whole numbers
        " JOIN workflows AS w ON w.no = n.workflow_no"
        f" WHERE c.user_key = :user_key AND c.code IN ({listed_codes}) AND c.at >= :since AND c.at < :until"
        f" GROUP BY {column}, c.code"
    )
    for user_key in _distinct(connection, "user_key") or ():
        values = {"user_key": user_key, "since": since, "until": until}
        yield from connection.execute(statement, values)


def node_names(connection: Connection, keys: Sequence[int]) -> dict[int, OwnedName]:
    """Names behind the keys of activities, from one node of each."""
    names: dict[int, OwnedName] = {}
    for first in range(0, len(keys), _AT_ONCE):
        node_number = "(SELECT n.no FROM nodes AS n WHERE n.name_key = keys.name_key LIMIT 1)"
        statement = (
            f"{_with(keys[first : first + _AT_ONCE])}"  # noqa: S608 - whole numbers
            f" SELECT keys.name_key, b.body FROM keys JOIN node_bodies AS b ON b.no = {node_number}"
        )
        for key, body in connection.execute(text(statement)):
            node = rows.decode_node_body(body)
            names[key] = OwnedName(str(uuid.UUID(bytes=node.user_id)), node.name)
    return names


# --- workflows ------------------------------------------------------------------------------------------------------


def _workflows(connection: Connection) -> list[WorkflowFigures]:
    nodes: dict[int, dict[int, int]] = defaultdict(dict)
    by_state = "SELECT name_key, state, SUM(nodes) FROM workflow_states GROUP BY name_key, state"
    for key, state, count in connection.execute(text(by_state)):
        nodes[key][state] = int(count)
    open_states = _listed(state for state in all_states(connection) if states.server_of(state) not in CLOSED)
    by_name = (
        "SELECT name_key, COUNT(DISTINCT workflow_no) FROM workflow_states"  # noqa: S608 - whole numbers
        f" WHERE state IN ({open_states or 'NULL'}) GROUP BY name_key"
    )
    open_workflows: dict[int, int] = dict(connection.execute(text(by_name)).all())
    workflow_counts = []
    for key, owned_name, workflows in _workflow_names(connection):
        workflow_counts.append(
            WorkflowFigures(
                user_id=owned_name.user_id,
                workflow=owned_name.name,
                workflows=workflows,
                open_workflows=open_workflows.get(key, 0),
                nodes=_by_word(nodes.get(key, {})),
            )
        )
    return sorted(workflow_counts, key=lambda counts: (counts.user_id, counts.workflow))


def _workflow_names(connection: Connection) -> Iterable[tuple[int, OwnedName, int]]:
    """(key, name, number of workflows) of each workflow name; the user from one of the workflows."""
    statement = (
        "SELECT names.name_key, names.workflows, w.body FROM workflow_names AS names JOIN workflows AS w"
        " ON w.no = (SELECT one.no FROM workflows AS one WHERE one.name_key = names.name_key LIMIT 1)"
        " WHERE names.workflows > 0"
    )
    for key, workflows, body in connection.execute(text(statement)):
        workflow = rows.decode_workflow_body(body)
        yield key, OwnedName(str(uuid.UUID(bytes=workflow.user_id)), workflow.name), workflows


# --- timers ----------------------------------------------------------------------------------------------------------


def timers(connection: Connection) -> list[TimerFigures]:
    """Timers by kind, from the nodes' due times."""
    now = facts.now_ms()
    times: dict[str, list[int]] = {"start": [], "retry": [], "deadline": []}
    for state, _, rest in _nodes_in(connection, _has_timer):
        if states.waits(state):
            times["start"].append(rest.fires_at)
        elif states.server_of(state) is ServerStatus.RETRYING:
            times["retry"].append(rest.fires_at)
        elif rest.complete_by is not None:
            times["deadline"].append(rest.complete_by)
    return [
        TimerFigures(
            kind=kind,
            ahead=sum(1 for at in due_times if at > now),
            due=sum(1 for at in due_times if at <= now),
            first_at=min(due_times, default=None),
        )
        for kind, due_times in times.items()
    ]


def _has_timer(state: int) -> bool:
    server, client = states.server_of(state), states.client_of(state)
    # A client at "processing" may take its time.
    with_client = server is ServerStatus.SENT_TO_CLIENT and client is ClientStatus.RECEIVED
    return states.waits(state) or server is ServerStatus.RETRYING or with_client


def _nodes_in(
    connection: Connection, has_state: Any, silent_since: int | None = None
) -> Iterable[tuple[int, int, Any]]:
    """(state, workflow number, changing fields) of nodes in the wanted states, without changes since a time."""
    listed_states = _listed(state for state in all_states(connection) if has_state(state))
    if not listed_states:
        return
    silence = "" if silent_since is None else " AND last_at <= :silent_since"
    statement = text(
        f"SELECT state, workflow_no, rest FROM nodes WHERE user_key = :user_key AND state IN ({listed_states}){silence}"  # noqa: S608 - whole numbers
    )
    for user_key in _distinct(connection, "user_key") or ():
        for state, workflow_no, rest in connection.execute(
            statement, {"user_key": user_key, "silent_since": silent_since}
        ):
            yield state, workflow_no, rows.decode_rest(rest)


# --- a day -----------------------------------------------------------------------------------------------------------


def daily(connection: Connection, since: int, until: int, stuck_hours: float) -> Daily:
    """Results of each workflow type's nodes in a time, and its stuck nodes now.

    Stuck, the original's "inconsistent": the node should make progress, has not for `stuck_hours`, and waits for no
    time that is ahead or has passed within them.
    """
    plan_freely(connection)
    codes = (states.COMPLETE_CODE, states.ERRORED_CODE, _EXHAUSTED_CODE)
    changes: dict[int, Counter[int]] = defaultdict(Counter)
    for key, code, count in _changes(connection, "w.name_key", since, until, codes):
        changes[key][code] += count
    stuck = _stuck_by_name(connection, facts.now_ms() - round(stuck_hours * _HOUR_MS))
    workflow_counts = [
        DailyFigures(
            user_id=owned_name.user_id,
            workflow=owned_name.name,
            completed=changes[key][states.COMPLETE_CODE],
            errored=changes[key][states.ERRORED_CODE],
            exhausted=changes[key][_EXHAUSTED_CODE],
            inconsistent=dict(sorted(stuck[key].items())),
        )
        for key, owned_name, _ in _workflow_names(connection)
        if key in changes or key in stuck
    ]
    ordered = sorted(workflow_counts, key=lambda counts: (counts.user_id, counts.workflow))
    return Daily(since=since, until=until, stuck_hours=stuck_hours, workflows=ordered)


def _stuck_by_name(connection: Connection, silent_since: int) -> dict[int, Counter[str]]:
    """Name key of workflows -> server status -> number of stuck nodes."""
    by_workflow: dict[int, Counter[str]] = defaultdict(Counter)
    for state, workflow_no, rest in _nodes_in(
        connection, lambda state: states.server_of(state) in SHOULD_MOVE, silent_since
    ):
        if rest.fires_at <= silent_since:
            by_workflow[workflow_no][word(states.server_of(state))] += 1
    stuck: dict[int, Counter[str]] = defaultdict(Counter)
    numbers = sorted(by_workflow)
    for first in range(0, len(numbers), _AT_ONCE):
        listed = _listed(numbers[first : first + _AT_ONCE])
        statement = f"SELECT no, name_key FROM workflows WHERE no IN ({listed})"  # noqa: S608 - whole numbers
        for number, key in connection.execute(text(statement)):
            stuck[key] += by_workflow[number]
    return stuck


def silent(connection: Connection, user_ids: Iterable[bytes] | None, since: int) -> dict[str, int]:
    """Nodes of these clients (None: of all) with their client or paused, and not changed since a time, by status."""
    listed_states = _listed(state for state in all_states(connection) if states.server_of(state) in SILENT)
    nodes_by_status = dict.fromkeys(map(word, SILENT), 0)
    if not listed_states:
        return nodes_by_status
    # A node is changed at its creation or later: what is younger is not read.
    statement = text(
        "SELECT state, COUNT(*) FROM nodes"  # noqa: S608 - whole numbers
        f" WHERE user_key = :user_key AND state IN ({listed_states}) AND created <= :since AND last_at <= :since"
        " GROUP BY state"
    )
    keys = _distinct(connection, "user_key") if user_ids is None else map(states.user_key, user_ids)
    for user_key in keys or ():
        for state, nodes in connection.execute(statement, {"user_key": user_key, "since": since}):
            nodes_by_status[word(states.server_of(state))] += nodes
    return nodes_by_status


# --- statements ------------------------------------------------------------------------------------------------------


def _distinct(connection: Connection, column: str, at_most: int | None = None) -> list[int] | None:
    """Distinct values of an indexed column of nodes, by one index step each; None: more than `at_most`."""
    limit = "" if at_most is None else f" LIMIT {at_most + 1}"
    statement = (
        f"WITH RECURSIVE found(one) AS (SELECT MIN({column}) FROM nodes UNION ALL"  # noqa: S608 - our own words
        f" SELECT (SELECT MIN(nodes.{column}) FROM nodes WHERE nodes.{column} > found.one) FROM found"
        f" WHERE found.one IS NOT NULL) SELECT one FROM found WHERE one IS NOT NULL{limit}"
    )
    values = list(connection.execute(text(statement)).scalars())
    return None if at_most is not None and len(values) > at_most else values


def plan_freely(connection: Connection) -> None:
    """Let PostgreSQL scan tables, which searches never do, until this transaction ends."""
    if is_postgresql(connection):
        connection.execute(text("SET LOCAL enable_seqscan = on"))


def _by_word(in_states: dict[int, int]) -> dict[str, int]:
    """Nodes by server status, in the order of the statuses."""
    nodes_by_status: Counter[str] = Counter()
    for state, nodes in sorted(in_states.items(), key=lambda item: states.server_of(item[0])):
        nodes_by_status[SCHEDULED if states.waits(state) else word(states.server_of(state))] += nodes
    return dict(nodes_by_status)


def _with(keys: Sequence[int]) -> str:
    """Common table expression of the keys, one column."""
    return f"WITH keys(name_key) AS (VALUES {', '.join(f'({key})' for key in keys)})"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)
