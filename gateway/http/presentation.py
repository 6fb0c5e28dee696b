"""Workflows, nodes, trees and status changes as JSON of the HTTP API (behaviour document, section 5).

Every function returns a plain dict, or JSON text, for `msgspec.json`. Client data, metadata, subjects and responses are
JSON text already and go into the answer unchanged (`msgspec.Raw`), so their keys keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from backbeat.gateway.http.casing import camel_keys
from backbeat.payload.nouns import ClientWord, Conversion, Id, ModeWord, ServerWord, Source, Subject, Time, json_writer
from backbeat.payload.values import id_text
from backbeat.schemas.messages import history
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.transport.http_nouns import NO_RESPONSE, Node, StatusChange, WholeNode, Workflow

#: Words by number: looked up several times a node.
SERVER_WORDS = tuple(word(status) for status in ServerStatus)
CLIENT_WORDS = tuple(word(status) for status in ClientStatus)

_encode = msgspec.json.Encoder().encode

_RED, _GREEN, _YELLOW, _CYAN, _WHITE = 31, 32, 33, 36, 37


workflow_json = json_writer(Workflow)
#: A node, in answers and webhooks alike.
node_json = json_writer(Node)
whole_node_json = json_writer(WholeNode)
_status_change_json = json_writer(StatusChange)


def status_change_json(node_id: bytes, change: history.StatusChange) -> dict[str, Any]:
    """An entry of a node's history."""
    return _status_change_json(history.NodeChange(node_id, change))


def response_json(change: history.StatusChange) -> msgspec.Raw:
    """The client's response of a status change."""
    return NO_RESPONSE if change.response is None else msgspec.Raw(change.response)


class ErrorRow(msgspec.Struct, gc=False):
    """A workflow, as the original's table has it."""

    id: Id
    name: str
    decider: str
    subject: Subject
    user_id: Id
    complete: bool
    migrated: Annotated[bool, Source(lambda _: True)]
    paused: Annotated[bool | None, Meta(description="null until it is first paused")]
    created_at: Time
    updated_at: Time


error_row_json = json_writer(ErrorRow)


# --- trees -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def camel_subject(subject: bytes) -> msgspec.Raw:
    """A subject in the tree: its keys in camelCase."""
    if b"{" not in subject:
        return msgspec.Raw(subject)
    return msgspec.Raw(camel_keys(subject))


def _retrying_at(node: NodeView) -> int | None:
    return node.fires_at if node.server is ServerStatus.RETRYING else None


def _nothing(_: Any) -> None:
    return None


def _no_children(_: Any) -> list[Any]:
    return []


_CamelSubject = Annotated[Subject, Conversion(camel_subject, camel_subject, bytes)]
_OfNodes = Annotated[None, Meta(description="a workflow has none"), Source(_nothing)]
#: Branches are written one by one, so `tree_json` makes this list.
_Children = Annotated[list["Branch"], Source(_no_children), Conversion(list, list, list)]


class Branch(msgspec.Struct, rename="camel", gc=False):
    """A node with all that is below it."""

    id: Id
    name: str
    user_id: Id
    subject: _CamelSubject
    mode: ModeWord
    server: ServerWord = field(name="currentServerStatus")
    client: ClientWord = field(name="currentClientStatus")
    created_at: Time
    retrying_at: Annotated[
        Time | None, Meta(description="when it is tried again, while it waits for that"), Source(_retrying_at)
    ]
    children: _Children


class Tree(msgspec.Struct, rename="camel", gc=False):
    """A workflow with all its nodes."""

    id: Id
    name: str
    user_id: Id
    subject: _CamelSubject
    mode: _OfNodes
    server: _OfNodes = field(name="currentServerStatus")
    client: _OfNodes = field(name="currentClientStatus")
    created_at: Time
    retrying_at: _OfNodes
    children: _Children


_branch_json, _root_json = json_writer(Branch), json_writer(Tree)


def tree_json(workflow: WorkflowView, nodes: Iterable[NodeView]) -> msgspec.Raw:
    """A workflow with its nodes, nested. `nodes`: parents before children, siblings in their order.

    The text is made node by node: a tree may be deeper than an encoder nests.
    """
    parts = [_opened(_root_json(workflow))]
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
        parts.append(_opened(_branch_json(node)))
        path.append(node.id)
    parts.append(_CLOSED * (len(path) + 1))
    return msgspec.Raw(b"".join(parts))


_CLOSED = b"]}"


def _opened(branch: dict[str, Any]) -> bytes:
    """A branch up to its first child."""
    return _encode(branch)[: -len(_CLOSED)]


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
