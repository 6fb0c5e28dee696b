"""The client over Kafka and over HTTP: the same calls, the same answers, the same errors."""

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from backbeat import Client, Fail, NodeFailed, PlainClient, Rejected, Timeout, Unavailable, Worker, current
from backbeat.codecs import Fernet
from backbeat.compose.local.stack import Stack
from backbeat.errors import (
    InvalidParameters,
    InvalidStatus,
    KeyReused,
    LimitExceeded,
    NotFound,
    Unauthorized,
    WorkflowComplete,
)
from backbeat.schemas.kafka.topics import signals_topic
from backbeat.streams.kafka.registration import add_client
from backbeat.transport.requests import RequestClient
from tests.empty_kafka import stack_on
from tests.waiting import until_async

PARTITIONS = 4
TOKEN = "token-of-the-tests"
MakeClient = Callable[..., Client]
LATER = timedelta(hours=1)


@pytest.fixture(scope="module")
def stack(kafka: str) -> Iterator[Stack]:
    gateways = [[], ["--require-auth-token=all"]]
    with stack_on(kafka, partitions=PARTITIONS, gateways=gateways) as stack:
        yield stack


@pytest.fixture
def bootstrap(stack: Stack) -> str:
    return stack.bootstrap_servers


@pytest.fixture
async def name(stack: Stack, unique: str) -> str:
    """A client application of this test's own, known to the gateways, too."""
    token_hash = hashlib.sha256(TOKEN.encode()).hexdigest()
    added = add_client(stack.bootstrap_servers, unique, partitions=PARTITIONS, token_hash=token_hash)
    return added.name


@pytest.fixture(params=["kafka", "http"])
def make_client(request: pytest.FixtureRequest, stack: Stack, name: str) -> MakeClient:
    """Makes clients that speak one way or the other."""
    address = stack.bootstrap_servers if request.param == "kafka" else stack.http_urls[0]
    return lambda client=name, **more: Client(address, client, **more)


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[Client]:
    async with make_client() as client:
        yield client


@pytest.fixture
def worker(bootstrap: str, name: str) -> Worker:
    return Worker(bootstrap, name, session_timeout_seconds=2)


@contextlib.asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run(handle_signals=False)) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)


async def test_a_client_that_was_closed_may_be_opened_again(make_client: MakeClient) -> None:
    client = make_client()
    for subject in ("A", "B"):
        async with client:
            node = await client.signal("Sale", subject, "Buy", idempotency_key=subject)
            assert (await client.node(node.id)).workflow_id == node.workflow_id


@pytest.mark.parametrize("way", ["kafka", "http"])
def test_a_client_knows_its_process_and_its_loop(stack: Stack, name: str, way: str) -> None:
    address = stack.bootstrap_servers if way == "kafka" else stack.http_urls[0]
    script = Path(__file__).with_name("lifetimes.py")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, address, name],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


# --- signals and workflows -------------------------------------------------------------------------------------------


async def test_a_query_that_a_broker_refuses_for_what_came_before_is_asked_again(
    stack: Stack, name: str, monkeypatch: Any
) -> None:
    async with Client(stack.bootstrap_servers, name) as client:
        node = await client.signal("Sale", "Camera 703", "Buy")
        produce, refused = RequestClient._produce, []

        def refuse_once(self: RequestClient, *given: Any) -> None:
            if refused:
                produce(self, *given)
            else:
                refused.append(given)
                self._fail(given[-1], KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER))

        monkeypatch.setattr(RequestClient, "_produce", refuse_once)
        assert (await client.node(node.id)).id == node.id
        assert len(refused) == 1


async def test_the_same_key_gives_the_same_node(client: Client) -> None:
    first = await client.signal("Sale", "A", "Buy", args=[1], idempotency_key="k", at=timedelta(hours=1))
    again = await client.signal("Sale", "A", "Buy", args=[1], idempotency_key="k", at=timedelta(hours=1))
    assert (again.id, again.due_at) == (first.id, first.due_at)
    with pytest.raises(KeyReused):
        await client.signal("Sale", "A", "Buy", args=[2], idempotency_key="k", at=timedelta(hours=1))
    tree = await client.tree(first.workflow_id)
    assert [branch.node.id for branch in tree.children] == [first.id]


