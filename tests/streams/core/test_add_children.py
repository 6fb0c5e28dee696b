"""AddChildren: in which state of the parent they may come, and what becomes of late ones."""

import pytest

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Done, Made, Reason
from backbeat.schemas.messages.values import Backoff
from backbeat.streams.core.effects import Ignored
from tests.streams.core.rig import FORGET, NON_BLOCKING, Rig, flag, new, running
from tests.streams.core.world import OTHER, USER


def test_added_children_are_answered_with_their_ids_in_order():
    rig = running()
    rig.signal("two")
    assert rig.add("two", new("a"), new("b", FORGET)).reply == Made((rig["a"], rig["b"]))
    assert rig.both("a") == ("pending", "pending")
    assert rig.said("a") == []
    assert rig.add("two").reply == Made(())


def test_their_record():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("a", NON_BLOCKING, user_id=OTHER, metadata=b'{"m":1}', client_data=b'{"timeout":1}',
                          retries=0,
                          retry_interval_seconds=1.5, fires_at=5, type="decision"))  # fmt: skip
    row = rig.row("a")
    assert (row.workflow_id, row.parent_id, row.user_id) == (rig.row("signal").workflow_id, rig["signal"], OTHER)
    assert (row.seq, row.depth, row.type, row.fires_at, row.created_at) == (2, 2, "decision", 5, 1_000_000)
    assert (row.metadata, row.client_data, row.timeout_seconds) == (b'{"m":1}', b'{"timeout":1}', 1.0)
    assert (row.retries_remaining, row.retry_interval_seconds, row.tid) == (0, 1.5, "tid")
    rig.add("signal", new("b"))
    row = rig.row("b")
    assert (row.retries_remaining, row.retry_interval_seconds, row.fires_at) == (6, 1200.0, 1_000_000)


@pytest.mark.parametrize(
    "state", ["pending", "ready", "started", "received", "processing", "paused", "retrying", "exhausted", "errored"]
)
def test_before_the_parents_client_completed_they_are_pending(state):
    rig = Rig()
    rig.signal("signal")
    first = new("first", fires_at=2_000_000 if state == "started" else None, retries=int(state == "retrying"))
    rig.add("signal", *([new("other")] if state == "ready" else []), first)
    if state == "paused":
        rig.workflow("pause")
    if state != "pending":
        rig.complete("signal")
    match state:
        case "processing":
            rig.say("processing", "first")
        case "retrying" | "exhausted":
            rig.error("first")
        case "errored":
            rig.fail("first")
    assert isinstance(rig.add("first", new("x")).reply, Made)
    assert rig.both("x") == ("pending", "pending")


def test_late_children_of_a_parent_at_processing_children_are_ready_at_once():
    rig = running(new("a", NON_BLOCKING))
    assert rig.add("signal", new("b"), new("c")).dispatched == ["b"]
    assert rig.said("c") == ["server pending ready", "client pending ready"]
    rig.complete("a")
    assert rig.complete("b").dispatched == ["c"]
    rig.complete("c")
    assert rig.server("signal") == ["complete"]


def test_late_children_wait_behind_a_blocking_one():
    rig = running(new("a"))
    assert rig.add("signal", new("b")).dispatched == []
    assert rig.server("b") == ["ready"]
    assert rig.complete("a").dispatched == ["b"]


def test_late_flags_complete_and_so_does_the_parent():
    rig = running(new("a"))
    rig.say("canceled", "a")
    assert rig.server("signal") == ["complete"]
    rig = running(new("a", FORGET, fires_at=2_000_000), new("b"))
    rig.complete("b", new("x"))
    assert rig.add("b", flag("y"), flag("z")).reply
    rig.complete("x")
    assert rig.server("y", "z", "b", "signal") == ["complete"] * 4


def test_a_complete_parent_takes_none():
    rig = running(new("a"))
    rig.complete("a")
    before = rig.snapshot()
    refused = rig.add("signal", new("late")).reply
    assert (refused.reason, refused.found) == (Reason.INVALID_SERVER_STATUS, "complete")
    assert rig.snapshot() == before


def test_children_of_a_canceled_parent_are_born_deactivated():
    rig = running(new("a"))
    rig.say("canceled", "a")
    happened = rig.add("a", new("x"), new("y"))
    assert isinstance(happened.reply, Made)
    assert rig.both("x") == rig.both("y") == ("deactivated", "pending")
    assert rig.said("x") == []
    rig.reset("signal")
    assert rig.said("x") == []


def test_children_of_a_node_that_is_deactivated_by_a_mark_only():
    rig = running(new("a"), settings=Settings(slice_nodes_max=1))
    rig.complete("a", *(new(f"n{n}") for n in range(5)), new("last"))
    from backbeat.schemas.messages import commands as c

    happened = rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["signal"]))
    assert rig.server("last") == ["deactivated"]  # its record does not say so yet
    rig.send(c.AddChildren(id=rig.new_id(), user_id=USER, node_id=rig["last"], children=(new("x"),)))
    assert rig.server("x") == ["deactivated"]
    rig.drain(happened)
    rig.check()


def test_the_same_command_twice_adds_the_children_once():
    rig = running()
    rig.signal("two")
    first = rig.add("two", new("a"), new("b"), id=b"1" * 16).reply
    before = rig.snapshot()
    happened = rig.add("two", new("a"), new("b"), id=b"1" * 16)
    assert happened.reply == first
    assert happened.of(Ignored)
    assert rig.snapshot() == before
    rig.complete("two")
    assert rig.add("two", new("a"), new("b"), id=b"1" * 16).reply == first


