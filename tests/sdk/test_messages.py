"""What the SDK says to a user who errs: the thing by the user's own name, the reason, and what to do."""

import asyncio
import logging
import threading
import time
from datetime import datetime
from typing import Any

import pytest

from backbeat import BackbeatError, InvalidParameters, NodeFailed, NotFound, Worker, activity, current
from backbeat.errors import InvalidStatus, KeyReused, WorkflowComplete
from backbeat.testing import Backbeat, PlainBackbeat
from backbeat.testing.errors import NothingDue
from backbeat.worker.cancellation_watcher import CancellationWatcher
from tests.waiting import until_async


@activity("Charge", retries=0)
def charge(customer: str) -> None:
    raise RuntimeError(f"the card of {customer} was declined")


@activity("Order")
def order(customer: str) -> None:
    current().add(charge, customer)


@activity("Approve", asynchronous=True)
def approve() -> None: ...


def test_a_wait_that_ends_says_which_step_below_has_failed() -> None:
    with PlainBackbeat(Worker(activities=[order, charge])) as backbeat:
        node = backbeat.client().signal("Orders", 1, order, "Ann")
        with pytest.raises(NothingDue, match="'Charge' is retries_exhausted: RuntimeError: the card of Ann"):
            node.result()


async def test_a_timeout_names_the_node_below_that_failed() -> None:
    async with Backbeat(Worker(activities=[order, charge])) as backbeat:
        client = backbeat.client()
        node = await client.signal("Orders", 1, order, "Ann")
        await backbeat.run()
        from backbeat.client import waiting

        message = await waiting._failing_below(client._session, (await node.refresh()).view)
    assert message.startswith(". Below it Charge node ")
    assert message.endswith("is retries_exhausted: RuntimeError: the card of Ann was declined")


@pytest.mark.parametrize(
    ("args", "reason"),
    [([], "missing 1 required positional argument: 'customer'"), (["Ann", 2], "takes 1 positional argument but 2"),
     ({"custmer": "Ann"}, "unexpected keyword argument 'custmer'")],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_not_tried_again(args: Any, reason: str) -> None:
    with PlainBackbeat(Worker(activities=[order, charge])) as backbeat:
        node = backbeat.client().signal("Orders", 1, "Order", args=args, retries=5)
        with pytest.raises(NodeFailed, match=rf"the arguments do not fit 'Order': .*{reason}"):
            node.result()
        assert node.refresh().retries_remaining == 5


def test_a_type_error_of_the_handlers_own_is_tried_again() -> None:
    @activity("Err", retries=1)
    def err() -> None:
        charge.function()  # type: ignore[call-arg]

    with PlainBackbeat(Worker(activities=[err])) as backbeat:
        node = backbeat.client().signal("Orders", 1, err)
        backbeat.run()
        assert node.refresh().status == "retrying"


@pytest.mark.parametrize("forgotten", [lambda: current().history(), lambda: asyncio.sleep(0)])
async def test_a_coroutine_that_was_not_awaited_is_an_error(forgotten: Any) -> None:
    @activity("Forget", retries=0)
    async def forget() -> Any:
        value = forgotten()
        try:
            return {"value": value}
        finally:
            kept.append(value)

    kept: list[Any] = []
    async with Backbeat(Worker(activities=[forget])) as backbeat:
        with pytest.raises(NodeFailed, match="What to do: await it"):
            await (await backbeat.client().signal("Orders", 1, forget)).result()
    for value in kept:
        if asyncio.iscoroutine(value):
            value.close()


def test_a_thread_of_a_handlers_own_has_no_activity() -> None:
    messages: list[str] = []

    def ask() -> None:
        try:
            current()
        except BackbeatError as error:
            messages.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert "no activity is running here" in messages[0]
    assert "A thread that a handler starts has none" in messages[0]


def test_refusals_name_what_the_caller_named() -> None:
    with PlainBackbeat() as backbeat:
        client = backbeat.client()
        client.signal("Orders", "Order 1", "Approve", idempotency_key="k")
        with pytest.raises(KeyReused, match="idempotency_key 'k' was used before, for a signal with another"):
            client.signal("Orders", "Order 2", "Approve", idempotency_key="k")
        client.close(client.workflow_id("Orders", "Order 1"))
        with pytest.raises(WorkflowComplete, match="The workflow 'Orders' of 'Order 1' is complete"):
            client.signal("Orders", "Order 1", "Approve")
        with pytest.raises(NotFound, match="There is no workflow 'Orders' of 'Order 9'"):
            client.tree(client.workflow_id("Orders", "Order 9"))
        with pytest.raises(NotFound, match="There is no workflow 'Orders' of 'Order 9'"):
            client.workflow(client.workflow_id("Orders", "Order 9"))


def test_a_second_answer_is_told_that_there_was_one() -> None:
    with PlainBackbeat(Worker(activities=[approve])) as backbeat:
        node = backbeat.client().signal("Orders", 1, approve)
        second = backbeat.client().signal("Orders", 1, approve)
        with pytest.raises(InvalidStatus, match=f"Node {second.id} has not begun: it is ready"):
            second.answer(result=1)
        backbeat.run()
        node.answer(result=1)
        with pytest.raises(InvalidStatus, match=f"Node {node.id} was answered already: it is complete"):
            node.answer(result=2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"at": datetime(2030, 1, 1)}, "at is a time without a time zone: 2030-01-01T00:00:00. What to do"),  # noqa: DTZ001
        ({"at": "tomorrow"}, "at is a str; it must be a datetime with a time zone, or a timedelta from now"),
        ({"link": "17"}, "link: '17' is no id; it must be a UUID"),
    ],
)
def test_a_bad_value_is_named_by_its_parameter(options: dict[str, Any], text: str) -> None:
    with PlainBackbeat() as backbeat, pytest.raises(InvalidParameters, match=text):
        backbeat.client().signal("Orders", 1, "Approve", **options)


def test_a_mode_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(InvalidParameters, match="There is no mode 'blokcing': did you mean 'blocking'"):
        activity("A", mode="blokcing")(charge.function)  # type: ignore[call-overload]


@pytest.mark.parametrize("subject", ["night of {scheduled}", {"at": "{schedule_at}"}])
def test_a_placeholder_that_stands_for_nothing_is_refused(subject: Any) -> None:
    with PlainBackbeat() as backbeat:
        schedules = backbeat.client().schedules
        with pytest.raises(InvalidParameters, match=r"did you mean \{scheduled_at\}\?"):
            schedules.put("nightly", "Reports", subject, "Report", every=60)
        schedules.put("nightly", "Reports", "of {city}, {scheduled_at}", "Report", every=60)


async def test_a_blocked_event_loop_is_said_with_the_handlers_name(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(activities=[order, activity("Sleep")(_sleeps)])

    async def nobody() -> Any:
        raise AssertionError("nothing is asked")

    watcher = CancellationWatcher(nobody)
    watcher.start()
    handler = worker.defaults("Sleep")
    assert handler is not None

    class Running:
        name = "Sleep"

    running: Any = Running()
    watcher.began(running, handler)
    time.sleep(2.5)  # noqa: ASYNC251 - what is tested
    watcher.ended(running)
    await until_async(lambda: bool(caplog.messages), 60)
    await watcher.stop()
    assert "the event loop was blocked for" in caplog.messages[0]
    assert "by one of Sleep. What to do" in caplog.messages[0]
    assert caplog.records[0].levelno == logging.WARNING


async def _sleeps() -> None: ...
