"""Client and worker on a real Kafka with a real engine."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from prometheus_client.parser import text_string_to_metric_families

from backbeat import (
    Call,
    CallNext,
    Client,
    Fail,
    Limit,
    Node,
    NodeFailed,
    Worker,
    activity,
    current,
)
from backbeat.compose.local.cache import cache_folder
from backbeat.compose.local.jars.download import Download
from backbeat.compose.local.jars.jars import kafka_jars
from backbeat.compose.local.jars.java import find_java
from backbeat.compose.local.jars.lock import Jar
from backbeat.compose.local.jars.repository import find_repository
from backbeat.compose.local.stack import Stack
from backbeat.delivery.base import DeliveryWay
from backbeat.errors import NotFound
from backbeat.schemas.catalogue import HISTORY, RECORDS
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.schemas.messages.commands import Signal
from backbeat.schemas.messages.ids import node_id
from backbeat.schemas.messages.values import NewNode, Take
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import stack_on
from tests.integration.at_work import committed, put, running, work_record
from tests.waiting import until_async

PARTITIONS = 4


@pytest.fixture(scope="module")
def stack(kafka: str) -> Iterator[Stack]:
    with stack_on(kafka, partitions=PARTITIONS) as stack:
        yield stack


@pytest.fixture
def bootstrap(stack: Stack) -> str:
    return stack.bootstrap_servers


@pytest.fixture
def name(bootstrap: str, unique: str) -> str:
    """A client application of this test's own, with topics of its own."""
    return add_named(bootstrap, unique)


@pytest.fixture
async def client(bootstrap: str, name: str) -> AsyncIterator[Client]:
    async with Client(bootstrap, name) as client:
        yield client


@pytest.fixture
def worker(bootstrap: str, name: str) -> Worker:
    return Worker(bootstrap, name, session_timeout_seconds=2)


def add_named(bootstrap: str, name: str) -> str:
    return add_client(bootstrap, name, partitions=PARTITIONS).name


async def test_old_and_new_workers_run_side_by_side_and_no_retry_is_spent(bootstrap: str, client: Client) -> None:
    """As while a release is rolled out: half of the workers do not have what the new one added."""

    @activity("New step", retries=0)
    async def new_step() -> str:
        return "done"

    @activity("Go", retries=0)
    async def go() -> None:
        current().add(new_step)

    old, new = (
        Worker(bootstrap, client.name, activities=activities, session_timeout_seconds=2)
        for activities in ([go], [go, new_step])
    )
    async with running(old), running(new):
        nodes = [await client.signal("Release", number, "Go") for number in range(20)]
        for node in nodes:
            await node.result(180)
        trees = [await client.tree(node.workflow_id) for node in nodes]
    steps = [step for tree in trees for _, step in tree.walk() if step.name == "New step"]
    assert [(step.status, step.retries_remaining) for step in steps] == [("complete", 0)] * len(nodes)


async def test_handlers_have_a_state_a_client_and_middleware(bootstrap: str, client: Client) -> None:
    @asynccontextmanager
    async def pool() -> AsyncIterator[list[str]]:
        events: list[str] = ["opened"]
        yield events
        events.append("closed")

    async def noted(call: Call, call_next: CallNext) -> Any:
        call.activity.state.append(call.activity.name)
        return await call_next(call)

    @activity("Other", limit=Limit(concurrency=1))
    def other(number: int) -> int:
        states.append(current().state)
        return number + 1

    @activity("Ask")
    async def ask() -> list[Any]:
        node = await current().client.signal("Other", "async", other, 1)
        return [await node.result(120), len(await current().client.limits.list())]

    @activity("Ask plainly")
    def ask_plainly() -> int:
        return current().plain_client.signal("Other", "plain", other, 2).result(120)

    states: list[list[str]] = []
    worker = Worker(bootstrap, client.name, activities=[other, ask, ask_plainly], lifespan=pool, middleware=[noted])
    async with running(worker):
        assert await (await client.signal("W", "async", ask)).result(120) == [2, 1]
        assert await (await client.signal("W", "plain", ask_plainly)).result(120) == 3
    assert states[0] == ["opened", "Ask", "Other", "Ask plainly", "Other", "closed"]


