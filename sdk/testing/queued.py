"""An activity as the engine has sent it, for a test to look at before it is run."""

from __future__ import annotations

from typing import Any

from backbeat.client.views import NodeValue
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord


class Queued(NodeValue):
    """An activity, decision or notification that was sent to a client application's workers."""

    __slots__ = ("client", "record")

    def __init__(self, record: ActivityRecord, client: str) -> None:
        super().__init__(record.node)
        #: The record of the engine.
        self.record = record
        #: The client application that runs it.
        self.client = client

    @property
    def kind(self) -> ActivityKind:
        """`activity`, `decision` (a signal), or `notification` (its retries are exhausted)."""
        return self.record.kind

    @property
    def is_notification(self) -> bool:
        """True where nothing is to be run: its client is told of an error."""
        return self.kind is ActivityKind.NOTIFICATION

    @property
    def params(self) -> Any:
        """The arguments of its handler: a list, or a mapping by name; None where the client data has none."""
        return self.client_data.get("params")

    @property
    def key(self) -> tuple[bytes, int, bool]:
        """Key that all repeats have: node, attempt, whether it is a notification."""
        return self._view.id, self._view.attempt, self.is_notification

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r} {self.params!r} attempt {self.attempt}>"
