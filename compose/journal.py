"""The journal of a bulk command: which nodes it is about, and which of them are done, so that it can go on.

Lines of JSON: a head, a line for each node that is to be changed, then one for each that was. It is whole before the
first change is made. A change that was made and not written down is made again, with the same idempotency key, and
changes nothing the second time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from backbeat.compose.errors import SetupError
from backbeat.compose.many import Outcome, outcome_facts

_KIND = "backbeat-bulk"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was told."""

    kind: str = _KIND
    version: int = 1
    command: str
    where: dict[str, str]
    client: str
    #: Names this run in the idempotency keys of its changes.
    run: str
    count: int
    begun_at: datetime
    #: What nodes are resolved with; JSON text.
    response: str | None = None


class Journal:
    """One file, read and written further."""

    def __init__(self, path: Path, head: Head, planned: dict[str, None], done: dict[str, bool]) -> None:
        self.path = path
        self.head = head
        self._planned = planned
        #: Of each node that was tried, whether it was changed.
        self._done = done
        self._file: IO[bytes] | None = None

    @classmethod
    def begin(cls, path: Path, head: Head, ids: Iterable[str]) -> Self:
        """Write down what is to be done, whole or not at all."""
        if path.exists():
            raise SetupError(f"{path} is there already. To go on with it: --resume {path}; else name another file.")
        planned = dict.fromkeys(ids)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(head) + b"\n")
            file.writelines(msgspec.json.encode({"id": identity}) + b"\n" for identity in planned)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return cls(path, head, planned, {})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read one that was begun."""
        try:
            first, *lines = path.read_bytes().split(b"\n")
            head = msgspec.json.decode(first, type=Head)
        except OSError as error:
            raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
        except msgspec.MsgspecError as error:
            raise SetupError(f"{path} is no journal of a bulk command ({error}).") from error
        if (head.kind, head.version) != (_KIND, 1):
            raise SetupError(f"{path} is no journal that this version of backbeat knows.")
        planned: dict[str, None] = {}
        done: dict[str, bool] = {}
        # A process that was killed may have left half a line: what it says was done is done again.
        for line in lines[:-1]:
            row: dict[str, Any] = msgspec.json.decode(line)
            if "done" in row:
                done[row["id"]] = row["done"]
            else:
                planned[row["id"]] = None
        return cls(path, head, planned, done)

    def __enter__(self) -> Self:
        self._cut_half_line()
        self._file = self.path.open("ab")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._file is not None, "it is left once"
        self._file.close()
        self._file = None

    @property
    def left(self) -> list[str]:
        """The nodes that were not tried yet, in their order."""
        return [identity for identity in self._planned if identity not in self._done]

    @property
    def counts(self) -> tuple[int, int]:
        """How many were changed, and how many refused."""
        changed = sum(self._done.values())
        return changed, len(self._done) - changed

    def key(self, identity: str) -> str:
        """The idempotency key of the change of a node."""
        return f"bulk-{self.head.run}-{identity}"

    def write(self, outcome: Outcome) -> None:
        """Write down what became of a node."""
        assert self._file is not None, "a journal is open while it is written"
        self._file.write(msgspec.json.encode(outcome_facts(outcome)) + b"\n")
        self._file.flush()
        self._done[outcome.id] = outcome.refusal is None

    def _cut_half_line(self) -> None:
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(self.path, whole)


def usual_path(command: str, run: str) -> Path:
    """Where a journal is where nobody says where."""
    return Path(".backbeat") / "bulk" / f"{command}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run}.jsonl"
