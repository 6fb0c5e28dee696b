"""Records that nobody may send and anybody can: each is refused with its reason, and the partition goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from backbeat.schemas.codec import decode_command, encode_command, encode_query, encode_reply
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.dead_letters import REASON, SOURCE_OFFSET, dead_letter
from backbeat.schemas.kafka.topics import DEAD_LETTER_BYTES_MAX, REPLY_BYTES_MAX
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, replies
from backbeat.schemas.messages import queries as q
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.retention import DueWorkflows, RetentionPolicy
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core import apply
from backbeat.streams.core.tables import JOBS, LINKS, POOLS, WORKFLOWS
from backbeat.streams.ports.errors import StoreError
from backbeat.streams.ports.log import Record
from backbeat.testing.clock import Clock
from backbeat.testing.engine import NEVER, MemoryEngine
from backbeat.testing.topics import Topics
from tests.streams.core.rig import CAMERA, CAMERA_ID, NON_BLOCKING, new
from tests.streams.core.world import USER

ASKER = b"a" * 16
JOB = b"j" * 16
SOURCE = c.Source(0, 0, 0)


class Poisoned:
    """One partition of the engine's loop, in memory, with what it answers and puts aside."""

    def __init__(self) -> None:
        self.clock = Clock(datetime(2026, 1, 2, tzinfo=UTC))
        self.topics = Topics(1, lambda: self.clock.milliseconds, lambda: None)
        self.replies: list = []
        self.topics.on_reply = self.replies.append
        self._memory = MemoryEngine(1, self.clock, self.topics, lambda _: "backbeat.activities.shop", Settings())
        self.engine = self._memory._engine
        self.store = self._memory.partitions[0]
        self._count = 0

    def put(self, value: bytes | None) -> None:
        """A record as somebody wrote it."""
        self.topics.append(value or b"", 0, None)
        if value is None:
            self.topics.commands[0][-1] = self.topics.commands[0][-1]._replace(value=None)
        self._memory.settle()

    def send(self, kind: type[c.AnyCommand], /, *, asks: bool = False, **given) -> None:
        self._count += 1
        carried = {"id": ids.command_id(b"test", self._count.to_bytes(4, "big")), "user_id": USER}
        if asks:
            carried["reply_to"] = c.ReplyTo(0, ASKER, self._count)
        self.put(encode_command(kind(**{**carried, **given})))

    def ask(self, kind: type[q.AnyQuery], **given):
        return self.engine.on_query(self._query(kind, **given), 0)

    def _query(self, kind: type[q.AnyQuery], **given) -> Record:
        query = kind(**{"user_id": USER, "deadline": NEVER, "reply_to": c.ReplyTo(0, ASKER, 7), **given})
        return Record(0, 0, self.clock.milliseconds, None, encode_query(query))

    def signal(self) -> bytes:
        """A workflow with one node; its id."""
        self.send(c.Signal, asks=True, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("signal", type="decision"))
        return self.replies.pop().answer.id

    @property
    def reason(self) -> str:
        """Why the newest dead letter is one."""
        return self.topics.dead_letters[-1].reason

    @property
    def rejection(self) -> replies.Rejection:
        answer = self.replies[-1].answer
        assert isinstance(answer, replies.Rejection), answer
        return answer

    def goes_on(self) -> bool:
        """Whether the partition has taken all that came and takes more."""
        before = self.store.meta.next_offset
        return self.signal() is not None and self.store.meta.next_offset == before + 1


@pytest.fixture
def loop() -> Poisoned:
    return Poisoned()


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", [-1, -(2**31), 1, 2**31 - 1])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (c.StartJob, {"action": "retry"}),
        (c.StopJob, {"job_id": JOB}),
        (c.WorkJob, {"job_id": JOB, "source": SOURCE}),
    ],
)
def test_a_partition_that_there_is_not(loop, kind, given, partition):
    loop.signal()
    loop.send(kind, partition=partition, **given)
    assert f"for partition {partition} was sent to partition 0" in loop.reason
    loop.send(kind, partition=partition, asks=True, **given)
    assert f"for partition {partition} was sent to partition 0" in loop.rejection.message
    assert loop.store[JOBS] == {}
    assert loop.goes_on()


