"""Activities that follow a node: its failure, its undo, its cancel."""

from __future__ import annotations

from typing import Any

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.activities import TakenResult
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.schedules import NewSchedule
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import Awaits, Backoff, FollowUp, FollowUpKind, Take
from backbeat.schemas.messages.views import WaitKind
from backbeat.streams.core import effects as e
from backbeat.streams.core.effects import node_view
from backbeat.streams.core.tables import NODES, REFERENCES, WORKFLOWS
from backbeat.streams.core.waits.waits import waits_of
from tests.streams.core.rig import CAMERA, CAMERA_ID, FORGET, NON_BLOCKING, Rig, flag, new, running
from tests.streams.core.world import USER, Happened

FAILURE, UNDO, CANCEL = FollowUpKind


def failing(name: str = "charge", mode: Mode = Mode.BLOCKING, **given: Any) -> c.NewNode:
    """A node without retries whose failure "refund" handles."""
    handler = FollowUp(FAILURE, "refund", USER, **given)
    return new(name, mode, retries=0, follow_ups=(handler,))


def undone(name: str, mode: Mode = Mode.BLOCKING, **given: Any) -> c.NewNode:
    """A node that "undo …" undoes."""
    return new(name, mode, follow_ups=(FollowUp(UNDO, f"undo {name}", USER),), **given)


def response(value: str) -> bytes:
    return b'{"jsonrpc":"2.0","result":' + value.encode() + b',"error":null,"id":null}'


def results(happened: Happened, name: str) -> list[TakenResult]:
    (dispatch,) = [effect for effect in happened.of(e.Dispatch) if effect.node.name == name]
    return list(dispatch.results)


def refused(happened: Happened) -> tuple[Reason, str]:
    return happened.reply.reason, happened.reply.message


def given_up(rig: Rig, name: str) -> bool:
    row = rig.row(name)
    return node_view(row, rig.workflows()[row.workflow_id]).given_up


# --- failure ---------------------------------------------------------------------------------------------------------


def test_the_handler_of_a_failure_gets_the_error_and_its_result_is_that_of_the_node():
    rig = running(failing(), new("ship"))
    happened = rig.error("charge", response=b'{"error":{"message":"no money"}}')
    assert happened.dispatched == ["refund"]
    assert [effect.message for effect in happened.of(e.Notify)] == ["Client Error"]
    assert results(happened, "refund") == [TakenResult(0, rig["charge"], b'{"message":"no money"}', is_default=True)]
    assert rig.both("charge") == ("retries_exhausted", "errored")
    assert rig.row("refund").parent_id == rig["charge"]
    happened = rig.complete("refund", response=response("7"))
    assert happened.dispatched == ["ship"]
    assert rig.both("charge") == ("complete", "resolved")
    assert not given_up(rig, "charge")
    happened = rig.complete("ship", new("bill", takes=(Take(rig["charge"]),)))
    assert results(happened, "bill") == [TakenResult(0, rig["charge"], response("7"))]


def test_a_handler_comes_after_the_last_retry_only():
    rig = running(new("charge", retries=1, follow_ups=(FollowUp(FAILURE, "refund", USER),)))
    assert rig.error("charge").dispatched == []
    assert rig.due("charge").dispatched == ["charge"]
    assert rig.error("charge").dispatched == ["refund"]


@pytest.mark.parametrize("fail", ["expiry", "not retriable", "undelivered", "refused"])
def test_every_way_to_exhaust_the_retries_is_handled(fail):
    rig = running(new("charge", retries=0 if fail != "not retriable" else 3, client_data=b'{"timeout":5}',
                      follow_ups=(FollowUp(FAILURE, "refund", USER),)))  # fmt: skip
    if fail == "expiry":
        happened = rig.due("charge")
    elif fail == "not retriable":
        happened = rig.error("charge", retriable=False)
    elif fail == "undelivered":
        happened = rig.tell(c.DeliveryFailed, node_id=rig["charge"], attempt=1, response=b'{"error":"gone"}')
    else:
        happened = rig.complete("charge", new("x", retries=-1), attempt=1)
    assert happened.dispatched == ["refund"]


