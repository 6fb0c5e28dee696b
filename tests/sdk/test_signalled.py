"""Signals by an activity's function: its arguments, what is declared, and results that are what it says it returns."""

import dataclasses
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from backbeat import Worker, activity, current
from backbeat.errors import CodecError, InvalidParameters, UnknownOption
from backbeat.schemas.messages.values import Backoff
from backbeat.testing import Backbeat, PlainBackbeat


class Line(pydantic.BaseModel):
    sku: str


@dataclasses.dataclass
class Order:
    lines: list[Line]
    due: date


class Page(msgspec.Struct):
    number: int


@activity("Greet", retries=2, backoff=60, timeout=30)
async def greet(who: str, *, word: str = "Hello") -> str:
    return f"{word} {who}"


@activity("Order")
def take(name: str, at: int) -> tuple[str, int]:
    return name, at


async def test_arguments_follow_the_function_and_the_rest_is_as_declared() -> None:
    async with Backbeat(Worker(activities=[greet])) as backbeat:
        client = backbeat.client()
        node = await client.signal("W", "s", greet, "Ann", word="Hei")
        assert (node.name, node.retries_remaining, node.client_data["timeout"]) == ("Greet", 2, 30.0)
        assert await node.result() == "Hei Ann"
        assert await (await client.signal("W", "s", greet, args=["Bob"])).result() == "Hello Bob"  # type: ignore[call-arg]
        published = await client.publish("W", "t", greet, "Cid")
        assert await client.wait(published) == "Hello Cid"


async def test_options_go_with_the_function() -> None:
    async with Backbeat(Worker(activities=[greet])) as backbeat:
        client = backbeat.client()
        bound = greet.with_options(idempotency_key="k", retries=0, metadata={"a": 1}, decider="D", timeout=5)
        first = await client.signal("W", "s", bound, "Ann")
        assert (await client.signal("W", "s", bound, "Ann")).id == first.id
        assert (first.retries_remaining, first.metadata, first.decider) == (0, {"a": 1}, "D")
        assert first.client_data["timeout"] == 5.0
        assert first.view.retry_interval_seconds == 60.0
        assert await first.result() == "Hello Ann"


def test_parameters_may_have_the_names_of_options() -> None:
    with PlainBackbeat(Worker(activities=[take])) as backbeat:
        node = backbeat.client().signal("W", "s", take, name="Ann", at=7)
        assert node.result() == ("Ann", 7)


@pytest.mark.parametrize(
    ("signal", "error", "text"),
    [
        (lambda c: c.signal("W", "s", greet, "Ann", wrod="Hei"), TypeError, "unexpected keyword argument 'wrod'"),
        (lambda c: c.signal("W", "s", greet), TypeError, "missing a required argument: 'who'"),
        (lambda c: c.signal("W", "s", greet.with_options(mode="blocking"), "A"), UnknownOption, "knows no `mode`"),
        (lambda c: c.signal("W", "s", "Greet", "Ann"), TypeError, r"its arguments go into args=\[…\]"),
        (
            lambda c: c.signal("W", "s", str.upper, "Ann"),
            InvalidParameters,
            "upper is neither. What to do: put",
        ),
        (lambda c: c.signal("W", "s", greet, "Ann", args=["Ann"]), TypeError, "give arguments, args or client_data"),
        (lambda c: c.publish("W", "s", greet), TypeError, "missing a required argument"),
        (lambda c: c.signal("W", "s", greet.with_options(retries=-1), "A"), InvalidParameters, "retries is below 0"),
    ],
)
def test_what_cannot_be_is_refused_at_once(signal: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    with PlainBackbeat() as backbeat:
        client = backbeat.client()
        with pytest.raises(error, match=text):
            signal(client)
        assert client.tree(client.find_or_create("W", "s").id).children == []


def test_children_refuse_the_words_of_signals() -> None:
    @activity("Parent", retries=0)
    def parent() -> None:
        with pytest.raises(UnknownOption, match="knows no `idempotency_key`"):
            current().add(greet.with_options(idempotency_key="k"), "Ann")
        current().signal("W", "other", greet, "Ann", word="Hei")
        current().signal("W", "third", greet.with_options(at=timedelta(hours=1)), "Ann")
        (first, second) = current().signals
        assert (first.node.retries, first.node.backoff) == (2, Backoff())
        assert second.node.fires_at is not None

    with PlainBackbeat(Worker(activities=[parent, greet])) as backbeat:
        client = backbeat.client()
        client.signal("W", "s", parent).result()
        backbeat.run()
        (child,) = client.tree(client.workflow_id("W", "other")).children
        assert child.node.client_data["params"] == {"who": "Ann", "word": "Hei"}


VALUES: list[Any] = [
    (Order, Order([Line(sku="a")], date(2026, 11, 29))),
    (list[Line], [Line(sku="a")]),
    (Page | None, Page(3)),
    (Page | None, None),
    (tuple[int, str], (3, "a")),
    (dict[int, Page], {3: Page(4)}),
    (timedelta, timedelta(hours=1)),
    (dict[str, int], {"a": 1}),
    (Any, [1]),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=str)
def test_a_result_is_what_its_function_says(annotation: Any, value: Any) -> None:
    def give() -> Any:
        return value

    give.__annotations__ = {"return": annotation}
    declared = activity("Give")(give)
    with PlainBackbeat(Worker(activities=[declared])) as backbeat:
        node = backbeat.client().signal("W", "s", declared)
        for result in (node.result(), node.refresh().result()):
            assert (result, type(result)) == (value, type(value))


def test_a_result_that_is_none_of_it_is_said() -> None:
    @activity("Give")
    def give() -> Page:
        return {"number": "three"}  # type: ignore[return-value]

    with PlainBackbeat(Worker(activities=[give])) as backbeat:
        node = backbeat.client().signal("W", "s", give)
        with pytest.raises(
            CodecError, match=rf"the result of Give {node.id} is not what its annotation says: .*number"
        ):
            node.result()
        # By its name it is what JSON has.
        assert backbeat.client().node(node.id).result() == {"number": "three"}
