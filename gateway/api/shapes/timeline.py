"""JSON of a workflow's timeline: how long each node waited, ran and retried, and the path that took longest."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

#: What a node does in a part of its time.
KINDS = ("waits", "client", "worker", "backoff", "children", "paused", "failed")


class Span(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a node's time."""

    kind: Annotated[str, Meta(description=f"one of {', '.join(KINDS)}")]
    from_: Annotated[int, Meta(description="milliseconds since the epoch")] = msgspec.field(name="from")
    to: Annotated[int, Meta(description="milliseconds since the epoch; of an open node until now")]


class TimelineNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A node of a timeline."""

    id: str
    parent_id: str | None
    user_id: str
    name: str
    created_at: Annotated[int, Meta(description="milliseconds since the epoch")]
    ended_at: Annotated[int | None, Meta(description="null: it is open")]
    spans: Annotated[list[Span], Meta(description="one after the other, from when it was made on")]
    errors: Annotated[list[int], Meta(description="when an attempt failed")]
    has_children: bool


class TimelineGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Children of one name, from 50 on, with the course of how many of them were open."""

    user_id: Annotated[str, Meta(description="the client application that runs them")]
    name: str
    total: Annotated[int, Meta(description="how many there are")]
    from_: Annotated[int, Meta(description="milliseconds since the epoch")] = msgspec.field(name="from")
    to: Annotated[int, Meta(description="milliseconds since the epoch; while one is open, now")]
    open: Annotated[
        list[int], Meta(description="in each of 100 equal parts of that time: how many were open at any moment of it")
    ]


class Timeline(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Timeline of the nodes right below a node, or at the top of a workflow: the spans of each."""

    at: Annotated[int, Meta(description="milliseconds since the epoch")]
    nodes: list[TimelineNode]
    groups: Annotated[
        list[TimelineGroup],
        Meta(description="with `fold`: children of which there are many of one name, which are not among `nodes`"),
    ]
    next: Annotated[str | None, Meta(description="what to give as `after` for the next ones; null: there are none")]
    critical_path: Annotated[
        list[TimelineNode],
        Meta(description="from the top down the child that ended last: of open ones the oldest that is open"),
    ]
