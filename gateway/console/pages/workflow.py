"""A workflow: how its nodes stand, and its tree, unfolded where it matters."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from backbeat.gateway.console.actions import WORKFLOW_ACTIONS, allowed_actions
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.show.links import links_of
from backbeat.gateway.console.show.sibling_groups import Group, GroupRow
from backbeat.gateway.console.show.statuses import FAILING, Share, shares
from backbeat.gateway.console.tree import ROWS, ROWS_MAX, Parent, Row, Tree, TreeRow
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.reading.causes import failed_by_parent, failed_of_workflow
from backbeat.gateway.projection.reading.workflow_nodes import states_of_workflows
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.ids import PREFIX_BYTES
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import ChildView

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FAILING_MAX = 5
#: Ways to failing nodes that are drawn instead of the tree.
_PATHS_MAX = 100
_OPENED_MAX = 20
#: Branches that are fetched anew at once.
_BRANCHES_MAX = 5
#: Of what is drawn by single ways, each of which is a question, the page is asked for more rarely.
_PATHS_LIVE_MS = 5_000
_KINDS = ("all", "failing")
_NUMBER = re.compile("[0-9]{1,4}")


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Standing of a workflow's nodes."""

    #: In the order of their creation.
    first_failing: list[bytes] = []
    #: Failed nodes by parent and status.
    failed: Mapping[bytes | None, Mapping[ServerStatus, int]] = {}
    #: None: the search is away.
    shares: list[Share] | None = None


async def show(visit: Visit) -> Page:
    """GET /ui/workflows/{id}."""
    workflow_id = visit.path_id("workflow")
    view = await visit.workflow(workflow_id)
    kind = visit.query.get("show", "all")
    if kind not in _KINDS:
        raise PageError(400, "This address is broken", f"show is one of {', '.join(_KINDS)}.")
    count = _PATHS_MAX if kind == "failing" else _FAILING_MAX
    standing = await _standing(visit, workflow_id, count + 1)
    paths = await _paths(visit, standing.first_failing[:count])
    tree = Tree(visit, workflow_id, standing.failed)
    many = visit.query.get("many")
    tree.many = _parent(workflow_id, many) if many else None
    drawn = _drawn(tree, paths) if kind == "failing" else await _unfolded(visit, tree, workflow_id, paths)
    client = visit.client_name(view.user_id)
    return visit.page(
        "workflow.html",
        f"{view.name} {view.subject.decode(errors='replace')[:80]}",
        workflow=view,
        live=f"w={id_text(workflow_id)}",
        live_rows="" if kind == "failing" else f"{id_text(workflow_id)}/rows",
        live_every=_PATHS_LIVE_MS if kind == "failing" else 0,
        client=client,
        links_out=links_of(
            visit.parts.settings.links,
            {"workflow_id": id_text(workflow_id), "client": client, "subject": view.subject.decode(errors="replace")},
        ),
        failing=[tree.row(path[-1]) for path in paths],
        is_more_failing=len(standing.first_failing) > count,
        beginnings_of={path[-1].id: visit.address(at=id_text(path[-1].id), open=None, show=None) for path in paths},
        kind=kind,
        rows=drawn,
        is_unfolded_by_hand=any(visit.query.get(name) for name in ("open", "at", "many")),
        addresses={
            word: visit.address(show=None if word == "all" else word, open=None, at=None, many=None) for word in _KINDS
        },
        actions=allowed_actions(WORKFLOW_ACTIONS, view) if visit.may_act else [],
        shares=standing.shares,
        **_folding(visit, workflow_id, drawn),
        **visit.deeds(id_text(workflow_id)),
    )


async def rows(visit: Visit) -> Page:
    """GET /ui/workflows/{id}/rows: branches of the tree, for scripts: one that is unfolded, or those that are shown.

    `parent`, a node or a group, with what lies below it at `level`; or several `branch`, each
    `parent,level,first,limit`, without what lies below: whoever asks has that. A branch whose parent is gone is left
    out.
    """
    workflow_id = visit.path_id("workflow")
    await visit.workflow(workflow_id)
    standing = await _standing(visit, workflow_id, 0)
    tree = Tree(visit, workflow_id, standing.failed)
    requests = [_branch(workflow_id, text) for text in visit.request.query.getall("branch", ())]
    if len(requests) > _BRANCHES_MAX:
        raise PageError(400, "Too many branches", f"{_BRANCHES_MAX} are the most.")
    parent = visit.query.get("parent")
    if parent is not None:
        words = (visit.query.get(name, "") for name in ("level", "first", "limit"))
        requests = [_branch(workflow_id, ",".join((parent, *words)))]
    own = await _own(visit, workflow_id, [request.parent_id for request in requests])
    if parent is not None and not own:
        raise not_found("node of this workflow")
    branches = await asyncio.gather(
        *(
            tree.branch(request.parent, request.level, first=request.first, limit=request.limit)
            for request in requests
            if request.parent_id in own
        )
    )
    visit.stand_in(f"workflows/{id_text(workflow_id)}")
    drawn = [row for branch in branches for row in branch]
    return visit.page("rows.html", "", branches=branches, shares=standing.shares, **_folding(visit, workflow_id, drawn))


class _Branch(msgspec.Struct, frozen=True):
    """Branch of a tree that a script asks for."""

    parent: Parent
    level: int
    first: bytes | None
    #: Children that are wanted.
    limit: int

    @property
    def parent_id(self) -> bytes:
        """The node or workflow that it is in."""
        return self.parent.parent_id if isinstance(self.parent, Group) else self.parent


