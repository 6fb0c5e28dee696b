"""compose.staging.yaml at work: its very commands as plain processes, and the camera purchase on them.

One broker, one engine and one gateway are killed while purchases run, and stay away until all of them are complete.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from backbeat.compose.local import postgresql
from backbeat.streams.kafka.lag_probe import LagProbe
from tests.compose.deploy.files import STAGING, alerts, dashboard
from tests.compose.deploy.plain import PlainStack
from tests.compose.deploy.shop import buy, is_complete, open_shop
from tests.gateway.api.door import Door
from tests.waiting import until

pytestmark = pytest.mark.integration

PURCHASES = 8
PARTITIONS = 6
SECONDS_MAX = 240.0


@pytest.fixture(scope="module")
def staging(tmp_path_factory):
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(f"staging needs PostgreSQL: {reason}")
    with PlainStack(STAGING, tmp_path_factory.mktemp("staging"), BACKBEAT_PARTITIONS=str(PARTITIONS)) as stack:
        yield stack


@pytest.fixture(scope="module")
def doors(staging):
    return open_shop(staging)


def test_everything_that_the_alerts_and_the_dashboard_name_is_exported(staging, doors):
    assert doors
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    named = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for expression in [rule["expr"] for rule in alerts()] + shown
        for name in re.findall(r"\b(?:backbeat|process)_\w+", expression)
    }
    exported = set()
    for name in ("engine-1", "engine-2", "gateway-1", "gateway-2", "projection"):
        answer = Door(staging.status_url(name)).get("/metrics")
        assert answer.status == 200, answer
        exported |= set(re.findall(r"^# TYPE (\w+)", answer.text, re.MULTILINE))
    assert named - exported == set()


def test_the_camera_is_bought_while_a_broker_an_engine_and_a_gateway_are_killed(staging, doors):
    first, second = doors
    left = ["engine-2", "gateway-2", "projection", "worker"]
    # One purchase with everything there, so that what is killed has work behind it.
    whole = buy(first, 0)
    until(lambda: is_complete(second, whole), "a purchase with everything there", SECONDS_MAX)

    bought = [buy(door, number) for number, door in enumerate(doors * (PURCHASES // 2), start=1)]
    # An end behind -1 is one that is known.
    every = dict.fromkeys(range(PARTITIONS), -1)
    ends = LagProbe(staging.kafka.bootstrap_servers, lambda: every, lambda *_: -1, every_seconds=0.5)
    ends.start()
    until(lambda: ends.behind == every, "the ends of all partitions are known", SECONDS_MAX)
    staging.kafka.brokers[0].kill()
    staging.parts["engine-1"].kill()
    staging.parts["gateway-1"].kill()

    def complete() -> bool:
        staging.tend(*left)
        return all(is_complete(second, workflow) for workflow in bought)

    def shown() -> list[Any]:
        return [
            second.get(f"/workflows/{identity}/tree/print") for identity in bought if not is_complete(second, identity)
        ]

    staging.until(complete, "all purchases without one broker, one engine and one gateway", shown, SECONDS_MAX)
    # What follows is done without them, too: accepted, worked on, and found in PostgreSQL.
    late = buy(second, PURCHASES + 1)
    until(lambda: is_complete(second, late), "a purchase that begins without them", SECONDS_MAX)

    # Of the next leaders, too, though nobody told of them.
    until(lambda: ends.behind == every, "the ends of all partitions are known again", SECONDS_MAX)
    ends.stop()

    def all_in_search() -> bool:
        # While a partition changes hands its newest records are asked for in vain; answers say then that they may be
        # old.
        answer = second.get("/workflows/search?name=Purchases&per_page=100")
        return answer.status == 200 and {row["id"] for row in answer.json} == {whole, late, *bought}

    until(all_in_search, "the search finds all purchases", SECONDS_MAX)
