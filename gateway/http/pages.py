"""A workflow's nodes, whole or by the page: `limit` nodes behind the node `after`, in the order of the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from backbeat.gateway import engine_calls
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.presentation import id_text
from backbeat.schemas.messages.views import NodeView, WorkflowView

#: The node to go on after, where more may follow.
NEXT_HEADER = "X-backbeat-next"
LIMIT_MAX = 10_000
#: More nodes than these are a large answer: some 3 KB of memory a node until it is sent, so few are made at a time.
LARGE_MIN = 2_000
#: Nodes asked for at first, at least, where some may be passed over.
_FILTERED_MIN = 1_000

Wanted = Callable[[Iterable[NodeView]], list[NodeView]]


@dataclass
class Page:
    """Nodes of a workflow."""

    workflow: WorkflowView
    nodes: list[NodeView]
    #: whether these are all, not a page that was asked for
    whole: bool = True
    headers: dict[str, str] = field(default_factory=dict)


async def read_page(call: Call, *, top_level_only: bool = False, wanted: Wanted | None = None) -> Page:
    """The nodes of the workflow in the path that are wanted: all, or as many as the call's `limit` says."""
    workflow_id = call.path_id()
    limit = call.parameters.whole_number("limit")
    after = call.parameters.uuid("after")
    if limit is not None and not 1 <= limit <= LIMIT_MAX:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {LIMIT_MAX} the most")
    if limit is None:
        workflow, found = await _read_whole(call, workflow_id, top_level_only=top_level_only, after=after)
        return Page(workflow, found if wanted is None else wanted(found), whole=after is None)
    # One more than wanted says whether there is a next page.
    asked = limit + 1 if wanted is None else max(limit + 1, _FILTERED_MIN)
    nodes: list[NodeView] = []
    while True:
        workflow, found = await engine_calls.get_tree(
            call, workflow_id, top_level_only=top_level_only, limit=asked, after=after
        )
        nodes += found if wanted is None else wanted(found)
        if len(nodes) > limit:
            nodes = nodes[:limit]
            return Page(workflow, nodes, whole=False, headers={NEXT_HEADER: id_text(nodes[-1].id)})
        if len(found) < asked:
            return Page(workflow, nodes, whole=False)
        after = found[-1].id
        # Few of them are wanted: fewer and larger questions.
        asked = min(2 * asked, LIMIT_MAX)


async def _read_whole(
    call: Call, workflow_id: bytes, *, top_level_only: bool, after: bytes | None
) -> tuple[WorkflowView, list[NodeView]]:
    """All of them. A large answer waits for its turn, which lasts until the call is answered; 503 if none comes."""
    workflow, found = await engine_calls.get_tree(
        call, workflow_id, top_level_only=top_level_only, after=after, limit=LARGE_MIN
    )
    if len(found) < LARGE_MIN:
        return workflow, found
    try:
        async with asyncio.timeout(call.parts.settings.answer_seconds):
            await call.take_turn(call.parts.large_answers)
    except TimeoutError as error:
        raise errors.unavailable(
            "Too many large trees are being read. What to do: ask for pages (limit, after), or again in a while",
            "Backbeat::Unavailable",
        ) from error
    workflow, rest = await engine_calls.get_tree(call, workflow_id, top_level_only=top_level_only, after=found[-1].id)
    return workflow, found + rest
