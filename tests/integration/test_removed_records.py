"""What is removed, in the real store: walks through all of its layers, deletions, and a restore from the changelog."""

from __future__ import annotations

import random

import msgspec
import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.dispatch import apply
from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import ARCHIVE_QUEUE, TOMBSTONES, WORKFLOWS
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state.store import META_KEY, PartitionStore
from backbeat.streams.state.stored_timers import TIMER
from tests.streams.core.storing import encoded

USER = b"u" * 16
FAR_MS = 10**15


class Both:
    """The same commands on a partition in RocksDB and on one in memory. Commits go to a changelog, too."""

    def __init__(self, path, settings):
        self.path = path
        self.stored = PartitionStore(path / "one", 0, cache_records=16)
        self.memory = MemoryStore(Meta(settings=settings))
        self.stored.meta.settings = settings
        self.changelog = []
        self.now = 1_000_000
        self._count = 0

    def do(self, command):
        waiting = [command]
        while waiting:
            self._count += 1
            queued = waiting.pop(0)
            effects = [apply(queued, self.now, store) for store in (self.stored, self.memory)]
            assert effects[0] == effects[1]
            waiting += [effect.command for effect in effects[0] if hasattr(effect, "command")]

    def identity(self):
        self._count += 1
        return ids.command_id(self._count.to_bytes(8, "big"))

    def commit(self):
        snapshot = self.stored.snapshot()
        self.changelog += snapshot.records
        self.stored.write(snapshot, ChangelogPosition("state", len(self.changelog), 0))
        self.stored.mark_durable()

    def check(self):
        after, place = None, None
        expected, due = sorted(self.memory[WORKFLOWS]), sorted(self.memory[ARCHIVE_QUEUE])
        for limit in (2, 1_000):
            scanned = [key for key, _ in self.stored.scan(WORKFLOWS, after, limit)]
            assert scanned == [key for key in expected if after is None or key > after][:limit]
            due_found = [key for key, _ in self.stored.scan(ARCHIVE_QUEUE, place, limit)]
            assert due_found == [key for key in due if place is None or key > place][:limit]
            after, place = (scanned[-1] if scanned else after), (due[1] if len(due) > 1 else place)

    def timers(self, store):
        return dict(store._scan_timers(0, FAR_MS))

    def restored(self):
        store = PartitionStore(self.path / "restored", 0)
        for begin in range(0, len(self.changelog), 7):
            store.restore(self.changelog[begin : begin + 7], ChangelogPosition("state", begin + 7, 0))
        store.restored()
        return store


@pytest.fixture
def both(tmp_path):
    pair = Both(tmp_path, Settings(slice_nodes_max=3))
    yield pair
    pair.stored.close()


def signal(both, subject, name="purchase"):
    text = b"%d" % subject
    new = c.NewWorkflow(user_id=USER, name=name, subject=text, decider="D")
    identity = both.identity()
    workflow_id = ids.workflow_id(USER, name, text)
    node = c.NewNode(name="buy", user_id=USER, type="decision")
    both.do(c.Signal(id=identity, workflow_id=workflow_id, workflow=new, node=node, coalesce_key="k"))
    return ids.node_id(workflow_id, identity, 0)


def retain(both, *, archive, name="purchase"):
    policy = RetentionPolicy(owner_id=USER, name=name, keep_seconds=5.0, archive=archive)
    both.do(c.ChangeRetention(id=both.identity(), policy=policy))


@pytest.mark.parametrize("seed", range(4))
def test_stores_agree_whatever_is_committed_in_between(both, seed):
    chance = random.Random(seed)
    retain(both, archive=False)
    retain(both, archive=True, name="sale")
    nodes = []
    for _ in range(150):
        both.now += chance.choice((1, 900, 3_000))
        draw = chance.random()
        if draw < 0.35:
            nodes.append(signal(both, chance.randrange(12), chance.choice(("purchase", "sale", "kept"))))
        elif draw < 0.7 and nodes:
            children = tuple(c.NewNode(name="child", user_id=USER, type="flag") for _ in range(chance.randrange(5)))
            node_id = nodes.pop(chance.randrange(len(nodes)))
            both.do(c.ChangeNode(id=both.identity(), node_id=node_id, status="completed", children=children))
        elif draw < 0.9 and both.memory.timers:
            (due, subject, kind), number = min(both.memory.timers.items())
            both.now = max(both.now, due)
            fired = c.TimerFired(id=both.identity(), subject_id=subject, kind=TimerKind(kind), number=number)
            both.do(fired)
        elif both.memory[ARCHIVE_QUEUE]:
            _, workflow_id = min(both.memory[ARCHIVE_QUEUE])
            revision = both.memory[WORKFLOWS][workflow_id].removal_number
            both.do(c.RemoveWorkflow(id=both.identity(), workflow_id=workflow_id, revision=revision))
        if chance.random() < 0.3:
            both.commit()
        both.check()
    assert both.memory[TOMBSTONES]
    both.commit()
    restored = both.restored()
    try:
        assert both.timers(restored) == both.timers(both.stored) == both.memory.timers
        for store in (restored, both.stored):
            assert contents(store) == encoded(both.memory)
            assert msgspec.structs.replace(store.meta, next_offset=0) == both.memory.meta
    finally:
        restored.close()


def contents(store):
    return {key: value for key, value in store._db.items() if key[:1] not in (b"t", b"o") and key != META_KEY}


def test_timers_have_their_place_in_the_local_store(both):
    retain(both, archive=False)
    node_id = signal(both, 1)
    both.do(c.ChangeNode(id=both.identity(), node_id=node_id, status="completed"))
    both.commit()
    kinds = {TIMER.unpack(key)[3] for key, _ in both.stored._db.items() if key[:1] == b"t"}
    assert kinds == {TimerKind.RETENTION}
