"""Messages to a workflow, and the nodes that wait for them; signals beside the others."""

from __future__ import annotations

from typing import Any

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.queries import GetWaits
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Awaits, Take
from backbeat.streams.core import effects as e
from backbeat.streams.core import queries
from backbeat.streams.core.inbox import inbox
from backbeat.streams.core.tables import INBOXES, LINES, MESSAGES
from tests.streams.core.rig import BLOCKING, CAMERA_ID, FORGET, NON_BLOCKING, Rig, new, running
from tests.streams.core.test_takes import made
from tests.streams.core.world import OTHER, USER, Happened, reply_to

YES = b'{"by":"Grace"}'


def wait(name: str = "approval", default: bytes | None = None, mode: Any = NON_BLOCKING, **given: Any) -> c.NewNode:
    return new(name, mode, awaits=Awaits(default), **given)


def send(rig: Rig, name: str = "approval", payload: bytes = YES, **given: Any) -> Happened:
    return rig.ask(c.SendMessage, workflow_id=CAMERA_ID, name=name, payload=payload, **given)


def result(rig: Rig, name: str) -> bytes | None:
    return next(
        response for which, _, to, _, response in rig.history(rig[name]) if (which, to) == ("client", "complete")
    )


def why(rig: Rig, name: str) -> str:
    (answer,) = queries.answer(GetWaits(node_id=rig[name], reply_to=reply_to(), deadline=0), rig.store_of(rig[name]))
    return answer.waits[0].sentence


# --- what it gets, and when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [BLOCKING, NON_BLOCKING, FORGET])
def test_a_node_waits_for_a_message_and_goes_to_no_worker(mode):
    rig = running(wait(mode=mode))
    assert rig.both("approval") == ("sent_to_client", "received")
    happened = send(rig)
    assert happened.of(e.Dispatch) == []
    assert happened.reply == Done()
    assert rig.both("approval") == ("complete", "complete")
    assert result(rig, "approval") == YES
    assert rig.server("signal") == ["complete"]


def test_a_message_that_comes_first_is_kept():
    rig = running(new("first"), wait())
    send(rig, payload=b"1")
    send(rig, payload=b"2")
    send(rig, "other", b"3")
    rig.complete("first")
    assert result(rig, "approval") == b"1"
    assert [message.payload for message in rig.store_of(CAMERA_ID)[MESSAGES].values()] == [b"2", b"3"]


def test_each_message_goes_to_one_node_the_oldest_first():
    rig = running(new("a", NON_BLOCKING), new("b", NON_BLOCKING))
    rig.complete("b", wait(default=b"0", client_data=b'{"timeout":9}'))
    rig.complete("a", wait("approval2"), wait())
    nodes = [row for row in rig.nodes().values() if row.name == "approval"]
    assert len(nodes) == 2
    send(rig, payload=b"1")
    send(rig, payload=b"2")
    begun_first, begun_second = (row.id for row in sorted(nodes, key=lambda row: row.seq))
    assert [rig.history(node)[-3][4] for node in (begun_first, begun_second)] == [b"1", b"2"]


def test_its_result_is_taken_by_a_later_node():
    rig = Rig()
    rig.signal("signal")
    rig.complete("signal", wait(), new("pay", NON_BLOCKING, takes=(Take(made(rig)),)))
    happened = send(rig)
    assert [(row.slot, row.response) for row in happened.of(e.Dispatch)[0].results] == [(0, YES)]


def test_a_message_is_taken_once_by_its_id_or_its_key():
    rig = running(wait("approval"), new("more"))
    for given in ({"id": b"1" * 16}, {"id": b"2" * 16, "body_hash": b"body"}):
        first = send(rig, **given)
        again = send(rig, **given)
        assert first.reply == Done()
        assert again.reply == Done(changed="body_hash" in given)
    assert len(rig.store_of(CAMERA_ID)[MESSAGES]) == 1
    assert send(rig, id=b"2" * 16, body_hash=b"other").reply.reason is Reason.KEY_REUSED


# --- without a message -----------------------------------------------------------------------------------------------


def test_without_a_message_in_time_its_retries_are_exhausted_whatever_it_was_given():
    rig = running(wait(client_data=b'{"timeout":5}', retries=6))
    happened = rig.due("approval")
    assert rig.both("approval") == ("retries_exhausted", "errored")
    (note,) = happened.of(e.Notify)
    assert note.error == b'{"message":"No message \'approval\' was sent to its workflow in time"}'
    send(rig)  # it waits no longer: the message is kept
    rig.restart("approval")
    assert result(rig, "approval") == YES


