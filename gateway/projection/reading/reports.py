"""Counts over all clients: by workflow, by activity, timers, and what a day brought (behaviour document, section 7).

What is asked every other second (`activities` without closed nodes) costs as much as there is at work, however much
was done before. The others read an index from end to end: for a report, that is quick enough.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from backbeat.gateway.api.report_json import (
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

#: What is with a client, or would be if its time had come or an operator let it.
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
#: What something should be happening to. A paused node waits for its operator; one that is pending, ready or at
#: processing_children waits for others, which are counted themselves.
SHOULD_MOVE = AT_WORK - {ServerStatus.PAUSED}

_EXHAUSTED_CODE = states.SERVER_CODES + ServerStatus.RETRIES_EXHAUSTED
#: So many names are asked one by one; with more of them the whole index is read.
_NAMES_MAX = 1_000
_AT_ONCE = 500
_MS = 1_000
_HOUR_MS = 3_600_000


class Named(NamedTuple):
    """What a key of the tables stands for."""

    user_id: str
    name: str


def summary(connection: Connection) -> Summary:
    """The console report."""
    _plan_freely(connection)
    return Summary(
        at=facts.now_ms(),
        workflows=_workflows(connection),
        activities=activities(connection, seconds=0, closed=True).activities,
        timers=_timers(connection),
        positions=facts.read_positions(connection),
    )


# --- activities ----------------------------------------------------------------------------------------------------


def activities(connection: Connection, seconds: float, *, closed: bool) -> Activities:
    """Every activity that has nodes at work (with `closed`: in any status), and what came of it in the last seconds."""
    counted = _nodes_by_name(connection, None if closed else AT_WORK)
    now = facts.now_ms()
    recent = _changes_by_name(connection, now - round(seconds * _MS), now) if seconds else {}
    names = _node_names(connection, sorted(counted.keys() | recent.keys()))
    found = [
        ActivityFigures(
            user_id=named.user_id,
            activity=named.name,
            nodes=_by_word(counted.get(key, {})),
            completed=recent.get(key, {}).get(states.COMPLETE_CODE, 0),
            errored=recent.get(key, {}).get(states.ERRORED_CODE, 0),
        )
        for key, named in names.items()
    ]
    return Activities(seconds=seconds, activities=sorted(found, key=lambda each: (each.user_id, each.activity)))


def _nodes_by_name(connection: Connection, servers: frozenset[ServerStatus] | None) -> dict[int, dict[int, int]]:
    """Name's key -> state -> how many nodes."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    keys = None if servers is None else _distinct(connection, "name_key", _NAMES_MAX)
    wanted = _listed(state for state in all_states(connection) if servers is None or states.server_of(state) in servers)
    if not wanted or keys == []:
        return {}
    if keys is None:
        statement = (
            "SELECT name_key, state, COUNT(*) FROM nodes"  # noqa: S608 - whole numbers
            f" WHERE state IN ({wanted}) GROUP BY name_key, state"
        )
    else:
        # One range of an index for each pair, most of them empty.
        statement = (
            f"{_with(keys)} SELECT keys.name_key, node_states.state, (SELECT COUNT(*) FROM nodes"  # noqa: S608 - whole numbers
            " WHERE nodes.name_key = keys.name_key AND nodes.state = node_states.state)"
            f" FROM keys CROSS JOIN node_states WHERE node_states.state IN ({wanted})"
        )
    for key, state, nodes in connection.execute(text(statement)):
        if nodes:
            found[key][state] = nodes
    return found


