"""Messages to workflows, and signals beside the others, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from backbeat import Worker, activity, current
from backbeat.codecs import Fernet
from backbeat.errors import InvalidParameters, KeyReused, LimitExceeded, NodeFailed, NotFound, WorkflowComplete
from backbeat.streams.core.inbox import inbox
from backbeat.testing import Backbeat, PlainBackbeat


@dataclass
class Approval:
    by: str


seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


@activity("Pay")
async def pay(approval: Approval, note: str = "") -> str:
    seen.append(approval)
    return f"paid by {approval.by}{note}"


@activity("Order")
async def order(timeout: float | None = None) -> None:
    approval = current().wait_for("approval", Approval, timeout=timeout)
    current().returns(current().add(pay, approval.result).result)


@activity("Patient order")
async def patient_order() -> None:
    approval = current().wait_for("approval", Approval, timeout=timedelta(days=3), default=Approval("nobody"))
    current().returns(current().add(pay, approval.result).result)


@activity("Block")
async def block() -> None:
    current().wait_for("go on")


WORKER = Worker(activities=[order, patient_order, pay, block])


@pytest.mark.parametrize("codec", [None, Fernet(Fernet.new_key())])
async def test_a_message_is_an_argument_of_what_comes_next(codec):
    worker = Worker(activities=[order, pay], codec=codec)
    async with Backbeat(worker) as backbeat:
        client = backbeat.client(codec=codec)
        node = await client.signal("Orders", "o1", order)
        await backbeat.run()
        for _ in range(2):
            await client.send("Orders", "o1", "approval", Approval("Grace"), idempotency_key="once")
        assert await node.result() == "paid by Grace"
        assert seen == [Approval("Grace")]


async def test_a_service_publishes_one_on_its_signals_topic():
    message = {"workflow": "Orders", "subject": "o1", "message": "approval", "value": {"by": "Grace"}, "id": "order-1"}
    async with Backbeat(WORKER) as backbeat:
        backbeat.publish(message)
        assert [letter.reason.partition(":")[0] for letter in backbeat.dead_letters] == ["not_found"]
        backbeat.publish(
            {"workflow": "Orders", "subject": "o1", "decider": "D", "signal": "Order", "id": "order-1",
             "client_data": {"params": [None]}}
        )  # fmt: skip
        for _ in range(2):
            backbeat.publish(message)
        await backbeat.run()
        client = backbeat.client()
        (child,) = await client.children(client.workflow_id("Orders", "o1"))
        assert await client.wait(child.id) == "paid by Grace"
        assert len(backbeat.dead_letters) == 1


@pytest.mark.parametrize("timeout", [-1, -0.5])
async def test_a_timeout_that_cannot_be_is_refused_where_it_is_given(timeout):
    async with Backbeat(WORKER) as backbeat:
        node = await backbeat.client().signal("Orders", "o1", "Order", args=[timeout], retries=0)
        with pytest.raises(NodeFailed, match="timeout is "):
            await node.result()


async def test_a_message_that_comes_before_the_wait_is_kept():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        await client.signal("Orders", "o1", block)
        node = await client.signal("Orders", "o1", order)
        await client.send("Orders", "o1", "approval", Approval("Ada"))
        await client.send("Orders", "o1", "go on")
        assert await node.result() == "paid by Ada"


async def test_a_wait_without_a_message_fails_or_has_its_default():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        impatient = await client.signal("Orders", "o1", order, 60.0)
        patient = await client.signal("Orders", "o2", patient_order)
        await backbeat.run()
        (wait,) = await client.waits((await client.children(patient.id))[0].id)
        assert wait.sentence.startswith("waits for “approval” to be sent to its workflow, until ")
        await backbeat.advance(days=4)
        assert await patient.result() == "paid by nobody"
        failed = (await client.children(impatient.id))[0]
        assert failed.status == "retries_exhausted"
        assert failed.error == "No message 'approval' was sent to its workflow in time"
        with pytest.raises(NodeFailed, match="No message 'approval' was sent"):
            await client.wait(failed.id)
        await client.retry(failed.id)
        await client.send("Orders", "o1", "approval", Approval("late"))
        assert await impatient.result() == "paid by late"


async def test_refusals_say_which_workflow(monkeypatch):
    monkeypatch.setattr(inbox, "MESSAGES_MAX", 1)
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        with pytest.raises(NotFound, match="There is no workflow 'Orders' of 'o1'"):
            await client.send("Orders", "o1", "approval")
        await client.find_or_create("Orders", "o1")
        await client.send("Orders", "o1", "approval", 1, idempotency_key="once")
        with pytest.raises(KeyReused, match="What to do: the same request, or a key of its own"):
            await client.send("Orders", "o1", "approval", 2, idempotency_key="once")
        with pytest.raises(LimitExceeded, match="The workflow keeps 1 messages"):
            await client.send("Orders", "o1", "approval", 2)
        await client.close(client.workflow_id("Orders", "o1"))
        with pytest.raises(WorkflowComplete):
            await client.send("Orders", "o1", "approval", 3)


async def test_what_cannot_be_sent_is_named():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        with pytest.raises(InvalidParameters, match="The message 'approval' cannot be written as JSON"):
            await client.send("Sale", 703, "approval", object())
        with pytest.raises(LimitExceeded, match="The message 'approval' has"):
            await client.send("Sale", 703, "approval", "x" * 300_000)
        with pytest.raises(InvalidParameters, match="idempotency_key is 1 byte or more, not 0"):
            await client.send("Sale", 703, "approval", idempotency_key="")


def test_the_blocking_twin_sends_too():
    with PlainBackbeat(WORKER) as backbeat:
        client = backbeat.client()
        node = client.signal("Orders", "o1", order)
        client.send("Orders", "o1", "approval", Approval("Grace"))
        assert node.result() == "paid by Grace"


async def test_a_signal_beside_the_others_does_not_wait_for_its_turn():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        await client.signal("Orders", "o1", block)
        queued = await client.signal("Orders", "o1", pay, Approval("queued"))
        for how in (pay.with_options(beside=True), pay.with_options(beside=True, idempotency_key="k")):
            beside = await client.signal("Orders", "o1", how, Approval("beside"))
            assert await beside.result() == "paid by beside"
        by_name = await client.signal("Orders", "o1", "Pay", args=[{"by": "name"}], beside=True)
        assert await by_name.result() == "paid by name"
        assert (await queued.refresh()).status == "ready"
