"""A change of a workflow as its followers get it, and its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from backbeat.errors import InvalidParameters
from backbeat.payload.values import id_text
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import word

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Change(msgspec.Struct, rename="camel", frozen=True):
    """A change of a node's status."""

    id: Annotated[str, Meta(description="its place: following may go on behind it")]
    node_id: str
    name: Annotated[str, Meta(description="the node's name")]
    status: Annotated[str, Meta(description="its server status from then on")]
    before: Annotated[str, Meta(description="its server status before")]
    at: datetime

    def __str__(self) -> str:
        """Name and status."""
        return f"{self.name}: {self.status}"


class Place(NamedTuple):
    """Place of a change among those of its workflow: the record's offset, and its number there."""

    offset: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place of a change's id; `0` is before all. InvalidParameters."""
        offset, _, index = text.partition("-")
        if not offset.isdecimal() or (index and not index.isdecimal()):
            message = f"{text[:40]!r} is no place of a change. What to do: give the id of one, or 0 for the oldest"
            raise InvalidParameters(Reason.INVALID_PARAMETERS, message, text[:40], "a change's id")
        return cls(int(offset), int(index) if index else -1)


def changes_in(offset: int, record: StatusChangesRecord) -> Iterator[tuple[Place, Change]]:
    """The changes of server statuses in a record, without their nodes' names."""
    for index, entry in enumerate(record.changes):
        change = entry.change
        if change.server:
            at = _EPOCH + timedelta(milliseconds=change.at)
            status, before = word(change.to_status), word(change.from_status)
            yield Place(offset, index), Change(f"{offset}-{index}", id_text(entry.node_id), "", status, before, at)