def _changes_by_name(connection: Connection, since: int, until: int) -> dict[int, dict[int, int]]:
    """Name's key -> code of a status change -> how many there were."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for key, code, changes in _changes(connection, "n.name_key", since, until):
        found[key][code] = found[key].get(code, 0) + changes
    return found


def _changes(
    connection: Connection, column: str, since: int, until: int, codes: Sequence[int] = ()
) -> Iterable[tuple[int, int, int]]:
    """(value of a column, code, how many) of the changes in some time, by one range of an index for each user."""
    wanted = _listed(codes or (states.COMPLETE_CODE, states.ERRORED_CODE))
    statement = text(
        f"SELECT {column}, c.code, COUNT(*) FROM status_changes AS c JOIN nodes AS n ON n.no = c.node_no"  # noqa: S608 - our own words and whole numbers
        " JOIN workflows AS w ON w.no = n.workflow_no"
        f" WHERE c.user_key = :user_key AND c.code IN ({wanted}) AND c.at >= :since AND c.at < :until"
        f" GROUP BY {column}, c.code"
    )
    for user_key in _distinct(connection, "user_key") or ():
        values = {"user_key": user_key, "since": since, "until": until}
        yield from connection.execute(statement, values)


def _node_names(connection: Connection, keys: Sequence[int]) -> dict[int, Named]:
    """What the keys of activities stand for: as one node of each says it."""
    found: dict[int, Named] = {}
    for first in range(0, len(keys), _AT_ONCE):
        one = "(SELECT n.no FROM nodes AS n WHERE n.name_key = keys.name_key LIMIT 1)"
        statement = (
            f"{_with(keys[first : first + _AT_ONCE])}"  # noqa: S608 - whole numbers
            f" SELECT keys.name_key, b.body FROM keys JOIN node_bodies AS b ON b.no = {one}"
        )
        for key, body in connection.execute(text(statement)):
            node = rows.decode_node_body(body)
            found[key] = Named(str(uuid.UUID(bytes=node.user_id)), node.name)
    return found


# --- workflows ------------------------------------------------------------------------------------------------------


def _workflows(connection: Connection) -> list[WorkflowFigures]:
    nodes: dict[int, dict[int, int]] = defaultdict(dict)
    by_state = "SELECT name_key, state, SUM(nodes) FROM workflow_states GROUP BY name_key, state"
    for key, state, count in connection.execute(text(by_state)):
        nodes[key][state] = int(count)
    opened = _listed(state for state in all_states(connection) if states.server_of(state) not in CLOSED)
    by_name = (
        "SELECT name_key, COUNT(DISTINCT workflow_no) FROM workflow_states"  # noqa: S608 - whole numbers
        f" WHERE state IN ({opened or 'NULL'}) GROUP BY name_key"
    )
    still_open: dict[int, int] = dict(connection.execute(text(by_name)).all())
    found = []
    for key, named, workflows in _workflow_names(connection):
        found.append(
            WorkflowFigures(
                user_id=named.user_id,
                workflow=named.name,
                workflows=workflows,
                open_workflows=still_open.get(key, 0),
                nodes=_by_word(nodes.get(key, {})),
            )
        )
    return sorted(found, key=lambda each: (each.user_id, each.workflow))


def _workflow_names(connection: Connection) -> Iterable[tuple[int, Named, int]]:
    """(key, what it stands for, how many workflows) of each workflow name; the user as one of the workflows says it."""
    statement = (
        "SELECT names.name_key, names.workflows, w.body FROM workflow_names AS names JOIN workflows AS w"
        " ON w.no = (SELECT one.no FROM workflows AS one WHERE one.name_key = names.name_key LIMIT 1)"
        " WHERE names.workflows > 0"
    )
    for key, workflows, body in connection.execute(text(statement)):
        workflow = rows.decode_workflow_body(body)
        yield key, Named(str(uuid.UUID(bytes=workflow.user_id)), workflow.name), workflows


# --- timers ----------------------------------------------------------------------------------------------------------


def _timers(connection: Connection) -> list[TimerFigures]:
    """Timers by kind, as the nodes that they belong to say when they are due."""
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
            ahead=sum(1 for at in found if at > now),
            due=sum(1 for at in found if at <= now),
            first_at=min(found, default=None),
        )
        for kind, found in times.items()
    ]


def _has_timer(state: int) -> bool:
    server, client = states.server_of(state), states.client_of(state)
    # A client that said "processing" may take its time.
    with_client = server is ServerStatus.SENT_TO_CLIENT and client is ClientStatus.RECEIVED
    return states.waits(state) or server is ServerStatus.RETRYING or with_client


def _nodes_in(connection: Connection, wanted: Any, silent_since: int | None = None) -> Iterable[tuple[int, int, Any]]:
    """(state, number of the workflow, what changes) of all nodes in the wanted states; those without news since."""
    chosen = _listed(state for state in all_states(connection) if wanted(state))
    if not chosen:
        return
    silent = "" if silent_since is None else " AND last_at <= :silent_since"
    statement = text(
        f"SELECT state, workflow_no, rest FROM nodes WHERE user_key = :user_key AND state IN ({chosen}){silent}"  # noqa: S608 - whole numbers
    )
    for user_key in _distinct(connection, "user_key") or ():
        for state, workflow_no, rest in connection.execute(
            statement, {"user_key": user_key, "silent_since": silent_since}
        ):
            yield state, workflow_no, rows.decode_rest(rest)


# --- a day -----------------------------------------------------------------------------------------------------------


def daily(connection: Connection, since: int, until: int, stuck_hours: float) -> Daily:
    """What came of each workflow type's nodes in this time, and which are stuck now.

    Stuck, the original's "inconsistent": something should happen to the node, nothing has for so many hours, and no
    time that it waits for lies ahead or passed less long ago.
    """
    _plan_freely(connection)
    codes = (states.COMPLETE_CODE, states.ERRORED_CODE, _EXHAUSTED_CODE)
    changes: dict[int, Counter[int]] = defaultdict(Counter)
    for key, code, count in _changes(connection, "w.name_key", since, until, codes):
        changes[key][code] += count
    stuck = _stuck_by_name(connection, facts.now_ms() - round(stuck_hours * _HOUR_MS))
    found = [
        DailyFigures(
            user_id=named.user_id,
            workflow=named.name,
            completed=changes[key][states.COMPLETE_CODE],
            errored=changes[key][states.ERRORED_CODE],
            exhausted=changes[key][_EXHAUSTED_CODE],
            inconsistent=dict(sorted(stuck[key].items())),
        )
        for key, named, _ in _workflow_names(connection)
        if key in changes or key in stuck
    ]
    ordered = sorted(found, key=lambda each: (each.user_id, each.workflow))
    return Daily(since=since, until=until, stuck_hours=stuck_hours, workflows=ordered)


def _stuck_by_name(connection: Connection, before: int) -> dict[int, Counter[str]]:
    """Key of a workflow's name -> server status -> how many of its nodes are stuck."""
    by_workflow: dict[int, Counter[str]] = defaultdict(Counter)
    for state, workflow_no, rest in _nodes_in(connection, lambda state: states.server_of(state) in SHOULD_MOVE, before):
        if rest.fires_at <= before:
            by_workflow[workflow_no][word(states.server_of(state))] += 1
    found: dict[int, Counter[str]] = defaultdict(Counter)
    numbers = sorted(by_workflow)
    for first in range(0, len(numbers), _AT_ONCE):
        listed = _listed(numbers[first : first + _AT_ONCE])
        statement = f"SELECT no, name_key FROM workflows WHERE no IN ({listed})"  # noqa: S608 - whole numbers
        for number, key in connection.execute(text(statement)):
            found[key] += by_workflow[number]
    return found


