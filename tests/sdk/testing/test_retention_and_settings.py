"""Policies of retention and settings of the engines as a service has them: in memory, waiting and not."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from backbeat import Worker
from backbeat.client.operations.retention import RetentionPolicy
from backbeat.errors import InvalidParameters, LimitExceeded, NotFound, Unavailable, UnknownOption
from backbeat.schemas.messages.bounds import SETTINGS
from backbeat.schemas.messages.bounds import Settings as EngineSettings
from backbeat.schemas.messages.commands import ChangeRetention
from backbeat.schemas.messages.retention import RetentionPolicy as RetentionRecord
from backbeat.testing import Backbeat, PlainBackbeat
from backbeat.transport.base import every_answer

DAY = 86_400.0
PARTITIONS = 2


def policy(**changes) -> RetentionPolicy:
    usual = {"keep_seconds": 30 * DAY, "archive": True, "refuse_seconds": 7 * DAY, "partitions": "all"}
    return RetentionPolicy(**{"client": "default", "workflow": "Sale", **usual, **changes})


def selling() -> Worker:
    worker = Worker()

    @worker.activity("Buy")
    def buy() -> None: ...

    return worker


# --- retention -------------------------------------------------------------------------------------------------------


async def test_a_policy_is_set_changed_and_removed():
    retention = Backbeat().client().retention
    assert (await retention.list(), await retention.get("Sale")) == ([], None)
    await retention.set("Sale", keep=timedelta(days=30))
    assert await retention.list() == [policy()]
    await retention.set("Sale", keep=60, archive=False, refuse=3_600)
    changed = policy(keep_seconds=60.0, archive=False, refuse_seconds=3_600.0)
    assert (await retention.list(), await retention.get("Sale")) == ([changed], changed)
    await retention.remove("Sale")
    assert (await retention.list(), await retention.get("Sale")) == ([], None)
    with pytest.raises(NotFound, match="There is no policy for 'Sale' of default"):
        await retention.remove("Sale")


async def test_a_policy_is_of_one_client_application():
    backbeat = Backbeat(clients=["shop"])
    retention, of_shop = backbeat.client().retention, backbeat.client("shop").retention
    await retention.set("Sale", keep=60)
    await retention.set("Sale", keep=90, client="shop")
    own, shops = policy(keep_seconds=60.0), policy(client="shop", keep_seconds=90.0)
    assert (await retention.list(), await of_shop.list()) == ([own], [shops])
    assert await of_shop.list(all_clients=True) == [own, shops]
    assert (await retention.get("Sale", client="shop"), await of_shop.get("Sale", client="default")) == (shops, own)
    # A client application that was removed is known by its id alone.
    gone = str(uuid.uuid4())
    await retention.set("Sale", keep=5, client=gone)
    assert policy(client=gone, keep_seconds=5.0) in await retention.list(all_clients=True)
    for client in (gone, "shop"):
        await retention.remove("Sale", client=client)
    assert await retention.list(all_clients=True) == [own]
    with pytest.raises(NotFound, match="There is no client 'nobody'"):
        await retention.set("Sale", keep=60, client="nobody")


async def test_a_policy_that_has_not_come_to_every_partition_says_where_it_is():
    backbeat = Backbeat()
    client = backbeat.client()
    user_id = uuid.UUID((await client.users())[0].id).bytes
    record = RetentionRecord(owner_id=user_id, name="Sale", keep_seconds=60.0)
    backbeat._engine.send(ChangeRetention(id=bytes(16), policy=record), (1).to_bytes(4, "big"))
    backbeat._engine.settle()
    await client.retention.set("Order", keep=60)
    order, sale = await client.retention.list()
    assert (order.partitions, sale) == ("all", policy(keep_seconds=60.0, partitions="1"))
    await client.retention.set("Sale", keep=60)
    assert await client.retention.get("Sale") == policy(keep_seconds=60.0)


async def test_every_answer_is_awaited_before_the_first_error_is_raised():
    answered = []

    async def answer(number: int) -> int:
        await asyncio.sleep(0)
        answered.append(number)
        if number % 2:
            raise Unavailable(f"partition {number}")
        return number

    with pytest.raises(Unavailable, match="partition 1"):
        await every_answer(answer(number) for number in range(4))
    assert answered == [0, 1, 2, 3]
    assert await every_answer(answer(number) for number in (0, 2)) == [0, 2]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"keep": 0.5}, "keep_seconds is 0.5; 1 is the least"),
        ({"keep": 60, "refuse": 0}, "refuse_seconds is 0"),
        ({"keep": "a day"}, "keep is a str"),
        ({"keep": float("nan")}, "keep is nan"),
    ],
)
async def test_a_policy_that_cannot_be(asked, says):
    retention = Backbeat().client().retention
    with pytest.raises(InvalidParameters, match=says):
        await retention.set("Sale", **asked)
    assert await retention.list() == []


async def test_a_finished_workflow_is_removed_when_its_time_is_over():
    async with Backbeat(selling()) as backbeat:
        client = backbeat.client()
        await client.retention.set("Sale", keep=timedelta(hours=1), archive=False)
        # Workflows of both partitions.
        nodes = [await client.signal("Sale", number, "Buy") for number in range(8)]
        other = await client.signal("Order", 1, "Buy")
        await backbeat.advance(minutes=59)
        assert [await client.status(node.id) for node in nodes] == ["complete"] * len(nodes)
        await backbeat.advance(hours=1)
        for node in nodes:
            with pytest.raises(NotFound):
                await client.node(node.id)
        assert await client.status(other.id) == "complete"


# --- settings --------------------------------------------------------------------------------------------------------


async def test_a_setting_holds_in_every_partition():
    client = Backbeat().client()
    await client.settings.set(payload_bytes_max=100, default_timeout_seconds=60)
    expected = EngineSettings(payload_bytes_max=100, default_timeout_seconds=60.0)
    assert await client.settings.list() == [expected] * PARTITIONS
    assert await client.settings.get() == expected
    for subject in range(8):
        with pytest.raises(LimitExceeded, match="payload_bytes_max is 100"):
            await client.signal("Sale", subject, "Buy", client_data={"text": "x" * 200})


async def test_settings_that_were_not_named_stay_as_they_are():
    settings = Backbeat().client().settings
    await settings.set(children_max=11)
    await settings.set(json_depth_max=12)
    changed = await settings.get()
    assert (changed.children_max, changed.json_depth_max) == (11, 12)


async def test_partitions_that_differ_are_no_answer():
    backbeat = Backbeat()
    backbeat._engine.partitions[1].meta.settings = EngineSettings(children_max=7)
    settings = backbeat.client().settings
    assert [one.children_max for one in await settings.list()] == [1_000, 7]
    with pytest.raises(Unavailable, match="set it again"):
        await settings.get()


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"childern_max": 5}, UnknownOption, "did you mean `children_max`"),
        ({"children_max": 0}, InvalidParameters, "children_max is 0; 1 is the least and 10000 the most"),
        ({"children_max": 1.5}, InvalidParameters, "children_max is a float"),
        ({"children_max": "7"}, InvalidParameters, "children_max is a str"),
        ({"depth_max": True}, InvalidParameters, "depth_max is a bool"),
        ({"default_timeout_seconds": float("nan")}, InvalidParameters, "default_timeout_seconds is nan"),
        ({"version": 2}, UnknownOption, "knows no `version`"),
        ({}, InvalidParameters, "Give a setting"),
    ],
)
async def test_a_setting_that_cannot_be(change, kind, says):
    settings = Backbeat().client().settings
    with pytest.raises(kind, match=says):
        await settings.set(**change)
    assert await settings.get() == EngineSettings()


async def test_every_setting_can_be_set_to_its_bounds():
    settings = Backbeat().client().settings
    for name, bounds in SETTINGS.items():
        for value in bounds:
            number = type(getattr(EngineSettings(), name))(value)
            await settings.set(**{name: number})
            assert getattr((await settings.list())[0], name) == number
            await settings.set(**{name: getattr(EngineSettings(), name)})


def test_the_plain_client_has_both():
    with PlainBackbeat() as backbeat:
        client = backbeat.client()
        client.retention.set("Sale", keep=60)
        assert client.retention.list() == [client.retention.get("Sale")] == [policy(keep_seconds=60.0)]
        client.retention.remove("Sale")
        client.settings.set(children_max=500)
        assert client.settings.get().children_max == 500
        assert client.settings.list() == [client.settings.get()] * PARTITIONS
