"""An archive: one workflow with all its nodes and their histories, in one file (docs/how-to/retention.md).

JSON lines, compressed with gzip. The first has the format and the workflow; then comes a line for each node, parents
before children, with its status changes; the last has their number, so that a truncated file is recognized. Workflows,
nodes and changes have all fields of the HTTP API. The same workflow gives the same bytes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from backbeat.errors import BackbeatError
from backbeat.gateway.http.presentation import status_change_json, whole_node_json, workflow_json
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.schemas.requests.decoding import from_json
from backbeat.transport.http_values import read_history, read_node, read_workflow

FORMAT = "backbeat-archive"
VERSION = 1

_encode = msgspec.json.Encoder().encode
_NODE_PAYLOADS = ("clientData", "metadata", "subject")


class ArchiveError(BackbeatError):
    """A file is no archive, a truncated one, or one of a newer version. The text says what to do."""


class _Head(msgspec.Struct, kw_only=True):
    format: str
    version: int
    client: str = ""
    workflow: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, rename="camel", kw_only=True):
    node: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    status_changes: msgspec.Raw = msgspec.Raw(b"[]")
    nodes: int | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Archive:
    """Contents of an archive."""

    client: str  #: name of the workflow's client
    workflow: WorkflowView
    nodes: list[NodeView] = field(default_factory=list)  #: parents before children, siblings in their order
    history: dict[bytes, tuple[StatusChange, ...]] = field(default_factory=dict)  #: by node, oldest first


class Writer:
    """Writer of one archive, a node at a time."""

    def __init__(self, file: IO[bytes], client: str, workflow: WorkflowView) -> None:
        # Without a name and a time in the header, the same workflow is the same file.
        self._zip = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        self._nodes = 0
        fields = workflow_json(workflow)
        self._put(
            {
                "format": FORMAT,
                "version": VERSION,
                "client": client,
                "workflow": {**fields, "subject": _payload(workflow.subject)},
            }
        )

    def add(self, node: NodeView, history: Iterable[StatusChange]) -> None:
        """Write a node with its status changes, oldest first; its parent was added before."""
        fields = whole_node_json(node)
        fields |= {name: _payload(bytes(fields[name])) for name in _NODE_PAYLOADS}
        changes = [
            {
                **status_change_json(node.id, change),
                "response": None if change.response is None else _payload(change.response),
            }
            for change in history
        ]
        self._put({"node": fields, "statusChanges": changes})
        self._nodes += 1

    def add_all(self, nodes: Sequence[NodeView], histories: Sequence[Iterable[StatusChange]]) -> None:
        """Write nodes with their status changes."""
        for node, history in zip(nodes, histories, strict=True):
            self.add(node, history)

    def end(self) -> None:
        """Write the end, after all nodes."""
        self._put({"nodes": self._nodes})
        self._zip.close()

    def _put(self, line: dict[str, Any]) -> None:
        self._zip.write(_encode(line) + b"\n")


def _payload(text: bytes) -> msgspec.Raw:
    """JSON on one line; other data of clients as a text."""
    try:
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    except msgspec.DecodeError:
        return msgspec.Raw(_encode(text.decode(errors="replace")))


def read_archive(file: IO[bytes], name: str) -> Archive:
    """Read an archive. `name` designates it in errors. ArchiveError."""
    try:
        with gzip.GzipFile(fileobj=file) as lines:
            return _read(lines, name)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise ArchiveError(
            f"{name} is no archive, or not a whole one ({error}). What to do: take another copy of it"
        ) from error


def _read(lines: gzip.GzipFile, name: str) -> Archive:
    head = from_json(lines.readline(), _Head)
    if head.format != FORMAT or head.version > VERSION:
        raise ArchiveError(
            f"{name} is of the format {head.format} {head.version}; this program reads {FORMAT} up to {VERSION}. "
            "What to do: use the version that wrote it, or a later one"
        )
    archive = Archive(head.client, read_workflow(bytes(head.workflow)))
    for text in lines:
        line = from_json(text, _Line)
        if not isinstance(line.nodes, msgspec.UnsetType):
            # Reading on to the end compares the checksum.
            if line.nodes != len(archive.nodes) or lines.read(1):
                break
            return archive
        if isinstance(line.node, msgspec.UnsetType):
            break
        node = read_node(bytes(line.node))
        archive.nodes.append(node)
        archive.history[node.id] = read_history(bytes(line.status_changes))
    raise ArchiveError(f"{name} has no end: it was cut. What to do: take another copy of it")
