"""Waits of nodes, and short lists of nodes with them: what the engine says of why a node does not go on."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

from backbeat.client.session import Session, as_id
from backbeat.payload.nouns import ClientWord, Count, Id, ModeWord, ServerWord, Source, Time, noun_of
from backbeat.payload.values import Id as AnyId
from backbeat.schemas.messages import queries


class Wait(msgspec.Struct, rename="camel", frozen=True):
    """A reason for which a node does not go on."""

    kind: Annotated[
        str,
        Meta(
            description="parent, sibling, results, time, slot, limit_paused, workflow_paused, message, client, worker, "
            "backoff, children, links, retries_exhausted, server_error or engine; a newer engine may say another word"
        ),
    ]
    sentence: Annotated[str, Meta(description="the wait in words, times in UTC; it goes on from the node's name")]
    since: Annotated[Time | None, Meta(description="since when; null: not known")]
    until: Annotated[Time | None, Meta(description="when it ends by itself; null: by no time")]
    node_id: Annotated[
        Id | None,
        Meta(description="the node that it waits for; null: it is no node, or there are several"),
        Source("subject_id"),
    ]
    count: Annotated[
        Count, Meta(description="how many it waits for: children, links, or results; 0: that is not counted")
    ]

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


class Child(msgspec.Struct, rename="camel", frozen=True):
    """A node as a list shows it: without its data, and with what it waits for."""

    id: Id
    parent_id: Annotated[Id | None, Meta(description="null: it is at the top of the workflow")]
    user_id: Annotated[Id, Meta(description="the client application that runs it")]
    name: str
    mode: ModeWord
    type: str
    status: Annotated[ServerWord, Source("server")] = field(name="currentServerStatus")
    client_status: Annotated[ClientWord, Source("client")] = field(name="currentClientStatus")
    created_at: Time
    changed_at: Annotated[Time, Meta(description="when its status last changed")]
    attempt: Count
    retries_remaining: int
    depth: Annotated[int, Meta(description="levels below the workflow: 1 at the top")]
    has_children: Annotated[bool, Meta(description="whether nodes were ever made below it")]
    children_open: Annotated[Count, Meta(description="nodes right below it that its completion waits for")]
    error: Annotated[
        str, Meta(description="the beginning of its last error, where it retries or has failed; empty: it does neither")
    ]
    wait: Annotated[Wait | None, Meta(description="what holds it up now; null: it waits for nothing")]


async def get_waits(session: Session, node_id: AnyId | bytes) -> list[Wait]:
    """Why a node does not go on: what holds it up now, then what comes after. NotFound."""
    id_bytes, text = as_id(node_id)
    query = queries.GetWaits(node_id=id_bytes, **session.query_fields())
    (answer,) = await session.query(query, f"waits of node {text}")
    return [noun_of(Wait, wait) for wait in answer.waits]


async def get_children(
    session: Session, parent_id: AnyId | bytes, limit: int | None, after: AnyId | bytes | None
) -> list[Child]:
    """The nodes right below a node, or at the top of a workflow. NotFound, InvalidParameters."""
    id_bytes, text = as_id(parent_id)
    query = queries.GetChildren(
        parent_id=id_bytes,
        limit=limit,
        after=None if after is None else as_id(after)[0],
        **session.query_fields(),
    )
    parts = await session.query(query, f"children of {text}")
    return [noun_of(Child, node) for part in parts for node in part.nodes]


async def get_path(session: Session, node_id: AnyId | bytes) -> list[Child]:
    """The nodes above a node, from the top down, and the node. NotFound."""
    id_bytes, text = as_id(node_id)
    query = queries.GetPath(node_id=id_bytes, **session.query_fields())
    parts = await session.query(query, f"path of node {text}")
    return [noun_of(Child, node) for part in parts for node in part.nodes]
