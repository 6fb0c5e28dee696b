"""Nodes of a workflow, whole or by the page: `limit` nodes behind the node `after`, in the order of the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from backbeat.gateway import engine_calls
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.payload.values import id_text
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.transport.http_words import NEXT_HEADER

LIMIT_MAX = 10_000
#: More nodes are a large answer: some 3 KB of memory a node until it is sent, so only few are made at a time.
LARGE_MIN = 2_000
#: Smallest first page of a filtered tree, of which some nodes are left out.
_FILTERED_MIN = 1_000

NodeFilter = Callable[[Iterable[NodeView]], list[NodeView]]


@dataclass
class Page:
    """A workflow and some of its nodes."""

    workflow: WorkflowView
    nodes: list[NodeView]
    #: True if these are all the nodes, not a page.
    whole: bool = True
    headers: dict[str, str] = field(default_factory=dict)


async def read_page(call: Call, *, top_level_only: bool = False, node_filter: NodeFilter | None = None) -> Page:
    """The matching nodes of the workflow in the path: all, or the call's `limit`."""
    workflow_id = call.path_id()
    limit = call.parameters.whole_number("limit")
    after = call.parameters.uuid("after")
    if limit is not None and not 1 <= limit <= LIMIT_MAX:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {LIMIT_MAX} the most")
    if limit is None:
        workflow, batch = await read_whole(call, workflow_id, top_level_only=top_level_only, after=after)
        return Page(workflow, batch if node_filter is None else node_filter(batch), whole=after is None)
    # A node more than the limit shows whether there is a next page.
    batch_size = limit + 1 if node_filter is None else max(limit + 1, _FILTERED_MIN)
    nodes: list[NodeView] = []
    while True:
        workflow, batch = await engine_calls.get_tree(
            call, workflow_id, top_level_only=top_level_only, limit=batch_size, after=after
        )
        nodes += batch if node_filter is None else node_filter(batch)
        if len(nodes) > limit:
            nodes = nodes[:limit]
            return Page(workflow, nodes, whole=False, headers={NEXT_HEADER: id_text(nodes[-1].id)})
        if len(batch) < batch_size:
            return Page(workflow, nodes, whole=False)
        after = batch[-1].id
        # Few of them match: fewer and larger requests.
        batch_size = min(2 * batch_size, LIMIT_MAX)


async def read_whole(
    call: Call, workflow_id: bytes, *, top_level_only: bool = False, after: bytes | None = None
) -> tuple[WorkflowView, list[NodeView]]:
    """All nodes. A large answer waits for its turn, which lasts until the call is answered; 503 on timeout."""
    workflow, first_nodes = await engine_calls.get_tree(
        call, workflow_id, top_level_only=top_level_only, after=after, limit=LARGE_MIN
    )
    if len(first_nodes) < LARGE_MIN:
        return workflow, first_nodes
    try:
        async with asyncio.timeout(call.services.settings.answer_seconds):
            await call.take_turn(call.services.large_answers)
    except TimeoutError as error:
        raise errors.unavailable(
            "Too many large trees are being read. What to do: ask for pages (limit, after), or again in a while",
            "Backbeat::Unavailable",
        ) from error
    workflow, rest = await engine_calls.get_tree(
        call, workflow_id, top_level_only=top_level_only, after=first_nodes[-1].id
    )
    return workflow, first_nodes + rest
