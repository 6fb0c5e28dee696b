"""A change of a workflow as its followers get it, and its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from backbeat.payload.values import id_text, invalid, kind_of
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.status import ServerStatus, word

#: Of numbers that an offset of 64 bits has room for.
_PLACE = re.compile("([0-9]{1,18})(?:-([0-9]{1,18}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Change(msgspec.Struct, rename="camel", frozen=True):
    """A change of a node's status; or how far its worker is: then its status is as it was before."""

    id: Annotated[str, Meta(description="its place: following may go on behind it")]
    node_id: str
    name: Annotated[str, Meta(description="the node's name")]
    status: Annotated[str, Meta(description="its server status from then on")]
    before: Annotated[str, Meta(description="its server status before")]
    at: datetime
    progress: Annotated[
        float | None, Meta(description="how much its worker has done, 0 to 1; null: it is none, or it was not said")
    ] = None
    note: Annotated[str, Meta(description="what its worker is at; empty: it is none, or it was not said")] = ""

    def __str__(self) -> str:
        """Name and status, or progress."""
        if self.status != self.before:
            return f"{self.name}: {self.status}"
        if self.progress is None and not self.note:
            return f"{self.name}: {self.status}"
        done = "" if self.progress is None else f" {self.progress:.0%}"
        return f"{self.name}:{done}{f' ({self.note})' if self.note else ''}"


class Place(NamedTuple):
    """Place of a change among those of its workflow: the record's offset, and its number there."""

    offset: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place of a change's id; `0` is before all. InvalidParameters."""
        if not isinstance(text, str):
            raise invalid(f"after is a {kind_of(text)}; give the id of a change", kind_of(text), "a change's id")
        match = _PLACE.fullmatch(text)
        if match is None:
            message = f"{text[:40]!r} is no place of a change. What to do: give the id of one, or 0 for the oldest"
            raise invalid(message, text[:40], "a change's id")
        return cls(int(match[1]), int(match[2] or -1))

    def __str__(self) -> str:
        """The text that is parsed to it."""
        return str(self.offset) if self.number < 0 else f"{self.offset}-{self.number}"


def changes_in(offset: int, record: StatusChangesRecord) -> Iterator[tuple[Place, Change]]:
    """The changes of server statuses in a record, and progress, without their nodes' names."""
    for number, entry in enumerate(record.changes):
        change = entry.change
        if change.server:
            status, before = word(change.to_status), word(change.from_status)
            place = Place(offset, number)
            yield place, Change(f"{offset}-{number}", id_text(entry.node_id), "", status, before, _time(change.at))
    running = word(ServerStatus.SENT_TO_CLIENT)
    for number, report in enumerate(record.progress, len(record.changes)):
        fields = (f"{offset}-{number}", id_text(report.node_id), "", running, running, _time(report.at))
        yield Place(offset, number), Change(*fields, report.progress.fraction, report.progress.note)


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