def test_the_retries_of_a_handler_are_its_own_and_when_it_fails_the_node_stays_a_failed_one():
    rig = running(failing(retries=1, retry_interval_seconds=2.0, backoff=Backoff(1.0, 2.0, 0.0)), new("ship"))
    rig.error("charge")
    before = rig.now
    rig.error("refund")
    assert rig.clock("refund") == ("retry", before + 2_000)
    assert rig.due("refund").dispatched == ["refund"]
    assert rig.error("refund").dispatched == []
    assert rig.server("charge", "refund", "ship") == ["retries_exhausted", "retries_exhausted", "ready"]
    assert rig.say("resolved", "refund", response=response("1")).dispatched == ["ship"]
    assert rig.both("charge") == ("complete", "resolved")


def wait_of(rig: Rig, name: str) -> Any:
    row = rig.row(name)
    return next(waits_of(rig.store_of(row.id), row, rig.workflows()[row.workflow_id]))


def test_a_failed_node_says_whether_its_handler_is_at_work():
    rig = running(failing(retries=0))
    rig.error("charge")
    wait = wait_of(rig, "charge")
    assert (wait.kind, wait.subject_id) == (WaitKind.CHILDREN, rig["refund"])
    assert wait.sentence == "has failed, and waits for “refund”, which handles it"
    rig.error("refund")
    assert wait_of(rig, "charge").kind == WaitKind.RETRIES_EXHAUSTED


def test_a_handler_whose_children_are_at_work_is_not_done():
    rig = running(failing(), new("ship"))
    rig.error("charge")
    rig.complete("refund", new("pay back"))
    assert rig.server("charge") == ["retries_exhausted"]
    assert rig.complete("pay back").dispatched == ["ship"]


def test_a_handler_that_gives_up_shuts_the_node_down():
    rig = running(failing(), new("ship"))
    rig.error("charge")
    assert rig.complete("refund", gives_up=True, response=response('"no"')).dispatched == []
    assert rig.both("charge") == ("complete", "shutdown")
    assert rig.server("ship", "signal") == ["deactivated", "complete"]
    assert given_up(rig, "charge")
    assert given_up(rig, "signal")
    assert not given_up(rig, "refund")


def test_only_the_handler_of_a_failure_gives_up():
    rig = running(new("charge"))
    before = rig.snapshot()
    reason, message = refused(rig.complete("charge", gives_up=True))
    assert reason is Reason.INVALID_PARAMETERS
    assert "only the activity that follows a failure (on_failure) can give up" in message
    assert rig.snapshot() == before


def test_children_of_the_attempt_that_failed_are_dropped():
    rig = running(failing(), new("ship"))
    rig.add("charge", new("receipt"), attempt=1)
    rig.error("charge")
    assert rig.server("receipt") == ["deactivated"]
    rig.complete("refund")
    assert rig.server("charge") == ["complete"]


@pytest.mark.parametrize("word", ["restart", "reset", "canceled", "resolved", "shutdown", "cancel above"])
def test_what_is_done_to_a_failed_node_ends_its_handler(word):
    rig = running(failing(), new("ship"))
    rig.error("charge")
    refund = rig["refund"]
    if word == "restart":
        assert rig.restart("charge").dispatched == ["charge"]
    elif word == "reset":
        rig.reset("charge")
        assert rig.server("charge") == ["retries_exhausted"], "stuck, as one that has no handler"
    elif word == "cancel above":
        rig.say("canceled", "signal")
    else:
        rig.say(word, "charge")
        assert rig.server("charge") == ["deactivated" if word == "canceled" else "complete"]
    assert rig.statuses(refund)[0] == "deactivated"
    rig.ask(c.ChangeNode, node_id=refund, status="completed", attempt=1)
    assert rig.statuses(refund)[0] == "deactivated", "its answer comes too late"
    if word == "restart":
        assert rig.error("charge").dispatched == ["refund"], "another one, for another failure"
        assert len([node for node in rig.nodes().values() if node.name == "refund"]) == 2


def test_a_handler_that_an_operator_cancels_leaves_the_node_failed():
    rig = running(failing())
    rig.error("charge")
    rig.say("canceled", "refund")
    assert rig.server("charge") == ["retries_exhausted"]
    assert rig.say("resolved", "charge").reply.changed


def test_a_handler_is_none_of_the_children_whose_results_are_taken():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", failing())
    rig.complete("signal", new("list", takes=(Take(rig["charge"], of_children=True),)))
    rig.error("charge")
    assert results(rig.complete("refund", response=response("7")), "list") == []


