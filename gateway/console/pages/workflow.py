"""A workflow: how its nodes stand, and its tree by the page."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.gateway.console.actions import WORKFLOW_ACTIONS, allowed_actions
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.error_text import ErrorText, newest_error
from backbeat.gateway.console.show.statuses import FAILING, shares
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.reading.workflow_nodes import nodes_of_workflow, states_of_workflows
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.views import NodeView

ROWS = 200
_FAILING_MAX = 10
#: Deeper rows are drawn at this level: the way to them is on their own page.
_INDENT_MAX = 12
_KINDS = ("all", "top", "failing")


class TreeRow(msgspec.Struct, frozen=True):
    """A node in a tree."""

    node: NodeView
    #: 0 at the left edge.
    level: int
    #: False: it belongs to a client that the visitor may not see.
    is_open: bool
    error: ErrorText | None = None


async def show(visit: Visit) -> Page:
    """GET /ui/workflows/{id}."""
    workflow_id = visit.path_id("workflow")
    view = await visit.workflow(workflow_id)
    counts = await visit.read(
        lambda connection: states_of_workflows(connection, [workflow_id]).get(workflow_id, {}), None
    )
    kind = visit.query.get("show", "all")
    if kind not in _KINDS:
        raise PageError(400, "This address is broken", f"show is one of {', '.join(_KINDS)}.")
    failing_max = ROWS if kind == "failing" else _FAILING_MAX
    no_nodes: list[NodeView] = []
    failing = await visit.read(
        lambda connection: nodes_of_workflow(connection, workflow_id, FAILING, failing_max + 1), no_nodes
    )
    failing_rows = await _with_errors(visit, failing[:failing_max])
    rows, following = ([], None) if kind == "failing" else await _tree(visit, workflow_id, top_level_only=kind == "top")
    return visit.page(
        "workflow.html",
        f"{view.name} {view.subject.decode(errors='replace')[:80]}",
        workflow=view,
        client=visit.client_name(view.user_id),
        shares=None if counts is None else shares(counts),
        failing=failing_rows,
        is_more_failing=len(failing) > len(failing_rows),
        kind=kind,
        rows=rows,
        following=following,
        is_first="after" not in visit.query,
        actions=allowed_actions(WORKFLOW_ACTIONS, view) if visit.may_act else [],
        **visit.deeds(workflow_id=id_text(workflow_id)),
        **_addresses(visit),
    )


def _addresses(visit: Visit) -> dict[str, Any]:
    return {
        "addresses": {kind: visit.address(show=None if kind == "all" else kind, after=None) for kind in _KINDS},
        "first": visit.address(after=None),
    }


async def _tree(visit: Visit, workflow_id: bytes, *, top_level_only: bool) -> tuple[list[TreeRow], str | None]:
    """Rows of a page of the tree, in its order, and the address of the next one."""
    after_text = visit.query.get("after")
    after = find_id(after_text) if after_text else None
    if after_text and after is None:
        raise PageError(400, "This address is broken", "Its `after` is no node: begin with the first page.")
    nodes = await read_tree(visit, workflow_id, top_level_only=top_level_only, limit=ROWS + 1, after=after)
    rows = [tree_row(visit, node, 1) for node in nodes[:ROWS]]
    following = visit.address(after=id_text(nodes[ROWS - 1].id)) if len(nodes) > ROWS else None
    return rows, following


async def read_tree(
    visit: Visit, workflow_id: bytes, *, limit: int, after: bytes | None, top_level_only: bool = False
) -> list[NodeView]:
    """Nodes of a workflow in the order of the tree, behind the node `after`."""
    _, *parts = await visit.ask(
        queries.GetTree,
        "workflow",
        workflow_id=workflow_id,
        top_level_only=top_level_only,
        limit=limit,
        after=after,
    )
    return [node for part in parts for node in part.nodes]


def tree_row(visit: Visit, node: NodeView, first_depth: int) -> TreeRow:
    """A row; `first_depth`: depth at the left edge."""
    return TreeRow(node, min(max(node.depth - first_depth, 0), _INDENT_MAX), visit.who.sees(node.user_id))


async def _with_errors(visit: Visit, nodes: list[NodeView]) -> list[TreeRow]:
    histories = await visit.histories([node.id for node in nodes])
    return [
        TreeRow(node, 0, visit.who.sees(node.user_id), newest_error(history))
        for node, history in zip(nodes, histories, strict=True)
    ]
