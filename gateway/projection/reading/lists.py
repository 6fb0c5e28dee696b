"""Lists and counts: names, workflows with errors, nodes by state."""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from backbeat.gateway.projection.reading.filters import Counts
from backbeat.gateway.projection.reading.search import all_states, workflows_by_number
from backbeat.gateway.projection.storage import states, tables
from backbeat.gateway.projection.storage.facts import now_ms
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import WorkflowView

_DAY_MS = 86_400_000


def workflow_names(connection: Connection, user_id: bytes) -> list[str]:
    """Names of the user's workflows, sorted, without duplicates."""
    names = tables.workflow_names
    statement = select(names.c.name).where(names.c.user_key == states.user_key(user_id)).where(names.c.workflows > 0)
    return sorted(name.decode() for name in connection.execute(statement).scalars())


def error_workflows(connection: Connection, user_id: bytes) -> list[WorkflowView]:
    """Workflows of any user with a node of this user at client status errored now; oldest first."""
    errored = [state for state in all_states(connection) if states.client_of(state) is ClientStatus.ERRORED]
    if not errored:
        return []
    # An index range for each state, as in a search.
    ranges = " UNION ALL ".join(
        f"SELECT workflow_no FROM nodes WHERE user_key = :user_key AND state = {state}"  # noqa: S608 - whole numbers
        for state in errored
    )
    statement = f"SELECT DISTINCT workflow_no FROM ({ranges}) AS ranges"  # noqa: S608 - as above
    result = connection.execute(text(statement), {"user_key": states.user_key(user_id)})
    views = workflows_by_number(connection, list(result.scalars()))
    return sorted(views, key=lambda view: (view.created_at, view.id))


def counts(connection: Connection) -> Counts:
    """Nodes by state, and their results."""
    in_state = dict(connection.execute(select(tables.node_states.c.state, tables.node_states.c.nodes)).all())
    days = connection.execute(select(tables.days.c.day, tables.days.c.completed, tables.days.c.errored)).all()
    today = [row for row in days if row.day == now_ms() // _DAY_MS]
    enqueued = scheduled = retrying = 0
    for state, nodes in in_state.items():
        match states.server_of(state):
            case ServerStatus.STARTED if states.waits(state):
                scheduled += nodes
            case ServerStatus.STARTED | ServerStatus.SENT_TO_CLIENT:
                enqueued += nodes
            case ServerStatus.RETRYING:
                retrying += nodes
            case _:
                pass
    return Counts(
        enqueued=enqueued,
        scheduled=scheduled,
        retrying=retrying,
        completed=sum(row.completed for row in days),
        completed_today=sum(row.completed for row in today),
        errored=sum(row.errored for row in days),
        errored_today=sum(row.errored for row in today),
    )


def status_pairs(connection: Connection) -> tuple[dict[tuple[str, str], int], int]:
    """(server status, client status) -> nodes of all users; and the number of nodes that wait for their time."""
    pairs: dict[tuple[str, str], int] = {}
    scheduled = 0
    for state, nodes in connection.execute(select(tables.node_states.c.state, tables.node_states.c.nodes)):
        pair = word(states.server_of(state)), word(states.client_of(state))
        pairs[pair] = pairs.get(pair, 0) + nodes
        if states.server_of(state) is ServerStatus.STARTED and states.waits(state):
            scheduled += nodes
    return pairs, scheduled
