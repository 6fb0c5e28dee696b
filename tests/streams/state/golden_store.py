"""A partition's store with a record of every kind, and what is done to it afterwards: the same for every release.

`python -m tests.streams.state.golden_store` makes the golden files anew. They were made by the release that first
wrote these records: whoever makes them anew gives up the proof that its data directories are still read.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from pathlib import Path

import msgspec

from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state.store import PartitionStore
from tests.streams.core.every_command import PARTITION, Story, fill, go_on

FOLDER = Path(__file__).parent / "golden"
#: the data directory of the partition, as the release left it
STORE = FOLDER / "store.tar.gz"
#: what the changelog had of it; then, command by command, the effects, and the records in the end
STORY = FOLDER / "story.msgpack"

ORIGIN = ChangelogPosition("state", 1, 0)


def records(store: PartitionStore) -> dict[bytes, bytes]:
    """Everything that RocksDB holds, apart from where it came from."""
    return {key: value for key, value in store._db.items() if key != b"o"}


def commit(store: PartitionStore) -> list[tuple[bytes, bytes | None]]:
    snapshot = store.snapshot()
    store.write(snapshot, ORIGIN)
    store.mark_durable()
    return snapshot.records


def main() -> None:
    """Make the golden files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "partition"
        store = PartitionStore(path, PARTITION)
        story = Story(store)
        fill(story)
        changelog = commit(store)
        before = records(store)
        store._flush(wait=True)
        store.close()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for file in sorted(path.parent.iterdir()):
                archive.add(file, file.name)
        then = Story(PartitionStore(path, PARTITION), story.now, story.count)
        go_on(then)
        commit(then.store)
        after = records(then.store)
        then.store.close()
    FOLDER.mkdir(exist_ok=True)
    STORE.write_bytes(packed.getvalue())
    recorded = {
        "now": story.now,
        "count": story.count,
        "changelog": changelog,
        "before": before,
        "effects": then.effects,
        "after": after,
    }
    STORY.write_bytes(msgspec.msgpack.encode(recorded))
    kinds = sorted({key[:1] if key[:1] != b"w" else key[8:9] + b"*" for key in before})
    sys.stdout.write(f"{kinds}, {len(before)} records, {len(then.effects)} commands, {len(after)} records\n")


if __name__ == "__main__":
    main()