# --- workflows -------------------------------------------------------------------------------------------------------


async def test_the_camera_purchase_runs_in_the_order_of_its_tree(client: Client, worker: Worker) -> None:
    ran: list[str] = []

    @worker.activity("Make Purchase")
    async def make_purchase(buyer: str) -> dict[str, str]:
        ran.append("Make Purchase")
        purchase = current()
        purchase.add(reserve_money, 703)
        purchase.add("Mark as purchased")
        purchase.add("Successful Purchase", params={"camera": purchase.subject})
        return {"buyer": buyer}

    @worker.activity("Reserve money")
    def reserve_money(amount: int) -> int:
        ran.append("Reserve money")
        return amount

    @worker.activity("Mark as purchased")
    async def mark() -> None:
        ran.append("Mark as purchased")

    @worker.activity("Successful Purchase")
    async def succeed(camera: str) -> str:
        ran.append("Successful Purchase")
        current().add("Notify", "customer", mode="non_blocking", metadata={"to": "customer"})
        current().add("Notify", "fulfillment", mode="non_blocking")
        return camera

    both = asyncio.Barrier(2)

    @worker.activity("Notify")
    async def notify(whom: str) -> str:
        # Neither ends before both have begun.
        await both.wait()
        ran.append("Notify")
        return whom

    async with running(worker):
        node = await client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
        assert await node.result(120) == {"buyer": "Ann"}
        tree = await client.tree(node.workflow_id)

    assert ran == ["Make Purchase", "Reserve money", "Mark as purchased", "Successful Purchase", "Notify", "Notify"]
    assert [(depth, row.name, row.status) for depth, row in tree.walk()] == [
        (0, "Make Purchase", "complete"),
        (1, "Reserve money", "complete"),
        (1, "Mark as purchased", "complete"),
        (1, "Successful Purchase", "complete"),
        (2, "Notify", "complete"),
        (2, "Notify", "complete"),
    ]
    below = tree.children[0].children[2]
    assert [await branch.node.result(120) for branch in below.children] == ["customer", "fulfillment"]
    assert below.children[0].node.metadata == {"to": "customer"}


async def test_an_error_is_kept_with_its_traceback_and_tried_again(client: Client, worker: Worker) -> None:
    attempts: list[int] = []

    @worker.activity("Charge")
    async def charge() -> str:
        attempts.append(current().attempt)
        if len(attempts) < 3:
            raise ValueError(f"declined {len(attempts)}")
        return "charged"

    async with running(worker):
        node = await client.signal("Sale", "A", "Charge", retries=3, backoff=0.001)
        assert await node.result(120) == "charged"
        history = await node.history()
    assert attempts == [1, 2, 3]
    errors = [change.response["error"] for change in history if change.response and change.to_status == "errored"]
    assert [error["message"] for error in errors] == ["ValueError: declined 1", "ValueError: declined 2"]
    assert errors[0]["code"] == -32000
    assert 'raise ValueError(f"declined {len(attempts)}")' in "\n".join(errors[0]["data"])


async def test_exhausted_retries_fail_the_result_and_call_the_error_hook(client: Client, worker: Worker) -> None:
    report = asyncio.get_running_loop().create_future()

    @worker.activity("Charge")
    def charge() -> None:
        raise ValueError("no money")

    @worker.on_error
    async def rescue(activity: Any, error: dict[str, Any]) -> None:
        report.set_result((activity.name, error["message"]))

    async with running(worker):
        node = await client.signal("Sale", "A", "Charge", retries=0)
        assert await asyncio.wait_for(report, 120) == ("Charge", "ValueError: no money")
        with pytest.raises(NodeFailed, match="no money") as failed:
            await node.result(120)
        assert failed.value.status == "retries_exhausted"
        assert failed.value.traceback[0].startswith("Traceback")

        await node.resolve({"result": "by hand"})
        assert await node.result(120) == "by hand"


