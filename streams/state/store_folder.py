"""The folder of one partition's store in the data directory, and the marker beside it.

    partition-3                               RocksDB's files
    partition-3.made                          marker: they are complete, RocksDB must never begin anew in this folder
    partition-3.damaged-20260102T030405Z      a store that was set aside

RocksDB takes a folder from which a file is missing for a new database when it is allowed to create one. So it may
create one only where there is neither a folder nor a marker; one without the other is set aside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_MADE = ".made"
_ASIDE = ".damaged-"
#: Stores of one partition set aside, at most.
_KEPT_MAX = 1


class StoreFolder:
    """The folder of a partition's RocksDB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marker = path.with_name(path.name + _MADE)

    @property
    def is_made(self) -> bool:
        """True when a database was made here, completely."""
        return self._marker.exists()

    @property
    def is_there(self) -> bool:
        """True when there is a folder, complete or not."""
        return self.path.exists()

    def mark(self) -> None:
        """Write the marker, durably."""
        with self._marker.open("w") as marker:
            marker.write("The store beside this file was made completely. Remove both or none of them.\n")
            marker.flush()
            os.fsync(marker.fileno())
        _sync(self.path.parent)

    def unmark(self) -> None:
        """Remove the marker, durably: the folder's content is not used again."""
        self._marker.unlink(missing_ok=True)
        _sync(self.path.parent)

    def remove(self) -> None:
        """Remove the store."""
        self.unmark()
        if self.is_there:
            shutil.rmtree(self.path)

    def set_aside(self) -> Path | None:
        """Rename the folder, for a later analysis. Returns its new path; null: there is no folder.

        Older ones of this partition are removed.
        """
        self.unmark()
        if not self.is_there:
            return None
        name = f"{self.path.name}{_ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        aside = self.path.rename(self.path.with_name(name))
        _sync(self.path.parent)
        aside_paths = sorted(self.path.parent.glob(f"{self.path.name}{_ASIDE}*"))
        for path in aside_paths[:-_KEPT_MAX]:
            shutil.rmtree(path)
        return aside


def set_aside_in(data_dir: Path) -> Iterator[Path]:
    """The stores that were set aside in a data directory."""
    return data_dir.glob(f"partition-*{_ASIDE}*")


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
