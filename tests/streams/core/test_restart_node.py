"""RestartNode, ResetNode, ScheduleNode: what an operator says."""

import pytest

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.streams.core.effects import Ignored
from tests.streams.core.rig import FORGET, NON_BLOCKING, Rig, flag, new, running
from tests.streams.core.world import OTHER


def test_a_restart_is_a_retry_now_and_drops_the_waiting_one():
    rig = running(new("a"))
    rig.error("a")
    waiting = rig.fired(rig["a"])
    rig.now += 5
    happened = rig.restart("a")
    assert happened.reply == Done()
    assert happened.dispatches == [(rig["a"], 2)]
    assert rig.row("a").fires_at == rig.now
    assert rig.last("a", 5)[:2] == ["client errored ready", "server retrying ready"]
    assert rig.clock("a")[0] == "expiry"
    assert rig.do(waiting).of(Ignored)


def test_a_restart_brings_an_exhausted_node_back():
    rig = running(new("a", retries=0), new("b"))
    rig.error("a")
    assert rig.restart("a").dispatched == ["a"]
    assert rig.row("a").retries_remaining == 0
    assert rig.complete("a").dispatched == ["b"]


@pytest.mark.parametrize(("state", "found"), [
    ("pending", "pending"), ("ready", "ready"), ("received", "received"), ("processing", "processing"),
    ("processing_children", "complete"), ("complete", "complete"),
])  # fmt: skip
def test_a_restart_needs_a_client_status_that_can_become_ready(state, found):
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("first"), new("x"))
    if state != "pending":
        rig.complete("signal")
    if state not in ("pending", "ready"):
        rig.complete("first")
    if state == "processing":
        rig.say("processing", "x")
    if state == "processing_children":
        rig.complete("x", new("y"))
    if state == "complete":
        rig.complete("x")
    before = rig.snapshot()
    refused = rig.restart("x").reply
    assert (refused.reason, refused.found, refused.wanted) == (Reason.INVALID_CLIENT_STATUS, found, "ready")
    assert rig.snapshot() == before


@pytest.mark.parametrize("call", ["restart", "reset", "schedule"])
def test_nothing_happens_to_a_deactivated_node(call):
    rig = running(new("a"))
    rig.complete("a", new("x"))
    rig.say("canceled", "a")
    before = rig.snapshot()
    assert getattr(rig, call)("a").reply == Done(changed=False)
    assert rig.snapshot() == before
    assert getattr(rig, call)("signal", user_id=OTHER).reply.reason is Reason.NOT_FOUND


def test_restart_and_retry_behind_the_cursor():
    rig = running(*(new(name, NON_BLOCKING, retries=1) for name in "abc"), new("d"), new("e"))
    rig.error("b")
    rig.error("a")
    rig.error("a") if rig.server("a") == ["sent_to_client"] else None
    assert rig.restart("a").dispatched == ["a"]
    assert rig.due("b").dispatched == ["b"]
    assert rig.complete("d").dispatched == ["e"]
    for name in "abce":
        rig.complete(name)
    assert rig.server("signal") == ["complete"]


def test_the_last_child_fails_and_comes_back():
    rig = running(new("a"), new("b", retries=0))
    rig.complete("a")
    rig.error("b")
    rig.restart("b")
    rig.complete("b")
    assert rig.server("signal") == ["complete"]


def test_a_fire_and_forget_child_is_retried_under_a_complete_parent():
    rig = running(new("a", FORGET))
    assert rig.server("signal") == ["complete"]
    rig.error("a")
    assert rig.due("a").dispatched == ["a"]
    rig.complete("a", new("x"))
    rig.complete("x")
    assert rig.server("a") == ["complete"]
    assert rig.last("signal") == ["server processing_children complete"]


def test_a_node_below_a_deactivated_parent_does_not_start_again():
    rig = Rig()
    rig.signal("one", retries=0)
    rig.signal("two")
    rig.error("one")
    rig.add("two", new("x"))
    rig.say("shutdown", "one")  # two is deactivated, x is not
    rig.signal("three")
    assert rig.server("two", "x", "three") == ["deactivated", "pending", "sent_to_client"]
    assert rig.restart("x").reply.reason is Reason.INVALID_CLIENT_STATUS


def test_a_retry_below_a_parent_that_was_deactivated_alone_waits_for_ever():
    rig = running(new("a", NON_BLOCKING), new("b", NON_BLOCKING))
    rig.error("a")
    rig.say("deactivated", "a")  # its parent, the signal, is older
    assert rig.server("signal", "a") == ["deactivated", "retrying"]
    assert rig.due("a").dispatched == []
    assert rig.both("a") == ("ready", "ready")


def test_a_retry_while_paused_is_paused():
    rig = running(new("a"))
    rig.error("a")
    rig.workflow("pause")
    rig.due("a")
    assert rig.both("a") == ("paused", "ready")
    assert rig.workflow("resume").dispatched == ["a"]


