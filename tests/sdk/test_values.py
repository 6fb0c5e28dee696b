"""What a caller may give: it arrives as it was given, or is refused where it is given."""

import collections
import dataclasses
import decimal
import enum
import math
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest

from backbeat import BackbeatError, Client, Worker, activity
from backbeat.codecs import Fernet
from backbeat.errors import InvalidParameters
from backbeat.testing import Backbeat

INF, NAN = math.inf, math.nan


@dataclasses.dataclass
class Point:
    x: Any


class Struct(msgspec.Struct):
    x: Any


class Model(pydantic.BaseModel):
    x: float


class Odd(enum.Enum):
    NOTHING = NAN


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


itself: list[Any] = []
itself.append(itself)

UNFAITHFUL = {
    "nan": (NAN, "at ['params'][0]: nan is no number of JSON"),
    "infinity below": ({"a": [1, {"b": -INF}]}, "at ['params'][0]['a'][1]['b']: -inf is no number"),
    "in a dataclass": (Point([NAN]), "nan is no number of JSON"),
    "in a struct": (Struct({"a": INF}), "inf is no number of JSON"),
    "in a model": (Model(x=NAN), "nan is no number of JSON"),
    "in an enum": (Odd.NOTHING, "nan is no number of JSON"),
    "in a named tuple": (collections.namedtuple("Pair", "a b")(1, NAN), "nan is no number of JSON"),  # noqa: PYI024 - as old code has them
    "in an ordered dict": (collections.OrderedDict(a=NAN), "nan is no number of JSON"),
    "two keys": ({1: "a", "1": "b"}, "the keys 1 and '1' are one in JSON"),
    "two keys of times": ({date(2026, 1, 1): 1, "2026-01-01": 2}, "'2026-01-01' are one in JSON"),
    "seconds from UTC": (datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), "0:53:28 from UTC"),
    "zone without a day": (time(1, 2, tzinfo=ZoneInfo("Europe/Berlin")), "no day"),
    "far too deep": (nested(3_000), "more than 100 levels deep"),
    "itself": (itself, "more than 100 levels deep"),
    "surrogate": ("\ud800", "surrogates not allowed"),
    "tuple as key": ({(1, 2): 3}, "supported"),
    "a coroutine's": (object(), "not supported"),
}

FAITHFUL: dict[str, tuple[Any, Any]] = {
    "times": (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))), datetime),
    "the last time": (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5))), datetime),
    "longest": (timedelta.max, timedelta),
    "decimal": (decimal.Decimal("NaN"), None),
    "id": (uuid.UUID(int=7), uuid.UUID),
    "numbers as keys": ({1: "a", 2: None}, dict[int, str | None]),
    "null": ({"a": None, "b": [None, 1.5, -0.0]}, None),
    "long number": (2**70, None),
    "deep": (nested(90), None),
    "model": (Model(x=1.5), Model),
    "struct": (Struct(x=None), Struct),
}


@pytest.mark.parametrize(("value", "why"), UNFAITHFUL.values(), ids=UNFAITHFUL)
@pytest.mark.parametrize("way", ["plain", "codec", "store"])
async def test_what_would_arrive_as_something_else_is_refused(value: Any, why: str, way: str, tmp_path: Path) -> None:
    packing: dict[str, Any] = {
        "plain": {},
        "codec": {"codec": Fernet(Fernet.new_key())},
        "store": {"store": tmp_path.as_uri()},
    }[way]
    client = Backbeat().client(**packing)
    complaint = why.partition(": ")[2] if way != "plain" and why.startswith("at ") else why
    for call in (
        client.signal("W", "s", "X", args=[value]),
        client.signal("W", "s", "X", args={"a": value}),
        client.answer(uuid.uuid4(), result=value),
        client.schedules.put("s", "W", "s", "X", every=60, args=[value]),
    ):
        with pytest.raises(InvalidParameters) as refused:
            await call
        if complaint != why or "params" not in why:
            assert complaint in str(refused.value)
    with pytest.raises(InvalidParameters):
        await client.signal("W", "s", "X", client_data={"name": "X", "params": value})
    with pytest.raises(InvalidParameters):
        await client.signal("W", "s", "X", metadata={"a": value})
    with pytest.raises(InvalidParameters):
        await client.signal("W", value, "X")


async def test_an_error_names_the_place_of_a_value() -> None:
    client = Backbeat().client()
    for name in ("nan", "infinity below"):
        value, why = UNFAITHFUL[name]
        with pytest.raises(InvalidParameters) as refused:
            await client.signal("W", "s", "X", args=[value])
        assert why in str(refused.value)


@pytest.mark.parametrize(("value", "annotation"), FAITHFUL.values(), ids=FAITHFUL)
async def test_a_value_arrives_as_it_was_given(value: Any, annotation: Any) -> None:
    given: list[Any] = []

    def take(x: Any) -> Any:
        given.append(x)
        return value

    if annotation is not None:
        take.__annotations__ = {"x": annotation}
    async with Backbeat(Worker(activities=[activity("Take")(take)])) as backbeat:
        node = await backbeat.client().signal("W", "s", "Take", args=[value], retries=0)
        await node.result()
    if annotation is not None:
        assert given == [value]
        assert type(given[0]) is type(value)


