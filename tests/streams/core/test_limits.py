"""Limits that every command has, whatever it does."""

import msgspec

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.streams.core import effects as fx
from backbeat.streams.core.dispatch import apply
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES, WORKFLOWS
from tests.streams.core.rig import new, running

USER = b"u" * 16
REPLY_TO = c.ReplyTo(0, b"a" * 16, 1)
WORKFLOW = c.NewWorkflow(user_id=USER, name="w", subject=b'"s"', decider="d")
WORKFLOW_ID = ids.workflow_id(USER, "w", WORKFLOW.subject)


def signal(*, tid="", client_data=b"{}", link=None):
    node = c.NewNode(name="n", user_id=USER, type="decision", client_data=client_data, parent_link_id=link)
    return c.Signal(
        id=b"1" * 16,
        user_id=USER,
        tid=tid,
        reply_to=REPLY_TO,
        workflow_id=WORKFLOW_ID,
        workflow=WORKFLOW,
        node=node,
    )


def refused(command):
    store = MemoryStore()
    effects = apply(command, 1_000, store)
    assert not store[NODES]
    assert not store[WORKFLOWS]
    (reply,) = effects
    assert isinstance(reply, fx.Reply)
    assert isinstance(reply.answer, Rejection)
    return reply


def test_a_transaction_id_has_a_limit_and_its_refusal_is_small():
    reply = refused(signal(tid="t" * 1_025))
    assert reply.answer.reason is Reason.LIMIT_EXCEEDED
    assert "name_bytes_max" in reply.answer.wanted
    assert len(reply.tid) == 256


def test_a_linked_signal_that_is_too_large_is_not_sent_on():
    large = b'{"x":"' + b"x" * 262_144 + b'"}'
    reply = refused(signal(client_data=large, link=bytes(16)))
    assert reply.answer.reason is Reason.LIMIT_EXCEEDED


def test_a_linked_signal_goes_through_its_target():
    store = MemoryStore()
    (send,) = apply(signal(link=bytes(16)), 1_000, store)
    assert isinstance(send, fx.Send)
    assert isinstance(send.command, c.OpenLink)
    assert send.command.signal.node.name == "n"


def test_a_workers_result_that_is_too_large_is_a_client_error():
    store = MemoryStore()
    apply(signal(), 1_000, store)
    (node_id,) = store[NODES]
    result = c.ChangeNode(
        id=b"2" * 16,
        user_id=USER,
        node_id=node_id,
        status="completed",
        attempt=1,
        response=b'"' + b"x" * 262_144 + b'"',
    )
    effects = apply(result, 2_000, store)
    assert isinstance(effects[0], fx.DeadLetter)
    node = store[NODES][node_id]
    assert (node.server.name, node.client.name, node.retries_remaining) == ("RETRYING", "ERRORED", 5)
    assert b"payload_bytes_max" in node.history
    assert apply(result, 3_000, store) != effects  # The attempt is over: it changes nothing any more.
    assert store[NODES][node_id] == node


def test_the_same_refused_of_a_caller_without_attempt_changes_nothing():
    store = MemoryStore()
    apply(signal(), 1_000, store)
    (node_id,) = store[NODES]
    before = store[NODES][node_id]
    response = b'"' + b"x" * 262_144 + b'"'
    change = c.ChangeNode(id=b"2" * 16, user_id=USER, node_id=node_id, status="completed", response=response)
    (refuse,) = apply(change, 2_000, store)
    assert isinstance(refuse, fx.DeadLetter)
    assert store[NODES][node_id] == before


def test_a_result_that_is_refused_is_no_error_of_an_attempt_that_is_over():
    rig = running(new("a"))
    rig.complete("a")
    before = rig.snapshot()
    assert rig.complete("a", attempt=1, tid="t" * 1_025).reply.reason is Reason.LIMIT_EXCEEDED
    assert rig.snapshot() == before


def test_a_linked_signal_to_a_workflow_that_is_there_goes_through_its_target_too():
    store = MemoryStore()
    apply(signal(), 1_000, store)
    linked = msgspec.structs.replace(signal(link=bytes(16)), id=b"2" * 16, workflow=None)
    (send,) = apply(linked, 1_000, store)
    assert isinstance(send.command, c.OpenLink)
