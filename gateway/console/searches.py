"""Searches over several clients: a page of each, merged, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from backbeat.client.search import SearchCount
from backbeat.gateway.console.show.statuses import Share, shares
from backbeat.gateway.projection import Projection
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.several import nodes_of, workflows_of
from backbeat.gateway.projection.reading.workflow_nodes import states_of_workflows
from backbeat.schemas.messages.views import NodeView, WorkflowView

if TYPE_CHECKING:
    from sqlalchemy import Connection


class WorkflowRow(msgspec.Struct, frozen=True):
    """A workflow and how its nodes stand."""

    workflow: WorkflowView
    shares: list[Share]

    @property
    def nodes(self) -> int:
        """Number of its nodes."""
        return sum(share.nodes for share in self.shares)


class Searches:
    """Searches of one projection."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    async def workflows(self, client_ids: Sequence[bytes], filters: WorkflowFilters) -> list[WorkflowRow]:
        """A page of workflows of these clients, newest first."""

        def read(connection: Connection) -> list[WorkflowRow]:
            views = workflows_of(connection, client_ids, filters)
            states = states_of_workflows(connection, [view.id for view in views])
            return [WorkflowRow(view, shares(states.get(view.id, {}))) for view in views]

        return await self._projection.read(read)

    async def count(
        self, client_ids: Sequence[bytes], filters: WorkflowFilters | NodeFilters, count_max: int
    ) -> SearchCount:
        """Number of rows of these clients that match, counted up to a bound."""
        return await self._projection.count(client_ids, filters, count_max)

    async def nodes(self, client_ids: Sequence[bytes], filters: NodeFilters) -> list[NodeView]:
        """A page of nodes that these clients run, newest first."""
        return await self._projection.read(lambda connection: nodes_of(connection, client_ids, filters))
