"""Timeline of a workflow: when each node was at what, as bars and as words; and the path that took longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backbeat.gateway.api.shapes.timeline import KINDS, Timeline, TimelineGroup, TimelineNode
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show import times
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.reading.timeline import TimelinePart, timeline
from backbeat.payload.nouns import time_text
from backbeat.payload.values import id_text

_LINES = 200
#: Width of a line's picture, in its own units.
_WIDTH = 1_000
#: Height of a line's picture, likewise.
_HEIGHT = 16
#: Labels on the axis.
_MARKS = 5
#: What people read for a span's kind.
WORDS = {
    "waits": "waits",
    "client": "in the queue of its client",
    "worker": "with a worker",
    "backoff": "waits for a retry",
    "children": "waits for what is below",
    "paused": "paused",
    "failed": "failed",
}


class Bar(msgspec.Struct, frozen=True):
    """A rectangle of a line, in the picture's units."""

    kind: str
    x: float
    width: float


class LineRow(msgspec.Struct, frozen=True):
    """A node as a line of a timeline."""

    node: TimelineNode
    is_open: bool
    bars: list[Bar]
    ticks: list[float]
    #: Milliseconds from its making to its end, or until now.
    lasted: int
    #: Time by kind, longest first, in words.
    words: list[tuple[str, int]]
    is_critical: bool


class BandRow(msgspec.Struct, frozen=True):
    """Many nodes of one name as a line of a timeline."""

    group: TimelineGroup
    #: Outline of a band that is as high as many of them were open, as a path of SVG.
    band: str
    most: int
    address: str


async def show(visit: Visit) -> Page:
    """GET /ui/workflows/{id}/timeline?below=…&name=…&after=…&from=…&to=…."""
    workflow_id = visit.path_id("workflow")
    view = await visit.workflow(workflow_id)
    below, after = (_id(visit, name) for name in ("below", "after"))
    part = TimelinePart(
        limit=_LINES,
        below=below,
        after=after,
        name=visit.query.get("name") if below is not None else None,
        folds=True,
        begin=visit.time_of(visit.query, "from"),
        end=visit.time_of(visit.query, "to"),
    )
    nothing: Timeline | None = None
    read = await visit.share(
        ("timeline", workflow_id, part),
        lambda: visit.services.projection.read(lambda connection: timeline(connection, workflow_id, part)),
        nothing,
    )
    nodes = [] if read is None else read.nodes
    path = [] if read is None else read.critical_path
    groups = [] if read is None else read.groups
    begin, end = _range(part, [*nodes, *path] if below is None else nodes, groups, times.now_ms())
    critical = {node.id for node in path}
    return visit.page(
        "timeline.html",
        f"Timeline: {view.name}",
        workflow=view,
        rows=[_row(visit, node, begin, end, critical) for node in nodes],
        bands=[_band_row(visit, group, begin, end) for group in groups],
        path=[_row(visit, node, begin, end, critical) for node in path],
        is_away=read is None and bool(visit.troubles),
        below=None if below is None else id_text(below),
        words=WORDS,
        kinds=KINDS,
        marks=_marks(begin, end),
        zooms=_zooms(visit, begin, end),
        is_zoomed=bool(visit.query.get("from") or visit.query.get("to")),
        drill={
            node.id: visit.address(below=node.id, name=None, after=None)
            for node in (*nodes, *path)
            if node.has_children
        },
        top=visit.address(below=None, name=None, after=None),
        name=part.name,
        all_names=visit.address(name=None, after=None),
        next=None if read is None or read.next is None else visit.address(after=read.next),
        as_table=visit.query.get("as") == "table",
        other_view=visit.address(**{"as": None if visit.query.get("as") == "table" else "table"}),
    )


def _id(visit: Visit, name: str) -> bytes | None:
    text = visit.query.get(name)
    if not text:
        return None
    identity = find_id(text)
    if identity is None:
        raise PageError(400, "This address is broken", f"{name} is the id of a node.")
    return identity


def _range(
    part: TimelinePart, nodes: Sequence[TimelineNode], groups: Sequence[TimelineGroup], now: int
) -> tuple[int, int]:
    """First and last moment that are shown."""
    begin, end = part.begin, part.end
    if begin is None:
        begin = min((*(node.created_at for node in nodes), *(group.from_ for group in groups)), default=now)
    if end is None:
        end = max((*(node.ended_at or now for node in nodes), *(group.to for group in groups)), default=now)
    return begin, max(end, begin + 1)


def _band_row(visit: Visit, group: TimelineGroup, begin: int, end: int) -> BandRow:
    scale = _WIDTH / (end - begin)
    most = max(group.open, default=0)
    length = (group.to - group.from_ + 1) / max(len(group.open), 1)
    steps = [f"M{(group.from_ - begin) * scale:.1f} {_HEIGHT}"]
    for number, count in enumerate(group.open, 1):
        # As high as it is beside the most, seen if there is one.
        top = _HEIGHT - -(-count * _HEIGHT // max(most, 1))
        steps.append(f"V{top}H{(group.from_ + number * length - begin) * scale:.1f}")
    return BandRow(group, f"{''.join(steps)}V{_HEIGHT}z", most, visit.address(name=group.name, after=None))


def _row(visit: Visit, node: TimelineNode, begin: int, end: int, critical: set[str]) -> LineRow:
    scale = _WIDTH / (end - begin)

    def place(at: int) -> float:
        return round((min(max(at, begin), end) - begin) * scale, 1)

    totals: dict[str, int] = {}
    for span in node.spans:
        totals[span.kind] = totals.get(span.kind, 0) + span.to - span.from_
    last = node.ended_at or max((span.to for span in node.spans), default=node.created_at)
    return LineRow(
        node=node,
        is_open=visit.who.sees(find_id(node.user_id) or b""),
        bars=[
            # What is too short to be seen is a hair's breadth all the same.
            Bar(span.kind, place(span.from_), max(place(span.to) - place(span.from_), 1.5))
            for span in node.spans
            if span.to > begin and span.from_ < end
        ],
        ticks=[place(at) for at in node.errors if begin <= at <= end],
        lasted=last - node.created_at,
        words=sorted(totals.items(), key=lambda item: -item[1]),
        is_critical=node.id in critical,
    )


def _marks(begin: int, end: int) -> list[int]:
    return [begin + (end - begin) * number // (_MARKS - 1) for number in range(_MARKS)]


def _zooms(visit: Visit, begin: int, end: int) -> Mapping[str, str]:
    """Addresses of other parts of the time."""
    length = end - begin
    middle = begin + length // 2

    def part(first: int, last: int) -> str:
        return visit.address(**{"from": time_text(first), "to": time_text(last)})

    parts: dict[str, Any] = {
        "earlier": part(begin - length // 2, end - length // 2),
        "later": part(begin + length // 2, end + length // 2),
        "closer": part(middle - length // 4, middle + max(length // 4, 1)),
        "wider": part(middle - length, middle + length),
    }
    return parts