def _branch(workflow_id: bytes, text: str) -> _Branch:
    """The branch `parent,level,first,limit`; of the words behind the parent none need be said. 400."""
    parent, level, first, limit, *rest = (*text.split(","), "", "", "")
    if any(rest) or not all(number == "" or _NUMBER.fullmatch(number) for number in (level, limit)):
        raise PageError(400, "This address is broken", "branch is parent,level,first,limit.")
    return _Branch(
        _parent(workflow_id, parent) if parent else workflow_id,
        int(level or 0),
        _id(workflow_id, first) if first else None,
        min(int(limit or ROWS) or ROWS, ROWS_MAX),
    )


def _parent(workflow_id: bytes, text: str) -> Parent:
    """A node of the workflow, itself, or a group of siblings. 400, likewise."""
    group = Group.read(text)
    identity = _id(workflow_id, text if group is None else id_text(group.parent_id))
    return identity if group is None else group


def _id(workflow_id: bytes, text: str) -> bytes:
    """Id that begins as those of the workflow's nodes do. 400: no node of it has it."""
    identity = find_id(text)
    if identity is None or identity[:PREFIX_BYTES] != workflow_id[:PREFIX_BYTES]:
        raise PageError(400, "This address is broken", f"{text[:60]!r} is no id of a node of this workflow.")
    return identity


async def _own(visit: Visit, workflow_id: bytes, ids: list[bytes]) -> list[bytes]:
    """The ids of the workflow and of nodes of it: whoever sees one workflow must not read another by it.

    Workflows can be made whose ids begin alike, so a node is asked which one it is of.
    """
    others = [identity for identity in ids if identity != workflow_id]
    answers = await visit.each(queries.GetNode, "node", "node_id", others)
    own = {node.id for (node,) in filter(None, answers) if node.workflow_id == workflow_id}
    return [identity for identity in ids if identity == workflow_id or identity in own]


def _id_of(visit: Visit, workflow_id: bytes, name: str) -> bytes | None:
    text = visit.query.get(name)
    return _id(workflow_id, text) if text else None


async def _standing(visit: Visit, workflow_id: bytes, count: int) -> _Standing:
    """Standing of a workflow's nodes, in one reading of the projection; `count`: failed nodes that are named."""

    def read(connection: Connection) -> _Standing:
        counts = states_of_workflows(connection, [workflow_id]).get(workflow_id, {})
        return _Standing(
            first_failing=failed_of_workflow(connection, workflow_id, FAILING, count),
            failed=failed_by_parent(connection, workflow_id),
            shares=shares(counts),
        )

    return await visit.read(read, _Standing())


def _folding(visit: Visit, workflow_id: bytes, drawn: Sequence[Row]) -> dict[str, Any]:
    """Addresses of this page with one branch more or less unfolded, or with many of its children, by node or group."""
    branches: dict[Parent, bool] = {}
    for row in drawn:
        if isinstance(row, GroupRow):
            branches[row.group] = row.is_unfolded
        elif isinstance(row, TreeRow) and row.kind == "node" and row.node.has_children:
            branches[row.node.id] = row.is_unfolded
    opened = [_text(parent) for parent, is_unfolded in branches.items() if is_unfolded]
    later = [row for row in drawn if isinstance(row, TreeRow) and row.kind == "later"]
    folds: dict[Parent, str] = {}
    for parent, is_unfolded in branches.items():
        others = [other for other in opened if other != _text(parent)]
        # An empty word would be left out of the address, and the page unfold what it thinks best.
        unfolded = others if is_unfolded else [*others, _text(parent)]
        folds[parent] = visit.address(open=",".join(unfolded[-_OPENED_MAX:]) or ",", at=None, show=None)
    return {
        "folds": folds,
        "from_the_first": visit.address(open=",".join(opened[-_OPENED_MAX:]) or ",", at=None, show=None),
        "beginnings": {row.node.id: visit.address(at=id_text(row.node.id), open=None, show=None) for row in later},
        "manys": {
            row.node.id: visit.address(many=_text(row.group or row.node.parent_id or workflow_id)) for row in later
        },
    }


def _text(parent: Parent) -> str:
    """A node, workflow or group as addresses have it."""
    return str(parent) if isinstance(parent, Group) else id_text(parent)


async def _paths(visit: Visit, node_ids: list[bytes]) -> list[list[ChildView]]:
    """The ways from the top to these nodes, without those of nodes that are gone."""
    answers = await visit.each(queries.GetPath, "node", "node_id", node_ids)
    return [[node for part in parts for node in part.nodes] for parts in answers if parts]


def _drawn(tree: Tree, paths: list[list[ChildView]]) -> Sequence[Row]:
    """A tree of nothing but these ways."""
    below: dict[bytes | None, dict[bytes, ChildView]] = {}
    for path in paths:
        for node in path:
            below.setdefault(node.parent_id, {})[node.id] = node
    drawn: list[Row] = []
    stack = sorted(below.get(None, {}).values(), key=lambda node: -node.seq)
    while stack:
        node = stack.pop()
        drawn.append(tree.row(node, node.depth - 1, is_unfolded=node.id in below))
        stack += sorted(below.get(node.id, {}).values(), key=lambda child: -child.seq)
    return drawn


async def _unfolded(visit: Visit, tree: Tree, workflow_id: bytes, failing: list[list[ChildView]]) -> Sequence[Row]:
    """The tree, unfolded as the address says; else on the way to the first failing node, or where it is at work."""
    at = _id_of(visit, workflow_id, "at")
    opened = visit.query.get("open")
    if at is not None:
        for path in await _paths(visit, await _own(visit, workflow_id, [at])):
            tree.unfold(path)
    elif opened is not None:
        tree.opened.update(_parent(workflow_id, text) for text in opened.split(",")[:_OPENED_MAX] if text)
    elif failing:
        tree.unfold(failing[0])
    else:
        tree.unfolds_at_work = True
    return await tree.branch(workflow_id, 0)