def test_a_group_whose_member_gives_up_lets_nothing_behind_it_run():
    rig = running(undone("a"))
    rig.add("signal", flag("group"), new("ship"))
    rig.add("group", failing(mode=NON_BLOCKING), undone("b", NON_BLOCKING))
    rig.complete("a")
    rig.complete("b")
    rig.error("charge")
    rig.complete("refund", gives_up=True)
    assert rig.server("ship", "group") == ["deactivated", "complete"]
    assert rig.server("undo b", "undo a") == ["sent_to_client", "ready"]


# --- undo ------------------------------------------------------------------------------------------------------------


def saga(**given: Any) -> Rig:
    """Three steps that are done, of which "c" cannot be undone, and one that fails."""
    rig = running(undone("a"), undone("b"), new("c"), failing(), new("ship"), undone("never"), **given)
    for name, value in {"a": "1", "b": "2", "c": "3"}.items():
        rig.complete(name, response=response(value))
    rig.error("charge")
    return rig


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3, 250])
def test_what_was_done_is_undone_in_reverse_once_a_step_gives_up(slice_nodes_max):
    rig = saga(settings=Settings(slice_nodes_max=slice_nodes_max))
    happened = rig.complete("refund", gives_up=True)
    assert happened.dispatched == ["undo b"]
    assert results(happened, "undo b") == [TakenResult(0, rig["b"], response("2"))]
    assert rig.server("undo a", "signal") == ["ready", "processing_children"]
    happened = rig.complete("undo b")
    assert happened.dispatched == ["undo a"]
    assert results(happened, "undo a")[0] == TakenResult(0, rig["a"], response("1"))
    rig.complete("undo a")
    assert rig.server("signal", "ship", "never") == ["complete", "deactivated", "deactivated"]
    assert not [node for node in rig.nodes().values() if node.name == "undo never"], "it never ran"


def test_a_shutdown_by_hand_undoes_too():
    rig = saga()
    assert rig.say("shutdown", "charge").dispatched == ["undo b"]


def test_a_resolved_step_undoes_nothing():
    rig = saga()
    assert rig.complete("refund").dispatched == ["ship"]
    assert rig.row("signal").follow_ups.undo_walks == 0


def test_an_undo_that_fails_keeps_the_older_ones_waiting():
    rig = saga()
    rig.complete("refund", gives_up=True)
    rig.error("undo b", retriable=False)
    assert rig.server("undo b", "undo a", "signal") == ["retries_exhausted", "ready", "processing_children"]
    assert wait_of(rig, "undo a").sentence == "waits for the result of “undo b”"


@pytest.mark.parametrize("word", ["resolved", "shutdown", "canceled"])
def test_an_undo_that_somebody_ends_lets_the_older_ones_go_on(word):
    rig = saga()
    rig.complete("refund", gives_up=True)
    rig.error("undo b", retriable=False)
    assert rig.say(word, "undo b").dispatched == ["undo a"]
    rig.complete("undo a")
    assert rig.server("signal") == ["complete"]
    assert len([node for node in rig.nodes().values() if node.name == "undo b"]) == 1


def test_undos_begin_once_nothing_else_is_at_work():
    rig = running(undone("a"), undone("slow", NON_BLOCKING), failing())
    rig.complete("a")
    rig.error("charge")
    assert rig.complete("refund", gives_up=True).dispatched == []
    assert rig.complete("slow", new("part of it")).dispatched == ["part of it"]
    assert rig.complete("part of it").dispatched == ["undo slow"]
    assert rig.complete("undo slow").dispatched == ["undo a"]


def test_a_step_that_is_added_after_another_was_given_up_is_undone_too():
    rig = running(new("slow", NON_BLOCKING), failing())
    rig.error("charge")
    assert rig.complete("refund", gives_up=True).dispatched == []
    assert rig.complete("slow", undone("late")).dispatched == ["late"]
    assert rig.complete("late").dispatched == ["undo late"]
    rig.complete("undo late")
    assert rig.server("signal") == ["complete"]


def test_where_nothing_can_be_undone_a_node_is_complete_though_a_step_was_given_up():
    rig = running(new("slow", NON_BLOCKING), failing())
    rig.error("charge")
    rig.complete("refund", gives_up=True)
    assert rig.complete("slow").dispatched == []
    assert (rig.server("signal"), rig.row("signal").follow_ups.undo_due) == (["complete"], False)