def test_an_answer_that_can_go_nowhere(loop):
    loop.send(c.CreateWorkflow, workflow=CAMERA, reply_to=c.ReplyTo(-5, ASKER, 1))
    assert "reply_to is below 0" in loop.reason
    assert loop.goes_on()


OTHERS_NODE = ids.node_id(ids.workflow_id(USER, "other", b'"other"'), JOB, 0)


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (c.TimerFired, {"subject_id": JOB, "kind": 77, "number": 1}, "No timer has the kind 77"),
        (c.TimerFired, {"subject_id": JOB, "kind": 6, "number": 1}, "No timer has the kind 6"),
        (c.Continue, {"workflow_id": CAMERA_ID, "tasks": ()}, "Continue without a task"),
        (c.Continue, {"workflow_id": CAMERA_ID, "tasks": (c.Task(99, CAMERA_ID),)}, "No task has the kind 99"),
        (
            c.Continue,
            {"workflow_id": CAMERA_ID, "tasks": (c.Task(TaskKind.SWEEP, OTHERS_NODE),)},
            "not about the workflow",
        ),
        (
            c.Continue,
            {"workflow_id": CAMERA_ID, "tasks": (c.Task(TaskKind.REMOVE, CAMERA_ID, OTHERS_NODE, 5),)},
            "another workflow's node",
        ),
        (c.WorkJob, {"partition": 0, "job_id": JOB, "workflow_id": CAMERA_ID}, "Tasks belong to a workflow"),
        (c.CloseLink, {"target_id": JOB, "child_id": JOB, "source": None}, "only engines send it"),
        (c.CloseLink, {"target_id": JOB, "child_id": JOB, "source": c.Source(9, 0, 0)}, "no place in the log"),
        (c.CloseLink, {"target_id": JOB, "child_id": JOB, "source": c.Source(0, 2**62, 0)}, "not before the record"),
        (c.CloseLink, {"target_id": JOB, "child_id": JOB, "source": c.Source(0, -1, 0)}, "no place in the log"),
        (c.FailNode, {"node_id": JOB, "message": "no"}, "FailNode is never sent"),
        (c.ScheduleDue, {"schedule_id": JOB, "number": 1, "next_at": 2**63 - 1}, "no time that can be written"),
        (c.ScheduleDue, {"schedule_id": JOB, "number": 1, "times": (5, 5)}, "in order, each once"),
        (c.ScheduleDue, {"schedule_id": JOB, "number": 1, "times": (-(2**63),)}, "in order, each once"),
        (
            c.AskSlot,
            {
                "pool_id": JOB,
                "client_id": USER,
                "activity": "a",
                "key": "",
                "node_id": JOB,
                "number": 1,
                "priority": 3,
                "fairness_key": "",
            },
            "not that of its client",
        ),
    ],
)
def test_a_command_that_only_a_stranger_sends_is_a_dead_letter(loop, kind, given, reason):
    loop.signal()
    sent_by_engines = {"source": SOURCE} if kind in (c.Continue, c.WorkJob, c.CloseLink, c.AskSlot) else {}
    loop.send(kind, **{**sent_by_engines, **given})
    assert reason in loop.reason
    assert loop.goes_on()


class UnknownError(Exception):
    """Nothing that anybody expects."""


@pytest.mark.parametrize("error", [UnknownError, RecursionError, OverflowError, UnicodeError, SystemError])
def test_whatever_decoding_raises_is_one_records_dead_letter(loop, monkeypatch, error):
    def broken(_):
        raise error("broken")

    with monkeypatch.context() as patched:
        patched.setattr("backbeat.schemas.codec.decode_command", broken)
        loop.put(b"anything")
    assert loop.reason == f"defect: {error.__name__}: broken"
    assert loop.goes_on()


