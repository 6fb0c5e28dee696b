"""Tree of a workflow: rows of the branches that are unfolded, each read from the engine when it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self, TypeAlias

import msgspec

from backbeat.gateway.console.show.sibling_groups import (
    Group,
    GroupRow,
    OthersRow,
    Siblings,
    group_of,
    siblings,
)
from backbeat.gateway.console.show.statuses import FAILING
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.projection.reading.causes import failed_by_parent
from backbeat.gateway.projection.reading.siblings import GROUP_MIN, children_of_name
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
#: Rows of a group that is unfolded at one of its nodes: that one, and those behind it.
GROUP_ROWS = 10
#: Nodes that the engine is asked for at once.
_NODES_AT_ONCE = 1_000


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
    #: Of `later`: the group in whose branch it is; None: in that of its parent.
    group: Group | None = None


#: Whatever has a branch: a node, a workflow, a group.
Parent: TypeAlias = bytes | Group
Row: TypeAlias = TreeRow | GroupRow | OthersRow


class Tree:
    """Branches of a tree that are unfolded."""

    def __init__(
        self, visit: Visit, workflow_id: bytes, failed: Mapping[bytes | None, Mapping[ServerStatus, int]]
    ) -> None:
        self._visit = visit
        self._workflow_id = workflow_id
        self._failed = failed
        self.opened: set[Parent] = set()
        #: What many children are shown of; None: of nothing.
        self.many: Parent | None = None
        #: True: equal siblings are a row.
        self.groups_siblings = True
        #: True: unfold the first branches that are at work, or the last ones where none is.
        self.unfolds_at_work = False
        #: Parent -> the child that must be among those shown.
        self._shown_child: dict[bytes, bytes] = {}
        #: Groups that such a child may be in, with the child.
        self._shown_in: dict[Group, bytes] = {}
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
            if (group := group_of(node)) is not None:
                self._shown_in[group] = node.id
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
        self, parent: Parent, level: int, *, first: bytes | None = None, limit: int | None = None
    ) -> list[Row]:
        """The rows below a node or in a group, or at the top of the workflow, with what is unfolded below them.

        `limit`: children that are shown; None: as many as the page has room for.
        """
        self._branches += 1
        if isinstance(parent, Group):
            return await self._members(parent, level, first, limit or self._room(parent))
        limit = limit or self._room(parent)
        children = await self._children(parent, first, limit)
        siblings_below = await self._siblings(parent, level, children[:limit], goes_on=len(children) > limit)
        groups = siblings_below.groups
        shown_child = self._shown_child.get(parent)
        is_in_group = any(self._shown_in.get(group) == shown_child for group in groups)
        if shown_child is not None and not is_in_group and shown_child not in {child.id for child in children[:limit]}:
            first, children = shown_child, await self._children(parent, shown_child, limit)
        single = [child for child in children[:limit] if group_of(child) not in groups]
        if self.unfolds_at_work and level < _AT_WORK_LEVELS:
            # The branch at work, else the newest one: of a workflow that is done people look for the result.
            folded = [child for child in single if child.has_children]
            at_work = next((child for child in folded if child.children_open), folded[-1] if folded else None)
            self.opened |= {at_work.id} if at_work is not None else set()
        grouped, below = await asyncio.gather(self._grouped(siblings_below), self._drawn(single, level))
        rows: list[Row] = []
        if first is not None and children:
            rows.append(TreeRow(children[0], level, True, kind="earlier"))
        for child in children[:limit]:
            group = group_of(child)
            if group is None or group not in groups:
                rows += below[child.id]
            else:
                # A group stands where the first of it does.
                rows += grouped.pop(group, ())
        for group_rows in grouped.values():
            rows += group_rows
        if groups:
            return [*rows, OthersRow(parent, siblings_below.others, level)] if siblings_below.others else rows
        return [*rows, *self._later(children, level, limit)]

    async def _members(self, group: Group, level: int, first: bytes | None, limit: int) -> list[Row]:
        """Rows of the nodes of a group, which the search knows, and the engine has."""
        nothing: list[bytes] = []
        ids = await self._visit.read(
            lambda connection: children_of_name(connection, group.parent_id, group.name_key, first, limit + 1), nothing
        )
        parts = (ids[begin : begin + _NODES_AT_ONCE] for begin in range(0, len(ids), _NODES_AT_ONCE))
        nodes: dict[bytes, ChildView] = {}
        for answer in await asyncio.gather(*map(self._visit.nodes, parts)):
            nodes |= answer
        children = [nodes[node_id] for node_id in ids if node_id in nodes]
        below = await self._drawn(children[:limit], level)
        rows: list[Row] = [row for child in children[:limit] for row in below[child.id]]
        if first is not None and children:
            rows.insert(0, TreeRow(children[0], level, True, kind="earlier"))
        return [*rows, *self._later(children, level, limit, group)]

    @staticmethod
    def _later(children: list[ChildView], level: int, limit: int, group: Group | None = None) -> list[TreeRow]:
        if len(children) <= limit:
            return []
        more = ROWS_MAX if limit < ROWS_MAX else 0
        return [TreeRow(children[limit], level, True, more=more, kind="later", group=group)]

    async def _drawn(self, children: list[ChildView], level: int) -> dict[bytes, list[Row]]:
        """The row of each of these nodes, with what is unfolded below it."""
        unfolded = [child for child in children if child.id in self.opened and child.has_children]
        unfolded = unfolded[: max(0, _BRANCHES_MAX - self._branches)]
        branches = await asyncio.gather(*(self.branch(child.id, level + 1) for child in unfolded))
        below = {child.id: branch for child, branch in zip(unfolded, branches, strict=True)}
        return {
            child.id: [self.row(child, level, is_unfolded=child.id in below), *below.get(child.id, ())]
            for child in children
        }

    async def _siblings(self, parent_id: bytes, level: int, shown: list[ChildView], *, goes_on: bool) -> Siblings:
        """Groups of the children of a node: only where there are so many children may there be one."""
        is_workflow = parent_id == self._workflow_id
        if not self.groups_siblings or is_workflow or not (goes_on or len(shown) >= GROUP_MIN):
            return Siblings({})
        nothing = Siblings({})
        return await self._visit.read(
            lambda connection: siblings(connection, parent_id, level, shown, goes_on=goes_on), nothing
        )

    async def _grouped(self, siblings_below: Siblings) -> dict[Group, list[Row]]:
        """The rows of each group: its own, and those in it where it is unfolded."""
        grouped: dict[Group, list[Row]] = {}
        for group, row in siblings_below.groups.items():
            shown = self._shown_in.get(group)
            if shown is None and group not in self.opened:
                grouped[group] = [row]
                continue
            limit = self._room(group) if shown is None or group == self.many else GROUP_ROWS
            members = await self.branch(group, row.level + 1, first=shown, limit=limit)
            grouped[group] = [msgspec.structs.replace(row, is_unfolded=True), *members]
        return grouped

    def _room(self, parent: Parent) -> int:
        """Children that are shown of a node or a group, so that all branches together fit on the page."""
        if parent == self.many:
            return ROWS_MAX
        rest = PAGE_ROWS_MAX if self.many is None else PAGE_ROWS_MAX - ROWS_MAX
        return min(ROWS, rest // min(len(self.opened) + 1, _BRANCHES_MAX))

    async def _children(self, parent_id: bytes, first: bytes | None, limit: int) -> list[ChildView]:
        parts = await self._visit.ask(
            queries.GetChildren, "node", parent_id=parent_id, first=first, limit=min(limit, ROWS_MAX) + 1
        )
        return [node for part in parts for node in part.nodes]
