"""The demo's ledger: the actions of its worker, noted by the worker itself. The demo need not believe the engine.

One line of JSON an entry, appended in one write: a process that is killed loses nothing that it has noted. Times are
of the machine's monotonic clock, which all its processes share.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action of the worker."""

    at: float  #: monotonic seconds
    event: str  #: begin and end of a handler, else its action: charged, declined, …
    activity: str
    node: str
    subject: Any
    attempt: int
    number: int = 0  #: which of many alike


_DECODE_LINES = msgspec.json.Decoder(Entry).decode_lines


class Span(msgspec.Struct, frozen=True):
    """A run of a handler."""

    begin: float
    end: float
    number: int
    subject: Any


class Ledger:
    """The worker's side: writes the ledger."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, event: str, activity: Any, number: int = 0) -> None:
        """Note an action of a running activity (`backbeat.Activity`)."""
        entry = Entry(time.monotonic(), event, activity.name, activity.id, activity.subject, activity.attempt, number)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    @contextmanager
    def run(self, activity: Any, number: int = 0) -> Iterator[None]:
        """Note a handler's begin and its end, however it ends."""
        self.note("begin", activity, number)
        try:
            yield
        finally:
            self.note("end", activity, number)


class LedgerReader:
    """The demo's side: reads the ledger so far."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._position = 0
        self._entries: list[Entry] = []

    def entries(self) -> list[Entry]:
        """Everything noted so far, oldest first."""
        with self._path.open("rb") as lines:
            lines.seek(self._position)
            text = lines.read()
        whole_lines = text[: text.rfind(b"\n") + 1]
        self._position += len(whole_lines)
        self._entries += _DECODE_LINES(whole_lines)
        return self._entries

    def noted(self, event: str, activity: str | None = None, workflows: Any = None) -> list[Entry]:
        """The entries of one kind: of an activity's name, of workflows with these subjects."""
        return [
            entry
            for entry in self.entries()
            if entry.event == event
            and (activity is None or entry.activity == activity)
            and (workflows is None or entry.subject in workflows)
        ]

    def spans(self, activity: str, subjects: Any) -> list[Span]:
        """The runs of an activity that have ended, in the order in which they began."""
        open_runs: dict[tuple[str, int], Entry] = {}
        spans = []
        for entry in self.entries():
            if entry.activity != activity or entry.subject not in subjects:
                continue
            key = (entry.node, entry.attempt)
            if entry.event == "begin":
                open_runs[key] = entry
            elif entry.event == "end" and key in open_runs:
                begin = open_runs.pop(key)
                spans.append(Span(begin.at, entry.at, begin.number, begin.subject))
        return sorted(spans, key=lambda span: span.begin)


def most_at_once(spans: list[Span]) -> int:
    """Greatest number of runs that went on at the same time."""
    moments = sorted([(span.begin, 1) for span in spans] + [(span.end, -1) for span in spans])
    running = running_max = 0
    for _, change in moments:
        running += change
        running_max = max(running_max, running)
    return running_max
