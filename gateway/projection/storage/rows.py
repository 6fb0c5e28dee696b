"""Contents of rows: decoding of changelog records, columns, and the views made of them.

The changelog's keys are those of the engine's store: `w`, the 7 bytes that a workflow's ids share, the record's kind,
and the rest of the id (streams/state/store.py).
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import asdict

from backbeat.gateway.projection.storage import states
from backbeat.schemas.messages.ids import PREFIX_BYTES
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import TimerKind
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.tree import history

# The form of a history is the engine's.
HISTORY_HEAD, SAME_RESPONSE = history._HEAD, history._SAME_RESPONSE  # noqa: SLF001
SERVER = history.SERVER
_KIND = 1 + PREFIX_BYTES
_ID_KEY_BYTES = 18
_CHUNK_KEY_BYTES = _ID_KEY_BYTES + 4

#: As names of this module: looked up in their enums they take longer, and several of them are, a node.
_DEACTIVATED, _STARTED, _START = ServerStatus.DEACTIVATED, ServerStatus.STARTED, TimerKind.START

decode_workflow = msgspec.msgpack.Decoder(Workflow).decode
decode_node = msgspec.msgpack.Decoder(Node).decode
_encode = msgspec.msgpack.Encoder().encode


class WorkflowBody(msgspec.Struct, array_like=True):
    """Fields of a workflow that are in answers but in no index."""

    user_id: bytes
    name: str
    decider: str
    updated_at: int
    complete: bool
    paused: bool | None


class NodeBody(msgspec.Struct, array_like=True):
    """Immutable fields of a node."""

    parent_id: bytes | None
    user_id: bytes
    name: str
    mode: Mode
    type: str
    client_data: bytes
    retry_interval_seconds: float
    parent_link_id: bytes | None
    depth: int
    tid: str


class NodeRest(msgspec.Struct, array_like=True):
    """Mutable fields of a node that are in no index."""

    fires_at: int
    attempt: int
    complete_by: int | None
    retries_remaining: int


# As bytes they are arrays: a tuple of the same fields is the same, and is made in one call.
_workflow_body_fields = attrgetter(*WorkflowBody.__struct_fields__)
_node_body_fields = attrgetter(*NodeBody.__struct_fields__)
_node_rest_fields = attrgetter(*NodeRest.__struct_fields__)
decode_workflow_body = msgspec.msgpack.Decoder(WorkflowBody).decode
decode_node_body = msgspec.msgpack.Decoder(NodeBody).decode
decode_rest = msgspec.msgpack.Decoder(NodeRest).decode


def parse_key(key: bytes) -> tuple[bytes, bytes, int] | None:
    """Kind, id and number of the chunk, of a changelog record; None: a record that the projection does not store.

    Kinds: w, a workflow; n, a node; h, a chunk of a node's history.
    """
    size = len(key)
    if size not in (_ID_KEY_BYTES, _CHUNK_KEY_BYTES) or key[:1] != b"w":
        return None
    kind = key[_KIND : _KIND + 1]
    identity = key[1:_KIND] + key[_KIND + 1 : _ID_KEY_BYTES]
    if size == _CHUNK_KEY_BYTES:
        return (kind, identity, int.from_bytes(key[_ID_KEY_BYTES:], "big")) if kind == b"h" else None
    return (kind, identity, 0) if kind in b"wn" else None


def workflow_body(workflow: Workflow) -> bytes:
    """Column `body` of a workflow."""
    return _encode(_workflow_body_fields(workflow))


def node_body(node: Node) -> bytes:
    """Column `body` of a node."""
    return _encode(_node_body_fields(node))


def node_rest(node: Node) -> bytes:
    """Column `rest`."""
    return _encode(_node_rest_fields(node))


def state_of(node: Node, had: int, watermark: int) -> int:
    """Column `state`. A node below the watermark counts as deactivated before its record shows it."""
    server = node.server
    if node.seq < watermark and server is not _DEACTIVATED:
        server = _DEACTIVATED
        had |= 1 << states.DEACTIVATED_CODE
    waits = server is _STARTED and node.timer_at is not None and node.timer_kind == _START
    return states.pack(server, node.client, waits=waits, had=had)


def pool_key(node: Node, state: int) -> int | None:
    """Column `pool_key`."""
    if node.slot is None or states.server_of(state) is not ServerStatus.STARTED:
        return None
    return states.pool_key(node.slot)


def deactivated(state: int) -> int:
    """The state after deactivation."""
    past_statuses = states.had_of(state) | 1 << states.DEACTIVATED_CODE
    return states.pack(ServerStatus.DEACTIVATED, states.client_of(state), waits=False, had=past_statuses)


def newest_error(content: bytes, *, of_engine: bool) -> tuple[int, bytes | None] | None:
    """Time and response of the newest change to errored in packed history, the client's or the engine's own."""
    position, head, newest = 0, HISTORY_HEAD, None
    machine_wanted = SERVER if of_engine else history.CLIENT
    status = ServerStatus.ERRORED if of_engine else ClientStatus.ERRORED
    response: bytes | None = None
    while position < len(content):
        machine, _, to_status, at, length = head.unpack_from(content, position)
        position += head.size
        if length != SAME_RESPONSE:
            response = content[position : position + length] if length else None
            position += length
        if machine == machine_wanted and to_status == status:
            newest = at, response
    return newest


def json_text(data: bytes) -> str:
    """JSON text for both databases: invalid UTF-8 replaced, and without NUL, which no JSON text has."""
    return data.decode(errors="replace").replace("\0", "")


def workflow_view(row: Any) -> WorkflowView:
    """View of a workflow from a row (id, created, subject, body)."""
    body = asdict(decode_workflow_body(row.body))
    return WorkflowView(id=row.id, subject=row.subject.encode(), created_at=row.created, **body)


def node_view(row: Any) -> NodeView:
    """View of a node from a row (see search.nodes_by_number)."""
    workflow = decode_workflow_body(row.workflow_body)
    return NodeView(
        id=row.id,
        workflow_id=row.workflow_id,
        metadata=row.metadata.encode(),
        subject=row.subject.encode(),
        decider=workflow.decider,
        workflow_name=workflow.name,
        server=states.server_of(row.state),
        client=states.client_of(row.state),
        created_at=row.created,
        seq=row.seq,
        **asdict(decode_node_body(row.body)),
        **asdict(decode_rest(row.rest)),
    )
