"""The examples in memory, as their users would test them, and on a broker as their first lines say."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backbeat import NodeFailed, Worker
from backbeat.examples import camera, payment
from backbeat.testing import Backbeat

FRIDAY = datetime(2026, 1, 2, 18, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty():
    for kept in (camera.reserved, camera.sold, camera.told, payment.transfers, payment.closed_accounts, payment.to_do):
        kept.clear()


async def purchase(backbeat: Backbeat, customer: str = "Ada"):
    return await backbeat.client().signal("Purchases", "Camera 703", "Make Purchase", args=[customer, 499])


async def statuses(backbeat: Backbeat, node) -> list[tuple[int, str, str]]:
    return [(depth, one.name, one.status) for depth, one in (await backbeat.client().tree(node.workflow_id)).walk()]


# --- camera ----------------------------------------------------------------------------------------------------------


@pytest.mark.backbeat(Worker(activities=camera.ACTIVITIES))
async def test_the_camera_is_bought(backbeat):
    node = await purchase(backbeat)

    assert await node.result() == {"camera": "Camera 703", "customer": "Ada"}
    assert list(camera.reserved.values()) == [("Ada", 499)]
    assert camera.sold == {"Camera 703": "Ada"}
    assert sorted(camera.told) == ["Ada: it is yours", "fulfillment: send it"]
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
    failed = next(one for one in backbeat.sent("Mark as sold") if one.params == ["Grace"])
    with pytest.raises(NodeFailed, match="Camera 703 belongs to Ada"):
        await backbeat.client().wait(failed.id)


# --- payment ---------------------------------------------------------------------------------------------------------


async def pay(backbeat: Backbeat, merchant: str = "Merchant 1"):
    return await backbeat.client().signal("Payments", merchant, "Make Payment")


@pytest.mark.backbeat(Worker(activities=payment.ACTIVITIES), start=FRIDAY)
async def test_a_merchant_is_paid(backbeat):
    await (await pay(backbeat)).result()

    assert list(payment.transfers.values()) == [("Merchant 1", 3_195)]
    assert [one.params for one in backbeat.sent("Send to Bank")] == [[3_195]]


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


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [camera, payment])
def test_an_example_can_be_read_at_one_glance(example):
    assert len(Path(example.__file__).read_text().splitlines()) < 80
