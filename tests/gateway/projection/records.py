"""Records of the changelog as an engine writes them, made by hand: for tests that need no engine."""

from __future__ import annotations

import random

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.tables import CHUNKS, NODES, WORKFLOWS
from backbeat.streams.core.tree import history

encode = msgspec.msgpack.Encoder().encode


def workflow(user_id: bytes, name: str, subject: bytes, created_at: int = 0, **more: object) -> Workflow:
    given = {
        "id": ids.workflow_id(user_id, name, subject),
        "user_id": user_id,
        "name": name,
        "subject": subject,
        "decider": "D",
        "created_at": created_at,
        "updated_at": created_at,
        **more,
    }
    return Workflow(**given)


def node(of: Workflow, number: int, created_at: int = 0, **more: object) -> Node:
    given = {
        "id": ids.node_id(of.id, b"command", number),
        "workflow_id": of.id,
        "parent_id": None,
        "user_id": of.user_id,
        "name": "node",
        "mode": Mode.BLOCKING,
        "type": "activity",
        "seq": number,
        "depth": 1,
        "created_at": created_at,
        "fires_at": created_at,
        "client_data": b'{"x":1}',
        "metadata": b"{}",
        "parent_link_id": None,
        "retry_interval_seconds": 1200.0,
        "retries_remaining": 6,
        "timeout_seconds": -1.0,
        "server": ServerStatus.READY,
        "client": ClientStatus.READY,
        **more,
    }
    return Node(**given)


def packed(*changes: tuple[ClientStatus | ServerStatus, int]) -> bytes:
    """A history of changes to these statuses at these times."""
    return b"".join(
        history.pack(history.SERVER if isinstance(to, ServerStatus) else history.CLIENT, 0, to, at, None)
        for to, at in changes
    )


def record(row: Workflow | Node) -> tuple[bytes, bytes]:
    """Key and value in the changelog."""
    return (WORKFLOWS if isinstance(row, Workflow) else NODES).form.encode(row.id), encode(row)


def chunk(of: Node, number: int, content: bytes) -> tuple[bytes, bytes]:
    return CHUNKS.form.encode((of.id, number)), content


def shuffled(records: list[tuple[bytes, bytes]], seed: int) -> list[tuple[bytes, bytes]]:
    """In another order: as compaction may leave them."""
    return random.Random(seed).sample(records, len(records))