# --- after a server error --------------------------------------------------------------------------------------------


def test_a_node_that_failed_before_it_was_sent_can_be_restarted():
    rig = running(new("a", fires_at=9_000_000), new("b"))
    rig.fail("a")
    rig.fail("b")
    assert rig.both("a") == rig.both("b") == ("errored", "ready")
    rig.now += 5
    assert rig.restart("b").dispatched == []
    assert rig.both("b") == ("ready", "ready")
    assert rig.restart("a").dispatched == ["a"]
    assert rig.row("a").fires_at == rig.now
    assert rig.last("a", 4)[0] == "server errored ready"
    assert rig.complete("a").dispatched == ["b"]


def test_a_node_that_failed_while_its_client_ran_it_cannot():
    rig = running(new("a"))
    rig.fail("a")
    assert rig.both("a") == ("errored", "received")
    assert rig.restart("a").reply.reason is Reason.INVALID_CLIENT_STATUS


def test_a_node_that_failed_after_its_client_did_can():
    rig = running(new("a"))
    rig.error("a")
    rig.fail("a")
    assert rig.both("a") == ("errored", "errored")
    assert rig.clock("a") is None
    assert rig.restart("a").dispatched == ["a"]


def test_a_child_that_failed_while_pending_does_not_start_before_its_parents_client_is_done():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("a"), new("b"))
    rig.fail("a")
    assert rig.both("a") == ("errored", "pending")
    refused = rig.restart("a").reply
    assert (refused.reason, refused.found) == (Reason.INVALID_CLIENT_STATUS, "pending")
    rig.complete("signal")
    assert rig.server("a", "b") == ["errored", "ready"]
    assert rig.restart("a").dispatched == ["a"]
    assert rig.complete("a").dispatched == ["b"]


# --- reset, schedule -------------------------------------------------------------------------------------------------


def test_reset_deactivates_what_is_below_and_does_nothing_more():
    rig = running(new("a"), new("b"))
    rig.complete("a", new("x"), new("y"))
    rig.complete("x", flag("z"))
    assert rig.reset("a").reply == Done()
    assert rig.server("a", "x", "y", "z", "b") == ["processing_children", *["deactivated"] * 3, "ready"]
    assert rig.last("x") == ["server complete deactivated"]
    assert rig.schedule("a").dispatched == ["b"]
    assert rig.server("a") == ["complete"]


def test_a_second_reset_touches_only_what_is_new():
    rig = running(new("a"))
    rig.complete("a", new("x"))
    rig.reset("a")
    assert rig.add("a", new("y")).dispatched == ["y"]
    rig.reset("a")
    assert rig.last("x", 1) == rig.last("y", 1) == ["server sent_to_client deactivated"]
    assert rig.said("x").count("server deactivated deactivated") == 0


def test_a_reset_reaches_below_a_sibling_that_a_shutdown_deactivated():
    rig = running(new("a", NON_BLOCKING))
    rig.complete("a", new("x", retries=0), new("y"))
    rig.add("y", new("below"))
    rig.error("x")
    rig.say("shutdown", "x")
    assert rig.server("y", "below") == ["deactivated", "pending"]
    rig.reset("signal")
    assert rig.server("a", "below") == ["deactivated", "deactivated"]
    assert rig.last("y") == ["server ready deactivated"]


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3, 250])
def test_reset_and_cancel_of_a_tree_in_slices(slice_nodes_max):
    rig = running(new("a"), new("after"), settings=Settings(slice_nodes_max=slice_nodes_max))
    rig.complete("a", *(new(f"n{n}", NON_BLOCKING) for n in range(5)))
    for n in range(5):
        rig.complete(f"n{n}", new(f"m{n}"), flag(f"f{n}"))
    below = [f"{kind}{n}" for n in range(5) for kind in "nmf"]
    assert rig.say("canceled", "a").dispatched == ["after"]
    assert rig.server("a", *below) == ["deactivated"] * 16
    for name in below:
        assert [move for move in rig.said(name) if move.endswith("deactivated")] == rig.last(name)


def test_schedule_is_harmless_in_every_state():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", new("a"), new("b"))
    for name in ("signal", "a"):
        before = rig.snapshot()
        assert rig.schedule(name).reply == Done()
        assert rig.snapshot() == before
    rig.complete("signal")
    assert rig.schedule("signal").dispatched == []
    for name in "ab":
        rig.complete(name)
    before = rig.snapshot()
    assert rig.schedule("signal").reply == Done()
    assert rig.snapshot() == before


def test_a_node_told_to_schedule_while_its_client_runs_completes_after_it():
    rig = Rig()
    rig.signal("signal")
    rig.schedule("signal")
    assert rig.both("signal") == ("sent_to_client", "received")
    rig.complete("signal")
    assert rig.server("signal") == ["complete"]
