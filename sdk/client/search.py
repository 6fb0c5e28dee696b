"""Searches, which a gateway answers: over all workflows and nodes of the client application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from backbeat.client.jobs.calls import JobCalls
from backbeat.client.node import Node
from backbeat.client.schedules.schedules import ScheduleCalls
from backbeat.client.views import User, Workflow
from backbeat.payload.values import aware

#: Rows asked for at once.
_PAGE_ROWS = 250


class SearchCalls(ScheduleCalls, JobCalls):
    """The calls that look for workflows, nodes and client applications.

    A search contains every write that was answered before it was asked. Filters add up. What they mean:

    - `name`: exactly this name
    - `subject`, `metadata`: contained in the compact JSON text
    - `current_status`: either status of a node (for workflows: of one of its nodes)
    - `past_status`, `status_start`, `status_end`: a status change to it, or within these times, or both
    """

    async def search_workflows(
        self,
        *,
        name: str | None = None,
        subject: str | None = None,
        current_status: str | None = None,
        past_status: str | None = None,
        status_start: datetime | None = None,
        status_end: datetime | None = None,
        older_than: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Workflow]:
        """Workflows that have nodes, newest first; `older_than` the one of this id, at most `limit`."""
        filters = {
            "name": name,
            "subject": subject,
            "current_status": current_status,
            "past_status": past_status,
            "status_start": _time("status_start", status_start),
            "status_end": _time("status_end", status_end),
        }
        last, left = older_than, limit
        while left is None or left > 0:
            rows = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
            views = await self._search("workflows", {**filters, "last_id": last, "per_page": rows})
            for view in views:
                yield Workflow(view)
            if len(views) < rows:
                return
            last, left = Workflow(views[-1]).id, None if left is None else left - rows

    async def search_nodes(
        self,
        *,
        name: str | None = None,
        metadata: str | None = None,
        current_status: str | None = None,
        past_status: str | None = None,
        status_start: datetime | None = None,
        status_end: datetime | None = None,
        older_than: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Node]:
        """Nodes that this client application runs, oldest first; `older_than` the one of this id, at most `limit`.

        The rows come by pages: of nodes that begin or cease to match meanwhile some may be left out, none comes twice.
        """
        rows = _PAGE_ROWS if limit is None else min(limit, _PAGE_ROWS)
        filters = {
            "name": name,
            "metadata": metadata,
            "current_status": current_status,
            "past_status": past_status,
            "status_start": _time("status_start", status_start),
            "status_end": _time("status_end", status_end),
            "last_id": older_than,
            # All pages have the same length: a page is found by counting.
            "per_page": rows,
        }
        seen: set[bytes] = set()
        page = 0
        while limit is None or len(seen) < limit:
            page += 1
            views = await self._search("activities", {**filters, "page": page})
            for view in views:
                if view.id not in seen and (limit is None or len(seen) < limit):
                    seen.add(view.id)
                    yield Node(self, view)
            if len(views) < rows:
                return

    async def workflow_names(self) -> list[str]:
        """The names of this client application's workflows, sorted, once each."""
        names: list[str] = await self._search("names", {})
        return names

    async def users(self) -> list[User]:
        """All client applications, sorted by name."""
        self._connected()
        await self._transport.refresh()
        return [User(name, identity) for name, identity in sorted(self._transport.users().items())]


def _time(name: str, at: datetime | None) -> str | None:
    if at is None:
        return None
    return aware(name, at).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
