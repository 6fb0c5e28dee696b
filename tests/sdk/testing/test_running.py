"""Workflows in memory: to their end, step by step, and on a clock that stands still until it is moved."""

import asyncio
from datetime import UTC, datetime, timedelta

import cryptography.fernet
import pytest

from backbeat import BackbeatError, NodeFailed, Rejected, Timeout, Unavailable, Worker, current
from backbeat.codecs import Fernet
from backbeat.errors import KeyReused, LimitExceeded, NotFound
from backbeat.payload.values import to_id
from backbeat.schemas.messages.bounds import Settings
from backbeat.testing import Backbeat, FaultKind, NothingDue
from backbeat.testing.run_sync import run_sync
from tests.sdk.testing.shop import Shop

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def buy(backbeat: Backbeat, **options):
    return await backbeat.client().signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"], **options)


async def statuses(backbeat: Backbeat, workflow_id: str) -> list[tuple[int, str, str]]:
    tree = await backbeat.client().tree(workflow_id)
    return [(depth, node.name, node.status) for depth, node in tree.walk()]


# --- to the end ------------------------------------------------------------------------------------------------------


async def test_awaiting_a_result_runs_the_workflow(shop):
    async with Backbeat(shop.worker) as backbeat:
        node = await buy(backbeat)

        assert shop.did == []
        assert await node.result() == {"buyer": "Ann"}
        assert shop.did == ["Make Purchase", "Reserve money 1", "Notify customer", "Notify fulfillment"]
        assert await statuses(backbeat, node.workflow_id) == [
            (0, "Make Purchase", "complete"),
            (1, "Reserve money", "complete"),
            (1, "Notify", "complete"),
            (1, "Notify", "complete"),
        ]
        assert [activity.params for activity in backbeat.sent("Notify")] == [["customer"], ["fulfillment"]]
        assert backbeat.queued == []


async def test_run_ends_when_nothing_is_left_to_run_now(shop):
    async with Backbeat(shop.worker, start=START) as backbeat:
        backbeat.faults.fail("Reserve money")
        node = await buy(backbeat)
        await backbeat.run()

        assert (await statuses(backbeat, node.workflow_id))[1:] == [
            (1, "Reserve money", "retrying"),
            (1, "Notify", "ready"),
            (1, "Notify", "ready"),
        ]
        assert backbeat.now == START
        assert timedelta(hours=0.8) <= backbeat.next_due - START <= timedelta(hours=2.4 * 8)


async def test_a_thousand_children_are_spread_and_joined():
    worker = Worker(concurrency=10)
    order = []

    @worker.activity("Sale")
    async def sale():
        current().add("Pack all")
        current().add("Summary")

    @worker.activity("Pack all")
    async def pack_all():
        for number in range(1_000):
            current().add("Pack", number, mode="non_blocking")

    @worker.activity("Pack", max_concurrent=3)
    async def pack(number):
        nonlocal run_sync, most
        run_sync += 1
        most = max(most, run_sync)
        await asyncio.sleep(0)
        run_sync -= 1
        order.append(number)

    run_sync = most = 0
    worker.activity("Summary")(lambda: order.append("summary"))
    async with Backbeat(worker) as backbeat:
        node = await backbeat.client().signal("Sale", "spring", "Sale")
        await node.result()

    assert sorted(order[:-1]) == list(range(1_000))
    assert order[-1] == "summary"
    assert most == 3


async def test_handlers_run_side_by_side():
    worker = Worker()
    both = asyncio.Barrier(2)

    @worker.activity("Parent")
    async def parent():
        current().add("Child", mode="non_blocking")
        current().add("Child", mode="non_blocking")

    @worker.activity("Child")
    async def child():
        await both.wait()

    async with Backbeat(worker) as backbeat:
        first, second = [await backbeat.client().signal("W", subject, "Parent") for subject in ("a", "b")]
        await asyncio.gather(first.result(), second.result())

        assert [node.status for node in (await first.refresh(), await second.refresh())] == ["complete", "complete"]


