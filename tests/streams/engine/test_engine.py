"""The engine's loop on records in memory: what passes a large tree that somebody reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from backbeat.schemas.codec import encode_query
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import queries as q
from backbeat.schemas.messages import views
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.views import PartitionState
from backbeat.streams.ports.log import Record
from backbeat.testing.clock import Clock
from backbeat.testing.engine import NEVER, MemoryEngine
from backbeat.testing.topics import Topics
from tests.ports import engine_process
from tests.streams.core.rig import CAMERA, CAMERA_ID, NON_BLOCKING, new
from tests.streams.core.world import USER

ASKER = b"a" * 16
CHILDREN = 1_000
TREE, NODE, COMMAND = 1, 2, 3


class Loop:
    """One partition with a workflow of a thousand nodes, and the answers in the order in which they leave."""

    def __init__(self) -> None:
        self.clock = Clock(datetime(2026, 1, 2, tzinfo=UTC))
        topics = Topics(1, lambda: self.clock.milliseconds, lambda: None)
        self.replies: list = []
        topics.on_reply = self.replies.append
        self._memory = MemoryEngine(1, self.clock, topics, lambda _: "backbeat.activities.shop", Settings())
        self.engine = self._memory._engine
        self.do(c.Signal, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("signal", type="decision"), number=0)
        self.signal = self.replies.pop().answer.id
        children = tuple(new(f"child {number}", NON_BLOCKING) for number in range(CHILDREN))
        self.do(c.ChangeNode, node_id=self.signal, status="completed", children=children, number=0)
        self.replies.clear()

    def do(self, kind: type[c.AnyCommand], *, number: int, **given) -> None:
        carried = {"id": kind.__name__.encode().ljust(16, b"-"), "user_id": USER, "tid": ""}
        self._memory.send(kind(**carried, reply_to=c.ReplyTo(0, ASKER, number), **given))
        self._memory.settle()

    def record(self, kind: type[q.AnyQuery], number: int, **given) -> Record:
        given = {"deadline": NEVER, **given}
        query = kind(user_id=USER, tid="", reply_to=c.ReplyTo(0, ASKER, number), **given)
        return Record(0, number, self.clock.milliseconds, None, encode_query(query))

    def answered(self) -> list[int]:
        """Who got an answer, or a part of one, in order."""
        return [reply.number for reply in self.replies]

    def tree(self) -> list[views.NodeView]:
        parts = [reply for reply in self.replies if reply.number == TREE]
        assert [part.part for part in parts] == list(range(len(parts)))
        assert [part.last for part in parts] == [*[False] * (len(parts) - 1), True]
        return [node for part in parts[1:] for node in part.answer.nodes]


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_queries_and_commands_pass_between_the_parts_of_a_large_tree(loop):
    reading = loop.engine.on_query(loop.record(q.GetTree, TREE, workflow_id=CAMERA_ID), 0)
    next(reading)
    next(reading)

    assert list(loop.engine.on_query(loop.record(q.GetNode, NODE, node_id=loop.signal), 0)) == []
    loop.do(c.ChangeWorkflow, workflow_id=CAMERA_ID, change="pause", number=COMMAND)

    assert loop.answered() == [TREE, TREE, NODE, COMMAND]
    for _ in reading:
        pass
    assert len(loop.tree()) == 1 + CHILDREN


async def test_a_query_that_comes_behind_a_large_tree_is_answered_before_its_end(loop, tmp_path):
    process = engine_process(tmp_path, loop=lambda **_: loop.engine)
    await asyncio.gather(
        process.query(loop.record(q.GetTree, TREE, workflow_id=CAMERA_ID)),
        process.query(loop.record(q.GetNode, NODE, node_id=loop.signal)),
    )

    assert loop.answered().index(NODE) == 1
    assert len(loop.tree()) == 1 + CHILDREN


def test_a_tree_whose_partition_is_taken_away_is_not_read_to_its_end(loop):
    reading = loop.engine.on_query(loop.record(q.GetTree, TREE, workflow_id=CAMERA_ID), 0)
    next(reading)
    loop.engine.partitions = {}

    assert list(reading) == []
    assert [reply.last for reply in loop.replies] == [False]


def test_what_an_engine_is_is_told_while_a_partition_is_restored_too(loop):
    engine = loop.engine
    list(engine.on_query(loop.record(q.GetEngine, NODE, partition=0), 0))
    (reply,) = loop.replies
    assert (reply.number, reply.answer.state, reply.answer.partition) == (NODE, PartitionState.READY, 0)
    assert reply.answer.position > 0

    store = engine.lose(0)
    list(engine.on_query(loop.record(q.GetNode, TREE, node_id=loop.signal), 0))
    list(engine.on_query(loop.record(q.GetEngine, COMMAND, partition=0), 0))
    assert loop.answered() == [NODE, COMMAND]
    assert loop.replies[-1].answer.state is PartitionState.RESTORING

    engine.ready(0, store, store.meta.next_offset + 1)
    list(engine.on_query(loop.record(q.GetEngine, COMMAND, partition=0), 0))
    assert loop.replies[-1].answer.state is PartitionState.CATCHING_UP


def test_an_engine_that_may_have_lost_its_partitions_tells_nothing_of_itself(loop):
    engine = loop.engine
    is_owner, engine._is_owner = engine._is_owner, lambda: False
    list(engine.on_query(loop.record(q.GetEngine, NODE, partition=0), 0))
    list(engine.on_query(loop.record(q.GetNode, TREE, node_id=loop.signal), 0))
    assert loop.answered() == []

    # Later the asker has counted it as silent, and its deadline is no time at which timers could be overdue.
    engine._is_owner = is_owner
    engine.go_on(0)
    assert loop.answered() == [TREE]


def test_queries_that_came_during_a_restore_are_answered_some_at_a_time(loop):
    engine, numbers = loop.engine, list(range(100))
    store = engine.lose(0)
    for number in numbers:
        list(engine.on_query(loop.record(q.GetNode, number, node_id=loop.signal), 0))
    engine.ready(0, store, 0)
    engine.go_on(0)
    assert 0 < len(loop.replies) < len(numbers) / 2
    # Commands come between the answers.
    loop.do(c.ChangeWorkflow, workflow_id=CAMERA_ID, change="pause", number=COMMAND)
    assert loop.replies.pop().number == COMMAND
    for _ in numbers:
        engine.go_on(0)
    assert loop.answered() == numbers


def test_a_query_that_waited_for_longer_than_its_asker_is_not_answered(loop):
    engine, counts = loop.engine, loop.engine.counts
    store = engine.lose(0)
    for number, deadline in ((TREE, 5), (NODE, 20), (COMMAND, 5)):
        list(engine.on_query(loop.record(q.GetNode, number, node_id=loop.signal, deadline=deadline), 0))
    # Nobody waits for the oldest one any more, and it takes no memory.
    list(engine.on_query(loop.record(q.GetNode, 4, node_id=loop.signal), 10))
    assert [query.reply_to.number for query in engine.partitions[0].waiting_queries] == [NODE, COMMAND, 4]
    assert counts["queries_late"] == 1

    engine.ready(0, store, 0)
    engine.go_on(10)
    assert loop.answered() == [NODE, 4]
    assert counts["queries_late"] == 2