def test_a_step_that_is_resolved_counts_as_done_and_one_that_is_shut_down_does_not():
    rig = running(undone("a", retries=0), undone("b", retries=0), failing())
    rig.error("a")
    rig.say("resolved", "a", response=response("1"))
    rig.error("b")
    assert rig.say("shutdown", "b").dispatched == ["undo a"]


def test_steps_below_steps_are_undone_unless_the_step_above_is():
    rig = running(new("plain"), undone("whole"), failing())
    rig.complete("plain", undone("x"), undone("y"))
    rig.complete("x")
    rig.complete("y")
    rig.complete("whole", undone("part"))
    rig.complete("part")
    rig.error("charge")
    assert rig.complete("refund", gives_up=True).dispatched == ["undo whole"]
    assert rig.complete("undo whole").dispatched == ["undo y"]
    assert rig.complete("undo y").dispatched == ["undo x"]
    assert rig.complete("undo x").dispatched == []
    assert rig.server("signal") == ["complete"]


def test_what_was_reset_is_not_undone():
    rig = running(new("plain"), failing())
    rig.complete("plain", undone("x"), undone("y", NON_BLOCKING))
    rig.complete("x")
    rig.reset("plain")
    rig.add("plain", undone("z"))
    rig.schedule("plain")
    rig.complete("z")
    rig.error("charge")
    rig.complete("refund", gives_up=True)
    assert sorted(node.name for node in rig.nodes().values() if node.name.startswith("undo")) == ["undo z"]


def test_a_step_is_undone_once_however_many_give_up():
    rig = running(undone("a"), failing(mode=NON_BLOCKING), new("hold", NON_BLOCKING))
    rig.complete("a")
    rig.error("charge")
    rig.complete("refund", gives_up=True)
    rig.add("signal", new("late", NON_BLOCKING, retries=0))
    rig.complete("hold")
    rig.error("late")
    assert rig.say("shutdown", "late").dispatched == ["undo a"]
    rig.complete("undo a")
    assert rig.server("signal") == ["complete"]
    assert len([node for node in rig.nodes().values() if node.name == "undo a"]) == 1


def test_a_cancel_that_compensates_deactivates_what_is_open_and_undoes_what_was_done():
    rig = running(undone("a"), undone("b"), undone("c"))
    rig.signal("next")
    rig.complete("a", response=response("1"))
    rig.complete("b")
    assert rig.server("c") == ["sent_to_client"]
    happened = rig.say("canceled", "signal", compensate=True)
    assert happened.dispatched == ["undo b"]
    assert rig.server("signal", "c", "next") == ["processing_children", "deactivated", "ready"]
    assert rig.say("canceled", "signal", compensate=True).dispatched == [], "it is canceled already"
    happened = rig.complete("undo b")
    assert results(happened, "undo a")[0] == TakenResult(0, rig["a"], response("1"))
    assert rig.complete("undo a").dispatched == ["next"]
    assert rig.server("signal") == ["deactivated"]


def test_a_cancel_that_compensates_while_undos_run_begins_those_anew_that_were_not_done():
    rig = running(new("order"), new("more"))
    rig.complete("order", undone("a"), undone("b"), failing())
    rig.complete("a")
    rig.complete("b")
    rig.error("charge")
    rig.complete("refund", gives_up=True)
    rig.complete("undo b")
    first = rig["undo a"]
    happened = rig.say("canceled", "signal", compensate=True)
    assert happened.dispatched == ["undo a"]
    assert rig.statuses(first)[0] == "deactivated"
    assert len([node for node in rig.nodes().values() if node.name == "undo b"]) == 1


def test_a_cancel_that_compensates_of_a_complete_node_is_refused_and_of_one_that_has_not_begun_is_a_cancel():
    rig = running(undone("a"), undone("b"))
    rig.complete("a")
    assert refused(rig.say("canceled", "a", compensate=True))[0] is Reason.INVALID_SERVER_STATUS
    rig.say("canceled", "b", compensate=True)
    assert rig.server("b", "signal") == ["deactivated", "complete"]


def test_a_plain_cancel_undoes_nothing():
    rig = saga()
    assert rig.say("canceled", "signal").dispatched == []
    assert rig.server("signal", "a") == ["deactivated", "deactivated"]


# --- cancel ----------------------------------------------------------------------------------------------------------


