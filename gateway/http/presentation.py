"""Workflows, nodes, trees and status changes as JSON of the HTTP API (behaviour document, section 5).

Every function returns a plain dict, or JSON text, for `msgspec.json`. Client data, metadata, subjects and responses are
JSON text already and go into the answer unchanged (`msgspec.Raw`), so their keys keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from backbeat.gateway.http.casing import camel_keys
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus, word
from backbeat.schemas.messages.views import NodeView, WorkflowView

#: Words by number: looked up several times a node.
SERVER_WORDS = tuple(word(status) for status in ServerStatus)
CLIENT_WORDS = tuple(word(status) for status in ClientStatus)
MODE_WORDS = tuple(word(mode) for mode in Mode)

#: Response of a status change without one.
NO_RESPONSE = msgspec.Raw(b"{}")

#: Last second that an ISO time with a year of four digits can express.
_SECOND_MAX = 253_402_300_799

_encode = msgspec.json.Encoder().encode

_RED, _GREEN, _YELLOW, _CYAN, _WHITE = 31, 32, 33, 36, 37


def id_text(identity: bytes) -> str:
    """16 bytes as the text of a UUID."""
    text = identity.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def time_text(milliseconds: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC: `2017-05-04T03:02:01.000Z`."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second_text(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _SECOND_MAX), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def workflow_json(view: WorkflowView) -> dict[str, Any]:
    """A workflow."""
    return {
        "id": id_text(view.id),
        "name": view.name,
        "subject": msgspec.Raw(view.subject),
        "decider": view.decider,
        "userId": id_text(view.user_id),
        "createdAt": time_text(view.created_at),
        "updatedAt": time_text(view.updated_at),
        "complete": view.complete,
        "paused": bool(view.paused),
    }


def node_json(view: NodeView) -> dict[str, Any]:
    """A node, in answers and webhooks alike."""
    return {
        "id": id_text(view.id),
        "mode": MODE_WORDS[view.mode],
        "name": view.name,
        "workflowId": id_text(view.workflow_id),
        "parentId": None if view.parent_id is None else id_text(view.parent_id),
        "userId": id_text(view.user_id),
        "clientData": msgspec.Raw(view.client_data),
        "metadata": msgspec.Raw(view.metadata),
        "subject": msgspec.Raw(view.subject),
        "decider": view.decider,
        "workflowName": view.workflow_name,
        "currentServerStatus": SERVER_WORDS[view.server],
        "currentClientStatus": CLIENT_WORDS[view.client],
        "createdAt": time_text(view.created_at),
    }


def whole_node_json(view: NodeView) -> dict[str, Any]:
    """A node with all its fields: only for callers that ask for them."""
    return {
        **node_json(view),
        "type": view.type,
        "firesAt": time_text(view.fires_at),
        "attempt": view.attempt,
        "completeBy": None if view.complete_by is None else time_text(view.complete_by),
        "retriesRemaining": view.retries_remaining,
        "retryInterval": view.retry_interval_seconds,
        "parentLinkId": None if view.parent_link_id is None else id_text(view.parent_link_id),
        "depth": view.depth,
        "seq": view.seq,
        "tid": view.tid,
        "priority": view.priority,
        "fairnessKey": view.fairness_key,
        "waitsForSlot": view.waits_for_slot,
        "grantedAt": None if view.granted_at is None else time_text(view.granted_at),
    }


def status_change_json(node_id: bytes, change: StatusChange) -> dict[str, Any]:
    """An entry of a node's history."""
    words = SERVER_WORDS if change.server else CLIENT_WORDS
    return {
        "nodeId": id_text(node_id),
        "fromStatus": words[change.from_status],
        "toStatus": words[change.to_status],
        "statusType": change.status_type,
        "response": response_json(change),
        "createdAt": time_text(change.at),
    }


def response_json(change: StatusChange) -> msgspec.Raw:
    """The client's response of a status change."""
    return NO_RESPONSE if change.response is None else msgspec.Raw(change.response)


