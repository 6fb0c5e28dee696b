"""Signal, CreateWorkflow: workflows and their top-level nodes."""

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core.effects import DeadLetter, Dispatch, Ignored
from backbeat.streams.core.tables import STORED_REPLIES
from tests.streams.core.rig import CAMERA, CAMERA_ID, NON_BLOCKING, Rig, new, running, workflow
from tests.streams.core.world import OTHER, USER, reply_to


def test_a_workflow_is_made_once_and_keeps_its_decider():
    rig = Rig()
    first = rig.ask(c.CreateWorkflow, workflow=CAMERA).reply
    again = rig.ask(c.CreateWorkflow, now=2_000_000, workflow=workflow(b'"Camera 703"')).reply
    other = c.NewWorkflow(user_id=USER, name="purchase", subject=CAMERA.subject, decider="Another")
    assert rig.ask(c.CreateWorkflow, workflow=other).reply == first == again
    assert isinstance(first, WorkflowView)
    assert (first.id, first.decider, first.complete, first.paused) == (CAMERA_ID, "Decider", False, None)
    assert len(rig.workflows()) == 1


@pytest.mark.parametrize("subject", [b"null", b"false", b'""', b'" \\t"', b"{}", b"[]", b""])
def test_an_empty_subject_is_refused(subject):
    rig = Rig()
    assert rig.ask(c.CreateWorkflow, workflow=workflow(subject)).reply.reason is Reason.INVALID_PARAMETERS
    assert not rig.workflows()


@pytest.mark.parametrize("subject", [b"0", b"true", b'"0"', b'{"a":null}', b"[0]"])
def test_anything_else_is_a_subject(subject):
    assert isinstance(Rig().ask(c.CreateWorkflow, workflow=workflow(subject)).reply, WorkflowView)


def test_a_signal_is_answered_ready_and_starts():
    rig = Rig()
    happened = rig.signal("buy")
    assert isinstance(happened.reply, NodeView)
    assert (happened.reply.server.name, happened.reply.client.name) == ("READY", "READY")
    assert happened.dispatches == [(rig["buy"], 1)]
    assert rig.said("buy") == ["server ready started", "server started sent_to_client", "client ready received"]
    assert rig.clock("buy") == ("expiry", rig.now + 172_800_000)


def test_what_is_dispatched_shows_sent_to_client_and_received():
    node = Rig().signal("buy").of(Dispatch)[0].node
    assert (node.server.name, node.client.name, node.attempt) == ("SENT_TO_CLIENT", "RECEIVED", 1)


def test_signals_run_one_after_another():
    rig = Rig()
    assert rig.signal("one").dispatched == ["one"]
    assert rig.signal("two").dispatched == []
    assert rig.signal("three").dispatched == []
    assert rig.server("one", "two", "three") == ["sent_to_client", "ready", "ready"]
    assert rig.complete("one").dispatched == ["two"]
    assert rig.complete("two").dispatched == ["three"]


def test_a_signal_is_always_blocking_and_a_decision():
    rig = Rig()
    rig.ask(c.Signal, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("a", NON_BLOCKING, type="flag"))
    rig.ask(c.Signal, workflow_id=CAMERA_ID, workflow=CAMERA, node=new("b"))
    assert (rig.row("a").mode, rig.row("a").type) == (Mode.BLOCKING, "decision")
    assert rig.server("a", "b") == ["sent_to_client", "ready"]


@pytest.mark.parametrize(("fires_at", "status", "timer"), [
    (None, "sent_to_client", "expiry"),
    (999_999, "sent_to_client", "expiry"),
    (1_000_000, "sent_to_client", "expiry"),
    (1_000_001, "started", "start"),
])  # fmt: skip
def test_a_signal_starts_at_its_time_and_holds_the_later_ones(fires_at, status, timer):
    rig = Rig()
    rig.signal("one", fires_at=fires_at)
    rig.signal("two")
    assert rig.server("one", "two") == [status, "ready"]
    assert rig.clock("one")[0] == timer


def test_a_complete_workflow_takes_no_signal():
    rig = running()
    assert rig.workflow("complete").reply == Done()
    before = rig.snapshot()
    assert rig.signal("late").reply.reason is Reason.WORKFLOW_COMPLETE
    assert rig.snapshot() == before


def test_a_signal_needs_its_workflow():
    rig = Rig()
    command = {"workflow_id": CAMERA_ID, "node": new("a")}
    assert rig.ask(c.Signal, **command).reply.reason is Reason.NOT_FOUND
    rig.ask(c.CreateWorkflow, workflow=CAMERA)
    assert rig.ask(c.Signal, **command, user_id=OTHER).reply.reason is Reason.NOT_FOUND
    assert isinstance(rig.ask(c.Signal, **command).reply, NodeView)
    assert isinstance(rig.ask(c.Signal, workflow_id=CAMERA_ID, node=new("b"), user_id=None).reply, NodeView)


def test_the_same_signal_twice_makes_one_node():
    rig = Rig()
    rig.signal("buy", id=b"1" * 16)
    before = rig.snapshot()
    happened = rig.signal("buy", id=b"1" * 16)
    assert happened.of(Ignored)
    assert happened.reply.id == rig["buy"]
    assert happened.dispatches == []
    assert rig.snapshot() == before


def test_a_refusal_that_nobody_waits_for_is_kept_for_an_operator():
    rig = Rig()
    happened = rig.tell(c.Signal, workflow_id=CAMERA_ID, node=new("a"))
    assert [effect.rejection.reason for effect in happened.of(DeadLetter)] == [Reason.NOT_FOUND]
    assert happened.replies == []


# --- with a caller's key ---------------------------------------------------------------------------------------------


def test_a_key_gets_the_same_answer_until_it_is_forgotten():
    rig = Rig()
    first = rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply
    rig.complete("buy")
    assert rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply == first
    assert rig.signal("other", id=b"1" * 16, body_hash=b"y").reply.reason is Reason.KEY_REUSED
    assert len(rig.nodes()) == 1
    assert rig.timers()[b"1" * 16, "answer"][0] == 1_000_000 + 86_400_000
    rig.fire(b"1" * 16)
    assert rig.timers() == {}
    assert not rig.stores[0][STORED_REPLIES]
    again = rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply
    assert again.id == first.id


def test_a_key_keeps_a_refusal_too():
    rig = running()
    rig.workflow("complete")
    refused = rig.signal("late", id=b"1" * 16, body_hash=b"x").reply
    assert refused.reason is Reason.WORKFLOW_COMPLETE
    assert rig.signal("late", id=b"1" * 16, body_hash=b"x").reply == refused


def test_a_keyed_repeat_answers_whoever_asks_now():
    rig = Rig()
    rig.signal("buy", id=b"1" * 16, body_hash=b"x")
    happened = rig.signal("buy", id=b"1" * 16, body_hash=b"x", reply_to=reply_to(9))
    assert [effect.to.number for effect in happened.effects] == [9]
    assert rig.tell(c.Signal, id=b"1" * 16, body_hash=b"x", workflow_id=CAMERA_ID, node=new("buy")).effects == []
