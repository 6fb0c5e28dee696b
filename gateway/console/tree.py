"""Tree of a workflow: rows of the branches that are unfolded, each read from the engine when it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from backbeat.gateway.console.show.statuses import FAILING
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.projection.reading.causes import failed_by_parent
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import ChildView

#: Children that are shown at once, and where somebody asks for many of a node's.
ROWS = 200
ROWS_MAX = 1_000
#: Rows of a page: where more branches are unfolded, fewer children of each are shown.
PAGE_ROWS_MAX = 2_000
#: Levels that are unfolded by themselves where nothing is failing.
_AT_WORK_LEVELS = 3
_BRANCHES_MAX = 20


class TreeRow(msgspec.Struct, frozen=True):
    """A node in a tree, or the way to more of them."""

    node: ChildView
    #: 0 at the left edge.
    level: int
    #: False: it belongs to a client that the visitor may not see.
    is_open: bool
    is_unfolded: bool = False
    #: Children that need a person, and that wait for a retry.
    failing: int = 0
    retrying: int = 0
    #: Of `later`: as many more may be shown at once; 0: as many are.
    more: int = 0
    #: `node`; `later`: this node and those behind it are not shown; `earlier`: those before it are not.
    kind: str = "node"


class Tree:
    """Branches of a tree that are unfolded."""

    def __init__(
        self, visit: Visit, workflow_id: bytes, failed: Mapping[bytes | None, Mapping[ServerStatus, int]]
    ) -> None:
        self._visit = visit
        self._workflow_id = workflow_id
        self._failed = failed
        self.opened: set[bytes] = set()
        #: Node, or workflow, of which many children are shown; None: of none.
        self.many: bytes | None = None
        #: True: unfold the first branches that are at work, or the last ones where none is.
        self.unfolds_at_work = False
        #: Parent -> the child that must be among those shown.
        self._shown_child: dict[bytes, bytes] = {}
        self._branches = 0

    @classmethod
    async def read(cls, visit: Visit, workflow_id: bytes) -> Self:
        """The tree of a workflow, with nothing unfolded."""
        return cls(
            visit, workflow_id, await visit.read(lambda connection: failed_by_parent(connection, workflow_id), {})
        )

    def unfold(self, path: Sequence[ChildView]) -> None:
        """Unfold the way to a node: `path` has those above it, and itself."""
        for node in path:
            self._shown_child[node.parent_id or self._workflow_id] = node.id
        self.opened |= {node.id for node in path[:-1]}

    def row(self, node: ChildView, level: int = 0, *, is_unfolded: bool = False) -> TreeRow:
        """The row of a node."""
        failed = self._failed.get(node.id, {})
        return TreeRow(
            node,
            level,
            self._visit.who.sees(node.user_id),
            is_unfolded,
            failing=sum(failed.get(server, 0) for server in FAILING),
            retrying=failed.get(ServerStatus.RETRYING, 0),
        )

    async def branch(
        self, parent_id: bytes, level: int, *, first: bytes | None = None, limit: int | None = None
    ) -> list[TreeRow]:
        """The rows below a node, or at the top of the workflow, with what is unfolded below them.

        `limit`: children that are shown; None: as many as the page has room for.
        """
        self._branches += 1
        limit = limit or self._room(parent_id)
        children = await self._children(parent_id, first, limit)
        rows: list[TreeRow] = []
        shown_child = self._shown_child.get(parent_id)
        if shown_child is not None and shown_child not in {child.id for child in children[:limit]}:
            first, children = shown_child, await self._children(parent_id, shown_child, limit)
        if first is not None and children:
            rows.append(TreeRow(children[0], level, True, kind="earlier"))
        if self.unfolds_at_work and level < _AT_WORK_LEVELS:
            # The branch at work, else the newest one: of a workflow that is done people look for the result.
            folded = [child for child in children[:limit] if child.has_children]
            at_work = next((child for child in folded if child.children_open), folded[-1] if folded else None)
            self.opened |= {at_work.id} if at_work is not None else set()
        unfolded = [child for child in children[:limit] if child.id in self.opened and child.has_children]
        unfolded = unfolded[: max(0, _BRANCHES_MAX - self._branches)]
        branches = await asyncio.gather(*(self.branch(child.id, level + 1) for child in unfolded))
        below = {child.id: branch for child, branch in zip(unfolded, branches, strict=True)}
        for child in children[:limit]:
            rows.append(self.row(child, level, is_unfolded=child.id in below))
            rows += below.get(child.id, ())
        if len(children) > limit:
            more = ROWS_MAX if limit < ROWS_MAX else 0
            rows.append(TreeRow(children[limit], level, True, more=more, kind="later"))
        return rows

    def _room(self, parent_id: bytes) -> int:
        """Children of a node that are shown, so that all branches together fit on the page."""
        if parent_id == self.many:
            return ROWS_MAX
        rest = PAGE_ROWS_MAX if self.many is None else PAGE_ROWS_MAX - ROWS_MAX
        return min(ROWS, rest // min(len(self.opened) + 1, _BRANCHES_MAX))

    async def _children(self, parent_id: bytes, first: bytes | None, limit: int) -> list[ChildView]:
        parts = await self._visit.ask(
            queries.GetChildren, "node", parent_id=parent_id, first=first, limit=min(limit, ROWS_MAX) + 1
        )
        return [node for part in parts for node in part.nodes]
