"""Failures in memory: handlers, undos, what runs when something is canceled, and what a caller hears of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backbeat import Fail, Worker, activity, current
from backbeat.codecs import Fernet
from backbeat.errors import InvalidParameters, InvalidStatus, NodeFailed, NotFound
from backbeat.testing import Backbeat, NothingDue

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


@activity("Release")
def release(reservation: str, sku: str) -> None:
    seen.append(f"release {reservation} of {sku}")


@activity("Reserve", undo=release)
def reserve(sku: str) -> str:
    seen.append(f"reserve {sku}")
    return f"r-{sku}"


@activity("Refund", retries=1, backoff=1)
async def refund(error: dict[str, Any], customer: str) -> str:
    seen.append(f"refund {customer}: {error['message']}")
    if customer == "Ann":
        current().give_up()
    if customer == "Eve":
        raise Fail("the bank is closed")
    return "not charged"


@activity("Charge", retries=1, backoff=1, on_failure=refund)
def charge(customer: str) -> str:
    raise ValueError("no money")


@activity("Ship")
def ship(item: str) -> str:
    seen.append(f"ship {item}")
    return item


@activity("Clean")
def clean(name: str) -> None:
    seen.append(f"clean {name}")


@activity("Render", on_cancel=clean, asynchronous=True)
def render(name: str, size: int) -> None:
    seen.append(f"render {name}")


@activity("Order")
def order(customer: str) -> None:
    current().add(reserve, "camera")
    current().add(reserve, "lens")
    paid = current().add(charge, customer)
    current().add(ship, paid.result)


ACTIVITIES = [release, reserve, refund, charge, ship, clean, render, order]


async def ordered(customer: str, **given: Any) -> tuple[Any, Backbeat]:
    backbeat = Backbeat(Worker(activities=ACTIVITIES, **given))
    node = await backbeat.client(**given).signal("Orders", customer, order, customer)
    await backbeat.advance(minutes=1)
    return node, backbeat


async def test_a_failure_is_handled_and_what_the_handler_returns_is_the_result():
    node, _ = await ordered("Bob")
    await node.result()
    assert seen[2:] == ["refund Bob: ValueError: no money", "ship not charged"]
    assert not (await node.refresh()).given_up


async def test_a_handler_gives_up_and_what_was_done_is_undone_in_reverse():
    node, _ = await ordered("Ann")
    assert seen[2:] == ["refund Ann: ValueError: no money", "release r-lens of lens", "release r-camera of camera"]
    with pytest.raises(NodeFailed, match="'Charge' was given up: ValueError: no money") as failed:
        await node.result()
    charged = next(child for child in await node.children() if child.name == "Charge")
    assert (failed.value.node_id, (await node.refresh()).given_up) == (charged.id, True)


async def test_arguments_and_results_are_packed_for_what_follows_too():
    key = Fernet.new_key()
    node, _ = await ordered("Ann", codec=Fernet(key))
    assert seen[-1] == "release r-camera of camera"
    nodes = [branch for _, branch in (await node.tree()).walk()]
    assert "Release" in [branch.name for branch in nodes]
    assert not any(b"camera" in branch.view.client_data for branch in nodes)


async def test_a_handler_that_fails_leaves_a_failed_node_and_a_caller_may_hear_of_it_at_once():
    node, backbeat = await ordered("Eve")
    with pytest.raises(NothingDue, match="'Refund' is retries_exhausted: Fail: the bank is closed"):
        await node.result()
    with pytest.raises(NodeFailed, match="'Charge': ValueError: no money") as failed:
        await node.result(fail_fast=True)
    assert failed.value.status == "retries_exhausted"
    client = backbeat.client()
    await client.resolve(failed.value.node_id, "by hand")
    await node.result()
    assert seen[-1] == "ship by hand"


async def test_the_outcome_of_a_workflow_says_what_fails_and_why():
    node, backbeat = await ordered("Eve")
    client = backbeat.client()
    outcome = await client.outcome("Orders", "Eve")
    assert (outcome.state, outcome.done, outcome.total, outcome.given_up) == ("failed", 2, 6, False)
    assert [str(step).partition(":")[0] for step in outcome.failing] == ["Charge", "Refund"]
    assert (
        "Fail: the bank is closed; failed with an error that is not retried: it waits until" in outcome.failing[1].why
    )
    await client.shutdown(outcome.failing[0].id)
    await backbeat.run()
    outcome = await client.outcome_of(node.workflow_id)
    assert (outcome.state, outcome.done, outcome.given_up) == ("failed", 7, True)
    assert [step.why for step in outcome.failing] == ["ValueError: no money; was given up"]
    await ordered_and_done(backbeat)


async def ordered_and_done(backbeat: Backbeat) -> None:
    client = backbeat.client()
    await client.signal("Orders", "Bob", order, "Bob")
    await backbeat.run()
    assert (await client.outcome("Orders", "Bob")).state == "retrying"
    await backbeat.advance(minutes=1)
    outcome = await client.outcome("Orders", "Bob")
    assert (outcome.state, outcome.failing) == ("done", [])
    await client.signal("Films", "f1", render, "a", 3)
    await backbeat.run()
    assert (await client.outcome("Films", "f1")).state == "running"
    await client.signal("Films", "f2", ship.with_options(at=timedelta(days=1)), "x")
    assert (await client.outcome("Films", "f2")).state == "waiting"
    with pytest.raises(NotFound, match="Films"):
        await client.outcome("Films", "f3")


async def test_a_signal_is_handled_by_what_its_function_declares():
    backbeat = Backbeat(Worker(activities=ACTIVITIES))
    node = await backbeat.client().signal("Charges", "c1", charge, "Bob")
    await backbeat.advance(minutes=1)
    assert await node.result() == "not charged"


async def test_giving_up_is_for_handlers_of_failures():
    @activity("Buy", retries=0)
    def buy() -> None:
        current().give_up()

    backbeat = Backbeat(Worker(activities=[buy]))
    node = await backbeat.client().signal("Sales", "s1", buy)
    with pytest.raises(NodeFailed, match="only the activity that follows a failure"):
        await node.result()


async def test_what_follows_is_said_of_one_child_with_its_own_arguments_and_retries():
    @activity("Sale")
    def sale() -> None:
        tell = ship.with_options(params={"item": "the news"}, retries=0)
        current().add(charge.with_options(on_failure=tell, retries=0), "Ann")

    backbeat = Backbeat(Worker(activities=[*ACTIVITIES, sale]))
    node = await backbeat.client().signal("Sales", "s1", sale)
    await node.result()
    assert seen == ["ship the news"]


async def test_what_follows_a_cancel_gets_the_arguments():
    backbeat = Backbeat(Worker(activities=ACTIVITIES))
    client = backbeat.client()
    node = await client.signal("Films", "f1", render, "a", 3)
    await backbeat.run()
    await node.cancel()
    await backbeat.run()
    assert seen == ["render a", "clean a"]


async def test_a_cancel_may_undo_what_was_done():
    @activity("Sale")
    def sale() -> None:
        current().add(reserve, "camera")
        current().add(render, "a", 3)

    backbeat = Backbeat(Worker(activities=[*ACTIVITIES, sale]))
    client = backbeat.client()
    node = await client.signal("Sales", "s1", sale)
    await backbeat.run()
    await node.cancel(compensate=True)
    await backbeat.run()
    assert seen[2:] == ["clean a", "release r-camera of camera"]
    assert await client.status(node.id) == "deactivated"
    done = await client.signal("Sales", "s2", ship, "x")
    await done.result()
    with pytest.raises(InvalidStatus, match="it is too late to cancel it"):
        await client.cancel(done.id, compensate=True)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"undo": print}, InvalidParameters, "undo is <built-in function print>; it must be an activity"),
        ({"on_failure": 7}, InvalidParameters, "on_failure is 7; it must be an activity"),
    ],
)
def test_what_cannot_follow_is_refused_where_it_is_declared(options, error, text):
    with pytest.raises(error, match=text):
        activity("Sale", **options)(lambda: None)


@pytest.mark.parametrize(
    ("add", "error", "text"),
    [
        (lambda: current().add(ship.with_options(undo=refund), "x"), None, ""),
        (
            lambda: current().add(ship.with_options(on_cancel=refund), "x"),
            TypeError,
            "'Refund' cannot be on_cancel here",
        ),
        (
            lambda: current().add(ship.with_options(undo=clean.with_options(mode="blocking")), "x"),
            TypeError,
            "mode",
        ),
        (
            lambda: current().add(ship.with_options(undo=release), current().add(reserve, "x").result),
            TypeError,
            "results of other activities",
        ),
        (
            lambda: current().add(ship.with_options(undo=release), {"$backbeat": 1}),
            InvalidParameters,
            "that key is Backbeat|Backbeat's own",
        ),
    ],
)
async def test_arguments_of_what_follows_are_checked_where_it_is_added(
    add: Callable[[], Any], error: type[BaseException] | None, text: str
):
    raised: list[BaseException] = []

    @activity("Try")
    def try_it() -> None:
        try:
            add()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is looked at
            raised.append(problem)

    backbeat = Backbeat(Worker(activities=[*ACTIVITIES, try_it]))
    await backbeat.client().signal("Tries", "t1", try_it)
    await backbeat.run()
    if error is None:
        assert raised == []
    else:
        with pytest.raises(error, match=text):
            raise raised[0]
