"""State of a capsule, as it is told over HTTP and kept in a file: it outlives tower and capsule."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import msgspec

#: What a capsule goes through.
Phase = Literal["begun", "acting", "ended", "refused"]


#: Exit code of an undo that has nothing to take back.
EXIT_NOTHING = 3


class CapsuleState(msgspec.Struct, kw_only=True):
    """A capsule's state."""

    id: str
    fault: str
    targets: list[str]
    host: str
    phase: Phase = "begun"
    pid: int = 0
    #: address of its door while it is there
    url: str = ""
    #: seconds since the epoch; 0: not yet
    injected_at: float = 0.0
    ended_at: float = 0.0
    #: who ended it: its time, the tower, a person, …
    ended_by: str = ""
    reason: str = ""
    #: lines about what is left of the fault; None: not looked for yet
    left: list[str] | None = None
    notes: list[str] = []

    def create(self, folder: Path) -> None:
        """Keep the first state of an order in a folder, whole. FileExistsError: there is one."""
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{self.id}.{os.getpid()}.part"
        part.write_bytes(msgspec.json.encode(self))
        try:
            os.link(part, state_path(folder, self.id))
        finally:
            part.unlink()

    def write(self, folder: Path) -> None:
        """Keep it in a folder, whole or not at all; and print it for the tower, where that still listens."""
        with contextlib.suppress(OSError):
            print(msgspec.json.encode(self).decode(), flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        path = state_path(folder, self.id)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self))
        part.replace(path)


def state_path(folder: Path, order_id: str) -> Path:
    """The file of a capsule's state."""
    return folder / f"{order_id}.json"