async def test_what_a_handler_raises_is_its_nodes_error_and_the_hook_is_told(shop):
    @shop.worker.activity("Break", retries=0)
    def break_it():
        raise ValueError("no such camera")

    async with Backbeat(shop.worker) as backbeat:
        node = await backbeat.client().signal("W", "s", "Break", retries=0)
        with pytest.raises(NodeFailed, match="ValueError: no such camera") as failed:
            await node.result()
        await backbeat.run()

        assert any("break_it" in line for line in failed.value.traceback)
        assert [name for name, _ in shop.told] == ["Break"]
        assert shop.told[0][1]["message"] == "ValueError: no such camera"


async def test_a_handler_may_wait_for_another_workflow(shop):
    async with Backbeat(shop.worker) as backbeat:

        @shop.worker.activity("Outer")
        async def outer():
            node = await backbeat.client().signal("Inner", "Camera 703", "Make Purchase", args=["Bob"])
            return await node.result()

        node = await backbeat.client().signal("Outer", "s", "Outer")

        assert await node.result() == {"buyer": "Bob"}


async def test_a_handler_that_runs_can_see_its_node_canceled_by_another_task():
    worker = Worker()
    began, go_on = asyncio.Event(), asyncio.Event()

    @worker.activity("Long")
    async def long():
        began.set()
        await go_on.wait()

    async with Backbeat(worker) as backbeat:
        node = await backbeat.client().signal("W", "s", "Long")
        running = asyncio.create_task(backbeat.run())
        await began.wait()
        await node.cancel()
        go_on.set()
        await running

        assert (await node.refresh()).status == "deactivated"
        with pytest.raises(NodeFailed, match="deactivated"):
            await node.result()


