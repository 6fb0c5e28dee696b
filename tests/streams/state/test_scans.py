"""A walk over a partition finds the same whatever lies in which layer: changed, being committed, in RocksDB."""

import random
from types import SimpleNamespace

import msgspec
import pytest

from backbeat.schemas.messages.jobs import RETENTION_MS, Job, JobFilter
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.limits.records import SlotTicket
from backbeat.streams.core.store import MemoryStore, every
from backbeat.streams.core.tables import CHUNKS, JOBS, NODES, SLOT_TICKETS, WORKFLOWS
from backbeat.streams.state.scans import keys_of_kind
from backbeat.streams.state.store import ChangelogPosition, PartitionStore
from tests.streams.core.storing import put
from tests.streams.state.test_versions import NODE, WORKFLOW

ORIGIN = ChangelogPosition("state", 0, 0)


def walked(store, table, count):
    rows, last = [], None
    while some := store.scan(table, last, count):
        assert len(some) <= count
        rows += some
        last = some[-1][0]
    return rows


@pytest.mark.parametrize("seed", range(6))
def test_every_layer_is_seen_and_none_twice(tmp_path, seed):
    chance = random.Random(seed)
    store, plain = PartitionStore(tmp_path / "one", 0, 16), MemoryStore()
    # Few workflows' prefixes, so that their records lie among each other's.
    ids = [bytes([0, 0, 0, 0, 0, 0, chance.choice([1, 2, 255])]) + chance.randbytes(9) for _ in range(60)]
    ids += [b"\xff" * 7 + chance.randbytes(9) for _ in range(3)]
    written = None
    for _ in range(400):
        identity = chance.choice(ids)
        match chance.randrange(8):
            case 0 | 1 | 2:
                for layer in (store, plain):
                    put(layer, NODES, identity, msgspec.structs.replace(NODE, id=identity, seq=chance.randrange(10**6)))
                    # What is of no interest lies in between.
                    put(layer, CHUNKS, (identity, 0), b"")
                plain[NODES][identity] = store.get(NODES, identity)
            case 3:
                put(store, NODES, identity, None)
                plain[NODES].pop(identity, None)
            case 4:
                for layer in (store, plain):
                    put(layer, WORKFLOWS, identity, msgspec.structs.replace(WORKFLOW, id=identity))
            case 5:
                put(store, WORKFLOWS, identity, None)
                plain[WORKFLOWS].pop(identity, None)
            case 6 if written is None:
                written = store.snapshot()
                if chance.random() < 0.5:
                    store.write(written, ORIGIN)
            case 7 if written is not None:
                store.write(written, ORIGIN)
                store.mark_durable()
                written = None
        if chance.random() < 0.2:
            count = chance.choice([1, 2, 7, 100])
            for table in (NODES, WORKFLOWS):
                assert walked(store, table, count) == walked(plain, table, count)
    assert len(walked(store, NODES, 5)) > 20
    store.close()


class Counted:
    """RocksDB's iterator, and how often it was moved."""

    def __init__(self, iterator) -> None:
        self._iterator = iterator
        self.moves = 0

    def __getattr__(self, name):
        if name in ("next", "seek"):
            self.moves += 1
        return getattr(self._iterator, name)


@pytest.mark.parametrize(("kind", "count"), [(b"n", 3), (b"w", 0), (b"h", 0)])
def test_what_is_of_another_kind_is_passed_over_as_a_whole(tmp_path, kind, count):
    """A pool with a thousand nodes in its line, a node with a thousand chunks of history: a walk meets each once."""
    store = PartitionStore(tmp_path / "one", 0, 16)
    for number in range(3):
        identity = bytes(6) + bytes([number]) + bytes(9)
        put(store, NODES, identity, msgspec.structs.replace(NODE, id=identity))
        for other in range(1_000):
            place = SlotTicket(number=1, has_slot=False, asked_at=0)
            put(store, SLOT_TICKETS, (identity, other.to_bytes(16, "big")), place)
            if kind != b"h":
                put(store, CHUNKS, (identity, other), b"")
    store.write(store.snapshot(), ORIGIN)
    made = []
    db = SimpleNamespace(iter=lambda options: made.append(Counted(store._db.iter(options))) or made[-1])
    assert len(list(keys_of_kind(db, kind, b"w"))) == count
    assert made[0].moves < 30
    store.close()


def test_a_job_and_its_timer_come_back_from_the_changelog(tmp_path):
    store = PartitionStore(tmp_path / "one", 0, 16)
    jobs = [
        Job(id=bytes([n]) * 16, partition=0, user_id=None, action="retry", filter=JobFilter(), started_at=n)
        for n in range(3)
    ]
    for job in jobs:
        put(store, JOBS, job.id, job)
    jobs[1] = msgspec.structs.replace(jobs[1], ended_at=5, forget_at=5 + RETENTION_MS)
    put(store, JOBS, jobs[1].id, jobs[1])
    assert list(every(store, JOBS)) == jobs
    snapshot = store.snapshot()
    store.write(snapshot, ORIGIN)
    store.mark_durable()
    put(store, JOBS, jobs[0].id, None)
    assert list(every(store, JOBS)) == jobs[1:]
    store.close()
    restored = PartitionStore(tmp_path / "two", 0, 16)
    restored.restore(snapshot.records, ORIGIN)
    restored.restored()
    assert list(every(restored, JOBS)) == jobs
    (fired,) = restored.timers.due(5 + RETENTION_MS)
    assert (fired.kind, fired.subject_id) == (TimerKind.JOB, jobs[1].id)
    restored.close()
