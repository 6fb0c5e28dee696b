"""What tests of local files share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A folder in memory where there is a file system in it: RocksDB asks disks often to be done with writing."""
    memory = Path("/dev/shm")  # noqa: S108 - it is there for this
    folder = Path(tempfile.mkdtemp(prefix="backbeat-store-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