@pytest.mark.parametrize("error", [UnknownError, RecursionError, OverflowError, UnicodeError, SystemError])
def test_whatever_applying_raises_is_one_records_dead_letter(loop, error):
    node_id = loop.signal()

    def broken(command, *_):
        raise error(type(command).__name__)

    loop.engine._rules = broken
    loop.send(c.ResetNode, node_id=node_id)
    # What should show the defect on the node meets it, too.
    assert [letter.reason for letter in loop.topics.dead_letters] == [
        f"defect: {error.__name__}: ResetNode",
        f"defect: {error.__name__}: FailNode",
    ]
    loop.engine._rules = apply
    assert loop.goes_on()


@pytest.mark.parametrize("error", [StoreError, MemoryError])
def test_only_the_store_and_memory_end_the_process(loop, error):
    def broken(*_):
        raise error

    loop.engine._rules = broken
    with pytest.raises(error):
        loop.send(c.ResetNode, node_id=JOB)


def test_a_slice_of_a_job_that_fails_ends_its_job(loop):
    loop.signal()

    def broken(command, now, store):
        if isinstance(command, c.WorkJob):
            raise UnknownError
        return apply(command, now, store)

    loop.engine._rules = broken
    loop.send(c.StartJob, partition=0, action="retry", id=JOB)
    (job,) = loop.store[JOBS].values()
    assert job.state == "stopped"
    assert "defect: UnknownError" in loop.reason


def test_a_signal_with_the_id_of_children_that_were_added(loop):
    """Found by the fuzzer: what was kept for the other command was taken for a signal that was dropped."""
    node_id = loop.signal()
    loop.send(c.AddChildren, node_id=node_id, children=(), id=JOB, body_hash=b"hash", asks=True)
    signal = {"workflow_id": CAMERA_ID, "workflow": CAMERA, "node": new("signal", type="decision")}
    loop.send(c.Signal, **signal, id=JOB, coalesce_key="key", asks=True)
    assert loop.rejection.reason is replies.Reason.KEY_REUSED
    assert loop.topics.dead_letters == []
    assert loop.goes_on()


def test_what_is_no_record_is_explained_whatever_it_leaves_out():
    """Found by the fuzzer: a type that is spelt out where the data has null is named further on."""
    source = c.Source(0, 0, 0)
    node = new("signal", type="decision")
    signal = c.Signal(id=JOB, workflow_id=CAMERA_ID, node=node, reply_to=c.ReplyTo(0, ASKER, 1), source=source)
    whole = encode_command(c.OpenLink(id=JOB, target_id=JOB, child_id=JOB, signal=signal))
    for end in range(len(whole)):
        with pytest.raises(DecodeError):
            decode_command(whole[:end])


def test_an_answer_inside_a_link_that_can_go_nowhere(loop):
    """Found by the fuzzer: the signal was refused once it had gone on, and its target waited for it."""
    signal = c.Signal(id=JOB, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("s"), reply_to=c.ReplyTo(-1, ASKER, 1))
    child_id = ids.node_id(CAMERA_ID, JOB, 0)
    loop.send(c.OpenLink, target_id=loop.signal(), child_id=child_id, signal=signal)
    assert "reply_to is below 0" in loop.reason
    assert loop.store[LINKS] == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": None}, "only engines send them"),
        ({"waits_at": -1}, "not on the signal's way"),
        ({"waits_at": 2, "target_id": CAMERA_ID}, "not what is looked at next"),
        ({"waits_at": 3}, "not on the signal's way"),
        ({"target_id": JOB}, "not what is looked at next"),
        ({"signal": None}, "followed for a signal"),
        ({"waits": (c.LinkWait(OTHERS_NODE, CAMERA_ID, "a"),) * 34}, "followed along"),
        ({"waits": (c.LinkWait(OTHERS_NODE, CAMERA_ID, "a"),)}, "A wait on the way is none"),
        (
            {"waits": (c.LinkWait(OTHERS_NODE, ids.workflow_id(USER, "other", b'"other"'), "a", 0),)},
            "on the way is none",
        ),
    ],
)
def test_a_way_along_links_that_no_engine_sent_a_signal(loop, change, reason):
    target_id = loop.signal()
    signal = c.Signal(
        id=JOB, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("s", parent_link_id=target_id), link_open=True
    )
    wait = c.LinkWait(OTHERS_NODE, ids.workflow_id(USER, "other", b'"other"'), "a")
    way = {
        "source": SOURCE,
        "target_id": OTHERS_NODE,
        "child_id": ids.node_id(CAMERA_ID, JOB, 0),
        "signal": signal,
        "waits": (wait, wait),
    }
    loop.send(c.OpenLink, **{**way, **change})
    assert reason in loop.reason
    assert loop.goes_on()


