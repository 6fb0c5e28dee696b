"""The examples in memory, as their users would test them, and on a broker as their first lines say."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backbeat import NodeFailed, Worker
from backbeat.examples import camera, order, payment, pipeline, subscription
from backbeat.testing import Backbeat

FRIDAY = datetime(2026, 1, 2, 18, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty():
    for kept in (
        pipeline.disk,
        pipeline.indexes,
        camera.reserved,
        camera.sold,
        camera.messages,
        payment.transfers,
        payment.closed_accounts,
        payment.to_do,
    ):
        kept.clear()
    for kept in (subscription.charges, subscription.cards, subscription.goodbyes):
        kept.clear()


async def purchase(backbeat: Backbeat, customer: str = "Ada"):
    return await backbeat.client().signal("Purchases", "Camera 703", "Make Purchase", args=[customer, 499])


async def statuses(backbeat: Backbeat, node) -> list[tuple[int, str, str]]:
    tree = await backbeat.client().tree(node.workflow_id)
    return [(depth, below.name, below.status) for depth, below in tree.walk()]


# --- camera ----------------------------------------------------------------------------------------------------------


@pytest.mark.backbeat(Worker(activities=camera.ACTIVITIES))
async def test_the_camera_is_bought(backbeat):
    node = await purchase(backbeat)

    assert await node.result() == {"camera": "Camera 703", "customer": "Ada"}
    assert list(camera.reserved.values()) == [("Ada", 499)]
    assert camera.sold == {"Camera 703": "Ada"}
    assert sorted(camera.messages) == ["Ada: it is yours", "fulfillment: send it"]
    assert [(depth, name) for depth, name, _ in await statuses(backbeat, node)] == [
        (0, "Make Purchase"),
        (1, "Reserve money"),
        (1, "Mark as sold"),
        (1, "Successful Purchase"),
        (2, "Notify (2)"),
        (3, "Notify"),
        (3, "Notify"),
    ]


@pytest.mark.backbeat(Worker(activities=camera.ACTIVITIES))
async def test_a_worker_that_dies_after_the_reservation_reserves_once(backbeat):
    backbeat.faults.crash("Reserve money", times=2)
    await (await purchase(backbeat)).result()

    assert len(backbeat.faults.injected) == 2
    assert list(camera.reserved.values()) == [("Ada", 499)]


@pytest.mark.backbeat(Worker(activities=camera.ACTIVITIES))
async def test_the_second_buyer_is_told_no(backbeat):
    await (await purchase(backbeat)).result()
    late = await purchase(backbeat, "Grace")
    await backbeat.run()

    assert [name for _, name, status in await statuses(backbeat, late) if status == "retries_exhausted"] == [
        "Mark as sold"
    ]
    failed = next(activity for activity in backbeat.sent("Mark as sold") if activity.params == ["Grace"])
    with pytest.raises(NodeFailed, match="Camera 703 belongs to Ada"):
        await backbeat.client().wait(failed.id)


# --- payment ---------------------------------------------------------------------------------------------------------


async def pay(backbeat: Backbeat, merchant: str = "Merchant 1"):
    return await backbeat.client().signal("Payments", merchant, "Make Payment")


@pytest.mark.backbeat(Worker(activities=payment.ACTIVITIES), start=FRIDAY)
async def test_a_merchant_is_paid(backbeat):
    await (await pay(backbeat)).result()

    assert list(payment.transfers.values()) == [("Merchant 1", 3_195)]
    assert [activity.params for activity in backbeat.sent("Send to Bank")] == [[3_195]]


@pytest.mark.backbeat(Worker(activities=payment.ACTIVITIES), start=FRIDAY)
async def test_a_bank_that_is_closed_for_hours_is_asked_again(backbeat):
    backbeat.faults.fail("Send to Bank", times=5, message="the bank is closed")
    node = await pay(backbeat)
    await backbeat.run()
    assert payment.transfers == {}

    await backbeat.advance(hours=8)

    await node.result()
    assert list(payment.transfers.values()) == [("Merchant 1", 3_195)]
    assert len(backbeat.sent("Send to Bank")) == 6
    assert backbeat.now == FRIDAY + timedelta(hours=8)


@pytest.mark.backbeat(Worker(activities=payment.ACTIVITIES), start=FRIDAY)
async def test_a_closed_account_is_not_tried_again_and_somebody_is_told(backbeat):
    payment.closed_accounts.add("Merchant 2")
    node = await pay(backbeat, "Merchant 2")
    await backbeat.run()

    assert [status for *_, status in await statuses(backbeat, node)][-1] == "retries_exhausted"
    assert (len(backbeat.sent("Send to Bank")), len(backbeat.notified("Send to Bank"))) == (1, 1)
    assert payment.to_do == ["Merchant 2: Fail: Merchant 2 has no account"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.backbeat(Worker(activities=payment.ACTIVITIES), skip_time=True)
async def test_whatever_goes_wrong_each_merchant_is_paid_once(backbeat, seed):
    backbeat.faults.draw(seed, fail=0.2, crash=0.3, duplicate=0.3)
    nodes = [await pay(backbeat, merchant) for merchant in ("Merchant 1", "Merchant 2")]
    for node in nodes:
        await node.result()

    assert sorted(payment.transfers.values()) == [("Merchant 1", 3_195), ("Merchant 2", 899)]


# --- pipeline --------------------------------------------------------------------------------------------------------


async def indexed(backbeat: Backbeat, files: int, damaged: int) -> None:
    """Index so many files, whatever goes wrong meanwhile, and look at what was written."""
    names = pipeline.fill_disk(files, damaged)
    node = await backbeat.client().signal("Indexes", "2026-11", pipeline.index_files, names)
    unreadable = [name for name in names if pipeline.disk[name] is None]
    assert await node.result() == pipeline.Index(files - damaged, "file", unreadable)
    read = [text for text in pipeline.disk.values() if text is not None]
    (index,) = pipeline.indexes.values()
    assert index == Counter(word for text in read for word in text.split()), "each file once"


@pytest.mark.backbeat(Worker(activities=pipeline.ACTIVITIES))
async def test_files_are_indexed_twenty_at_a_time_with_what_each_gave(backbeat):
    await indexed(backbeat, files=700, damaged=7)
    limits = await backbeat.client().limits.list()
    assert [(limit.activity, limit.concurrency) for limit in limits] == [("Read file", 20)]


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(1_000), marks=pytest.mark.prove)])
async def test_whatever_goes_wrong_each_file_is_in_the_index_once(seeds):
    for seed in seeds:
        pipeline.disk.clear()
        pipeline.indexes.clear()
        async with Backbeat(Worker(activities=pipeline.ACTIVITIES), skip_time=True) as backbeat:
            backbeat.faults.draw(seed, fail=0.05, crash=0.1, duplicate=0.1, hang=0.02)
            await indexed(backbeat, files=100 + seed % 60, damaged=seed % 2)


# --- subscription ----------------------------------------------------------------------------------------------------


async def subscribe(backbeat: Backbeat):
    subscription.cards["Ada"] = "4000"
    plan = subscription.Plan(12)
    return await backbeat.client().signal("Subscriptions", "Ada", subscription.subscription, plan)


async def cancel(backbeat: Backbeat) -> None:
    reason = subscription.Cancellation("too dear")
    await backbeat.client().send("Subscriptions", "Ada", "cancel", reason, idempotency_key="cancel")


@pytest.mark.backbeat(Worker(activities=subscription.ACTIVITIES))
async def test_a_subscription_is_paid_every_month_until_it_is_canceled(backbeat):
    begun = await subscribe(backbeat)
    for month in range(1, 4):
        await backbeat.run()
        assert list(subscription.charges.values()) == [("Ada", "4000", 12)] * month
        await backbeat.advance(days=30)
    await cancel(backbeat)
    await backbeat.run()
    assert subscription.goodbyes == {"Ada": "too dear"}
    await backbeat.advance(days=90)
    assert len(subscription.charges) == 4
    assert {status for *_, status in await statuses(backbeat, begun)} == {"complete"}


@pytest.mark.backbeat(Worker(activities=subscription.ACTIVITIES))
async def test_a_cancellation_that_comes_before_the_period_waits_for_it_counts(backbeat):
    begun = await subscribe(backbeat)
    await cancel(backbeat)
    await begun.result()
    assert (len(subscription.charges), subscription.goodbyes) == (1, {"Ada": "too dear"})


@pytest.mark.backbeat(Worker(activities=subscription.ACTIVITIES))
async def test_a_card_is_changed_in_the_middle_of_a_period(backbeat):
    await subscribe(backbeat)
    await backbeat.run()
    change = subscription.change_card.with_options(beside=True)
    await (await backbeat.client().signal("Subscriptions", "Ada", change, "5000")).result()
    await backbeat.advance(days=30)
    assert list(subscription.charges.values()) == [("Ada", "4000", 12), ("Ada", "5000", 12)]


async def paid_once_a_period_and_never_after_the_end(backbeat: Backbeat, seed: int) -> None:
    backbeat.faults.draw(seed, fail=0.2, crash=0.3, duplicate=0.3)
    begun = await subscribe(backbeat)
    await backbeat.advance(days=30 + seed % 40)
    await cancel(backbeat)
    await cancel(backbeat)
    await backbeat.advance(days=2)
    periods = [name for _, name, _ in await statuses(backbeat, begun) if name == "Subscription"]
    assert len(subscription.charges) == len(periods) in (1, 2, 3)
    assert subscription.goodbyes == {"Ada": "too dear"}
    await backbeat.advance(days=60)
    assert {status for *_, status in await statuses(backbeat, begun)} == {"complete"}
    assert len(subscription.charges) == len(periods)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.backbeat(Worker(activities=subscription.ACTIVITIES))
async def test_whatever_goes_wrong_a_period_is_paid_once(backbeat, seed):
    await paid_once_a_period_and_never_after_the_end(backbeat, seed)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(1_000))
@pytest.mark.backbeat(Worker(activities=subscription.ACTIVITIES))
async def test_whatever_goes_wrong_a_period_is_paid_once_a_thousand_times(backbeat, seed):
    await paid_once_a_period_and_never_after_the_end(backbeat, seed)


# --- order -----------------------------------------------------------------------------------------------------------


async def ordered(seed: int, orders: int = 2) -> list[str]:
    """How orders have ended under faults of a seed. In the end each customer has goods and was charged, or neither."""
    for book in (order.reservations, order.charges, order.parcels):
        book.entries.clear()
    backbeat = Backbeat(Worker(activities=order.ACTIVITIES), skip_time=True)
    backbeat.faults.draw(seed, fail=0.3, crash=0.2, duplicate=0.2, hang=0.1)
    client = backbeat.client()
    customers = [f"customer {number}" for number in range(orders)]
    nodes = [
        await client.signal("Orders", customer, order.order, customer, ["camera", "lens"], 703)
        for customer in customers
    ]
    if seed % 4 == 0:
        await backbeat.run_one()
        await nodes[0].cancel(compensate=True)
    await backbeat.run()
    ends = [await client.outcome("Orders", customer) for customer in customers]
    charged = sorted(text.removesuffix(" 703") for text in order.charges.entries.values())
    assert charged == sorted(order.parcels.entries.values()), f"seed {seed}"
    assert len(order.reservations.entries) == 2 * len(charged), f"seed {seed}"
    assert {end.state for end in ends} <= {"done", "failed"}, f"seed {seed}"
    assert all(end.given_up for end in ends if end.state == "failed"), f"seed {seed}: a step waits for somebody"
    return [end.state for end in ends]


async def test_an_order_is_sent_and_charged():
    backbeat = Backbeat(Worker(activities=order.ACTIVITIES))
    node = await backbeat.client().signal("Orders", "Ada", order.order, "Ada", ["camera"], 703)
    assert await node.result() in order.parcels.entries


async def test_an_order_whose_charge_fails_is_given_up_and_nothing_stays_reserved():
    order.reservations.entries.clear()
    backbeat = Backbeat(Worker(activities=order.ACTIVITIES), skip_time=True)
    backbeat.faults.fail("Charge", 3, "the bank is closed")
    node = await backbeat.client().signal("Orders", "Bob", order.order, "Bob", ["camera", "lens"], 703)
    with pytest.raises(NodeFailed, match=r"'Charge' was given up: .*the bank is closed"):
        await node.result()
    assert order.reservations.entries == {}
    assert len(backbeat.sent("Release")) == 2


async def test_no_seed_leaves_a_customer_charged_without_goods_or_refund():
    ends = [end for seed in range(25) for end in await ordered(seed)]
    assert set(ends) == {"done", "failed"}, "some orders were sent, and some given up"


@pytest.mark.prove
@pytest.mark.timeout(0)
async def test_none_of_a_thousand_seeds_leaves_a_customer_charged_without_goods_or_refund():
    for seed in range(1_000):
        await ordered(seed)


# --- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "lines"), [(camera, 80), (payment, 80), (pipeline, 120), (order, 120), (subscription, 120)]
)
def test_an_example_can_be_read_at_one_glance(example, lines):
    assert len(Path(example.__file__).read_text().splitlines()) < lines