Call = Callable[[Client], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "catch_up": lambda c: c.schedules.put("s", "W", "s", "X", every=60, catch_up=INF),
    "every": lambda c: c.schedules.put("s", "W", "s", "X", every=NAN),
    "offset": lambda c: c.schedules.put("s", "W", "s", "X", every=60, offset=NAN),
    "schedule's name": lambda c: c.schedules.put(None, "W", "s", "X", every=60),  # type: ignore[arg-type]
    "overlap": lambda c: c.schedules.put("s", "W", "s", "X", every=60, overlap=[]),  # type: ignore[arg-type]
    "aging": lambda c: c.limits.set("X", concurrency=1, aging=INF),
    "concurrency": lambda c: c.limits.set("X", concurrency=1.5),  # type: ignore[arg-type]
    "burst": lambda c: c.limits.set("X", rate="5/s", burst=2**31),
    "rate": lambda c: c.limits.set("X", rate=5),  # type: ignore[arg-type]
    "activity": lambda c: c.limits.set("\ud800", concurrency=1),
    "retries": lambda c: c.signal("W", "s", "X", retries=2**31, args=["card 4000 1234"]),
    "retries ": lambda c: c.signal("W", "s", "X", retries=1.5),  # type: ignore[arg-type]
    "retries  ": lambda c: c.signal("W", "s", "X", retries="1"),  # type: ignore[arg-type]
    "priority": lambda c: c.signal("W", "s", "X", priority=2.5),  # type: ignore[arg-type]
    "backoff": lambda c: c.signal("W", "s", "X", backoff="1"),  # type: ignore[arg-type]
    "timeout": lambda c: c.signal("W", "s", "X", timeout=INF),
    "timeout ": lambda c: c.signal("W", "s", "X", timeout=-1),
    "timeout  ": lambda c: c.signal("W", "s", "X", timeout=timedelta(seconds=-1)),
    "beside": lambda c: c.signal("W", "s", "X", beside="no"),  # type: ignore[arg-type]
    "compensate": lambda c: c.cancel(str(uuid.uuid4()), compensate="no"),  # type: ignore[arg-type]
    "A name": lambda c: c.signal("W", "s", "\ud800"),
    "A name ": lambda c: c.signal("W", "s", 5),  # type: ignore[arg-type]
    "idempotency_key": lambda c: c.signal("W", "s", "X", idempotency_key="\ud800"),
    "idempotency_key ": lambda c: c.signal("W", "s", "X", idempotency_key=7),  # type: ignore[arg-type]
    "decider": lambda c: c.signal("W", "s", "X", decider="\ud800"),
    "coalesce_key": lambda c: c.signal("W", "s", "X", coalesce_key="\ud800"),
    "coalesce": lambda c: c.signal("W", "s", "X", coalesce_key="k", coalesce=[]),  # type: ignore[arg-type]
    "fairness_key": lambda c: c.signal("W", "s", "X", fairness_key="\ud800"),
    "workflow": lambda c: c.signal(None, "s", "X"),  # type: ignore[arg-type]
    "time": lambda c: c.signal("W", "s", "X", at="2027-01-01"),  # type: ignore[arg-type]
    "time ": lambda c: c.signal("W", "s", "X", at=timedelta.max),
    "time  ": lambda c: c.signal("W", "s", "X", at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))),
    "metadata": lambda c: c.signal("W", "s", "X", metadata=[1]),  # type: ignore[arg-type]
    "client_data": lambda c: c.signal("W", "s", "X", client_data=[1]),  # type: ignore[arg-type]
    "id": lambda c: c.node("\ud800"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_parameter_that_cannot_be_is_named_at_once(name: str) -> None:
    async with Backbeat() as backbeat:
        with pytest.raises(BackbeatError) as refused:
            await CALLS[name](backbeat.client())
        assert isinstance(refused.value, InvalidParameters)
        assert name.strip() in str(refused.value)
        assert "4000" not in str(refused.value)
        # Nothing went its way.
        assert not backbeat.history
        assert not backbeat.dead_letters


async def test_what_nobody_looked_at_is_refused_where_it_is_written() -> None:
    from backbeat.schemas.codec import encode_command
    from backbeat.schemas.messages.commands import Heartbeat
    from backbeat.transport.base import written

    with pytest.raises(InvalidParameters, match="Heartbeat does not fit its schema") as refused:
        written(encode_command, Heartbeat(id=b"1" * 16, node_id=b"2" * 16, attempt="secret", tid=""))  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


def test_a_time_of_our_calendar_is_taken() -> None:
    from backbeat.payload.values import to_datetime, to_milliseconds

    for at in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
        milliseconds = to_milliseconds(at, 0.0)
        assert milliseconds is not None
        assert to_datetime(milliseconds) == at