def canceling(name: str = "render", mode: Mode = Mode.BLOCKING) -> c.NewNode:
    return new(name, mode, follow_ups=(FollowUp(CANCEL, "clean up", USER),))


@pytest.mark.parametrize("how", ["canceled", "above", "reset", "previous", "children"])
def test_what_follows_a_cancel_runs_at_the_top_and_at_once(how):
    rig = running(canceling())
    rig.signal("next")
    if how == "children":
        rig.complete("render", new("part"))
    if how == "above":
        happened = rig.say("canceled", "signal")
    elif how == "reset":
        happened = rig.reset("signal")
    elif how == "previous":
        happened = rig.say("deactivated", "next")
    else:
        happened = rig.say("canceled", "render")
    assert "clean up" in happened.dispatched
    row = rig.row("clean up")
    assert (row.parent_id, row.mode) == (None, NON_BLOCKING)
    rig.complete("clean up")
    assert rig.server("clean up") == ["complete"]


def test_nothing_follows_the_cancel_of_what_has_not_begun_or_is_complete():
    rig = running(new("first"), canceling())
    assert rig.say("canceled", "render").dispatched == []
    rig = running(canceling())
    rig.complete("render")
    assert rig.say("canceled", "signal").dispatched == []
    assert set(rig.nodes()) == {rig["signal"], rig["render"]}


def test_what_follows_a_cancel_waits_for_a_resume():
    rig = running(canceling())
    rig.workflow("pause")
    assert rig.say("canceled", "render").dispatched == []
    assert rig.workflow("resume").dispatched == ["clean up"]


# --- what is refused, and what there is of it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (new("x", follow_ups=(FollowUp(FAILURE, "", USER),)), Reason.INVALID_PARAMETERS),
        (new("x", follow_ups=(FollowUp(FAILURE, "a", USER), FollowUp(FAILURE, "b", USER))), Reason.INVALID_PARAMETERS),
        (new("x", follow_ups=(FollowUp(CANCEL, "a", USER, retries=-1),)), Reason.INVALID_PARAMETERS),
        (new("x", follow_ups=(FollowUp(CANCEL, "a", USER, client_data=b"["),)), Reason.INVALID_PARAMETERS),
        (new("x", follow_ups=(FollowUp(CANCEL, "a", USER, backoff=Backoff(0.5)),)), Reason.INVALID_PARAMETERS),
        (new("x", FORGET, follow_ups=(FollowUp(UNDO, "a", USER),)), Reason.INVALID_PARAMETERS),
        (new("x", follow_ups=(FollowUp(UNDO, "a" * 5_000, USER),)), Reason.LIMIT_EXCEEDED),
    ],
)
def test_what_cannot_follow_is_refused(node, reason):
    rig = running(new("order"))
    before = rig.snapshot()
    assert refused(rig.add("order", node))[0] is reason
    assert rig.snapshot() == before


def test_a_signal_has_a_handler_and_no_undo():
    rig = Rig()
    reason, message = refused(rig.signal("order", follow_ups=(FollowUp(UNDO, "undo", USER),)))
    assert reason is Reason.INVALID_PARAMETERS
    assert "Give undo to its children" in message
    rig.signal("order", retries=0, follow_ups=(FollowUp(FAILURE, "refund", USER),))
    assert rig.error("order").dispatched == ["refund"]
    rig.complete("refund")
    assert rig.both("order") == ("complete", "resolved")
    plan = NewSchedule(
        user_id=USER, name="n", interval_seconds=60.0, workflow=CAMERA, node=undone("run"),
    )  # fmt: skip
    answer = rig.ask(c.PutSchedule, schedule_id=ids.schedule_id(USER, "n"), schedule=plan)
    assert "has an undo" in refused(answer)[1]


def test_nodes_that_nothing_follows_have_no_more_than_a_null():
    rig = running(new("a"), new("b", retries=0))
    rig.complete("a")
    rig.error("b")
    assert all(node.follow_ups is None for node in rig.nodes().values())


def test_a_removal_takes_all_of_it_along():
    rig = saga()
    rig.complete("refund", gives_up=True)
    policy = RetentionPolicy(owner_id=USER, name="purchase", keep_seconds=1.0, archive=False, refuse_seconds=1.0)
    rig.tell(c.ChangeRetention, policy=policy)
    assert not [kind for _, kind in rig.timers() if kind == "retention"], "an undo is open"
    rig.complete("undo b")
    rig.complete("undo a")
    rig.now += 2_000
    rig.fire(CAMERA_ID)
    for table in (NODES, WORKFLOWS, REFERENCES):
        assert not [key for store in rig.stores for key in store[table]]