def test_without_a_message_in_time_its_default_is_its_result():
    rig = running(wait(default=b"7", client_data=b'{"timeout":5}'))
    rig.due("approval")
    assert rig.both("approval") == ("complete", "complete")
    assert result(rig, "approval") == b"7"
    assert not rig.store_of(CAMERA_ID)[LINES]


def test_one_without_a_timeout_waits_for_ever_and_a_word_of_work_changes_no_timeout():
    rig = running(wait(client_data=b'{"timeout":null}'), wait("short", client_data=b'{"timeout":5}'))
    assert rig.clock("approval") is None
    rig.say("processing", "short")
    assert rig.clock("short") == ("expiry", rig.now + 5_000)
    rig.due("short")
    assert rig.server("short") == ["retries_exhausted"]


def test_one_that_failed_can_be_resolved_and_restarted_to_wait_again():
    rig = running(wait(client_data=b'{"timeout":5}'), wait("other", client_data=b'{"timeout":5}'))
    rig.due("approval")
    rig.due("other")
    rig.say("resolved", "approval", response=b"1")
    rig.restart("other")
    assert rig.server("approval", "other") == ["complete", "sent_to_client"]
    assert rig.clock("other") == ("expiry", rig.now + 5_000)
    send(rig, "other")
    assert rig.server("signal") == ["complete"]


# --- what else may happen --------------------------------------------------------------------------------------------


def test_a_canceled_one_gets_no_message():
    rig = running(wait(), new("step", NON_BLOCKING))
    rig.say("canceled", "approval")
    send(rig)
    assert rig.server("approval") == ["deactivated"]
    rig.complete("step", wait("late"))
    send(rig, "late")
    assert rig.server("late") == ["complete"]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_line_is_whole_whoever_leaves_it(gone):
    rig = running(*(new(f"step {number}", NON_BLOCKING) for number in range(3)))
    for number in range(3):
        rig.complete(f"step {number}", wait())
    waiting = sorted((row for row in rig.nodes().values() if row.name == "approval"), key=lambda row: row.seq)
    rig.ask(c.ChangeNode, node_id=waiting[gone].id, status="canceled")
    for number in range(2):
        send(rig, payload=str(number).encode())
    expected = ["complete", "complete"]
    expected.insert(gone, "deactivated")
    assert [rig.statuses(row.id)[0] for row in waiting] == expected


def test_nodes_that_a_reset_has_marked_are_passed_slice_by_slice():
    rig = running(new("wide", NON_BLOCKING), new("step", NON_BLOCKING), settings=Settings(slice_nodes_max=3))
    rig.complete("wide", *(wait() for _ in range(20)))
    rig.complete("step", wait())
    rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["wide"]))  # most of them are marked, and not reached
    happened = rig.send(c.SendMessage(id=rig.new_id(), workflow_id=CAMERA_ID, name="approval", payload=YES))
    assert happened.of(e.Send), "one command passes as many nodes as a slice has"
    rig.drain()
    rig.check()
    below = [row for row in rig.nodes().values() if row.name == "approval"]
    assert sorted(rig.statuses(row.id)[0] for row in below) == ["complete", *["deactivated"] * 20]


def test_in_a_paused_workflow_none_begins_to_wait_and_those_that_do_get_their_message():
    rig = running(wait(), new("step", NON_BLOCKING))
    rig.workflow("pause")
    rig.complete("step", wait("late"))
    assert rig.server("late") == ["paused"]
    send(rig)
    send(rig, "late")
    assert rig.server("approval", "late") == ["complete", "paused"]
    rig.workflow("resume")
    assert rig.server("late") == ["complete"]


def test_it_needs_no_slot_of_a_limit_of_its_name():
    rig = Rig()
    rig.ask(c.ChangeLimit, client_id=USER, activity="approval", values=LimitValues(concurrency=1))
    rig.signal("signal")
    rig.complete("signal", wait(), wait("approval"))
    assert {row.server.name for row in rig.nodes().values() if row.name == "approval"} == {"SENT_TO_CLIENT"}


def test_a_removed_workflow_leaves_no_message():
    rig = Rig()
    policy = RetentionPolicy(owner_id=USER, name="purchase", keep_seconds=5.0, archive=False, refuse_seconds=9.0)
    rig.tell(c.ChangeRetention, policy=policy)
    rig.signal("signal")
    send(rig)
    rig.complete("signal")
    rig.fire(CAMERA_ID, rig.now + 6_000)
    store = rig.store_of(CAMERA_ID)
    assert not store[MESSAGES]
    assert not store[INBOXES]
    assert send(rig).reply.reason is Reason.NOT_FOUND