@pytest.mark.parametrize(
    "record",
    [
        Record(0, 0, 0, b"key", b"v" * 3_000_000, None),
        Record(0, 0, 0, b"k" * 3_000_000, b"value", None),
        Record(0, 0, 0, b"key", None, [("h", b"v" * 3_000_000)]),
        Record(0, 0, 0, b"key", b"value", [("", b"")] * 1_000_000),
        Record(0, 0, 0, b"key", b"value", [("\N{SNOWMAN}" * 1_000_000, b"")]),
    ],
    ids=["value", "key", "header", "headers", "name"],
)
def test_a_record_that_only_compression_lets_in_has_a_dead_letter_that_fits(record):
    letter = dead_letter(
        record.key, record.value, record.headers, reason="r" * 100_000, topic="t", partition=0, offset=17
    )
    size = len(letter.key or b"") + len(letter.value or b"")
    size += sum(len(name.encode()) + len(value or b"") + 10 for name, value in letter.headers)
    assert size < DEAD_LETTER_BYTES_MAX - 4096
    assert (SOURCE_OFFSET, b"17") in letter.headers
    assert b"left out: " in dict(letter.headers)[REASON]


# --- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        (q.GetDue, {"partition": 0, "after_due_at": -1, "after_id": JOB}, "after_due_at is no time"),
        (q.GetDue, {"partition": 0, "after_due_at": 2**63 - 1, "after_id": JOB}, "after_due_at is no time"),
        (q.GetDue, {"partition": -1}, "for partition -1 was sent"),
        (q.GetJobs, {"partition": 2**31 - 1}, "was sent to partition 0"),
        (q.GetNodes, {"partition": 0, "node_ids": (bytes(16),) * 1_001}, "More nodes than are asked for at once"),
        (q.Flush, {"partition": -(2**31)}, "was sent to partition 0"),
    ],
)
def test_a_query_that_cannot_be_one_is_answered_so(loop, kind, given, reason):
    assert list(loop.ask(kind, **given)) == []
    assert reason in loop.rejection.message


@pytest.mark.parametrize("limit", [-(2**31), 0, 2**31 - 1])
def test_a_page_of_an_absurd_size(loop, limit):
    assert list(loop.ask(q.GetDue, partition=0, limit=limit)) == []
    assert loop.replies[-1].answer == DueWorkflows(())


def test_whatever_a_query_meets_is_its_answer(loop, monkeypatch):
    node_id = loop.signal()

    def broken(*_):
        raise UnknownError("broken")

    with monkeypatch.context() as patched:
        patched.setattr("backbeat.streams.core.queries.current_node", broken)
        assert list(loop.ask(q.GetNode, node_id=node_id)) == []
    assert "The engine failed on this query: UnknownError: broken" in loop.rejection.message
    with monkeypatch.context() as patched:
        patched.setattr("backbeat.streams.core.queries.find_node", broken)
        assert list(loop.ask(q.WaitNode, node_id=node_id)) == []
    assert "UnknownError" in loop.rejection.message
    assert list(loop.ask(q.GetNode, node_id=node_id)) == []
    assert loop.replies[-1].answer.id == node_id