async def test_a_workflow_is_found_paused_resumed_and_completed(client: Client, worker: Worker) -> None:
    @worker.activity("Buy")
    async def buy() -> str:
        return "bought"

    workflow = await client.find_or_create("Sale", {"camera": 703}, decider="Shop")
    again = await client.find_or_create("Sale", {"camera": 703}, decider="Other")
    assert (again.id, again.decider, again.subject) == (workflow.id, "Shop", {"camera": 703})
    assert workflow.id == client.workflow_id("Sale", {"camera": 703})
    await client.pause(workflow.id)
    assert (await client.workflow(uuid.UUID(workflow.id))).paused
    async with running(worker):
        node = await client.signal("Sale", {"camera": 703}, "Buy")
        assert (await node.refresh()).status == "paused"
        with pytest.raises(Timeout, match="it is paused"):
            await node.result(0.2)
        await client.resume(workflow.id)
        assert await node.result(120) == "bought"
    await client.close(workflow.id)
    assert (await client.workflow(workflow.id)).closed
    with pytest.raises(Rejected, match="complete") as refused:
        await client.signal("Sale", {"camera": 703}, "Buy")
    assert refused.value.reason == "workflow_complete"


async def test_limits_are_set_seen_and_removed(client: Client, worker: Worker) -> None:
    ran: list[int] = []

    @worker.activity("Pay: by card/cash")
    async def pay(number: int) -> int:
        ran.append(number)
        return number

    limits, activity = client.limits, "Pay: by card/cash"
    assert await limits.list() == []
    await limits.set(activity, concurrency=1, rate="1000/s", burst=5, key="metadata.bank", aging=timedelta(minutes=1))
    await limits.pause(activity)
    nodes = [
        await client.signal("Pay", number, activity, args=[number], metadata={"bank": "B"}, priority=5 - number)
        for number in range(3)
    ]
    seen = await nodes[0].refresh()
    assert (seen.status, seen.waits_for_slot, seen.priority, seen.fairness_key) == ("started", True, 5, "")
    limit = await limits.get(activity)
    assert limit is not None
    assert (limit.concurrency, limit.rate, limit.burst, limit.key, limit.aging_seconds, limit.paused) == (
        1,
        "1000/s",
        5,
        "metadata.bank",
        60.0,
        True,
    )
    (pool,) = limit.pools
    assert (pool.key, pool.out, pool.waiting_by_priority) == ("B", 0, {1: 0, 2: 0, 3: 1, 4: 1, 5: 1})
    assert pool.oldest_asked_at is not None
    assert pool.oldest_asked_at >= seen.created_at
    async with running(worker):
        await limits.resume(activity)
        for node in nodes:
            await node.result(120)
        assert ran == [2, 1, 0]
    with pytest.raises(Rejected, match="no path into a node"):
        await limits.set(activity, concurrency=1, key="nonsense")
    with pytest.raises(Rejected, match="below 1"):
        await limits.set(activity, concurrency=0)
    await limits.remove(activity)
    assert await limits.list() == []


async def test_nodes_are_cancelled_and_restarted(client: Client, worker: Worker) -> None:
    node = await client.signal("Sale", "A", "Buy", at=datetime.now(UTC) + timedelta(hours=1))
    assert node.status == "ready"
    await node.cancel()
    with pytest.raises(NodeFailed) as failed:
        await node.result(120)
    assert failed.value.status == "deactivated"
    await node.cancel()
    for change in (
        node.retry(),
        node.reset(),
        node.resolve(),
        node.shutdown(),
        node.deactivate_previous(),
        node.answer(result=1),
    ):
        with pytest.raises(InvalidStatus, match="never runs again") as refused:
            await change
        assert refused.value.found == "deactivated"

    broken = True

    @worker.activity("Buy")
    async def buy() -> str:
        if broken:
            raise ValueError("broken")
        return "bought"

    async with running(worker):
        node = await client.signal("Sale", "A", "Buy", retries=0)
        with pytest.raises(NodeFailed):
            await node.result(120)
        broken = False
        await node.retry()
        assert await node.result(120) == "bought"
        with pytest.raises(InvalidStatus) as refused:
            await node.retry()
        assert refused.value.found == "complete"


