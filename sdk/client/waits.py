"""Waits of nodes, short lists of nodes with them, and the outcome of a workflow: how it stands, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from backbeat.client.session import Session, as_id
from backbeat.client.waiting import is_stuck
from backbeat.errors import NotFound
from backbeat.payload.nouns import ClientWord, Count, Id, ModeWord, ServerWord, Source, Time, noun_of
from backbeat.payload.values import Id as AnyId
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import ChildView, NodeView


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
        str,
        Meta(description="the beginning of its last error, where it retries, has failed or was given up; else empty"),
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


# --- the outcome of a workflow ---------------------------------------------------------------------------------------

OutcomeWord = Literal["running", "waiting", "retrying", "failed", "done"]

#: Failing steps that are told of.
FAILING_MAX = 20
_FAILED = (ServerStatus.RETRIES_EXHAUSTED, ServerStatus.ERRORED)


class FailingStep(msgspec.Struct, rename="camel", frozen=True):
    """A step that retries, has failed, or was given up."""

    id: Annotated[str, Meta(description="the node's id")]
    name: Annotated[str, Meta(description="the activity's name")]
    status: Annotated[str, Meta(description="retrying, errored or retries_exhausted; complete: it was given up")]
    why: Annotated[str, Meta(description="what its last error says, and what it waits for")]

    def __str__(self) -> str:
        """Name and reason."""
        return f"{self.name}: {self.why}"


class Outcome(msgspec.Struct, rename="camel", frozen=True):
    """State of a workflow and of all its nodes."""

    state: Annotated[
        OutcomeWord,
        Meta(
            description="failed: a step waits for somebody, or a step was given up and all is over; retrying: a step "
            "waits for its next attempt; running: a worker is at a step; waiting: none is; done: all is over, and "
            "nothing was given up"
        ),
    ]
    done: Annotated[int, Meta(description="nodes that are complete")]
    total: Annotated[int, Meta(description="nodes, without those that are canceled, reset or passed over")]
    given_up: Annotated[bool, Meta(description="whether a step was given up")]
    failing: Annotated[
        list[FailingStep], Meta(description=f"steps that keep it from success, the worst first; at most {FAILING_MAX}")
    ] = field(default_factory=list)


def sum_up(nodes: Sequence[NodeView]) -> tuple[Outcome, list[NodeView]]:
    """The outcome of these nodes of a workflow, and its failing steps, of which it does not say why yet."""
    below: dict[bytes | None, list[NodeView]] = {}
    for node in nodes:
        below.setdefault(node.parent_id, []).append(node)
    live = [node for node in nodes if node.server is not ServerStatus.DEACTIVATED]
    stuck = [node for node in live if is_stuck(node, below)]
    handled = [node for node in live if node.server in _FAILED and not is_stuck(node, below)]
    retrying = [node for node in live if node.server is ServerStatus.RETRYING]
    given_up = [node for node in live if node.client is ClientStatus.SHUTDOWN]
    open_nodes = [node for node in live if node.server not in CLOSED]
    state: OutcomeWord = "done"
    if stuck or (given_up and not open_nodes):
        state = "failed"
    elif retrying:
        state = "retrying"
    elif any(node.server is ServerStatus.SENT_TO_CLIENT for node in open_nodes):
        state = "running"
    elif open_nodes:
        state = "waiting"
    done = sum(1 for node in live if node.server is ServerStatus.COMPLETE)
    outcome = Outcome(state, done, len(live), bool(given_up))
    return outcome, [*stuck, *given_up, *handled, *retrying][:FAILING_MAX]


async def get_outcome(session: Session, workflow_id: AnyId | bytes) -> Outcome:
    """The outcome of a workflow, read from its tree. NotFound."""
    id_bytes, text = as_id(workflow_id)
    try:
        _, *parts = await session.query(
            queries.GetTree(workflow_id=id_bytes, **session.query_fields()), f"tree of workflow {text}"
        )
    except NotFound as refusal:
        raise session.not_found(id_bytes, refusal) from None
    outcome, failing = sum_up([node for part in parts for node in part.nodes])
    steps = []
    for node in failing:
        query = queries.GetPath(node_id=node.id, **session.query_fields())
        path = await session.query(query, f"path of node {id_text(node.id)}")
        steps.append(failing_step(path[-1].nodes[-1]))
    return msgspec.structs.replace(outcome, failing=steps)


def failing_step(node: ChildView) -> FailingStep:
    """A failing step as an outcome shows it."""
    reasons = [node.error, "" if node.wait is None else node.wait.sentence]
    if node.client is ClientStatus.SHUTDOWN:
        reasons.append("was given up")
    return FailingStep(id_text(node.id), node.name, word(node.server), "; ".join(filter(None, reasons)))