async def test_a_result_that_cannot_be_sent_is_an_error_of_its_node(client: Client, worker: Worker) -> None:
    @worker.activity("Big")
    async def big() -> str:
        return "x" * 300_000

    @worker.activity("Odd")
    def odd() -> object:
        return object()

    async with running(worker):
        node = await client.signal("Sale", "A", "Big", retries=0)
        with pytest.raises(NodeFailed, match="payload_bytes_max is 262144"):
            await node.result(120)
        node = await client.signal("Sale", "A2", "Odd", retries=0)
        with pytest.raises(NodeFailed, match="cannot be written as JSON"):
            await node.result(120)


async def test_children_of_more_than_one_command_are_joined(client: Client, worker: Worker) -> None:
    @worker.activity("Spread")
    async def spread() -> None:
        for number in range(2_500):
            current().add("Count", number, mode="non_blocking")
        current().add("After all", mode="blocking")

    counted: set[int] = set()

    @worker.activity("Count")
    async def count(number: int) -> None:
        counted.add(number)

    @worker.activity("After all")
    async def after() -> None:
        # It is the last child and needs not wait for the ones before: they are not blocking.
        pass

    async with running(worker):
        node = await client.signal("Sale", "A", "Spread")
        await node.result(120)
        tree = await client.tree(node.workflow_id)
    assert counted == set(range(2_500))
    children = tree.children[0].children
    assert [child.node.client_data["params"] for child in children] == [*([number] for number in range(2_500)), []]
    assert {child.node.status for child in children} == {"complete"}


async def test_a_child_can_be_run_by_another_client(bootstrap: str, client: Client, worker: Worker, name: str) -> None:
    other = Worker(bootstrap, add_named(bootstrap, f"{name}-other"))

    @worker.activity("Ask")
    async def ask() -> None:
        current().add("Answer", 41, client=other.name)

    @other.activity("Answer")
    async def answer(number: int) -> int:
        return number + 1

    async with running(worker, other):
        node = await client.signal("Sale", "A", "Ask")
        await node.result(120)
        child = (await client.tree(node.workflow_id)).children[0].children[0].node
        # A node is its client's: the workflow's owner sees it in the tree, and not by its id.
        with pytest.raises(NotFound):
            await client.node(child.id)
        async with Client(bootstrap, other.name) as others:
            assert await others.wait(child.id, 20) == 42


# --- what it shows of itself -----------------------------------------------------------------------------------------


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - it is of our own worker
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(url: str) -> dict[str, dict[str, float]]:
    """Family's name -> {(its labels' values, joined): value}, of samples that are no buckets."""
    status, text = get(f"{url}/metrics")
    assert status == 200
    return {
        family.name: {
            ",".join(sample.labels.values()): sample.value
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }
        for family in text_string_to_metric_families(text)
        if family.name.startswith("backbeat_")
    }


def documented() -> set[str]:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    return {name.removesuffix("_total") for name in re.findall(r"^\| `(backbeat_worker_\w+)` \|", text, re.MULTILINE)}


