"""The archiver: what it compresses keeps nobody waiting whom the same event loop answers."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from backbeat.gateway.archiving import open_archive_store, read_archive
from backbeat.gateway.archiving.archiver import Archiver
from backbeat.gateway.archiving.content import Writer
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.replies import History, Nodes
from backbeat.schemas.messages.retention import DueWorkflow
from backbeat.schemas.messages.views import NodeView
from tests.gateway.archiving.test_archives import AT, HISTORY, ID, NODES, WORKFLOW


class Engine:
    """An engine's answers about one workflow, two nodes a page."""

    async def query(self, make: Any, *_: Any) -> list[Any]:
        query = make(None, 0)
        if isinstance(query, queries.GetHistory):
            return [History(HISTORY)]
        begin = 0 if query.after is None else 1 + [node.id for node in NODES].index(query.after)
        return [WORKFLOW, Nodes(tuple(NODES[begin : begin + 2]))]


def nodes_in(folder: Path) -> list[NodeView]:
    """Nodes of the one archive in a folder."""
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return read_archive(io.BytesIO(path.read_bytes()), "one").nodes


async def test_archives_are_compressed_beside_the_event_loop(tmp_path, monkeypatch):
    threads: list[threading.Thread] = []
    add = Writer.add
    monkeypatch.setattr(Writer, "add", lambda *given: (threads.append(threading.current_thread()), add(*given)))
    archiver = Archiver("127.0.0.1:1", open_archive_store(tmp_path.as_uri()))
    monkeypatch.setattr(archiver, "_request_client", Engine())
    monkeypatch.setattr(archiver, "_registry", SimpleNamespace(by_id=lambda _: SimpleNamespace(name="shop")))
    await archiver._write(DueWorkflow(ID, b"u" * 16, WORKFLOW.name, AT, 1))

    assert len(threads) == len(NODES)
    assert threading.current_thread() not in threads
    assert nodes_in(tmp_path) == NODES
