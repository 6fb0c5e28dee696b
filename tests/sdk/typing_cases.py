"""What a type checker must say of programs that use the SDK: `make types` reads this file, nothing runs it.

Each line that must be refused carries the refusal; one that is refused no longer makes mypy complain of the comment.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, assert_type

from backbeat import Client, Node, PlainClient, Results, Retry, RetryAfter, Worker, activity, current
from backbeat.activities.results import Child, Group
from backbeat.client.blocking.node import PlainNode
from backbeat.client.jobs.views import Job
from backbeat.client.limits.views import ActivityLimit
from backbeat.client.operations.retention import RetentionPolicy
from backbeat.client.schedules.views import Schedule
from backbeat.client.views import StatusChange, Tree, User, Workflow
from backbeat.codecs import Codec, Fernet, Json
from backbeat.schemas.messages.bounds import Settings
from backbeat.stores import BucketStore, FolderStore, Store, open_store

worker = Worker()


@activity("Reserve money", retries=3)
async def reserve_money(amount: int, *, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@activity("Notify")
def notify(whom: str) -> None:
    current().add(reserve_money, 703)
    current().add(reserve_money, "703")  # type: ignore[call-overload]
    current().add(reserve_money, 703, "EUR")  # type: ignore[call-overload]
    current().add("by name", 1, "anything", metadata={"a": 1})


@activity("Price")
def get_price(sku: str) -> int:
    return len(sku)


@activity("Publish")
async def publish(prices: list[int], currencies: list[str]) -> None: ...


@activity("Read")
async def read(prices: Results[int], currencies: Results[str]) -> int:
    async for price in prices:
        assert_type(price, int)
    return len(prices) + len(currencies)


@activity("Read some")
def read_some(prices: Results[int | None]) -> int:
    assert_type(list(prices), list[int | None])
    assert_type(prices[0], int | None)
    assert_type(prices.failed[0].error, str)
    return sum(price for price in prices if price is not None)


@activity("Order")
def order() -> None:
    price = current().add(get_price, "camera")
    assert_type(price, Child[int])
    assert_type(price.result, int)
    assert_type(price.result_or(None), int | None)
    text = current().add(reserve_money, price.result)
    assert_type(text.result, str)
    prices = current().spread(get_price, ["camera", "lens"])
    assert_type(prices, Group[int])
    assert_type(prices.results, Results[int])
    texts = current().spread(reserve_money, [(1,), (2,)])
    assert_type(texts.results, Results[str])
    current().add(publish, prices.results, texts.results)
    current().add(publish, texts.results, prices.results)  # type: ignore[call-overload]
    current().add(notify, price.result)  # type: ignore[call-overload]
    assert_type(current().add("by name", price.result), Child[Any])
    current().returns(text.result)
    current().add(read, prices.results, texts.results)
    current().add(read, texts.results, prices.results)  # type: ignore[call-overload]
    current().add(read, prices.results_or(None), texts.results)  # type: ignore[call-overload]
    some = current().spread(get_price, ["camera", "lens"], failures_allowed=0.5)
    assert_type(some, Group[int | None])
    assert_type(some.results, Results[int | None])
    assert_type(current().spread(reserve_money, [(1,), (2,)], failures_allowed=1).results, Results[str | None])
    current().add(read_some, some.results)
    current().add(publish, some.results, texts.results)  # type: ignore[call-overload]
    current().add(read_some, prices.results)  # type: ignore[call-overload]
    current().spread(get_price, ["camera"], failures_allowed="1")  # type: ignore[call-overload]
    current().spread("by name", ["camera"], failures_allowed=1, retries=2)


async def it_stays_the_function_that_it_was() -> None:
    read_some(Results.of([1, None]))
    read_some(Results.of(["1"]))  # type: ignore[list-item]
    assert_type(await reserve_money(703, currency="NOK"), str)
    await reserve_money("703")  # type: ignore[arg-type]
    notify()  # type: ignore[call-arg]


@activity("Wrong", retry=3)  # type: ignore[call-overload, untyped-decorator]
async def no_such_option() -> None: ...


async def a_signal_by_its_function_is_typed(client: Client, plain: PlainClient) -> None:
    node = await client.signal("Sale", "A", reserve_money, 703, currency="NOK")
    assert_type(node, Node[str])
    assert_type(await node.result(), str)
    assert_type(await node.refresh(), Node[str])
    assert_type(await client.signal("Sale", "A", notify, "Ann"), Node[None])
    first = await client.signal("Sale", "A", reserve_money.with_options(idempotency_key="k", retries=3), 703)
    assert_type(first, Node[str])
    assert_type(await client.publish("Sale", "A", notify, "Ann"), str)
    await client.signal("Sale", "A", reserve_money, "703")  # type: ignore[call-overload]
    await client.signal("Sale", "A", reserve_money)  # type: ignore[call-overload]
    await client.signal("Sale", "A", reserve_money, 703, retries=3)  # type: ignore[call-arg]
    await client.publish("Sale", "A", notify, 703)  # type: ignore[call-overload]
    reserve_money.with_options(idempotencey_key="k")  # type: ignore[call-arg]
    unknown: Node = node
    assert_type(await unknown.result(), Any)
    assert_type(plain.signal("Sale", "A", reserve_money, 703), PlainNode[str])
    assert_type(plain.signal("Sale", "A", reserve_money, 703).result(), str)
    assert_type(plain.signal("Sale", "A", notify.with_options(at=timedelta(hours=1)), "Ann"), PlainNode[None])
    plain.signal("Sale", "A", reserve_money, "703")  # type: ignore[call-overload]
    assert_type(current().add(reserve_money.with_options(at=timedelta(hours=1)), 703), Child[str])
    assert_type(current().add(notify.with_options(mode="non_blocking"), "Ann"), Child[None])
    current().signal("Sale", "A", reserve_money, 703)
    current().signal("Sale", "A", reserve_money, "703")  # type: ignore[call-overload]


def retries_are_typed() -> None:
    activity("A", retry=Retry(times=5, first=timedelta(minutes=1), give_up_on=(KeyError,)))
    Retry(give_up_on=("KeyError",))  # type: ignore[arg-type]
    Retry(retries=5)  # type: ignore[call-arg]
    activity("A", retry=5)  # type: ignore[call-overload]
    raise RetryAfter(timedelta(minutes=1))


async def a_client_is_typed(client: Client) -> None:
    node = await client.signal("Sale", {"any": "json"}, "Buy", args=[1], retries=2)
    assert_type(node, Node)
    await client.signal("Sale", "A", "Buy", retires=2)  # type: ignore[call-overload]
    await client.signal("Sale", "A", "Buy", retries="2")  # type: ignore[call-overload]
    await client.signal("Sale", "A")  # type: ignore[call-overload]
    assert_type(await node.result(1.0), Any)
    assert_type(await client.tree(node.workflow_id), Tree[Node])
    assert_type(await node.history(), list[StatusChange])
    assert_type(await client.users(), list[User])
    assert_type(client.search_workflows(name="Sale"), AsyncIterator[Workflow])
    client.search_nodes(status_start="yesterday")  # type: ignore[arg-type]
    client.search_nodes(status_start=datetime.now().astimezone())
    await client.answer(node.id, result=1)
    await client.answer(node.id, 1)  # type: ignore[call-arg]


def a_plain_client_is_typed(client: PlainClient) -> None:
    node = client.signal("Sale", "A", "Buy", args={"camera": 703})
    assert_type(node, PlainNode)
    client.signal("Sale", "A", "Buy", retires=2)  # type: ignore[call-overload]
    assert_type(client.tree(node.workflow_id), Tree[PlainNode])
    assert_type(client.search_nodes(), Iterator[PlainNode])
    assert_type(client.search_workflows(subject="A"), Iterator[Workflow])
    client.search_workflows(metadata="A")  # type: ignore[call-arg]
    assert_type(client.history(node.id), list[StatusChange])
    assert_type(client.node(node.id), PlainNode)
    assert_type(client.publish("Sale", "A", "Buy"), str)
    assert_type(node.refresh(), PlainNode)
    assert_type(node.tree(), Tree[PlainNode])
    node.retry(idempotency_key="k")
    node.retry("k")  # type: ignore[call-arg]
    client.cancel(node.id, idempotency_key=1)  # type: ignore[arg-type]
    client.status(1)  # type: ignore[arg-type]


def the_parts_of_a_plain_client_are_typed(client: PlainClient) -> None:
    assert_type(client.jobs.start("retry", name="Charge card", dry_run=True), Job)
    client.jobs.start("retry", nmae="Charge card")  # type: ignore[call-arg]
    assert_type(client.jobs.list(all_clients=True), list[Job])
    assert_type(client.limits.get("Charge card"), ActivityLimit | None)
    client.limits.set("Charge card", concurrency="3")  # type: ignore[arg-type]
    assert_type(client.schedules.put("nightly", "Reports", 1, "Report", every=60, retries=2), Schedule)
    client.schedules.put("nightly", "Reports", 1, "Report", overlap="perhaps")  # type: ignore[arg-type]
    assert_type(client.schedules.list(), list[Schedule])
    client.retention.set("Sale", keep=timedelta(days=30), client="shop")
    client.retention.set("Sale")  # type: ignore[call-arg]
    assert_type(client.retention.get("Sale"), RetentionPolicy | None)
    assert_type(client.retention.list(all_clients=True), list[RetentionPolicy])
    client.settings.set(children_max=500)
    client.settings.set(children_max="500")  # type: ignore[arg-type]
    assert_type(client.settings.get(), Settings)
    assert_type(client.settings.list(), list[Settings])


def codecs_and_stores_fit() -> None:
    codecs: list[Codec] = [Json(), Fernet("key"), Fernet("new", "old", inner=Json())]
    stores: list[Store] = [open_store("file:///var/payloads")]
    Client(codec=codecs[0], store=stores[0])
    Client(store="s3://bucket/prefix")
    Client(codec=object())  # type: ignore[arg-type]
    Worker(codec=codecs[0], store=FolderStore)  # type: ignore[arg-type]
    assert_type(BucketStore("bucket", ""), BucketStore)
