"""ChangeWorkflow: complete, pause, resume."""

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.replies import Done, Reason
from tests.streams.core.rig import CAMERA_ID, NON_BLOCKING, Rig, flag, new, running
from tests.streams.core.world import OTHER


def test_flags_are_set_and_the_time_of_the_change():
    rig = running()
    for change, complete, paused in [("pause", False, True), ("resume", False, False), ("complete", True, False)]:
        rig.now += 10
        assert rig.workflow(change).reply == Done()
        row = rig.workflows()[CAMERA_ID]
        assert (row.complete, row.paused, row.updated_at) == (complete, paused, rig.now)
        assert rig.workflow(change).reply == Done()


def test_only_the_owner_changes_it():
    rig = running()
    assert rig.workflow("pause", user_id=OTHER).reply.reason is Reason.NOT_FOUND
    assert rig.workflow("pause", user_id=None).reply == Done()
    assert rig.ask(c.ChangeWorkflow, workflow_id=b"x" * 16, change="pause").reply.reason is Reason.NOT_FOUND
    assert rig.workflow("stop").reply.reason is Reason.INVALID_PARAMETERS


def test_what_was_sent_can_finish_what_would_start_is_paused():
    rig = running(new("a"), new("b", NON_BLOCKING), new("c"))
    rig.workflow("pause")
    assert rig.complete("a").dispatched == []
    assert rig.server("a", "b", "c") == ["complete", "paused", "paused"]
    happened = rig.workflow("resume")
    assert happened.dispatched == ["b", "c"]
    assert rig.last("b", 5) == [
        "server ready started", "server started paused", "server paused started",
        "server started sent_to_client", "client ready received",
    ]  # fmt: skip
    assert rig.workflow("resume").dispatched == []


def test_a_timer_that_is_due_while_paused_waits_for_the_resume():
    rig = running(new("a", fires_at=1_000_500))
    rig.workflow("pause")
    assert rig.due("a").dispatched == []
    assert rig.server("a") == ["paused"]
    assert rig.clock("a") is None
    assert rig.workflow("resume").dispatched == ["a"]


def test_nodes_resume_in_the_order_in_which_they_were_paused():
    rig = running(*(new(name, NON_BLOCKING, fires_at=1_000_000 + at) for name, at in [("a", 30), ("b", 10), ("c", 20)]))
    rig.workflow("pause")
    for name in ("b", "c", "a"):
        rig.due(name)
    assert rig.workflow("resume").dispatched == ["b", "c", "a"]


def test_paused_flags_complete_on_resume():
    rig = Rig()
    rig.signal("signal")
    rig.workflow("pause")
    rig.complete("signal", flag("a"), flag("b"), new("c"))
    assert rig.server("a", "b", "c") == ["paused", "ready", "ready"]
    assert rig.workflow("resume").dispatched == ["c"]
    assert rig.server("a", "b", "c") == ["complete", "complete", "sent_to_client"]


def test_a_canceled_or_failed_node_leaves_the_queue_of_paused_ones():
    rig = Rig()
    rig.signal("signal")
    rig.workflow("pause")
    rig.complete("signal", new("a", NON_BLOCKING), new("b", NON_BLOCKING), new("c", NON_BLOCKING))
    rig.say("canceled", "a")
    rig.fail("b")
    assert rig.restart("b").reply == Done()  # paused again, behind c or before it: once
    assert rig.server("a", "b", "c") == ["deactivated", "paused", "paused"]
    assert sorted(rig.workflow("resume").dispatched) == ["b", "c"]
    rig.workflow("pause")
    rig.error("c")
    rig.due("c")
    assert rig.server("c") == ["paused"]
    assert rig.workflow("resume").dispatched == ["c"]


def test_the_whole_queue_is_taken_in_slices():
    from backbeat.schemas.messages.bounds import Settings

    rig = Rig(settings=Settings(slice_nodes_max=2))
    rig.signal("signal")
    rig.workflow("pause")
    rig.complete("signal", *(new(f"n{number}", NON_BLOCKING) for number in range(9)))
    happened = rig.workflow("resume")
    assert happened.dispatched == [f"n{number}" for number in range(9)]
    assert happened.commands > 3
    assert rig.workflows()[CAMERA_ID].paused_first is None
    assert rig.workflows()[CAMERA_ID].paused_last is None


def test_a_node_that_is_paused_again_loses_nobody_behind_it():
    rig = Rig()
    rig.signal("signal")
    rig.workflow("pause")
    rig.complete("signal", *(new(name, NON_BLOCKING) for name in "ab"))
    rig.fail("a")
    rig.restart("a")
    rig.add("signal", new("c", NON_BLOCKING))
    assert sorted(rig.workflow("resume").dispatched) == ["a", "b", "c"]
