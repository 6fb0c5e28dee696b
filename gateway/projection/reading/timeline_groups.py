"""Equal siblings in a timeline: how many of them were open, in equal parts of the time.

A walk over the children of the node; two, where all have ended and the end is to be found first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from sqlalchemy import Connection, text

from backbeat.gateway.api.shapes.timeline import TimelineGroup
from backbeat.gateway.projection.reading.reports import node_names
from backbeat.gateway.projection.reading.siblings import group_keys
from backbeat.gateway.projection.storage import states
from backbeat.schemas.messages.status import CLOSED, ServerStatus

#: Parts of the time of a group.
PARTS = 100

_IS_CLOSED = f"state & {states.SERVER_BITS} IN ({', '.join(str(int(server)) for server in CLOSED)})"
_FIRST = text("SELECT created FROM nodes WHERE parent_id = :parent ORDER BY created LIMIT 1")


def timeline_groups(
    connection: Connection,
    parent_id: bytes,
    by_name: Mapping[int, Counter[ServerStatus]],
    *,
    now: int,
    begin: int | None,
    end: int | None,
) -> list[TimelineGroup]:
    """Groups of a node's children. `begin`, `end`: the time that is looked at; None: as the children have it."""
    keys = group_keys(by_name)
    if not keys:
        return []
    among = f"parent_id = :parent AND name_key IN ({', '.join(map(str, keys))})"
    if begin is None:
        begin = connection.execute(_FIRST, {"parent": parent_id}).scalar() or now
    if end is None:
        is_open = any(nodes for key in keys for server, nodes in by_name[key].items() if server not in CLOSED)
        newest = text(f"SELECT MAX(last_at) FROM nodes WHERE {among}")  # noqa: S608 - our own words and whole numbers
        end = now if is_open else connection.execute(newest, {"parent": parent_id}).scalar() or now
    end = max(begin, end)
    open_nodes = _open_nodes(connection, among, {"parent": parent_id, "begin": begin, "end": end})
    names = node_names(connection, keys)
    return [
        TimelineGroup(
            user_id=names[key].user_id,
            name=names[key].name,
            total=by_name[key].total(),
            from_=begin,
            to=end,
            open=open_nodes.get(key, [0] * PARTS),
        )
        for key in keys
        if key in names
    ]


def _open_nodes(connection: Connection, among: str, values: Mapping[str, bytes | int]) -> dict[int, list[int]]:
    """Name's key -> for each part of the time, how many nodes of that name were open at any moment of it."""
    ended = f"CASE WHEN {_IS_CLOSED} THEN last_at ELSE :end END"
    statement = (
        f"SELECT name_key, (created - :begin) * {PARTS} / :length AS first_part,"  # noqa: S608 - our own words and whole numbers
        f" ({ended} - :begin) * {PARTS} / :length AS last_part, COUNT(*) AS nodes FROM nodes"
        f" WHERE {among} AND created <= :end AND {ended} >= :begin GROUP BY 1, 2, 3"
    )
    length = int(values["end"]) - int(values["begin"]) + 1
    changes: dict[int, list[int]] = {}
    for row in connection.execute(text(statement), {**values, "length": length}):
        of_name = changes.setdefault(row.name_key, [0] * (PARTS + 1))
        of_name[max(0, row.first_part)] += row.nodes
        of_name[min(PARTS, row.last_part + 1)] -= row.nodes
    return {key: list(accumulate(of_name))[:PARTS] for key, of_name in changes.items()}