def test_it_says_what_it_waits_for_and_until_when():
    rig = running(wait(client_data=b'{"timeout":null}'), wait("payment", client_data=b'{"timeout":60}'))
    assert why(rig, "approval") == "waits for “approval” to be sent to its workflow"
    assert why(rig, "payment") == "waits for “payment” to be sent to its workflow, until 1970-01-01 00:17:40 UTC"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_no_more_messages_are_kept_than_the_bound_and_the_refusal_says_so(monkeypatch):
    monkeypatch.setattr(inbox, "MESSAGES_MAX", 2)
    rig = running(new("step"))
    for _ in range(2):
        assert send(rig).reply == Done()
    refusal = send(rig).reply
    assert refusal.reason is Reason.LIMIT_EXCEEDED
    assert refusal.message.startswith("The workflow keeps 2 messages (44 bytes) that no node has waited for yet")
    rig.complete("step", wait())
    assert send(rig).reply == Done()


def test_no_more_bytes_are_kept_than_the_bound(monkeypatch):
    monkeypatch.setattr(inbox, "BYTES_MAX", 50)
    rig = running(new("step"))
    assert send(rig).reply == Done()
    assert send(rig, payload=b'"' + b"x" * 40 + b'"').reply.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": ""}, Reason.INVALID_PARAMETERS),
        ({"name": "x" * 2_000}, Reason.LIMIT_EXCEEDED),
        ({"payload": b"no JSON"}, Reason.INVALID_PARAMETERS),
        ({"payload": b'"' + b"x" * 300_000 + b'"'}, Reason.LIMIT_EXCEEDED),
        ({"user_id": OTHER}, Reason.NOT_FOUND),
    ],
)
def test_a_message_that_is_refused_leaves_no_trace(given, reason):
    rig = running(wait())
    before = rig.snapshot()
    assert send(rig, **given).reply.reason is reason
    assert rig.snapshot() == before


def test_a_complete_workflow_takes_no_message():
    rig = running(wait())
    rig.workflow("complete")
    assert send(rig).reply.reason is Reason.WORKFLOW_COMPLETE


def test_a_default_that_is_no_json_is_refused():
    rig = Rig()
    rig.signal("signal")
    assert rig.complete("signal", wait(default=b"no JSON")).reply.reason is Reason.INVALID_PARAMETERS


# --- signals beside the others ---------------------------------------------------------------------------------------


def beside(rig: Rig, name: str = "beside", **given: Any) -> Happened:
    carried = {key: given.pop(key) for key in ("id", "coalesce_key") if key in given}
    node = new(name, type="decision", **given)
    return rig.ask(c.Signal, workflow_id=CAMERA_ID, node=node, beside=True, **carried)


def test_a_signal_beside_the_others_starts_at_once_and_nobody_waits_for_it():
    rig = running(new("step"))
    rig.signal("queued")
    assert beside(rig).dispatched == ["beside"]
    assert rig.both("queued") == ("ready", "ready")
    rig.complete("step")
    assert rig.server("queued", "beside") == ["sent_to_client"] * 2
    rig.complete("queued")
    assert rig.server("queued", "beside") == ["complete", "sent_to_client"]
    rig.complete("beside")
    assert rig.server("beside") == ["complete"]


def test_a_signal_beside_the_others_is_tried_again_beside_them():
    rig = running(new("step"))
    beside(rig, retries=1, retry_interval_seconds=1.0)
    rig.error("beside", attempt=1)
    assert rig.due("beside").dispatched == ["beside"]
    rig.error("beside", attempt=2)
    assert rig.restart("beside").dispatched == ["beside"]


def test_a_signal_beside_the_others_waits_for_its_time_and_for_results_but_not_for_its_turn():
    rig = running(new("step", NON_BLOCKING), wait())
    beside(rig, fires_at=rig.now + 5_000)
    beside(rig, "taker", takes=(Take(rig["step"]),))
    assert why(rig, "taker") == "waits for the result of “step”"
    assert rig.complete("step").dispatched == ["taker"]
    assert rig.due("beside").dispatched == ["beside"]


def test_a_shutdown_leaves_signals_beside_it():
    rig = running(new("step"))
    rig.signal("queued")
    beside(rig)
    rig.complete("step")
    rig.error("queued", retriable=False)
    rig.signal("later")
    rig.say("shutdown", "queued")
    assert rig.server("queued", "beside", "later") == ["complete", "sent_to_client", "deactivated"]


def test_a_signal_beside_the_others_may_be_linked_to_what_its_workflow_does():
    rig = running(new("step"))
    happened = beside(rig, parent_link_id=rig["step"])
    assert happened.dispatched == ["beside"]
    rig.complete("step")
    assert rig.server("step") == ["processing_children"]
    rig.complete("beside")
    assert rig.server("step", "signal") == ["complete", "complete"]
