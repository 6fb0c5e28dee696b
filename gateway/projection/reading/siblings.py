"""Children of a node by name and server status, and those of one name in their order.

Counts of many children are kept (`following.siblings`): a reading costs what there are names. The children of a name
are looked for among the nodes of the workflow: those that were made one after the other are one walk over an index.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.siblings import ChildCounts, NameCount
from backbeat.gateway.projection.following.siblings import FIRST_SEQ
from backbeat.gateway.projection.reading.reports import node_names
from backbeat.gateway.projection.storage import facts, states
from backbeat.gateway.projection.storage.database import is_postgresql
from backbeat.schemas.messages.status import ServerStatus, word

#: Equal siblings from which on they are a group, and groups of a node that are told apart.
GROUP_MIN = 50
GROUPS_MAX = 20
#: Retrying nodes of a workflow that are looked at for the first retry of each name.
RETRYING_MAX = 1_000
#: Counts of a node: no workflow has so many names.
_COUNTS_MAX = 1 << 31
_COUNTED = text("SELECT name_key, server, nodes FROM child_states WHERE parent_id = :parent AND nodes > 0 LIMIT :count")
#: By the workflow, whose first nodes are few, and not by the parent, whose children may be many.
_FIRST = text(
    "SELECT parent_id, name_key, state FROM nodes WHERE seq < :seq"
    " AND workflow_no = (SELECT workflow_no FROM nodes WHERE id = :parent)"
)
_FEW = text("SELECT name_key, state FROM nodes WHERE parent_id = :parent")
_RETRYING = text(
    "SELECT failed.parent_id, failed.due_at, nodes.name_key FROM"  # noqa: S608 - whole numbers
    " (SELECT node_no, parent_id, due_at FROM failed_nodes WHERE"
    " workflow_no = (SELECT workflow_no FROM nodes WHERE id = :parent)"
    f" AND server = {int(ServerStatus.RETRYING)} ORDER BY seq LIMIT :count) AS failed"
    " JOIN nodes ON nodes.no = failed.node_no"
)


def children_by_name(
    connection: Connection, parent_id: bytes, counts_max: int = _COUNTS_MAX
) -> dict[int, Counter[ServerStatus]]:
    """Name's key -> server status -> number of children of a node; empty where it has more counts than these."""
    by_name: dict[int, Counter[ServerStatus]] = defaultdict(Counter)
    counted = connection.execute(_COUNTED, {"parent": parent_id, "count": counts_max + 1}).all()
    if len(counted) > counts_max:
        return {}
    for row in counted:
        by_name[row.name_key][ServerStatus(row.server)] += row.nodes
    if counted:
        rows = connection.execute(_FIRST, {"parent": parent_id, "seq": FIRST_SEQ})
        others = [row for row in rows if row.parent_id is not None and bytes(row.parent_id) == parent_id]
    else:
        others = list(connection.execute(_FEW, {"parent": parent_id}))
    for row in others:
        by_name[row.name_key][states.server_of(row.state)] += 1
    return by_name


def group_keys(by_name: Mapping[int, Counter[ServerStatus]]) -> list[int]:
    """Names' keys of the groups among a node's children, the largest first."""
    keys = [key for key, counts in by_name.items() if counts.total() >= GROUP_MIN]
    return sorted(keys, key=lambda key: (-by_name[key].total(), key))[:GROUPS_MAX]


def first_retries(
    connection: Connection, parent_id: bytes, by_name: Mapping[int, Counter[ServerStatus]]
) -> dict[int, int]:
    """Name's key -> time of the next retry among these children of a node.

    Empty where none waits for one, or more nodes of the workflow do than are looked at.
    """
    if not any(counts[ServerStatus.RETRYING] for counts in by_name.values()):
        return {}
    rows = connection.execute(_RETRYING, {"parent": parent_id, "count": RETRYING_MAX + 1}).all()
    first: dict[int, int] = {}
    if len(rows) > RETRYING_MAX:
        return first
    for row in rows:
        if row.due_at is not None and row.parent_id is not None and bytes(row.parent_id) == parent_id:
            first[row.name_key] = min(row.due_at, first.get(row.name_key, row.due_at))
    return first


def child_counts(connection: Connection, parent_id: bytes, names_max: int) -> ChildCounts:
    """The children of a node by name, those first of which there are most."""
    by_name = children_by_name(connection, parent_id)
    keys = sorted(by_name, key=lambda key: (-by_name[key].total(), key))
    names = node_names(connection, keys[:names_max])
    retries = first_retries(connection, parent_id, by_name)
    return ChildCounts(
        at=facts.now_ms(),
        total=sum(counts.total() for counts in by_name.values()),
        names=[
            NameCount(
                user_id=names[key].user_id,
                name=names[key].name,
                total=by_name[key].total(),
                nodes=_by_word(by_name[key]),
                first_retry_at=retries.get(key),
            )
            for key in keys[:names_max]
            if key in names
        ],
        more=len(keys[names_max:]),
    )


def _by_word(counts: Mapping[ServerStatus, int]) -> dict[str, int]:
    return {word(server): nodes for server, nodes in sorted(counts.items()) if nodes}


def children_of_name(
    connection: Connection, parent_id: bytes, name_key: int, first: bytes | None, count: int
) -> list[bytes]:
    """Ids of the children of a node that have this name, in their order, from `first` on."""
    # In the order of the workflow's nodes, which ends with the last one that is wanted: not by the parent, which would
    # be all of its children.
    hidden = "" if is_postgresql(connection) else "+"
    begin = "(SELECT seq FROM nodes WHERE id = :first)" if first is not None else "0"
    rows = connection.execute(
        text(
            "SELECT id FROM nodes WHERE workflow_no = (SELECT workflow_no FROM nodes WHERE id = :parent)"  # noqa: S608 - our own words
            f" AND seq >= {begin} AND {hidden}parent_id = :parent AND {hidden}name_key = :key ORDER BY seq LIMIT :count"
        ),
        {"parent": parent_id, "first": first, "key": name_key, "count": count},
    )
    return [bytes(row.id) for row in rows]
