"""The fixture `backbeat`, as pytest gives it to a project that has installed the package."""

import asyncio
from datetime import UTC, datetime

import pytest

from tests.sdk.testing.shop import Shop

SHOP = Shop()
START = datetime(2026, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.backbeat(SHOP.worker, start=datetime(2025, 1, 1, tzinfo=UTC))


async def buy(backbeat):
    node = await backbeat.client().signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
    return await node.result()


async def test_with_pytest_asyncio(backbeat):
    assert await buy(backbeat) == {"buyer": "Ann"}


def test_without_any_plugin_for_asyncio(backbeat):
    assert asyncio.run(buy(backbeat)) == {"buyer": "Ann"}


@pytest.mark.backbeat(start=START, skip_time=True)
async def test_the_nearest_marker_says_an_option_and_all_say_workers(backbeat):
    assert (backbeat.now, backbeat.skip_time) == (START, True)
    assert await buy(backbeat) == {"buyer": "Ann"}


def test_in_a_plain_test(plain_backbeat):
    node = plain_backbeat.client().signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])

    assert node.result() == {"buyer": "Ann"}


async def test_each_test_has_one_of_its_own(backbeat):
    assert (backbeat.sent(), backbeat.skip_time) == ([], False)
