"""Workflows, nodes, trees and histories as a caller sees them: ids as text, payloads as values, times as datetimes.

Each wraps what the engine sent and converts when asked, so that an activity pays only for what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from backbeat.observe import transaction_ids
from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.messages import history
from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.views import NodeView, WorkflowView

N = TypeVar("N", bound="NodeValue")


class NodeValue:
    """Snapshot of a node: as it was when it was asked for."""

    __slots__ = ("_view",)

    def __init__(self, view: NodeView) -> None:
        self._view = view

    @property
    def view(self) -> NodeView:
        """The record that the engine sent."""
        return self._view

    @property
    def id(self) -> str:
        """The node's id."""
        return id_text(self._view.id)

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return id_text(self._view.workflow_id)

    @property
    def parent_id(self) -> str | None:
        """The id of its parent; None at the top of the workflow."""
        return None if self._view.parent_id is None else id_text(self._view.parent_id)

    @property
    def name(self) -> str:
        """The activity's name."""
        return self._view.name

    @property
    def mode(self) -> str:
        """`blocking`, `non_blocking` or `fire_and_forget`."""
        return word(self._view.mode)

    @property
    def status(self) -> str:
        """Server status, `sent_to_client` or `complete` for example: where the engine is with it."""
        return word(self._view.server)

    @property
    def client_status(self) -> str:
        """Client status, `received` or `errored` for example: its worker's last word."""
        return word(self._view.client)

    @property
    def subject(self) -> Any:
        """The subject of its workflow."""
        return from_json(self._view.subject)

    @property
    def decider(self) -> str:
        """The decider of its workflow."""
        return self._view.decider

    @property
    def workflow_name(self) -> str:
        """The name of its workflow."""
        return self._view.workflow_name

    @property
    def client_data(self) -> dict[str, Any]:
        """Client data as a value: {"name", "params"}, or another object where its maker gave `client_data`."""
        data: dict[str, Any] = from_json(self._view.client_data)
        return data

    @property
    def client_data_text(self) -> bytes:
        """Client data as the JSON text that it came as."""
        return self._view.client_data

    @property
    def metadata(self) -> dict[str, Any]:
        """Notes of its maker, for searches."""
        data: dict[str, Any] = from_json(self._view.metadata)
        return data

    @property
    def priority(self) -> int:
        """Priority among nodes that wait for the same limit: 1 goes first, 5 last."""
        return self._view.priority

    @property
    def fairness_key(self) -> str:
        """Key by which nodes of one priority that wait for the same limit take turns."""
        return self._view.fairness_key

    @property
    def waits_for_slot(self) -> bool:
        """True: it would start, and the limit of its activity leaves no room yet."""
        return self._view.waits_for_slot

    @property
    def given_up(self) -> bool:
        """True for a node that was shut down, or that has waited for one below it that was: no success."""
        return self._view.given_up

    @property
    def waits_for_results(self) -> list[str]:
        """The ids of the first nodes whose results it waits for; empty: it waits for none."""
        return [id_text(node_id) for node_id in self._view.waits_for_results]

    @property
    def type(self) -> str:
        """Kind of node: `decision` (signals are), `activity`, `flag`, `wait`, or a word of its maker's own."""
        return self._view.type

    @property
    def fraction_done(self) -> float | None:
        """Share that its worker has done of the running attempt, 0 to 1; None: it has not said."""
        return None if self._view.progress is None else self._view.progress.fraction

    @property
    def progress_note(self) -> str:
        """Note of its worker on what the running attempt is at; empty: it has said none."""
        return "" if self._view.progress is None else self._view.progress.note

    @property
    def attempt(self) -> int:
        """Number of its attempts so far."""
        return self._view.attempt

    @property
    def retries_remaining(self) -> int:
        """Number of further attempts when it fails."""
        return self._view.retries_remaining

    @property
    def created_at(self) -> datetime:
        """Time of its creation."""
        return to_datetime(self._view.created_at)

    @property
    def due_at(self) -> datetime:
        """Earliest start of its attempt: the `at` that it was given, later the end of its backoff."""
        return to_datetime(self._view.fires_at)

    @property
    def complete_by(self) -> datetime | None:
        """Deadline of its attempt: its worker must have begun to answer by then. None: it has none now."""
        return None if self._view.complete_by is None else to_datetime(self._view.complete_by)

    @property
    def tid(self) -> str:
        """Transaction id of the command that made it."""
        return transaction_ids.plain(self._view.tid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeValue) and self._view.id == other._view.id

    def __hash__(self) -> int:
        return hash(self._view.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name!r} {self.status}>"


