"""Results as arguments, in memory: what flows, what a reference is not, what is given where there is no result."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from backbeat import BackbeatError, Worker, activity, current
from backbeat.activities.results import Result
from backbeat.codecs import Fernet
from backbeat.errors import NodeFailed, Rejected, Timeout, Unavailable
from backbeat.schemas.messages.queries import GetResults
from backbeat.streams.core.takes import reading
from backbeat.testing import Backbeat
from backbeat.testing.transport import MemoryTransport


@dataclass
class Page:
    number: int
    text: str


seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


@activity("Price")
async def get_price(sku: str) -> int:
    return {"camera": 703, "lens": 41}[sku]


@activity("Render")
def render(number: int) -> Page:
    return Page(number, f"page {number}")


@activity("Charge")
def charge(customer: str, amount: int, notes: Any = None) -> str:
    seen.append((customer, amount, notes))
    return f"{customer} paid {amount}"


@activity("Publish")
async def publish(pages: list[Page]) -> str:
    seen.append(pages)
    return " ".join(page.text for page in pages)


@activity("Fail")
def fail() -> int:
    raise RuntimeError("it broke")


async def played(order: Callable[[], Any], **given: Any) -> tuple[Any, Backbeat]:
    """The result of a signal whose handler is `order`."""
    backbeat = Backbeat()
    worker = Worker(activities=[get_price, render, charge, publish, fail], **given)
    worker.activity("Order")(order)
    client = backbeat.client(**given)
    backbeat.add(worker)
    node = await client.signal("Orders", "o1", "Order")
    await backbeat.run()
    return node, backbeat


async def test_a_result_is_an_argument_and_the_handler_gets_the_value():
    def order() -> None:
        price = current().add(get_price, "camera")
        current().add(charge, "Ann", price.result)

    await played(order)
    assert seen == [("Ann", 703, None)]


async def test_a_reference_may_stand_anywhere_and_twice():
    def order() -> None:
        price, lens = current().add(get_price, "camera"), current().add(get_price, "lens")
        notes = {"all": [price.result, {"lens": lens.result}], "again": price.result}
        current().add(charge, "Ann", amount=price.result, notes=notes)
        current().add("Charge", params={"customer": "Bob", "amount": lens.result})

    await played(order)
    assert seen == [("Ann", 703, {"all": [703, {"lens": 41}], "again": 703}), ("Bob", 41, None)]


async def test_the_results_of_a_group_come_as_a_list_of_what_the_annotation_says():
    def order() -> None:
        pages = current().spread(render, range(7))
        assert pages == 7
        current().add(publish, pages.results)

    await played(order)
    assert seen == [[Page(number, f"page {number}") for number in range(7)]]


async def test_more_results_than_go_along_are_asked_for(monkeypatch):
    monkeypatch.setattr(reading, "FIRST_RESULTS_MAX", 3)

    def order() -> None:
        pages = current().spread(render, range(20))
        current().add(publish, pages.results)
        current().add("Plain", pages.results)

    backbeat = Backbeat()
    worker = Worker(activities=[render, publish])
    worker.activity("Order")(order)
    worker.activity("Plain")(lambda pages: seen.append(len(pages)))
    backbeat.add(worker)
    await backbeat.client().signal("Orders", "o1", "Order")
    await backbeat.run()
    assert seen == [[Page(number, f"page {number}") for number in range(20)], 20]


@pytest.mark.parametrize("error", [Timeout("no answer"), Unavailable("no Kafka")])
async def test_results_that_cannot_be_read_spend_no_retry(monkeypatch, error):
    monkeypatch.setattr(reading, "FIRST_RESULTS_MAX", 3)
    failed, query = set(), MemoryTransport.query

    async def fails_at_first(self: MemoryTransport, asked: Any, *given: Any) -> list[Any]:
        if isinstance(asked, GetResults) and asked.node_id not in failed:
            failed.add(asked.node_id)
            raise error
        return await query(self, asked, *given)

    monkeypatch.setattr(MemoryTransport, "query", fails_at_first)

    def order() -> None:
        pages = current().spread(render, range(5)).results
        current().add("Plain", pages, retries=0)
        current().add(publish, pages, retries=0)

    backbeat = Backbeat()
    worker = Worker(activities=[render, publish])
    worker.activity("Order")(order)
    worker.activity("Plain")(lambda pages: seen.append(len(pages)))
    backbeat.add(worker)
    await backbeat.client().signal("Orders", "o1", "Order")
    await backbeat.run()
    await backbeat.advance(minutes=5)
    assert len(failed) == 2
    assert seen == [5, [Page(number, f"page {number}") for number in range(5)]]


async def test_a_group_without_members_has_an_empty_list():
    def order() -> None:
        current().add(publish, current().spread(render, []).results)

    await played(order)
    assert seen == [[]]


async def test_members_of_a_group_take_results_too():
    def order() -> None:
        price = current().add(get_price, "camera")
        current().spread(charge, [("Ann", price.result), ("Bob", price.result)])

    await played(order)
    assert sorted(seen) == [("Ann", 703, None), ("Bob", 703, None)]


async def test_a_workflow_returns_what_its_steps_work_out():
    def order() -> None:
        price = current().add(get_price, "camera")
        paid = current().add(charge, "Ann", price.result)
        current().spread(render, range(2))
        current().returns(paid.result)

    node, _ = await played(order)
    assert await node.result() == "Ann paid 703"


async def test_a_node_that_is_there_already_gives_its_result():
    def order() -> None:
        current().add(get_price, "camera")
        current().add("Later")

    async def later() -> None:
        tree = await current().tree()
        (price,) = [node for _, node in tree.walk() if node.name == "Price"]
        current().add(charge, "Ann", current().result_of(price.id))

    backbeat = Backbeat()
    worker = Worker(activities=[get_price, charge])
    worker.activity("Order")(order)
    worker.activity("Later")(later)
    backbeat.add(worker)
    await backbeat.client().signal("Orders", "o1", "Order")
    await backbeat.run()
    assert seen == [("Ann", 703, None)]


async def test_an_encrypted_argument_and_an_encrypted_result():
    def order() -> None:
        price = current().add(get_price, "camera")
        current().add(charge, "Ann", price.result)
        current().add(publish, current().spread(render, range(3)).results)

    _, backbeat = await played(order, codec=Fernet(Fernet.new_key()))
    assert seen == [("Ann", 703, None), [Page(number, f"page {number}") for number in range(3)]]
    # As a value of its own: a ciphertext may hold any three characters.
    assert not [sent for sent in backbeat.sent() if re.search(r"(?<![\w=-])703(?![\w=-])", repr(sent.record))]


async def test_without_a_result_the_taker_is_deactivated_or_gets_its_default():
    def order() -> None:
        price = current().add("Fail", mode="non_blocking", retries=0)
        current().add("Charge", "Ann", price.result, mode="non_blocking")
        current().add("Charge", "Bob", price.result_or(7), mode="non_blocking")

    node, backbeat = await played(order)
    tree = await node.tree()
    (failed,) = [item for _, item in tree.walk() if item.name == "Fail"]
    assert seen == []
    await failed.cancel()
    await backbeat.run()
    assert seen == [("Bob", 7, None)]
    assert (await node.refresh()).status == "complete"


async def test_what_an_operator_resolves_a_node_with_is_its_result():
    def order() -> None:
        price = current().add("Fail", mode="non_blocking", retries=0)
        current().add("Charge", "Ann", price.result)

    node, backbeat = await played(order)
    (failed,) = [item for _, item in (await node.tree()).walk() if item.name == "Fail"]
    await failed.resolve({"result": 5})
    await backbeat.run()
    assert seen == [("Ann", 5, None)]


# --- what a reference is not -----------------------------------------------------------------------------------------

MISUSES: dict[str, Callable[[Any], Any]] = {
    "compared": lambda result: result == 7,
    "ordered": lambda result: result < 7,
    "added": lambda result: result + 1,
    "added to": lambda result: 1 + result,
    "iterated": list,
    "measured": len,
    "indexed": lambda result: result[0],
    "a condition": bool,
    "text": str,
    "formatted": lambda result: f"{result}",
    "a number": int,
    "rounded": round,
    "floored": math.floor,
    "a key": lambda result: {result: 1},
    "called": lambda result: result(),
    "contained": lambda result: 1 in result,
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_all_but_passing_it_on_is_a_type_error_that_says_what_it_is(misuse):
    with pytest.raises(TypeError, match=r"the result of an activity that has not run yet.*What to do"):
        misuse(Result(None, 0))


def test_an_attribute_of_a_result_is_not_there_yet():
    with pytest.raises(AttributeError, match="asked for its attribute 'amount'"):
        Result(None, 0).amount  # noqa: B018


def _returned() -> Any:
    return current().add(get_price, "camera").result


def _signalled() -> None:
    current().signal("Orders", "o2", "Other", args=[current().add(get_price, "camera").result])


def _two_results() -> str:
    current().returns(current().add(get_price, "camera").result)
    return "another"


def _of_nobody() -> None:
    current().add(charge, "Ann", 1, {"$backbeat": {"result": 0}, "x": current().add(get_price, "camera").result})


def _of_group() -> None:
    current().returns(current().spread(render, [1]).results)


def _forgotten() -> None:
    current().add(publish, current().spread("Render", [1], mode="fire_and_forget").results)


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (_returned, "written where no result can be taken"),
        (_signalled, "written where no result can be taken"),
        (_two_results, "the activity has two results"),
        (_of_nobody, "Backbeat's own there"),
        (_of_group, "takes the result of one child"),
        (_forgotten, "nobody waits for its results"),
    ],
)
async def test_a_result_where_none_can_be_is_an_error_of_the_handler(order, text):
    backbeat = Backbeat()
    worker = Worker(activities=[get_price, render, charge, publish])
    worker.activity("Order", retries=0)(order)
    backbeat.add(worker)
    node = await backbeat.client().signal("Orders", "o1", "Order", retries=0)
    await backbeat.run()
    with pytest.raises((NodeFailed, BackbeatError), match=text):
        await node.result()


async def test_a_result_of_another_handlers_child_is_refused():
    kept: list[Any] = []

    def order() -> None:
        kept.append(current().add(get_price, "camera").result)
        current().add("Other")

    def other() -> None:
        try:
            current().add(charge, "Ann", kept[0])
        except Rejected as error:
            seen.append(str(error))

    backbeat = Backbeat()
    worker = Worker(activities=[get_price, charge])
    worker.activity("Order")(order)
    worker.activity("Other")(other)
    backbeat.add(worker)
    await backbeat.client().signal("Orders", "o1", "Order")
    await backbeat.run()
    assert "given to a child of another activity" in seen[0]