async def test_another_task_of_the_test_may_bring_about_what_is_waited_for(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.faults.hang("Make Purchase")
        node = await buy(backbeat)

        async def operator():
            await asyncio.sleep(0)
            await node.cancel()

        task = asyncio.create_task(operator())
        with pytest.raises(NodeFailed, match="deactivated"):
            await node.result()
        await task


async def test_what_cannot_come_is_said_at_once_with_what_would_help(shop):
    async with Backbeat(shop.worker, start=START) as backbeat:
        backbeat.faults.fail("Reserve money")
        node = await buy(backbeat)
        with pytest.raises(NothingDue, match=r"processing_children.*The next timer is due at 2026-01-01T.*advance"):
            await node.result()

        stranger = await backbeat.client("nobody").signal("W", "s", "Whatever")
        with pytest.raises(NothingDue, match=r"Without a worker wait: <decision 'Whatever'"):
            await stranger.result()


async def test_tasks_that_bring_nothing_are_not_waited_for_for_ever(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.patience_seconds = 0.01
        backbeat.faults.hang("Make Purchase", 2)
        nodes = [await backbeat.client().signal("W", subject, "Make Purchase", args=["A"]) for subject in "ab"]
        results = await asyncio.gather(*(node.result() for node in nodes), return_exceptions=True)

        assert [type(result) for result in results] == [NothingDue, NothingDue]


async def test_a_workflow_without_an_end_is_noticed():
    worker = Worker()

    @worker.activity("Again")
    async def again():
        await backbeat.client().signal("W", current().subject, "Again")

    async with Backbeat(worker) as backbeat:
        await backbeat.client().signal("W", "s", "Again")
        with pytest.raises(BackbeatError, match="more than 20 activities"):
            await backbeat.run(activities_max=20)


async def test_a_handler_whose_node_is_canceled_while_it_runs_is_told():
    worker = Worker()
    began = asyncio.Event()
    ended = []

    @worker.activity("Long")
    async def long():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(current().cancelled)

    async with Backbeat(worker) as backbeat:
        node = await backbeat.client().signal("W", "s", "Long")
        running = asyncio.create_task(backbeat.run())
        await began.wait()
        await node.cancel()
        await running

        assert ended == [True]
        assert [change.to_status for change in await node.history()][-1] == "deactivated"


async def test_a_deadline_that_passes_while_a_handler_runs_ends_it():
    worker = Worker()
    began = asyncio.Event()
    attempts = []

    @worker.activity("Long")
    async def long():
        attempts.append(current().attempt)
        if current().attempt == 1:
            began.set()
            await asyncio.Event().wait()

    async with Backbeat(worker) as backbeat:
        node = await backbeat.client().signal("W", "s", "Long", timeout=60, backoff=1)
        running = asyncio.create_task(backbeat.run())
        await began.wait()
        await backbeat.advance(minutes=1, run=False)
        await running
        await backbeat.advance(minutes=10)

        assert attempts == [1, 2]
        assert await node.result() is None


async def test_a_handlers_questions_are_answered_at_once_in_a_plain_one_too():
    worker = Worker()

    @worker.activity("Ask", retries=1)
    def ask():
        if current().attempt == 1:
            raise ValueError("no money")
        current().heartbeat().result()
        with pytest.raises(NotFound):
            # A question that is refused is an error where it is asked.
            current().signal("W", "s", "Ask", client="nobody")
        tree = current().tree().result()
        return current().previous_error().result()["message"], [below.name for _, below in tree.walk()]

    async with Backbeat(worker, skip_time=True) as backbeat:
        node = await backbeat.client().signal("W", "s", "Ask")

        assert await node.result() == ["ValueError: no money", ["Ask"]]


async def test_what_would_have_to_wait_cannot_be_had_at_once():
    with pytest.raises(BackbeatError, match="has to wait for something"):
        run_sync(asyncio.sleep(0))


# --- step by step ----------------------------------------------------------------------------------------------------


async def test_activities_are_listed_and_run_when_told(shop):
    async with Backbeat(shop.worker) as backbeat:
        await buy(backbeat)
        assert [(activity.kind, activity.name, activity.params, activity.client) for activity in backbeat.queued] == [
            ("decision", "Make Purchase", ["Ann"], "default")
        ]

        ran = await backbeat.run_one()
        assert (ran.name, [activity.name for activity in backbeat.queued]) == ("Make Purchase", ["Reserve money"])

        await backbeat.run_one("Reserve money")
        first, second = backbeat.queued
        await backbeat.run_one(second)

        assert [activity.params for activity in backbeat.queued] == [["customer"]]
        assert shop.did[-1] == "Notify fulfillment"
        with pytest.raises(BackbeatError, match="'Reserve money' does not wait to be run; what waits: Notify"):
            await backbeat.run_one("Reserve money")
        await backbeat.run_one(first)
        with pytest.raises(BackbeatError, match="an activity does not wait to be run; what waits: nothing"):
            await backbeat.run_one()


async def test_what_has_no_worker_waits_until_one_comes(shop):
    async with Backbeat() as backbeat:
        node = await buy(backbeat)
        await backbeat.run()
        with pytest.raises(BackbeatError, match="has no worker here"):
            await backbeat.run_one()
        backbeat.add(shop.worker)

        assert await node.result() == {"buyer": "Ann"}


async def test_a_name_that_only_some_workers_of_a_client_know_comes_to_those(shop):
    async with Backbeat(Worker(), shop.worker, Worker()) as backbeat:
        assert await (await buy(backbeat)).result() == {"buyer": "Ann"}


async def test_several_workers_of_a_client_share_the_work():
    shops = [Shop(), Shop()]
    async with Backbeat(*(shop.worker for shop in shops)) as backbeat:
        for number in range(4):
            await backbeat.client().signal("W", f"subject {number}", "Notify", args=[number])
        await backbeat.run()

    assert [len(shop.did) for shop in shops] == [2, 2]


# --- time ------------------------------------------------------------------------------------------------------------


async def test_retries_of_hours_pass_at_once(shop):
    async with Backbeat(shop.worker, start=START) as backbeat:
        backbeat.faults.fail("Reserve money", 3)
        node = await buy(backbeat)
        await backbeat.advance(hours=200)

        assert [activity.attempt for activity in backbeat.sent("Reserve money")] == [1, 2, 3, 4]
        assert shop.did[:2] == ["Make Purchase", "Reserve money 4"]
        assert await node.result() == {"buyer": "Ann"}
        assert backbeat.now == START + timedelta(hours=200)


async def test_the_clock_jumps_by_itself_where_it_is_told_to(shop):
    async with Backbeat(shop.worker, start=START, skip_time=True) as backbeat:
        backbeat.faults.fail("Reserve money", 3)
        node = await buy(backbeat)

        assert await node.result() == {"buyer": "Ann"}
        assert backbeat.now > START + timedelta(hours=1.5)


async def test_a_time_from_now_counts_from_the_clock_of_the_test(shop):
    @shop.worker.activity("Later")
    async def later():
        current().add("Notify", "customer", at=timedelta(hours=1))

    async with Backbeat(shop.worker, start=START) as backbeat:
        node = await backbeat.client().signal("W", "s", "Later", at=timedelta(hours=2))
        assert backbeat.next_due == START + timedelta(hours=2)
        assert backbeat.queued == []

        await backbeat.advance(timedelta(hours=2))
        assert backbeat.next_due == START + timedelta(hours=3)

        await backbeat.advance(to=START + timedelta(hours=3))
        assert await node.result() is None
        tree = await backbeat.client().tree(node.workflow_id)
        assert [(await branch.node.history())[-1].at for branch in tree.children[0].children] == [backbeat.now]


async def test_timers_fire_in_order_and_may_leave_what_has_come_in_the_queue(shop):
    async with Backbeat(shop.worker) as backbeat:
        for hours in (3, 1, 2):
            await backbeat.client().signal("W", hours, "Notify", args=[hours], at=timedelta(hours=hours))
        await backbeat.advance(hours=2, run=False)
        assert [activity.params for activity in backbeat.queued] == [[1], [2]]
        await backbeat.advance(hours=1)

        assert shop.did == ["Notify 1", "Notify 2", "Notify 3"]


@pytest.mark.parametrize(
    ("given", "error"),
    [({}, TypeError), ({"by": timedelta(1), "hours": 1}, TypeError), ({"hours": -1}, BackbeatError)],
)
async def test_the_clock_takes_one_way_forward(given, error):
    async with Backbeat() as backbeat:
        with pytest.raises(error):
            await backbeat.advance(**given)


def test_a_start_without_a_time_zone_is_refused():
    with pytest.raises(BackbeatError, match="no time zone"):
        Backbeat(start=datetime(2026, 1, 1))  # noqa: DTZ001


# --- the same checks as at the real doors ----------------------------------------------------------------------------


async def test_refusals_are_the_engines_own(shop):
    async with Backbeat(shop.worker, settings=Settings(payload_bytes_max=100)) as backbeat:
        client = backbeat.client()
        with pytest.raises(LimitExceeded, match="payload_bytes_max is 100"):
            await client.signal("W", "s", "Notify", args=["x" * 200])
        with pytest.raises(NotFound, match="There is no client 'strangers'"):
            await client.signal("W", "s", "Notify", args=["x"], client="strangers")
        node = await client.signal("W", "s", "Notify", args=["x"], idempotency_key="k")
        again = await client.signal("W", "s", "Notify", args=["x"], idempotency_key="k")
        assert again.id == node.id
        with pytest.raises(KeyReused):
            await client.signal("W", "s", "Notify", args=["y"], idempotency_key="k")
        with pytest.raises(NotFound):
            await backbeat.client("other").node(node.id)
        with pytest.raises(Rejected):
            await node.resolve()
        with pytest.raises(Unavailable, match="answered by a gateway"):
            await backbeat.transport().search("workflows", {}, 1.0)


async def test_a_result_over_the_limit_is_an_error_of_its_node(shop):
    @shop.worker.activity("Big")
    def big():
        return "x" * 300_000

    async with Backbeat(shop.worker) as backbeat:
        node = await backbeat.client().signal("W", "s", "Big", retries=0)
        with pytest.raises(NodeFailed, match="payload_bytes_max"):
            await node.result()


async def test_what_is_published_and_refused_is_a_dead_letter(shop):
    async with Backbeat(shop.worker, settings=Settings(payload_bytes_max=100)) as backbeat:
        client = backbeat.client()
        await client.publish("W", "s", "Notify", args=["x" * 200])
        await client.flush()

        assert [letter.reason[:14] for letter in backbeat.dead_letters] == ["limit_exceeded"]
        assert backbeat.dead_letters[0].value


async def test_what_a_service_publishes_passes_the_same_door(shop):
    signal = {"workflow": "W", "subject": "s", "decider": "D", "signal": "Make Purchase", "id": "order-17"}
    async with Backbeat(shop.worker) as backbeat:
        for _ in range(2):
            backbeat.publish({**signal, "client_data": {"params": ["Ann"]}})
        backbeat.publish(signal, client="nobody")
        backbeat.publish(b"no JSON")
        backbeat.publish({**signal, "client_id": "01234567-89ab-4def-8123-456789abcdef"})
        await backbeat.run()

        assert shop.did.count("Make Purchase") == 1
        first, second, third = [letter.reason for letter in backbeat.dead_letters]
        assert first == "unknown client nobody"
        assert "JSON" in second
        assert third.startswith("field `client_id` names no client")


async def test_arguments_and_results_go_through_a_codec():
    codec = Fernet(cryptography.fernet.Fernet.generate_key())
    worker = Worker(codec=codec)
    worker.activity("Double")(lambda number: 2 * number)
    async with Backbeat(worker) as backbeat:
        node = await backbeat.client(codec=codec).signal("W", "s", "Double", args=[21])

        assert backbeat.queued[0].params.keys() == {"$backbeat", "data"}
        assert await node.result() == 42


async def test_a_node_for_a_client_that_nobody_knows_fails_as_on_kafka(shop):
    async with Backbeat(shop.worker) as backbeat:
        client = backbeat.client()
        # The client is removed while somebody still works for it.
        backbeat._registry._by_id.clear()
        node = await client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"], retries=0)
        with pytest.raises(NodeFailed, match="No client has the id"):
            await node.result()


async def test_every_status_change_is_in_the_history(shop):
    async with Backbeat(shop.worker) as backbeat:
        node = await buy(backbeat)
        await node.result()

        changes = [change for record in backbeat.history for change in record.changes]
        of_node = [change.change for change in changes if change.node_id == to_id(node.id)]
        assert of_node == [change._change for change in await node.history()]


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_a_crash_after_the_effect_repeats_the_same_attempt(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.faults.crash("Reserve money", 2)
        node = await buy(backbeat)
        await node.result()

        assert shop.did[1:4] == ["Reserve money 1"] * 3
        assert [fault.kind for fault in backbeat.faults.injected] == [FaultKind.CRASH] * 2
        assert backbeat.faults.planned == {}


async def test_a_duplicate_runs_twice_and_is_answered_once(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.faults.duplicate("Make Purchase")
        node = await buy(backbeat)
        await node.result()

        assert shop.did.count("Make Purchase") == 2
        assert shop.did.count("Reserve money 1") == 1


async def test_a_worker_that_hangs_lets_the_deadline_pass(shop):
    async with Backbeat(shop.worker, start=START) as backbeat:
        backbeat.faults.hang("Make Purchase")
        node = await buy(backbeat, timeout=60, backoff=60)
        await backbeat.run()
        assert (await node.refresh()).status == "sent_to_client"
        await backbeat.advance(minutes=1)
        assert (await node.refresh()).status == "retrying"
        await backbeat.advance(hours=1)

        assert (await node.refresh()).status == "complete"
        assert (await node.refresh()).attempt == 2


async def test_a_lost_reply_is_a_timeout_of_what_was_done(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.faults.lose_reply()
        with pytest.raises(Timeout, match="lost by the test"):
            await buy(backbeat, idempotency_key="order-17")
        node = await buy(backbeat, idempotency_key="order-17")
        await node.result()

        assert shop.did.count("Make Purchase") == 1


async def test_a_planned_failure_says_what_it_was_told_to(shop):
    async with Backbeat(shop.worker) as backbeat:
        backbeat.faults.fail("Make Purchase", message="the bank is closed")
        node = await buy(backbeat, retries=0)
        with pytest.raises(NodeFailed, match="the bank is closed"):
            await node.result()


@pytest.mark.parametrize("seed", range(5))
async def test_faults_of_a_seed_change_nothing_in_the_end(seed):
    shop = Shop()
    async with Backbeat(shop.worker, skip_time=True) as backbeat:
        backbeat.faults.draw(seed, fail=0.1, crash=0.2, duplicate=0.2, hang=0.05, repeat=0.3)
        nodes = [
            await backbeat.client().signal("Camera sale", f"Camera {number}", "Make Purchase", args=["Ann"])
            for number in range(20)
        ]
        await backbeat.run()
        backbeat.faults.stop()

        for node in nodes:
            await node.result()
            assert [status for *_, status in await statuses(backbeat, node.workflow_id)] == ["complete"] * 4
        assert len(backbeat.faults.injected) > 10


async def test_the_same_seed_draws_the_same_faults():
    drawn = []
    for _ in range(2):
        shop = Shop()
        async with Backbeat(shop.worker, skip_time=True, start=START) as backbeat:
            backbeat.faults.draw(7, fail=0.2, crash=0.2, duplicate=0.2)
            for number in range(10):
                await backbeat.client().signal("W", f"Camera {number}", "Notify", args=[number])
            await backbeat.run()
            drawn.append((shop.did, backbeat.faults.injected))

    assert drawn[0] == drawn[1]


def test_odds_and_times_are_checked():
    backbeat = Backbeat()
    with pytest.raises(BackbeatError, match="odds are from 0 to 1: crash = 2"):
        backbeat.faults.draw(1, crash=2)
    with pytest.raises(BackbeatError, match="times is 0"):
        backbeat.faults.fail("x", 0)


async def test_the_markers_say_what_the_fixture_is_made_from(pytestconfig):
    assert "backbeat(*workers, **options)" in " ".join(pytestconfig.getini("markers"))


# --- signals that become one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True])
async def test_a_signal_with_a_key_is_debounced(published):
    ran = []
    worker = Worker(client="default")
    worker.activity("Index")(ran.append)
    async with Backbeat(worker, start=START) as backbeat:
        client = backbeat.client()
        for n in range(3):
            await backbeat.advance(seconds=3)
            if published:
                at = (backbeat.now + timedelta(seconds=5)).isoformat()
                request = {"workflow": "Shop", "subject": 7, "decider": "D", "signal": "Index", "fires_at": at}
                backbeat.publish({**request, "client_data": {"name": "Index", "params": [n]}, "coalesce_key": "index"})
            else:
                key = {"coalesce_key": "index", "at": timedelta(seconds=5)}
                await client.signal("Shop", 7, "Index", args=[n], **key)
        assert ran == []
        await backbeat.advance(seconds=5)
        assert ran == [2]
        tree = await client.tree(client.workflow_id("Shop", 7))
        assert [node.status for _, node in tree.walk()] == ["deactivated", "deactivated", "complete"]
        assert backbeat.dead_letters == []


async def test_a_signal_with_a_key_that_waits_stands_for_the_next_ones():
    worker = Worker(client="default")
    worker.activity("Index")(lambda: None)
    async with Backbeat(worker) as backbeat:
        client = backbeat.client()
        single = {"coalesce_key": "index", "coalesce": "drop"}
        running = await client.signal("Shop", 7, "Index", **single)
        waiting = [await client.signal("Shop", 7, "Index", **single, idempotency_key=f"k{n}") for n in range(3)]
        assert {node.id for node in waiting} == {waiting[0].id} != {running.id}
        await backbeat.run()
        assert len(backbeat.sent("Index")) == 2
        again = await client.signal("Shop", 7, "Index", **single, idempotency_key="k2")
        assert again.id == waiting[0].id
        with pytest.raises(KeyReused):
            await client.signal("Shop", 7, "Index", coalesce_key="mail", coalesce="drop", idempotency_key="k2")
        with pytest.raises(Rejected, match="coalesce cannot be 'keep'"):
            await client.signal("Shop", 7, "Index", coalesce_key="index", coalesce="keep")
