"""A partition's store with a history, its changelog, and everything that can happen to one of its files."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import msgspec

from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.records import StoredReply
from backbeat.streams.core.tables import CHUNKS, NODES, STORED_REPLIES, WORKFLOWS
from backbeat.streams.ports.errors import DamagedStoreError
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.restore import restore
from backbeat.streams.state.store import PartitionStore, host_now
from backbeat.streams.state.store_folder import StoreFolder
from tests.ports import Log
from tests.streams.core.storing import put
from tests.streams.state.test_versions import NODE, WORKFLOW

PARTITION = 3
_NODES = 120


class Kept:
    """A store that is written to, copied, damaged, and restored whenever it says that it is damaged."""

    def __init__(self, path: Path, chance: random.Random, disk: DiskSpace | None = None) -> None:
        self.path = path
        self.disk = disk or DiskSpace(path.parent)
        self.chance = chance
        self.log = Log()
        self.repairs: list[str] = []
        self.store = self.restored()

    # --- as the engine does ------------------------------------------------------------------------------------------

    def restored(self) -> PartitionStore:
        folder = StoreFolder(self.path)

        def set_aside(why: str) -> None:
            folder.set_aside()
            self.repairs.append(why)

        return restore(lambda: PartitionStore(self.path, PARTITION, 16), folder.remove, set_aside, self.log)

    def restart(self) -> None:
        self.store.close()
        self.store = self.restored()

    def kill(self) -> None:
        """The process is no more: what RocksDB has in memory alone is gone."""
        image = self.path.with_name("killed")
        copy(self.path, image)
        self.store.close()
        shutil.rmtree(self.path)
        image.rename(self.path)

    def commit(self) -> None:
        """Some changes, and a commit of them."""
        try:
            self._commit()
        except DamagedStoreError as error:
            reason = error.reason
        else:
            return
        self._repair(reason)

    def _commit(self) -> None:
        store = self.store
        for _ in range(self.chance.randrange(1, 12)):
            self._change()
        self.log.position += 1
        store.meta.next_offset = self.log.position
        store.meta.topic_id = self.log.commands_topic_id
        snapshot = store.snapshot()
        offset = self.log.append(snapshot.records)
        origin = ChangelogPosition(self.log.state_topic_id, offset, host_now())
        self.disk.with_room(PARTITION, lambda: store.write(snapshot, origin))
        store.mark_durable()

    def _change(self) -> None:
        store, chance = self.store, self.chance
        identity = chance.randrange(_NODES).to_bytes(16, "big")
        match chance.randrange(4):
            case 0:
                due = chance.randrange(10**15)
                number = chance.randrange(10**6)
                node = msgspec.structs.replace(
                    NODE, id=identity, seq=number, timer_at=due, timer_kind=TimerKind.RETRY, timer_number=number
                )
                put(store, NODES, identity, node)
            case 1:
                put(store, CHUNKS, (identity, chance.randrange(3)), chance.randbytes(chance.randrange(900)))
            case 2:
                workflow = msgspec.structs.replace(WORKFLOW, id=identity, name=chance.randbytes(20).hex())
                put(store, WORKFLOWS, identity, workflow)
            case _:
                kept = store.get(STORED_REPLIES, identity) is not None
                answer = None if kept else StoredReply(b"", chance.randbytes(60), chance.randrange(10**15))
                put(store, STORED_REPLIES, identity, answer)

    def _repair(self, reason: str) -> None:
        # Not while the error is held: it holds the walk that it came from, and that holds the files.
        self.repairs.append(reason)
        self.store.close()
        StoreFolder(self.path).set_aside()
        self.store = self.restored()

    # --- what is looked at -------------------------------------------------------------------------------------------

    def content(self) -> dict[bytes, bytes]:
        """Everything that is stored but the place where it came from; read as the engine reads: damage is repaired."""
        while True:
            try:
                return {key: value for key, value in self.store._scan(b"", b"") if key != b"o"}
            except DamagedStoreError as error:
                reason = error.reason
            self._repair(reason)

    def rebuilt(self, path: Path) -> dict[bytes, bytes]:
        """What a store holds that is made from the changelog alone."""
        folder = StoreFolder(path)
        store = restore(lambda: PartitionStore(path, PARTITION, 16), folder.remove, _never, self.log)
        try:
            return {key: value for key, value in store._scan(b"", b"") if key != b"o"}
        finally:
            store.close()
            folder.remove()


def _never(why: str) -> None:
    raise AssertionError(why)


def copy(source: Path, target: Path) -> None:
    """A copy of a store's files at one moment: again, where RocksDB has changed them meanwhile."""
    while True:
        shutil.rmtree(target, ignore_errors=True)
        try:
            before = _sizes(source)
            shutil.copytree(source, target)
            if before == _sizes(source):
                return
        except (OSError, shutil.Error):
            continue


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir() if file.name != "LOG"}