# --- how it is asked -------------------------------------------------------------------------------------------------


def _distinct(connection: Connection, column: str, at_most: int | None = None) -> list[int] | None:
    """The different values of an indexed column of nodes, by a step along the index for each; None: there are more."""
    limit = "" if at_most is None else f" LIMIT {at_most + 1}"
    statement = (
        f"WITH RECURSIVE found(one) AS (SELECT MIN({column}) FROM nodes UNION ALL"  # noqa: S608 - our own words
        f" SELECT (SELECT MIN(nodes.{column}) FROM nodes WHERE nodes.{column} > found.one) FROM found"
        f" WHERE found.one IS NOT NULL) SELECT one FROM found WHERE one IS NOT NULL{limit}"
    )
    values = list(connection.execute(text(statement)).scalars())
    return None if at_most is not None and len(values) > at_most else values


def _plan_freely(connection: Connection) -> None:
    """Let PostgreSQL read tables from end to end, which searches never do, until this transaction ends."""
    if is_postgresql(connection):
        connection.execute(text("SET LOCAL enable_seqscan = on"))


def _by_word(in_states: dict[int, int]) -> dict[str, int]:
    """Nodes by server status, in the order of the statuses."""
    found: Counter[str] = Counter()
    for state, nodes in sorted(in_states.items(), key=lambda each: states.server_of(each[0])):
        found[SCHEDULED if states.waits(state) else word(states.server_of(state))] += nodes
    return dict(found)


def _with(keys: Sequence[int]) -> str:
    """The keys as a table of one column."""
    return f"WITH keys(name_key) AS (VALUES {', '.join(f'({key})' for key in keys)})"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)
