"""Archiver: writes the archives of workflows that are due, and has the engine remove these.

The engine keeps the list of due workflows, so none is lost while no archiver runs. After a crash an archive is written
again under the same name; the engine removes a workflow only if it has not changed since.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException

from backbeat.errors import BackbeatError, NotFound
from backbeat.gateway.archiving.content import Writer
from backbeat.gateway.archiving.stores import ArchiveStore, archive_name
from backbeat.payload.values import id_text
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.client_registry import ClientRegistry, ClientRegistryError
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.commands import RemoveWorkflow
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.retention import DueWorkflow, DueWorkflows
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.process.termination import end
from backbeat.transport.requests import RequestClient

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0
_ANSWER_SECONDS_MAX = 30.0
_PAGE_WORKFLOWS = 100
_PAGE_NODES = 200
#: Workflows archived at a time, and queries of one of them.
_AT_ONCE = 4
_QUERIES_AT_ONCE = 32
#: An archive is held in memory up to this size, beyond it in a temporary file.
_MEMORY_BYTES_MAX = 8 * 1024 * 1024


class Archiver:
    """Archiver of due workflows, from `start()` to `stop()`."""

    def __init__(self, bootstrap_servers: str, store: ArchiveStore) -> None:
        self._store = store
        self._request_client = RequestClient(bootstrap_servers, _ANSWER_SECONDS_MAX)
        self._registry = ClientRegistry(
            bootstrap_servers, failed=lambda error: end(f"the registry of clients: {error}", part="archiver")
        )
        self._connected = False
        #: Workflows archived and removed since the start.
        self.archived = 0

    async def start(self) -> None:
        """Connect. Unavailable, ClientRegistryError, UnreachableError, KafkaException."""
        await asyncio.to_thread(self._registry.start)
        try:
            await self._request_client.start()
        except BaseException:
            await asyncio.to_thread(self._registry.stop)
            raise
        self._connected = True

    async def stop(self) -> None:
        """Disconnect."""
        if self._connected:
            self._connected = False
            await self._request_client.stop()
            await asyncio.to_thread(self._registry.stop)

    async def run(self, poll_seconds: float) -> None:
        """Archive due workflows until cancelled; failures are retried in the next round."""
        while True:
            try:
                await self.sweep()
            except (BackbeatError, UnreachableError, KafkaException) as error:
                logger.warning("what waits to be archived is not known at the moment: %s", error)
            await asyncio.sleep(poll_seconds)

    async def sweep(self) -> int:
        """Archive everything that is due; the number of failures, whose reasons are in the log."""
        failed = 0
        for partition in range(self._request_client.partitions):
            cursor: dict[str, Any] = {}
            while rows := await self._due(partition, cursor):
                cursor = {"after_due_at": rows[-1].due_at, "after_id": rows[-1].workflow_id}
                failed += await self._archive_all(rows)
        return failed

    async def _due(self, partition: int, cursor: dict[str, Any]) -> tuple[DueWorkflow, ...]:
        (reply,) = await self._request_client.query(
            lambda reply_to, deadline: queries.GetDue(
                reply_to=reply_to, deadline=deadline, partition=partition, limit=_PAGE_WORKFLOWS, **cursor
            ),
            _ANSWER_SECONDS_MAX,
            f"what waits to be archived in partition {partition}",
        )
        assert isinstance(reply, DueWorkflows)
        return reply.workflows

    async def _archive_all(self, rows: tuple[DueWorkflow, ...]) -> int:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(row: DueWorkflow) -> bool:
            async with turns:
                return await self._archive(row)

        return (await asyncio.gather(*(in_turn(row) for row in rows))).count(False)

    async def _archive(self, row: DueWorkflow) -> bool:
        subjects = {"workflow": id_text(row.workflow_id)}
        try:
            url = await self._write(row)
            removed = await self._remove(row)
        except NotFound:
            return True  # Another archiver was quicker.
        except (BackbeatError, KafkaException, OSError) as error:
            logger.warning("a workflow %r was not archived, and stays: %s", row.name, error, extra=subjects)
            return False
        if removed:
            self.archived += 1
            logger.info("archived and removed: %s", url, extra=subjects)
        else:
            logger.info("something has happened to a workflow while it was archived: it stays", extra=subjects)
        return True

    async def _write(self, row: DueWorkflow) -> str:
        """Write the archive; its URL."""
        client = self._registry.by_id(row.owner_id)
        name = id_text(row.owner_id) if client is None else client.name
        page = await self._page(row.workflow_id, None)
        workflow, nodes = page[0], _nodes(page)
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES_MAX) as file:
            writer = Writer(file, name, workflow)
            while nodes:
                # Compressed off the event loop: a second of it a page is one in which nobody is answered.
                await asyncio.to_thread(writer.add_all, nodes, await self._histories(nodes))
                nodes = _nodes(await self._page(row.workflow_id, nodes[-1].id))
            writer.end()
            file.seek(0)
            return await asyncio.to_thread(self._store.put, archive_name(name, workflow), file)

    async def _page(self, workflow_id: bytes, after: bytes | None) -> list[Any]:
        return await self._request_client.query(
            lambda reply_to, deadline: queries.GetTree(
                reply_to=reply_to, deadline=deadline, workflow_id=workflow_id, limit=_PAGE_NODES, after=after
            ),
            _ANSWER_SECONDS_MAX,
            f"workflow {id_text(workflow_id)}",
        )

    async def _histories(self, nodes: list[NodeView]) -> list[list[StatusChange]]:
        turns = asyncio.Semaphore(_QUERIES_AT_ONCE)

        async def in_turn(node: NodeView) -> list[StatusChange]:
            async with turns:
                replies = await self._request_client.query(
                    lambda reply_to, deadline: queries.GetHistory(
                        reply_to=reply_to, deadline=deadline, node_id=node.id
                    ),
                    _ANSWER_SECONDS_MAX,
                    f"node {id_text(node.id)}",
                )
            return [change for reply in replies for change in reply.changes]

        return list(await asyncio.gather(*(in_turn(node) for node in nodes)))

    async def _remove(self, row: DueWorkflow) -> bool:
        """True if the engine removes it."""
        identity = ids.command_id(b"archived", row.workflow_id, row.revision.to_bytes(8, "big"))
        reply = await self._request_client.command(
            lambda reply_to: encode_command(
                RemoveWorkflow(id=identity, reply_to=reply_to, workflow_id=row.workflow_id, revision=row.revision)
            ),
            row.workflow_id,
            row.workflow_id,
            _ANSWER_SECONDS_MAX,
            f"removal of workflow {id_text(row.workflow_id)}",
        )
        return bool(reply.changed)


def _nodes(page: list[Any]) -> list[NodeView]:
    return [node for batch in page[1:] for node in batch.nodes]


class BackgroundArchiver:
    """Archiver in the event loop of another service; it connects as soon as it can."""

    def __init__(self, make: Callable[[], Archiver], poll_seconds: float) -> None:
        self._make = make
        self._poll_seconds = poll_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel; an unfinished archive is written again by the next archiver."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            archiver = self._make()
            try:
                await archiver.start()
                await archiver.run(self._poll_seconds)
            except (BackbeatError, ClientRegistryError, UnreachableError, KafkaException) as error:
                logger.warning("archives cannot be written yet: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            finally:
                await archiver.stop()