async def test_a_linked_node_waits_for_the_other_workflow(client: Client, worker: Worker) -> None:
    go_on = asyncio.Event()

    @worker.activity("Wait")
    async def wait() -> str:
        await go_on.wait()
        return "waited"

    @worker.activity("Buy")
    async def buy() -> str:
        return "bought"

    async with running(worker):
        target = await client.signal("Sale", "A", "Wait")
        linked = await client.signal("Invoice", "B", "Buy", link=target.id)
        assert await linked.result(120) == "bought"
        go_on.set()
        assert await target.result(120) == "waited"


async def test_published_signals_are_all_there(client: Client) -> None:
    published = [
        await client.publish("Sale", f"Camera {number}", "Buy", at=timedelta(hours=1)) for number in range(300)
    ]
    await client.flush(120)
    # What is asked after the last one's answer finds all: a partition keeps its order.
    for number, node_id in list(enumerate(published))[::100]:
        node = await asyncio.wait_for(find(client, node_id), 120)
        assert (node.name, node.subject) == ("Buy", f"Camera {number}")


async def find(client: Client, node_id: str) -> Any:
    while True:
        with contextlib.suppress(NotFound):
            return await client.node(node_id)


async def test_a_node_is_told_whole_and_as_it_was_given(client: Client, name: str) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    subject = {"orderId": 7, "Sub-Key": [{"innerKey": None}], "b": 1.50}
    node = await client.signal(
        "Sale",
        subject,
        "Buy",
        args={"buyerName": "Ann \u00e9"},
        metadata={"camelCase": {"snake_case": 1}},
        at=at,
        retries=2,
        backoff=30.5,
        timeout=7,
        decider="Shop",
    )
    for view in (node, await node.refresh(), (await node.tree()).children[0].node):
        assert (view.workflow_name, view.decider, view.subject, view.name) == ("Sale", "Shop", subject, "Buy")
        assert view.client_data == {"name": "Buy", "params": {"buyerName": "Ann \u00e9"}, "timeout": 7.0}
        assert view.metadata == {"camelCase": {"snake_case": 1}}
        assert (view.due_at, view.retries_remaining, view.attempt, view.complete_by) == (at, 2, 0, None)
        assert view.view.retry_interval_seconds == 30.5
        # The answer to the signal tells it as it was made.
        status = "ready" if view is node else "started"
        assert (view.mode, view.status, view.client_status, view.parent_id) == ("blocking", status, "ready", None)
        assert abs(view.created_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert (view.view.type, view.view.depth) == ("decision", 1)
        assert view.workflow_id == client.workflow_id("Sale", subject)
        assert view.tid
    assert [(user.name, user.id) for user in await client.users() if user.name == name] != []


async def test_a_repeat_may_come_the_other_way(stack: Stack, name: str) -> None:
    arguments: dict[str, Any] = {"args": [1], "idempotency_key": "a key, \u00e9 and ü" * 20, "at": timedelta(hours=1)}
    async with Client(stack.bootstrap_servers, name) as kafka_client, Client(stack.http_urls[0], name) as other:
        first = await kafka_client.signal("Sale", "A", "Buy", **arguments)
        assert (await other.signal("Sale", "A", "Buy", **arguments)).id == first.id
        with pytest.raises(KeyReused):
            await other.signal("Sale", "A", "Buy", **{**arguments, "args": [2]})
        await kafka_client.cancel(first.id, idempotency_key="c")
        await other.cancel(first.id, idempotency_key="c")
        assert await other.status(first.id) == "deactivated"


async def test_refusals_are_the_same_either_way(client: Client, name: str) -> None:
    unknown = client.workflow_id("Sale", "never made")
    with pytest.raises(NotFound):
        await client.workflow(unknown)
    with pytest.raises(NotFound):
        await client.node(unknown)
    with pytest.raises(NotFound):
        await client.history(uuid.uuid4())
    with pytest.raises(NotFound, match="no client 'nobody'"):
        await client.signal("Sale", "A", "Buy", client="nobody")
    with pytest.raises(InvalidParameters):
        await client.signal("Sale", "A", "Buy", args=[1], client_data={})
    with pytest.raises(LimitExceeded, match="store="):
        await client.signal("Sale", "A", "Buy", args=["x" * 300_000])
    node = await client.signal("Sale", "A", "Buy", at=timedelta(hours=1))
    with pytest.raises(InvalidStatus) as refused:
        await node.resolve()
    assert (refused.value.reason, refused.value.found, refused.value.wanted) == (
        "invalid_client_status",
        "ready",
        "resolved",
    )
    await client.close(node.workflow_id)
    with pytest.raises(WorkflowComplete):
        await client.signal("Sale", "A", "Buy")


# --- nodes -----------------------------------------------------------------------------------------------------------


async def test_an_activity_is_answered_by_its_id(client: Client) -> None:
    async def sent(node_id: str) -> bool:
        return await client.status(node_id) == "sent_to_client"

    node = await client.signal("Sale", "A", "Approve", retries=1, backoff=3600)
    await until_async(lambda: sent(node.id))
    await node.answer(result={"byWhom": "Ann"})
    assert await node.result(120) == {"byWhom": "Ann"}
    with pytest.raises(Rejected):
        await node.answer(result="again")

    failing = await client.signal("Sale", "B", "Approve", retries=1, backoff=3600)
    await until_async(lambda: sent(failing.id))
    await failing.answer(error="not yet")
    assert await client.status(failing.id) == "retrying"
    await failing.retry()
    await until_async(lambda: sent(failing.id))
    await failing.answer(error=Fail("never"))
    with pytest.raises(NodeFailed, match="never"):
        await failing.result(120)
    history = await failing.history()
    errors = [change.response["error"]["message"] for change in history if change.to_status == "errored"]
    assert [message.rpartition(": ")[2] for message in errors if message] == ["not yet", "never"]
    await failing.shutdown()
    assert await client.status(failing.id) == "complete"

    later = await client.signal("Sale", "C", "Approve", at=timedelta(hours=1))
    last = await client.signal("Sale", "C", "Approve", at=timedelta(hours=1))
    await client.deactivate_previous(last.id)
    assert (await client.status(later.id), await client.status(last.id)) == ("deactivated", "ready")
    await client.reset(last.id)
    await client.start_next(last.id)


# --- searches --------------------------------------------------------------------------------------------------------


async def test_a_search_finds_what_was_just_written(stack: Stack, name: str) -> None:
    async with (
        Client(stack.bootstrap_servers, name, gateway=stack.http_urls[0]) as by_kafka,
        Client(stack.http_urls[0], name) as by_http,
    ):
        made = [
            await by_kafka.signal("Sale", f"Camera {number}", "Buy", metadata={"no": number}, at=LATER)
            for number in range(7)
        ]
        await by_kafka.signal("Invoice", "Camera 1", "Send", at=LATER)
        for client in (by_kafka, by_http):
            subjects = [flow.subject async for flow in client.search_workflows(name="Sale")]
            assert subjects == [f"Camera {number}" for number in reversed(range(7))]
            assert [flow.subject async for flow in client.search_workflows(name="Sale", limit=3)] == subjects[:3]
            newest = client.workflow_id("Sale", "Camera 6")
            older = client.search_workflows(name="Sale", older_than=newest)
            assert [flow.subject async for flow in older] == subjects[1:]
            assert {flow.name async for flow in client.search_workflows(subject="Camera 1")} == {"Sale", "Invoice"}
            assert [node async for node in client.search_nodes(name="Buy", current_status="ready")] == made
            assert [node async for node in client.search_nodes(metadata='"no":3')] == [made[3]]
            since = datetime.now(UTC) - timedelta(minutes=5)
            late = datetime.now(UTC) + timedelta(minutes=5)
            nodes = client.search_nodes(past_status="started", status_start=since, status_end=late, name="Buy", limit=5)
            assert [node.view async for node in nodes] == [(await client.node(node.id)).view for node in made[:5]]
            assert [node async for node in client.search_nodes(status_start=late)] == []
            assert await client.workflow_names() == ["Invoice", "Sale"]
            with pytest.raises(InvalidParameters, match="time zone"):
                await anext(client.search_nodes(status_start=datetime.now()))  # noqa: DTZ005


async def test_long_results_come_by_the_page(make_client: MakeClient, stack: Stack, monkeypatch: Any) -> None:
    monkeypatch.setattr("backbeat.client.search._PAGE_ROWS", 2)
    async with make_client(gateway=stack.http_urls[0]) as client:
        made = [await client.signal("Sale", f"Camera {number % 5}", "Buy", at=LATER) for number in range(7)]
        assert [node async for node in client.search_nodes()] == made
        assert [flow.subject async for flow in client.search_workflows()] == [f"Camera {n}" for n in (4, 3, 2, 1, 0)]
        made += [await client.signal("Sale", "Camera 0", "Buy", at=LATER) for _ in range(4)]
        tree = await client.tree(made[0].workflow_id)
        assert [node for _, node in tree.walk()] == [made[0], made[5], *made[7:]]
        assert [node for _, node in (await client.tree(made[0].workflow_id, top_level_only=True)).walk()] == [
            made[0],
            made[5],
            *made[7:],
        ]


async def test_a_client_of_kafka_without_a_gateway_says_what_a_search_needs(bootstrap: str, name: str) -> None:
    async with Client(bootstrap, name) as client:
        with pytest.raises(Unavailable, match="gateway="):
            await anext(client.search_workflows())


# --- messages, and how far it is -------------------------------------------------------------------------------------


async def test_messages_are_taken_once_by_client_and_topic_and_progress_is_followed(
    client: Client, worker: Worker, bootstrap: str, name: str
) -> None:
    printed = asyncio.Event()

    @worker.activity("Order")
    async def order() -> None:
        early, late = (current().wait_for(word, dict[str, str]) for word in ("early", "late"))
        current().returns(current().add(print_it, early.result, late.result).result)

    @worker.activity("Print")
    async def print_it(early: dict[str, str], late: dict[str, str]) -> list[str]:
        current().progress(0.4, "page 40")
        await printed.wait()
        return [early["by"], late["by"]]

    def publish(message: str, value: Any, **headers: str) -> None:
        document = {"workflow": "Orders", "subject": "o1", "message": message, "value": value}
        producer.produce(signals_topic(name), json.dumps(document).encode(), b"o1", headers=headers)
        assert producer.flush(120) == 0

    producer = Producer({"bootstrap.servers": bootstrap})
    await client.find_or_create("Orders", "o1")
    for value in ("Grace", "Grace"):
        await client.send("Orders", "o1", "early", {"by": value}, idempotency_key="early")
    with pytest.raises(KeyReused, match="idempotency_key 'early' was used before"):
        await client.send("Orders", "o1", "early", {"by": "Ada"}, idempotency_key="early")
    for value in ("Ada", "Eve"):
        publish("late", {"by": value}, **{"backbeat-id": "late"})
    async with running(worker):
        node = await client.signal("Orders", "o1", "Order")
        async with asyncio.timeout(120):
            async for change in client.follow(node.workflow_id, after="0"):
                if change.name == "Print" and change.note:
                    assert (change.progress, change.note) == (0.4, "page 40")
                    break
        (printing,) = [node for _, node in (await node.tree()).walk() if node.name == "Print"]
        assert (printing.fraction_done, printing.progress_note) == (0.4, "page 40")
        printed.set()
        assert await node.result(120) == ["Grace", "Ada"]


# --- payloads --------------------------------------------------------------------------------------------------------


async def test_what_is_secret_or_large_goes_its_way_unseen(
    make_client: MakeClient, bootstrap: str, name: str, tmp_path: Path
) -> None:
    ways: dict[str, Any] = {"codec": Fernet(Fernet.new_key()), "store": tmp_path.as_uri()}
    worker = Worker(bootstrap, name, session_timeout_seconds=2, **ways)

    @worker.activity("Charge")
    async def charge(card: str, notes: str) -> dict[str, str]:
        current().add("Print", card[:4], len(notes))
        return {"card": card, "notes": notes}

    @worker.activity("Print")
    def print_it(card: str, length: int) -> str:
        return f"{card} {length}"

    notes = "n" * 400_000
    async with running(worker), make_client(**ways) as client:
        node = await client.signal("Sale", "A", "Charge", args=["4000 1234", notes], idempotency_key="k")
        # Encrypted again it has other bytes, and is the same request all the same.
        again = await client.signal("Sale", "A", "Charge", args=["4000 1234", notes], idempotency_key="k")
        assert again.id == node.id
        assert await node.result(120) == {"card": "4000 1234", "notes": notes}
        child = (await node.tree()).children[0].children[0].node
        assert await child.result(120) == "4000 400000"
        stored = node.client_data["params"]
        assert (stored["$backbeat"], stored["bytes"] > 400_000) == ("stored", True)
        assert child.client_data["params"]["$backbeat"] == "fernet"
        responses = [str(change.response) for change in [*await node.history(), *await child.history()]]
        assert not any("4000" in response for response in responses)


# --- who asks, and who is not there ----------------------------------------------------------------------------------


async def test_a_gateway_that_wants_the_token_gets_it(stack: Stack, name: str) -> None:
    async with Client(stack.http_urls[0], name) as client:
        own_id = next(user.id for user in await client.users() if user.name == name)
    async with Client(stack.http_urls[1], own_id, token=TOKEN) as client:
        assert (await client.signal("Sale", "A", "Buy", at=LATER)).status == "ready"
    with pytest.raises(Unauthorized, match="token="):
        async with Client(stack.http_urls[1], own_id, token="wrong"):
            pass


@pytest.mark.parametrize("nobody", ["nobody", "00000000-0000-4000-8000-000000000000"])
async def test_a_client_that_nobody_added_says_so(make_client: MakeClient, nobody: str) -> None:
    with pytest.raises(NotFound, match="backbeat user add"):
        async with make_client(nobody):
            pass


async def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        async with Client("http://127.0.0.1:1"):
            pass


async def test_a_gateway_of_something_else_is_unavailable(bootstrap: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unavailable, match="no JSON of a gateway of Backbeat"):
            async with Client(f"http://127.0.0.1:{port}"):
                pass


# --- without an event loop -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kafka", "http"])
def test_the_plain_client_does_the_same_in_a_thread(stack: Stack, unique: str, way: str) -> None:
    add_client(stack.bootstrap_servers, unique, partitions=PARTITIONS)
    address = stack.bootstrap_servers if way == "kafka" else stack.http_urls[0]
    with PlainClient(address, unique, gateway=stack.http_urls[0]) as client:
        node = client.signal("Sale", "A", "Buy", at=timedelta(hours=1), metadata={"no": 1})
        assert node.refresh().status == client.status(node.id) == "started"
        other = client.publish("Sale", "B", "Buy", at=timedelta(hours=1))
        client.flush()
        assert client.find_or_create("Sale", "A").id == node.workflow_id
        assert [below.id for _, below in client.tree(node.workflow_id).walk()] == [node.id]
        with pytest.raises(Timeout, match="it is started"):
            node.result(0.1)
        node.cancel()
        with pytest.raises(NodeFailed, match="deactivated"):
            node.result(120)
        assert node.history()[-1].to_status == "deactivated"
        assert {buy.id for buy in client.search_nodes(name="Buy")} == {node.id, other}
        with pytest.raises(NotFound):
            client.node(uuid.uuid4())
    with pytest.raises(Unavailable, match="with PlainClient"):
        client.node(node.id)


# --- last: it kills what answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kafka", "http"])
async def test_a_wait_outlives_what_answers_it(stack: Stack, worker: Worker, name: str, way: str) -> None:
    go_on = asyncio.Event()

    @worker.activity("Wait")
    async def wait() -> str:
        await go_on.wait()
        return "waited"

    address, kill, wait_ready = {
        "kafka": (stack.bootstrap_servers, stack.kill_engine, stack.wait_ready),
        "http": (stack.http_urls[0], stack.kill_gateway, stack.wait_gateway_ready),
    }[way]
    async with running(worker), Client(address, name) as client:
        node = await client.signal("Sale", "A", "Wait")
        waiting = asyncio.create_task(node.result(120))
        await asyncio.to_thread(kill, 0)
        go_on.set()
        assert await waiting == "waited"
    await asyncio.to_thread(wait_ready, 0)


# --- schedules -------------------------------------------------------------------------------------------------------


async def test_a_schedule_runs_by_itself_and_shows_it(client: Client, worker: Worker) -> None:
    seen: list[str] = []

    @worker.activity("Report")
    async def report() -> None:
        seen.append(current().node.metadata["schedule"]["scheduled_at"])

    schedules = client.schedules
    await schedules.put("every / second", "Reports", "{scheduled_at}", "Report", every=1, overlap="queue")
    async with running(worker):

        async def ran() -> bool:
            return len((await schedules.get("every / second")).past) >= 2

        await until_async(ran)
    await schedules.pause("every / second", "enough")
    schedule = await schedules.get("every / second")
    assert (schedule.paused, schedule.note, schedule.next_run, schedule.problem) == (True, "enough", None, "")
    assert {run.cause for run in schedule.past} == {"due"}
    assert seen == sorted(set(seen))
    node = await client.node(schedule.past[0].node_id or "")
    assert (node.status, node.subject) == ("complete", seen[0])


async def test_schedules_are_asked_for_the_same_way(client: Client, make_client: MakeClient) -> None:
    schedules = client.schedules
    day = datetime(2026, 3, 29, tzinfo=UTC)
    made = await schedules.put(
        "nightly", "Reports", {"nightOf": "{scheduled_at}"}, "Report",
        cron="30 2 * * *", zone="Europe/Berlin", args=[1], metadata={"byUs": True}, retries=2, catch_up=3600,
        decider="Shop", paused=True, priority=1, fairness_key="shop",
    )  # fmt: skip
    assert (made.cron, made.zone, made.overlap, made.catch_up) == ("30 2 * * *", "Europe/Berlin", "skip", LATER)
    assert (made.subject, made.decider, made.client_data["params"]) == ({"nightOf": "{scheduled_at}"}, "Shop", [1])
    assert (made.metadata, made.retries, made.paused) == ({"byUs": True}, 2, True)
    assert (made.priority, made.fairness_key) == (1, "shop")
    await schedules.put("hourly", "Reports", 1, "Report", every=LATER, offset=60, paused=True)
    assert [(row.name, row.every) for row in await schedules.list()] == [("hourly", LATER), ("nightly", None)]
    for _ in range(2):
        triggered = await schedules.trigger("nightly", overlap="queue", idempotency_key="by hand")
        assert [(run.state, run.cause) for run in triggered.running] == [("running", "trigger")]
    filled = await schedules.backfill("nightly", day - timedelta(days=1), day + timedelta(days=1), overlap="allow")
    assert [run.scheduled_at.hour for run in filled.running[1:]] == [1, 1]
    assert (await schedules.get("nightly")).started == 3
    await schedules.resume("nightly")
    assert (await schedules.get("nightly")).next_run is not None
    for wrong, kind in (
        (schedules.put("bad", "R", 1, "S", cron="61 * * * *"), InvalidParameters),
        (schedules.put("bad", "R", 1, "S", every=60, catch_up=1), InvalidParameters),
        (schedules.backfill("nightly", day, day + timedelta(days=2000)), LimitExceeded),
        (schedules.trigger("none"), NotFound),
        (schedules.get("none"), NotFound),
        (schedules.trigger("nightly", overlap="skip", idempotency_key="by hand"), KeyReused),
    ):
        with pytest.raises(kind):
            await wrong
    async with make_client("default") as other:
        assert await other.schedules.list() == []
    for name in ("nightly", "hourly"):
        await schedules.delete(name)
    assert await schedules.list() == []