def error_row_json(view: WorkflowView) -> dict[str, Any]:
    """A row of the list of workflows with errors: as in the original's table, in snake_case."""
    return {
        "id": id_text(view.id),
        "name": view.name,
        "decider": view.decider,
        "subject": msgspec.Raw(view.subject),
        "user_id": id_text(view.user_id),
        "complete": view.complete,
        "migrated": True,
        "paused": view.paused,
        "created_at": time_text(view.created_at),
        "updated_at": time_text(view.updated_at),
    }


# --- trees -----------------------------------------------------------------------------------------------------------


def tree_json(workflow: WorkflowView, nodes: Iterable[NodeView]) -> msgspec.Raw:
    """A workflow with its nodes, nested. `nodes`: parents before children, siblings in their order.

    The text is made node by node: a tree may be deeper than an encoder nests.
    """
    subject = camel_subject(workflow.subject)
    root: dict[str, Any] = {
        "id": id_text(workflow.id),
        "name": workflow.name,
        "userId": id_text(workflow.user_id),
        "subject": subject,
        "mode": None,
        "currentServerStatus": None,
        "currentClientStatus": None,
        "createdAt": time_text(workflow.created_at),
        "retryingAt": None,
        "children": [],
    }
    parts = [_opened(root)]
    #: Ids of the open branches.
    path: list[bytes] = []
    for node in nodes:
        depth_before = len(path)
        # A page of a tree may begin below the top: the rest of the branch hangs from the workflow then.
        while path and path[-1] != node.parent_id:
            path.pop()
            parts.append(_CLOSED)
        if len(path) < depth_before:
            parts.append(b",")
        parts.append(_opened(_branch_json(node, subject)))
        path.append(node.id)
    parts.append(_CLOSED * (len(path) + 1))
    return msgspec.Raw(b"".join(parts))


_CLOSED = b"]}"


def _opened(branch: dict[str, Any]) -> bytes:
    """A branch up to its first child."""
    return _encode(branch)[: -len(_CLOSED)]


def _branch_json(node: NodeView, subject: msgspec.Raw) -> dict[str, Any]:
    return {
        "id": id_text(node.id),
        "name": node.name,
        "userId": id_text(node.user_id),
        "subject": subject,
        "mode": MODE_WORDS[node.mode],
        "currentServerStatus": SERVER_WORDS[node.server],
        "currentClientStatus": CLIENT_WORDS[node.client],
        "createdAt": time_text(node.created_at),
        "retryingAt": time_text(node.fires_at) if node.server is ServerStatus.RETRYING else None,
        "children": [],
    }


@lru_cache(maxsize=1024)
def camel_subject(subject: bytes) -> msgspec.Raw:
    """A subject in the tree: its keys in camelCase."""
    if b"{" not in subject:
        return msgspec.Raw(subject)
    return msgspec.Raw(camel_keys(subject))


def tree_text(workflow: WorkflowView, nodes: Iterable[NodeView]) -> str:
    """A tree as coloured text, a line a node."""
    lines = [_line(workflow.id, 0, workflow.name)]
    lines += [_line(node.id, node.depth, _node_text(node)) for node in nodes]
    return "".join(lines)


def _line(identity: bytes, depth: int, text: str) -> str:
    return f"\n{id_text(identity)}{_colored('   ' * depth + '|--', _CYAN)}{text}"


def _node_text(node: NodeView) -> str:
    text = f"{node.name} - server: {SERVER_WORDS[node.server]}, client: {CLIENT_WORDS[node.client]}"
    return _colored(text, _node_color(node.server, node.client))


def _node_color(server: ServerStatus, client: ClientStatus) -> int:
    if server is ServerStatus.ERRORED or client is ClientStatus.ERRORED:
        return _RED
    if (server is ServerStatus.READY and client is ClientStatus.READY) or server is ServerStatus.DEACTIVATED:
        return _WHITE
    if server is ServerStatus.COMPLETE and client is ClientStatus.COMPLETE:
        return _GREEN
    return _YELLOW


def _colored(text: str, color: int) -> str:
    return f"\x1b[{color}m{text}\x1b[0m"