KINDS = ("deleted", "emptied", "truncated", "a bit flipped", "overwritten", "zeroed", "doubled", "an older copy")


def damage(file: Path, kind: str, chance: random.Random, older: list[Path]) -> bool:
    """Do this to a file; false: there is no way to."""
    size = file.stat().st_size
    match kind:
        case "deleted":
            file.unlink()
        case "emptied":
            os.truncate(file, 0)
        case "truncated":
            os.truncate(file, chance.randrange(size + 1))
        case "doubled":
            with file.open("ab") as target:
                target.write(file.read_bytes())
        case "an older copy":
            copies = [folder / file.name for folder in older if (folder / file.name).exists()]
            if not copies:
                return False
            file.write_bytes(chance.choice(copies).read_bytes())
        case _ if size == 0:
            return False
        case "a bit flipped":
            at = chance.randrange(size)
            content = bytearray(file.read_bytes())
            content[at] ^= 1 << chance.randrange(8)
            _overwrite(file, at, bytes(content[at : at + 1]))
        case "overwritten":
            _overwrite(file, chance.randrange(size), chance.randbytes(chance.randrange(1, 4_000)), size)
        case "zeroed":
            _overwrite(file, chance.randrange(size), bytes(chance.randrange(1, 4_000)), size)
    return True


def _overwrite(file: Path, at: int, content: bytes, size: int | None = None) -> None:
    """In place: whoever has the file open sees it."""
    with file.open("r+b") as target:
        target.seek(at)
        target.write(content if size is None else content[: size - at])


def history(kept: Kept, commits: int, older: list[Path] | None = None) -> None:
    """Commits, restarts and kills; copies of the files as they were on the way."""
    for number in range(commits):
        kept.commit()
        if number % 40 == 30:
            kept.restart()
        if number % 40 == 15:
            kept.kill()
            kept.store = kept.restored()
        if older is not None and number % 23 == 7:
            older.append(kept.path.with_name(f"older-{number}"))
            copy(kept.path, older[-1])


def files_of(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def kind_of(name: str) -> str:
    """`000012.sst` and `000020.sst` are of one kind."""
    return "".join(letter for letter in name if not letter.isdigit())


def damaged_while_closed(folder: Path, seed: int, times: int | None = None) -> Counter[str]:
    """Damage to a store that nobody has open, each time from the same files; how often each kind was noticed."""
    chance = random.Random(seed)
    kept, older = Kept(folder / "partition-3", chance), []
    history(kept, 150, older)
    if seed % 2:
        kept.kill()
    else:
        kept.store.close()
    copy(kept.path, folder / "pristine")
    expected = kept.rebuilt(folder / "rebuilt")
    assert len(expected) > 200
    assert any(key[:1] == b"t" for key in expected)
    noticed: Counter[str] = Counter()
    work = [(name, kind) for name in files_of(folder / "pristine") for kind in KINDS]
    chance.shuffle(work)
    for name, kind in work[:times]:
        shutil.rmtree(kept.path)
        shutil.copytree(folder / "pristine", kept.path)
        if not damage(kept.path / name, kind, chance, older):
            continue
        kept.repairs.clear()
        kept.store = kept.restored()
        assert kept.content() == expected, f"{name} {kind}"
        kept.store.close()
        noticed[f"{kind_of(name)} {kind}: {'set aside' if kept.repairs else 'as it was'}"] += 1
    return noticed


def damaged_while_open(folder: Path, seed: int, times: int) -> Counter[str]:
    """Damage under a store that is being read and written, again and again."""
    chance = random.Random(seed)
    kept, older = Kept(folder / "partition-3", chance), []
    history(kept, 80, older)
    noticed: Counter[str] = Counter()
    for _ in range(times):
        name, kind = chance.choice(files_of(kept.path)), chance.choice(KINDS)
        kept.repairs.clear()
        try:
            if not damage(kept.path / name, kind, chance, older):
                continue
        except FileNotFoundError:
            continue  # RocksDB itself has just removed it.
        for _ in range(chance.randrange(6)):
            kept.commit()
        match chance.randrange(3):
            case 0:
                kept.restart()
            case 1:
                kept.kill()
                kept.store = kept.restored()
        assert kept.content() == kept.rebuilt(folder / "rebuilt"), f"{name} {kind}"
        noticed[f"{kind_of(name)} {kind}: {'set aside' if kept.repairs else 'as it was'}"] += 1
    kept.store.close()
    return noticed
