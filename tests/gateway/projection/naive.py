"""The searches as the behaviour document words them, over lists: what the tables' answers are compared with."""

from __future__ import annotations

from backbeat.gateway.projection import NodeFilters, WorkflowFilters
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import BUCKETS, ServerStatus, word
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.tree import history


class World:
    """Records as they are now."""

    def __init__(self, workflows: list[Workflow], nodes: list[Node], chunks: dict[tuple[bytes, int], bytes]) -> None:
        self.workflows = workflows
        self.nodes = nodes
        self._chunks = chunks

    def changes(self, node: Node) -> list[StatusChange]:
        older = (self._chunks[node.id, number] for number in range(node.history_chunks))
        return [change for content in (*older, node.history) for change in history.unpack(content)]

    def server(self, node: Node) -> ServerStatus:
        (workflow,) = (each for each in self.workflows if each.id == node.workflow_id)
        return ServerStatus.DEACTIVATED if node.seq < workflow.watermark else node.server

    def search_nodes(self, user_id: bytes, filters: NodeFilters) -> list[bytes]:
        matches = [
            node
            for node in self.nodes
            if node.user_id == user_id
            and filters.name in {None, node.name}
            and (filters.metadata_contains or "") in node.metadata.decode()
            and filters.workflow_id in {None, node.workflow_id}
            and filters.parent_id in {None, node.parent_id}
            and self._is_unchanged(node, filters.unchanged_since_ms)
            and self._is_made_then(node, filters)
            and self._is_wanted(node, user_id, filters)
        ]
        matches.sort(key=lambda node: (node.created_at, node.id), reverse=filters.newest_first)
        return self._page(matches, [node for node in self.nodes if node.user_id == user_id], filters)

    def search_workflows(self, user_id: bytes, filters: WorkflowFilters) -> list[bytes]:
        own = [workflow for workflow in self.workflows if workflow.user_id == user_id]
        matches = [
            workflow
            for workflow in own
            if filters.name in {None, workflow.name}
            and (filters.subject_contains or "") in workflow.subject.decode()
            and self._is_made_then(workflow, filters)
            and any(node.workflow_id == workflow.id and self._is_wanted(node, user_id, filters) for node in self.nodes)
        ]
        matches.sort(key=lambda workflow: (workflow.created_at, workflow.id), reverse=True)
        return self._page(matches, own, filters)

    def _is_unchanged(self, node: Node, since: int | None) -> bool:
        return since is None or max([node.created_at, *(change.at for change in self.changes(node))]) <= since

    @staticmethod
    def _is_made_then(row: Node | Workflow, filters: NodeFilters | WorkflowFilters) -> bool:
        start, end = filters.created_start_ms, filters.created_end_ms
        return (start is None or row.created_at >= start) and (end is None or row.created_at <= end)

    def _is_wanted(self, node: Node, user_id: bytes, filters: NodeFilters | WorkflowFilters) -> bool:
        # Nodes that no transaction is known of are found by none.
        if filters.tid is not None and filters.tid not in {node.tid} - {""}:
            return False
        if filters.slot is not None:
            waits = self.server(node) is ServerStatus.STARTED and node.slot is not None
            if not waits or (node.user_id, node.name) != (user_id, filters.slot):
                return False
            if filters.slot_key is not None and node.slot != ids.pool_id(user_id, filters.slot, filters.slot_key):
                return False
        return self._has_statuses(node, filters)

    def _has_statuses(self, node: Node, filters: NodeFilters | WorkflowFilters) -> bool:
        now = {word(self.server(node)), word(node.client), BUCKETS[self.server(node)]}
        if filters.current_status is not None and filters.current_status not in now:
            return False
        has_times = filters.status_start_ms is not None or filters.status_end_ms is not None
        if filters.past_status is None and not has_times:
            return True
        if filters.past_status == "deactivated" and not has_times and self.server(node) is not node.server:
            # A mark has deactivated it; the entry in its history is still to come.
            return True
        return any(
            filters.past_status in {None, word(change.to_status)}
            and (filters.status_start_ms is None or change.at >= filters.status_start_ms)
            and (filters.status_end_ms is None or change.at <= filters.status_end_ms)
            for change in self.changes(node)
        )

    def _page(self, matches, own, filters: NodeFilters | WorkflowFilters) -> list[bytes]:
        if filters.last_id is not None:
            last = [row for row in own if row.id == filters.last_id]
            if not last:
                return []
            matches = [row for row in matches if (row.created_at, row.id) < (last[0].created_at, last[0].id)]
        elif filters.older_than is not None:
            matches = [row for row in matches if (row.created_at, row.id) < filters.older_than]
        begin = (filters.page - 1) * filters.per_page
        return [row.id for row in matches[begin : begin + filters.per_page]]