def test_children_of_another_attempt_are_not_made():
    rig = running(new("a"))
    before = rig.snapshot()
    assert rig.add("a", new("x"), attempt=2).reply == Done(changed=False)
    assert rig.snapshot() == before
    assert isinstance(rig.add("a", new("x"), attempt=1).reply, Made)


def test_another_users_node_is_not_found():
    rig = running(new("a"))
    assert rig.add("a", new("x"), user_id=OTHER).reply.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(("given", "reason"), [
    ({"name": ""}, Reason.INVALID_PARAMETERS),
    ({"type": ""}, Reason.INVALID_PARAMETERS),
    ({"retries": -1}, Reason.INVALID_PARAMETERS),
    ({"retry_interval_seconds": -0.1}, Reason.INVALID_PARAMETERS),
    ({"retry_interval_seconds": float("inf")}, Reason.INVALID_PARAMETERS),
    ({"retry_interval_seconds": float("nan")}, Reason.INVALID_PARAMETERS),
    ({"backoff": Backoff(0.9)}, Reason.INVALID_PARAMETERS),
    ({"backoff": Backoff(float("inf"))}, Reason.INVALID_PARAMETERS),
    ({"backoff": Backoff(2.0, -1.0)}, Reason.INVALID_PARAMETERS),
    ({"backoff": Backoff(2.0, float("nan"))}, Reason.INVALID_PARAMETERS),
    ({"backoff": Backoff(2.0, 60.0, 1.1)}, Reason.INVALID_PARAMETERS),
    ({"client_data": b"[]"}, Reason.INVALID_PARAMETERS),
    ({"client_data": b"no json"}, Reason.INVALID_PARAMETERS),
    ({"client_data": b'{"timeout":"soon"}'}, Reason.INVALID_PARAMETERS),
    ({"client_data": b'{"timeout":true}'}, Reason.INVALID_PARAMETERS),
    ({"client_data": b'{"timeout":[1]}'}, Reason.INVALID_PARAMETERS),
    ({"client_data": b'{"timeout":"nan"}'}, Reason.INVALID_PARAMETERS),
    ({"metadata": b"no json"}, Reason.INVALID_PARAMETERS),
    ({"name": "n" * 1_025}, Reason.LIMIT_EXCEEDED),
    ({"type": "t" * 1_025}, Reason.LIMIT_EXCEEDED),
    ({"client_data": b'{"a":"' + b"x" * 262_144 + b'"}'}, Reason.LIMIT_EXCEEDED),
    ({"metadata": b'{"a":"' + b"x" * 262_144 + b'"}'}, Reason.LIMIT_EXCEEDED),
])  # fmt: skip
def test_all_or_none(given, reason):
    rig = Rig()
    rig.signal("signal")
    before = rig.snapshot()
    assert rig.add("signal", new("good"), new(**{"name": "bad", **given})).reply.reason is reason
    assert rig.snapshot() == before


@pytest.mark.parametrize("timeout", ["-1", '"-1"', "1e300", '"inf"', "0.5"])
def test_odd_timeouts_do_no_harm(timeout):
    rig = running(new("a", client_data=b'{"timeout":%s}' % timeout.encode()))
    kind, due = rig.clock("a")
    assert kind == "expiry"
    assert 0 <= due < 2**62


def test_children_per_command_are_limited_and_more_may_follow():
    rig = Rig(settings=Settings(children_max=2))
    rig.signal("signal")
    refused = rig.add("signal", new("a"), new("b"), new("c")).reply
    assert (refused.reason, refused.found, refused.wanted) == (Reason.LIMIT_EXCEEDED, "3", "children_max 2")
    rig.add("signal", new("a"), new("b"))
    assert rig.complete("signal", new("c"), new("d")).dispatched == ["a"]


def test_depth_is_limited():
    rig = Rig(settings=Settings(depth_max=3))
    rig.signal("n1")
    rig.complete("n1", new("n2"))
    rig.complete("n2", new("n3"))
    refused = rig.complete("n3", new("n4")).reply
    assert (refused.reason, refused.found, refused.wanted) == (Reason.LIMIT_EXCEEDED, "4", "depth_max 3")
    assert rig.complete("n3").reply == Done()
    assert rig.server("n1") == ["complete"]


def test_the_children_of_one_record_are_limited():
    rig = Rig(settings=Settings(record_bytes_max=1_000))
    rig.signal("signal")
    half = b'{"a":"' + b"x" * 500 + b'"}'
    assert isinstance(rig.add("signal", new("a", metadata=half)).reply, Made)
    assert rig.add("signal", new("b", metadata=half, client_data=half)).reply.reason is Reason.LIMIT_EXCEEDED


def test_a_subject_and_names_of_workflows_are_limited():
    from backbeat.schemas.messages import commands as c

    rig = Rig(settings=Settings(subject_bytes_max=10, name_bytes_max=4))

    def ask(**given):
        fields = {"user_id": USER, "name": "name", "subject": b'"12345678"', "decider": "d", **given}
        return rig.ask(c.CreateWorkflow, workflow=c.NewWorkflow(**fields)).reply

    for given in ({"subject": b'"123456789"'}, {"name": "names"}, {"decider": "decider"}):
        assert ask(**given).reason is Reason.LIMIT_EXCEEDED
    for given in ({"name": ""}, {"decider": ""}):
        assert ask(**given).reason is Reason.INVALID_PARAMETERS
    assert ask().name == "name"
