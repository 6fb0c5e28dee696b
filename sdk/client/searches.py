"""Searches and reports of a client. A gateway answers them, with every write that was answered before it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Unpack

from backbeat.client import search
from backbeat.client.node import Node
from backbeat.client.operations.audit import WORDS as AUDIT_WORDS
from backbeat.client.operations.audit import AuditEntry, AuditOptions, get_audit
from backbeat.client.operations.engines import EnginePartition, get_engines
from backbeat.client.operations.queues import Queues, get_queues
from backbeat.client.search import (
    Cause,
    ChildCounts,
    FailureGroup,
    NodeSearchOptions,
    SearchCount,
    Timeline,
    WorkflowSearchOptions,
)
from backbeat.client.session import Session
from backbeat.client.views import User, Workflow
from backbeat.client.words import check_options
from backbeat.payload.values import Id


class Searches:
    """Calls of `Client` that find and count."""

    _session: Session

    def search_workflows(self, **options: Unpack[WorkflowSearchOptions]) -> AsyncIterator[Workflow]:
        """Workflows that have nodes and match, newest first. What the options mean: `WorkflowSearchOptions`."""
        check_options("search_workflows", options, search.WORKFLOW_SEARCH_WORDS)
        return search.find_workflows(self._session, options)

    def search_nodes(self, **options: Unpack[NodeSearchOptions]) -> AsyncIterator[Node]:
        """Nodes that match, oldest first (of all clients newest first); what changes meanwhile may be left out."""
        check_options("search_nodes", options, search.NODE_SEARCH_WORDS)
        return search.find_nodes(self._session, options)

    async def count_workflows(
        self, count_max: int = search.COUNT_DEFAULT, **options: Unpack[WorkflowSearchOptions]
    ) -> SearchCount:
        """Number of workflows that `search_workflows` finds, up to a bound: `print` writes `412`, or `10,000+`."""
        check_options("count_workflows", options, search.WORKFLOW_COUNT_WORDS)
        return await search.count(self._session, "count_workflows", options, count_max)

    async def count_nodes(
        self, count_max: int = search.COUNT_DEFAULT, **options: Unpack[NodeSearchOptions]
    ) -> SearchCount:
        """Number of nodes that `search_nodes` finds, likewise."""
        check_options("count_nodes", options, search.NODE_COUNT_WORDS)
        return await search.count(self._session, "count_activities", options, count_max)

    async def workflow_names(self) -> list[str]:
        """The names of this client application's workflows, sorted, once each."""
        return list(await self._session.search("names", {}))

    async def causes(self, *, limit: int = 100, kinds: Collection[str] = ()) -> list[Cause]:
        """Failed nodes by cause, first those that need a person; `jobs.start("retry", error=cause.fixed)` mends one.

        `kinds`: of these alone: exhausted, errored, retrying, overdue (a retry's time has passed).
        """
        return await search.find_causes(self._session, limit, kinds)

    async def failures(
        self, by: str = "activity", *, limit: int = 100, kinds: Collection[str] = ()
    ) -> list[FailureGroup]:
        """Failed nodes by activity, client or workflow, likewise."""
        return await search.find_failures(self._session, by, limit, kinds)

    async def timeline(
        self,
        workflow_id: Id,
        *,
        below: Id | None = None,
        after: Id | None = None,
        name: str | None = None,
        fold: bool = False,
        limit: int = 200,
    ) -> Timeline:
        """Spans of the nodes at its top, or right `below` a node, 1,000 at most; `after`: `next` of the page before.

        `fold`: children of one name, from 50 on, are a group instead; `name`: of a node's children these alone.
        """
        return await search.find_timeline(
            self._session, workflow_id, below=below, after=after, name=name, fold=fold, limit=limit
        )

    async def child_counts(self, node_id: Id, *, limit: int = 100) -> ChildCounts:
        """Number of nodes right below a node, by name and status; so many names, 1,000 at most."""
        return await search.find_child_counts(self._session, node_id, limit)

    async def engines(self) -> list[EnginePartition]:
        """Partitions, with the engine that has each and how it stands; `silent`: nobody has answered within 2 s."""
        return await get_engines(self._session)

    async def queues(self) -> Queues:
        """Queues of all clients: records that wait in their topics, and whether somebody takes them (`has_readers`)."""
        return await get_queues(self._session)

    async def audit(self, **options: Unpack[AuditOptions]) -> list[AuditEntry]:
        """Audit entries, newest first, 100 unless `limit` says otherwise. A person asks: `Client(person=…)`."""
        check_options("audit", options, AUDIT_WORDS)
        return await get_audit(self._session, options)

    async def users(self) -> list[User]:
        """All client applications, sorted by name."""
        return [User(name, user_id) for name, user_id in sorted((await self._session.users()).items())]
