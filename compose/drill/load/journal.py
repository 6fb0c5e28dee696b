"""Journals of the load: what was asked for, taken, begun and paid, each written down by whoever did it.

One line of JSON an entry, appended in one write: a process that is killed loses nothing that it has noted. Times are
of the machine's monotonic clock, which all processes of the load share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

Event = Literal["asked", "taken", "failed", "begun", "paid"]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action of the load."""

    #: monotonic seconds
    at: float
    event: Event
    payment: str
    #: way in: sdk, topic, http
    way: str = ""
    #: activity, its node, and the attempt
    step: str = ""
    node: str = ""
    attempt: int = 0
    error: str = ""


_DECODE_LINES = msgspec.json.Decoder(Entry).decode_lines


class Journal:
    """The writer's side: a file of its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(
        self,
        event: Event,
        payment: str,
        *,
        way: str = "",
        step: str = "",
        node: str = "",
        attempt: int = 0,
        error: str = "",
    ) -> None:
        """Note an action, now."""
        entry = Entry(time.monotonic(), event, payment, way, step, node, attempt, error)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")


class JournalReader:
    """The reader's side: the new entries of all journals of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions: dict[Path, int] = {}

    def read(self) -> Iterator[Entry]:
        """The entries since the last call, of each journal in their order."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as lines:
                lines.seek(self._positions.get(path, 0))
                text = lines.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._positions[path] = self._positions.get(path, 0) + len(whole)
            yield from _DECODE_LINES(whole)