@pytest.mark.parametrize("delivery", ["group", "share"])
async def test_a_worker_shows_what_it_does(
    bootstrap: str, client: Client, name: str, delivery: DeliveryWay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backbeat")
    worker = Worker(bootstrap, name, delivery=delivery, session_timeout_seconds=2, status_port=0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @worker.activity("Work")
    async def work(kind: str) -> None:
        if kind == "wait":
            begun.set()
            await go_on.wait()
        elif kind == "err":
            raise ValueError("no")
        elif kind == "fail":
            raise Fail("never")

    async def shown() -> dict[str, dict[str, float]]:
        assert worker.status_url is not None
        return await asyncio.to_thread(metrics, worker.status_url)

    async def is_shown(family: str, labels: str, value: float) -> bool:
        return (await shown())[family].get(labels) == value

    async def is_handed_back() -> bool:
        return "other,handed_back" in (await shown())["backbeat_worker_activities"]

    async with running(worker):
        await until_async(lambda: worker.status_url is not None)
        await until_async(lambda: f"ready: client {name}, Kafka at {bootstrap}, activities: Work" in caplog.messages)
        url = worker.status_url
        ready = await until_ready(f"{url}/ready")
        assert ready == (200, "ok\n")
        waiting = await client.signal("Sale", "A", "Work", args=["wait"], retries=0)
        await begun.wait()
        others = [
            await client.signal("Sale", f"S{kind}", "Work", args=[kind], retries=0) for kind in ("ok", "err", "fail")
        ]
        await client.signal("Sale", "B", "Unknown", retries=0)
        await others[0].result(120)
        for node in others[1:]:
            with pytest.raises(NodeFailed):
                await node.result(120)
        await until_async(lambda: is_shown("backbeat_worker_notifications", "", 2))
        await until_async(is_handed_back)
        figures = await shown()
        # Of each attempt that handed it back, however many there were meanwhile.
        assert figures["backbeat_worker_activities"].pop("other,handed_back") >= 1
        assert figures["backbeat_worker_activities"] == {"Work,complete": 1, "Work,errored": 1, "Work,failed": 1}
        assert figures["backbeat_worker_activities_running"]["Work"] == 1
        assert figures["backbeat_worker_concurrency"] == {"": 100}
        assert figures["backbeat_worker_partitions"] == {"": PARTITIONS}
        assert [labels.split(",")[:2] for labels in figures["backbeat_worker_info"]] == [[name, delivery]]
        assert (await asyncio.to_thread(get, f"{url}/live")) == (200, "ok\n")
        go_on.set()
        await waiting.result(120)
        await until_async(lambda: is_shown("backbeat_worker_activities_held", "", 0))
        assert set(await shown()) == documented()


async def until_ready(url: str) -> tuple[int, str]:
    """Its answer once it is ready; before that it says why not."""
    answer = await asyncio.to_thread(get, url)
    while answer[0] == 503:
        assert answer[1] == "not ok\nit is not in its group yet\n"
        answer = await asyncio.to_thread(get, url)
    return answer


# --- stopping, killing, repeating ------------------------------------------------------------------------------------


async def test_a_worker_that_is_stopped_finishes_what_it_has_begun(
    bootstrap: str, client: Client, worker: Worker, name: str
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @worker.activity("Slow", max_concurrent=1)
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "by the first"

    run = asyncio.create_task(worker.run(handle_signals=False))
    first = await client.signal("Sale", "A", "Slow")
    await begun.wait()
    second = await client.signal("Sale", "B", "Slow")
    worker.stop()
    go_on.set()
    await asyncio.wait_for(run, 120)
    assert await first.result(120) == "by the first"
    assert (await second.refresh()).status == "sent_to_client"

    next_one = Worker(bootstrap, name)

    @next_one.activity("Slow")
    async def again() -> str:
        return "by the second"

    async with running(next_one):
        # Far less than the session timeout: the first has left the group.
        assert await second.result(120) == "by the second"
    assert await first.result(120) == "by the first"


_WORKER = """
import asyncio, sys
from backbeat import Worker, current
worker = Worker(sys.argv[1], sys.argv[2], concurrency=5, session_timeout_seconds=2)

@worker.activity("Spread")
async def spread():
    for number in range(300):
        current().add("Work", number, mode="non_blocking")

@worker.activity("Work")
async def work(number):
    await asyncio.sleep(0.02)
    print(number, flush=True)

worker.serve()
"""


async def test_a_worker_that_is_killed_loses_nothing(bootstrap: str, client: Client, name: str) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", _WORKER, bootstrap, name], stdout=subprocess.PIPE, text=True)

    first = start()
    node = await client.signal("Sale", "A", "Spread")
    assert first.stdout is not None
    done = [int(await asyncio.to_thread(first.stdout.readline)) for _ in range(60)]
    # More than the first record, by which the others were added.
    await until_async(lambda: sum(max(0, committed(bootstrap, name, partition)) for partition in range(PARTITIONS)) > 1)
    os.kill(first.pid, signal.SIGKILL)
    rest, _ = await asyncio.to_thread(first.communicate)
    second = start()
    try:
        await node.result(120)
    finally:
        second.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(second.communicate)
    assert second.returncode == 0
    again = [int(line) for line in output.splitlines()]
    assert {*done, *(int(line) for line in rest.splitlines()), *again} == set(range(300))
    # What was begun or not yet committed when it was killed is run again, and no more than that.
    assert len(again) < 300


_ROOT = Path(__file__).parents[2]
_HOW_TO = _ROOT / "docs" / "how-to"


def test_the_worker_in_java_knows_the_schemas_of_today() -> None:
    known = set(re.findall(r'"c301" \+ "(\w{16})"', (_HOW_TO / "ShopWorker.java").read_text()))
    # An activity comes in the newest version; an answer may be of any.
    assert RECORDS["Activity"].fingerprint.hex() in known
    assert [fingerprint for fingerprint in sorted(known) if not (HISTORY / f"{fingerprint}.avsc").exists()] == []


#: A compiler that runs on any Java: not every one has its own.
_COMPILER = Jar(
    "org.eclipse.jdt:ecj:3.46.100", 3384534, "74c93172475fee0cd4e6eefb44233516dd40525642da35d009146d97ea598229"
)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """The programs of the how-to pages, compiled."""
    jars = kafka_jars()
    place = cache_folder() / "compiler"
    place.mkdir(exist_ok=True)
    Download([_COMPILER], place, find_repository(), print).run()
    classpath = ":".join(map(str, jars.glob("*.jar")))
    sources = map(str, _HOW_TO.glob("*.java"))
    # It runs for seconds: an optimising compiler would only cost.
    java = [find_java().command, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command = [*java, "-jar", place / _COMPILER.name, "-17", "-cp", classpath, "-d", tmp_path, *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path


async def send_receipt(client: Client, money: Node) -> Node:
    """A signal that takes the result of a node, as a program in any language sends it."""
    session = client._session
    node = NewNode(
        name="Send receipt",
        user_id=session.user_id,
        client_data=b'{"name":"Send receipt","params":[{"$backbeat":{"result":0}}]}',
        takes=(Take(UUID(money.id).bytes),),
    )
    workflow_id = UUID(money.workflow_id).bytes
    command = Signal(id=os.urandom(16), user_id=session.user_id, tid="java", workflow_id=workflow_id, node=node)
    await session.transport.command(command, 60, "a signal that takes a result")
    return await client.node(str(UUID(bytes=node_id(workflow_id, command.id, 0))))


async def test_a_service_and_a_worker_in_java(bootstrap: str, client: Client, name: str, classes: Path) -> None:
    def java(page: str, buyer: str = "Ada") -> subprocess.Popen[str]:
        """As the page says, but for the compiler, where Kafka is, whose topics these are, and who buys."""
        (command,) = re.findall(r"java -cp .*", (_HOW_TO / page).read_text())
        command = command.replace("127.0.0.1:9092 default", f"{bootstrap} {name}").replace("Ada", buyer)
        command = re.sub(
            r'^java -cp "(.*)" docs/how-to/(\w+)\.java', rf'{find_java().command} -cp "\1:{classes}" \2', command
        )
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # Each runs for seconds: an optimising compiler would only cost.
        env = {"PATH": path, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=_ROOT, env=os.environ | env, stdout=subprocess.PIPE, text=True
        )

    async def nodes(buyer: str) -> list[Node]:
        try:
            tree = await client.tree(client.workflow_id("Camera sale", f"Camera of {buyer}"))
        except NotFound:
            return []
        return [node for _, node in tree.walk()]

    async def have(buyer: str, *statuses: str) -> bool:
        return [node.status for node in await nodes(buyer)] == list(statuses)

    worker = java("worker-in-another-language.md")
    try:
        services = [java("publish-from-another-language.md", buyer) for buyer in ("Ada", "Eve")]
        for service in services:
            output, _ = await asyncio.to_thread(service.communicate)
            assert output.startswith(f"published: backbeat.signals.{name}-"), output
        await until_async(lambda: have("Ada", "complete", "complete"), 60)
        await until_async(lambda: have("Eve", "processing_children", "retrying"), 60)
        receipt = await send_receipt(client, (await nodes("Ada"))[1])
        assert await receipt.result(120) == "receipt: reserved 499 under Reserve money"
    finally:
        worker.terminate()
        output, _ = await asyncio.to_thread(worker.communicate)
    assert output.splitlines()[-1] == "stopped"
    sale, money, _ = await nodes("Ada")
    assert await sale.result(120) == "Camera for Ada"
    assert await money.result(120) == "reserved 499 under Reserve money"
    _, declined = await nodes("Eve")
    (error,) = [change.response["error"] for change in await declined.history() if change.to_status == "errored"]
    assert error["message"] == "java.lang.IllegalStateException: the card was declined"


async def test_a_repeated_activity_runs_once_and_its_offset_goes_on(bootstrap: str, worker: Worker, name: str) -> None:
    ran: list[int] = []
    go_on = asyncio.Event()

    @worker.activity("Work")
    async def work(number: int) -> None:
        ran.append(number)
        await go_on.wait()

    first, second = (work_record(number) for number in (1, 2))
    put(bootstrap, name, first, first, second, first)
    async with running(worker):
        await until_async(lambda: len(ran) == 2)
        go_on.set()
        await until_async(lambda: committed(bootstrap, name) == 4)
        put(bootstrap, name, second, first)
        await until_async(lambda: committed(bootstrap, name) == 6)
    assert ran == [1, 2]


async def test_a_topic_that_gets_more_partitions_is_read_whole(bootstrap: str, worker: Worker, name: str) -> None:
    ran: list[int] = []

    @worker.activity("Work")
    async def work(number: int) -> None:
        ran.append(number)

    put(bootstrap, name, work_record(1))
    async with running(worker):
        await until_async(lambda: ran == [1])
        topic = activities_topic(name)
        admin = AdminClient({"bootstrap.servers": bootstrap})
        growth = admin.create_partitions([NewPartitions(topic, PARTITIONS * 3)])[topic]
        await asyncio.to_thread(growth.result, 120)
        # Before the worker knows of them: from their beginning on.
        for partition in range(PARTITIONS, PARTITIONS * 3):
            put(bootstrap, name, work_record(partition), partition=partition)
        await until_async(lambda: set(ran) == {1, *range(PARTITIONS, PARTITIONS * 3)})


async def test_a_partition_that_went_away_from_a_full_worker_goes_on_when_it_comes_back(
    bootstrap: str, name: str
) -> None:
    ran: set[int] = set()
    begun, go_on = asyncio.Event(), asyncio.Event()
    full = Worker(bootstrap, name, concurrency=1, session_timeout_seconds=2)
    helper = Worker(bootstrap, name, session_timeout_seconds=2)

    @full.activity("Work")
    async def wait(number: int) -> None:
        begun.set()
        await go_on.wait()
        ran.add(number)

    @helper.activity("Work")
    async def help_out(number: int) -> None:
        ran.add(number)

    for partition in range(PARTITIONS):
        numbers = range(partition * 500, partition * 500 + 500)
        put(bootstrap, name, *(work_record(number) for number in numbers), partition=partition)
    async with running(full):
        await until_async(lambda: full._consumer._paused)
        async with running(helper):
            await until_async(lambda: len(ran) > 500)
            # It goes on while some of its partitions, paused when they went, are away.
            go_on.set()
            await until_async(lambda: not full._consumer._paused)
        for partition in range(PARTITIONS):
            put(bootstrap, name, work_record(2_000 + partition), partition=partition)
        await until_async(lambda: ran == set(range(2_000 + PARTITIONS)))


async def test_a_second_worker_takes_over_without_a_repeat(
    bootstrap: str, client: Client, worker: Worker, name: str
) -> None:
    ran: list[int] = []
    go_on = asyncio.Event()
    second = Worker(bootstrap, name, concurrency=5)

    @worker.activity("Spread")
    async def spread() -> None:
        for number in range(400):
            current().add("Work", number, mode="non_blocking")

    async def work(number: int) -> None:
        ran.append(number)
        await go_on.wait()
        # Long enough that the partitions move while some run.
        await asyncio.sleep(0.005)

    for member in (worker, second):
        member.activity("Work")(work)
    async with running(worker):
        node = await client.signal("Sale", "A", "Spread")
        await until_async(lambda: len(ran) == 100)
        go_on.set()
        async with running(second):
            await node.result(120)
    assert sorted(ran) == list(range(400))
