"""The demo's ledger: what its worker really did, noted by the worker itself. The demo need not believe the engine.

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
    """One thing that the worker did."""

    at: float  #: monotonic seconds
    what: str  #: begin and end of a handler, else what it did: charged, declined, …
    activity: str
    node: str
    subject: Any
    attempt: int
    number: int = 0  #: which of many alike


class Span(msgspec.Struct, frozen=True):
    """One run of a handler."""

    begin: float
    end: float
    number: int
    subject: Any


class Ledger:
    """The worker's side: notes what happens."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, what: str, activity: Any, number: int = 0) -> None:
        """Note one thing about a running activity (`backbeat.Activity`)."""
        entry = Entry(time.monotonic(), what, activity.name, activity.id, activity.subject, activity.attempt, number)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    @contextmanager
    def run(self, activity: Any, number: int = 0) -> Iterator[None]:
        """Note when a handler begins and when it ends, however it ends."""
        self.note("begin", activity, number)
        try:
            yield
        finally:
            self.note("end", activity, number)


class LedgerReader:
    """The demo's side: reads what was noted so far."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._position = 0
        self._entries: list[Entry] = []
        self._decoder = msgspec.json.Decoder(Entry)

    def entries(self) -> list[Entry]:
        """Everything noted so far, oldest first."""
        with self._path.open("rb") as lines:
            lines.seek(self._position)
            text = lines.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        self._entries += self._decoder.decode_lines(whole)
        return self._entries

    def noted(self, what: str, activity: str | None = None, workflows: Any = None) -> list[Entry]:
        """The entries of one kind: of an activity's name, of workflows with these subjects."""
        return [
            entry
            for entry in self.entries()
            if entry.what == what
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
            if entry.what == "begin":
                open_runs[key] = entry
            elif entry.what == "end" and key in open_runs:
                begun = open_runs.pop(key)
                spans.append(Span(begun.at, entry.at, begun.number, begun.subject))
        return sorted(spans, key=lambda span: span.begin)


def most_at_once(spans: list[Span]) -> int:
    """How many of the runs went on at the same time, at most."""
    moments = sorted([(span.begin, 1) for span in spans] + [(span.end, -1) for span in spans])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most