# --- where they meet other features ----------------------------------------------------------------------------------


def test_a_handler_that_is_shut_down_gives_nothing_up():
    rig = running(failing(), new("ship"))
    rig.error("charge")
    rig.error("refund", retriable=False)
    rig.say("shutdown", "refund")
    assert rig.both("charge") == ("retries_exhausted", "errored")
    assert not given_up(rig, "charge")
    rig.restart("charge")
    rig.complete("charge")
    rig.complete("ship")
    assert rig.server("signal") == ["complete"]
    assert not given_up(rig, "signal")


def test_an_undo_that_is_shut_down_is_passed_and_gives_nothing_up():
    rig = running(new("order"), new("next"))
    rig.complete("order", undone("charge"), undone("pack"), new("ship"))
    rig.complete("charge")
    rig.complete("pack")
    rig.say("canceled", "order", compensate=True)
    rig.error("undo pack", retriable=False)
    assert rig.say("shutdown", "undo pack").dispatched == ["undo charge"]
    assert rig.complete("undo charge").dispatched == ["next"]
    assert [given_up(rig, name) for name in ("order", "signal")] == [False, False]


def test_what_a_handler_did_is_undone_with_the_rest():
    rig = running(failing(), new("ship", retries=0))
    rig.error("charge")
    rig.complete("refund", undone("pay back"))
    rig.complete("pay back")
    rig.error("ship")
    assert rig.say("shutdown", "ship").dispatched == ["undo pay back"]
    rig.complete("undo pay back")
    assert rig.server("signal") == ["complete"]


def test_a_wait_whose_time_is_over_is_handled_and_a_retry_waits_anew():
    node = new("approval", awaits=Awaits(), client_data=b'{"timeout":5}', follow_ups=failing().follow_ups)
    rig = running(node, new("ship"))
    assert rig.due("approval").dispatched == ["refund"]
    rig.ask(c.SendMessage, workflow_id=CAMERA_ID, name="approval", payload=b"1")
    assert rig.server("approval", "refund") == ["retries_exhausted", "sent_to_client"]
    assert rig.restart("approval").dispatched == ["ship"]
    assert rig.server("approval", "refund") == ["complete", "deactivated"]


def test_a_message_is_the_argument_of_the_undo_of_its_wait():
    node = new("approval", awaits=Awaits(), follow_ups=undone("approval").follow_ups)
    rig = running(node, new("ship", retries=0))
    rig.ask(c.SendMessage, workflow_id=CAMERA_ID, name="approval", payload=b'{"by":"Ann"}')
    rig.error("ship")
    happened = rig.say("shutdown", "ship")
    assert results(happened, "undo approval") == [TakenResult(0, rig["approval"], b'{"by":"Ann"}')]


def test_a_wait_and_a_handled_member_whose_failures_are_allowed_have_no_handler():
    wait = new("approval", NON_BLOCKING, awaits=Awaits(), client_data=b'{"timeout":5}', follow_ups=failing().follow_ups)
    rig = running(new("group", failures_allowed=2), new("ship"))
    rig.complete("group", failing(mode=NON_BLOCKING), wait)
    assert rig.error("charge").dispatched == []
    assert rig.due("approval").dispatched == ["ship"]
    assert rig.server("charge", "approval", "group") == ["deactivated", "deactivated", "complete"]


def test_the_undos_of_a_node_that_allows_failures_are_none_of_its_results():
    rig = running(new("group", failures_allowed=1), new("ship"))
    group_id = rig["group"]
    rig.complete("group", undone("a", NON_BLOCKING), new("b", NON_BLOCKING, retries=0), new("c", retries=0))
    rig.complete("a", response=response("1"))
    rig.error("b")
    rig.error("c")
    assert rig.say("shutdown", "c").dispatched == ["undo a"]
    happened = rig.error("undo a", retriable=False)
    assert rig.server("undo a") == ["retries_exhausted"]
    assert happened.dispatched == []
    rig.say("resolved", "undo a")
    rig.complete("ship", new("bill", takes=(Take(group_id, of_children=True, default=b"[]"),)))
    assert rig.row("bill").flow.missing == 0
