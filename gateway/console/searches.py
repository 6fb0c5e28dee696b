"""Searches over several clients: a page of each, merged, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from backbeat.gateway.console.show.statuses import Share, shares
from backbeat.gateway.projection import Projection
from backbeat.gateway.projection.reading import search
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.workflow_nodes import states_of_workflows
from backbeat.schemas.messages.views import NodeView, WorkflowView

if TYPE_CHECKING:
    from sqlalchemy import Connection

View = TypeVar("View", NodeView, WorkflowView)
Filters = TypeVar("Filters", NodeFilters, WorkflowFilters)


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
            views = _merged(connection, client_ids, filters, search.search_workflows)
            states = states_of_workflows(connection, [view.id for view in views])
            return [WorkflowRow(view, shares(states.get(view.id, {}))) for view in views]

        return await self._projection.read(read)

    async def nodes(self, client_ids: Sequence[bytes], filters: NodeFilters) -> list[NodeView]:
        """A page of nodes that these clients run, newest first."""
        filters = msgspec.structs.replace(filters, newest_first=True)
        return await self._projection.read(
            lambda connection: _merged(connection, client_ids, filters, search.search_nodes)
        )


def _merged(
    connection: Connection,
    client_ids: Sequence[bytes],
    filters: Filters,
    search_client: Callable[[Connection, bytes, Filters], list[View]],
) -> list[View]:
    views = [view for client_id in client_ids for view in search_client(connection, client_id, filters)]
    views.sort(key=lambda view: (view.created_at, view.id), reverse=True)
    return views[: filters.per_page]