def test_a_tree_that_is_removed_while_it_is_read(loop):
    node_id = loop.signal()
    policy = RetentionPolicy(owner_id=USER, name=CAMERA.name, keep_seconds=1.0, archive=False)
    loop.send(c.ChangeRetention, policy=policy)
    children = tuple(new(f"child {number}", NON_BLOCKING, type="flag") for number in range(700))
    loop.send(c.ChangeNode, node_id=node_id, status="completed", children=children)
    loop.replies.clear()
    reading = loop.ask(q.GetTree, workflow_id=CAMERA_ID)
    next(reading)
    next(reading)
    loop.clock.move(loop.clock.milliseconds + 5_000)
    assert loop._memory.fire()
    assert loop.store[WORKFLOWS] == {}

    for _ in reading:
        pass
    assert "was removed while it was read" in loop.rejection.message
    assert [reply.last for reply in loop.replies] == [*[False] * (len(loop.replies) - 1), True]
    assert loop.goes_on()


# --- answers that are large ------------------------------------------------------------------------------------------


def test_jobs_with_large_responses_come_in_parts_that_fit(loop):
    loop.signal()
    response = b'"' + b"r" * 262_000 + b'"'
    for number in range(20):
        loop.send(c.StartJob, partition=0, action="resolve", id=b"%016d" % number, response=response)
    loop.replies.clear()
    for _ in loop.ask(q.GetJobs, partition=0):
        pass
    fits(loop)
    assert sum(len(reply.answer.jobs) for reply in loop.replies) == 20


def test_limits_with_pools_of_large_keys_come_in_parts_that_fit(loop):
    for number in range(40):
        limit = {"client_id": USER, "activity": f"a{number}", "paused": True}
        loop.send(c.ChangeLimit, values=LimitValues(key="metadata.x"), **limit)
    key = b'"' + b"k" * 200_000 + b'"'
    for number in range(60):
        node = new(f"a{number % 10}", metadata=b'{"x":"%d' % number + key[1:] + b"}")
        subject = b'"subject %d"' % number
        of = c.NewWorkflow(user_id=USER, name="w", subject=subject, decider="D")
        signal = {"workflow_id": ids.workflow_id(USER, "w", subject), "workflow": of}
        loop.send(c.Signal, asks=True, **signal, node=new("signal", type="decision"))
        loop.send(c.ChangeNode, node_id=loop.replies[-1].answer.id, status="completed", children=(node,))
    assert len(loop.store[POOLS]) == 60
    loop.replies.clear()
    for _ in loop.ask(q.GetLimits, partition=0):
        pass
    fits(loop)
    views = [view for reply in loop.replies for view in reply.answer.limits]
    assert len(views) == 40
    assert sum(len(view.pools) for view in views) == 10
    assert sum(view.more for view in views) == 10


def fits(loop: Poisoned) -> None:
    """Each part of the answer is a record that Kafka takes."""
    assert len(loop.replies) > 1
    assert [reply.part for reply in loop.replies] == list(range(len(loop.replies)))
    assert [reply.last for reply in loop.replies] == [*[False] * (len(loop.replies) - 1), True]
    for reply in loop.replies:
        to = c.ReplyTo(0, reply.asker, reply.number)
        assert len(encode_reply(to, reply.answer, reply.tid)) < REPLY_BYTES_MAX


def test_an_answer_that_cannot_fit_says_so(loop, monkeypatch):
    node_id = loop.signal()
    view = loop._memory.node(node_id)
    large = msgspec.structs.replace(view, client_data=b'"' + b"d" * 3_000_000 + b'"')
    monkeypatch.setattr("backbeat.streams.core.queries.current_node", lambda *_: large)
    assert list(loop.ask(q.GetNode, node_id=node_id)) == []
    assert "one record has at most" in loop.rejection.message