class Workflow:
    """Snapshot of a workflow: as it was when it was asked for."""

    __slots__ = ("_view",)

    def __init__(self, view: WorkflowView) -> None:
        self._view = view

    @property
    def id(self) -> str:
        """The workflow's id."""
        return id_text(self._view.id)

    @property
    def name(self) -> str:
        """The workflow's name, which many share."""
        return self._view.name

    @property
    def subject(self) -> Any:
        """Subject of the workflow: with the name it makes one workflow of a client application."""
        return from_json(self._view.subject)

    @property
    def decider(self) -> str:
        """Decider of the workflow: a word for the service that decides, by default the workflow's name."""
        return self._view.decider

    @property
    def closed(self) -> bool:
        """True: it takes no more signals (`Client.close`)."""
        return self._view.complete

    @property
    def paused(self) -> bool:
        """True: nothing in it starts until it is resumed."""
        return bool(self._view.paused)

    @property
    def created_at(self) -> datetime:
        """Time of its creation."""
        return to_datetime(self._view.created_at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self._view.id == other._view.id

    def __hash__(self) -> int:
        return hash(self._view.id)

    def __repr__(self) -> str:
        return f"<Workflow {self.id} {self.name!r} {self.subject!r}>"


class User:
    """Client application: it owns workflows and runs their nodes."""

    __slots__ = ("_id", "name")

    def __init__(self, name: str, identity: bytes) -> None:
        self.name = name
        self._id = identity

    @property
    def id(self) -> str:
        """The client application's id, which is `Client-Id` in the HTTP API."""
        return id_text(self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<User {self.id} {self.name!r}>"


class Branch(Generic[N]):
    """Node with its children."""

    __slots__ = ("children", "node")

    def __init__(self, node: N) -> None:
        self.node = node
        self.children: list[Branch[N]] = []

    def walk(self, depth: int = 0) -> Iterator[tuple[int, N]]:
        """The node and all below it with their depth, parents before children."""
        stack: list[tuple[int, Branch[N]]] = [(depth, self)]
        while stack:
            level, branch = stack.pop()
            yield level, branch.node
            stack.extend((level + 1, child) for child in reversed(branch.children))


class Tree(Generic[N]):
    """A workflow and all its nodes, nested."""

    __slots__ = ("children", "workflow")

    def __init__(self, workflow: Workflow, nodes: Sequence[N]) -> None:
        self.workflow = workflow
        self.children: list[Branch[N]] = []
        branches: dict[str, Branch[N]] = {}
        # Parents come before their children.
        for node in nodes:
            branch = branches[node.id] = Branch(node)
            parent = None if node.parent_id is None else branches.get(node.parent_id)
            (self.children if parent is None else parent.children).append(branch)

    def walk(self) -> Iterator[tuple[int, N]]:
        """All nodes with their depth (0 at the top), parents before children."""
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        lines = [f"{self.workflow.name} {self.workflow.subject!r}"]
        lines += [f"{'   ' * (depth + 1)}|-- {node.name}: {node.status}" for depth, node in self.walk()]
        return "\n".join(lines)


class StatusChange:
    """Entry of a node's history."""

    __slots__ = ("_change",)

    def __init__(self, change: history.StatusChange) -> None:
        self._change = change

    @property
    def status_type(self) -> str:
        """`current_server_status` or `current_client_status`."""
        return self._change.status_type

    @property
    def from_status(self) -> str:
        """The status before."""
        return word(self._change.from_status)

    @property
    def to_status(self) -> str:
        """The status after."""
        return word(self._change.to_status)

    @property
    def at(self) -> datetime:
        """Time of the change."""
        return to_datetime(self._change.at)

    @property
    def response(self) -> Any:
        """Response that the client gave with it; None: there was none."""
        return None if self._change.response is None else from_json(self._change.response)

    def __repr__(self) -> str:
        return f"<{self.status_type} {self.from_status} -> {self.to_status}>"
