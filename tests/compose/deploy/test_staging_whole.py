"""compose.staging.yaml under losses: each broker, engine and gateway is killed in turn and comes back.

Its worker is the demo's here: the ledger says which purchases it made, whatever the engines say.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter

import pytest

from backbeat.compose.demo.ledger import LedgerReader
from backbeat.compose.local import postgresql
from backbeat.compose.local.child_process import ChildProcess
from tests.compose.deploy.files import STAGING
from tests.compose.deploy.plain import PlainStack
from tests.compose.deploy.shop import DEMO_PURCHASE, buy, is_complete, open_shop
from tests.waiting import until

pytestmark = [pytest.mark.prove, pytest.mark.integration]

EACH_TIME = 40
SECONDS_MAX = 120.0


def test_each_part_is_killed_in_turn_and_every_purchase_is_made_once(tmp_path):
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(f"staging needs PostgreSQL: {reason}")
    with PlainStack(STAGING, tmp_path) as stack:
        ledger = tmp_path / "ledger"
        stack.parts["worker"] = ChildProcess(
            "worker",
            [sys.executable, "-m", "backbeat.compose.demo.worker", stack.kafka.bootstrap_servers, str(ledger)],
            log_path=tmp_path / "log" / "demo-worker.log",
            pid_path=tmp_path / "log" / "demo-worker.pid",
        )
        doors = open_shop(stack)
        numbers = itertools.count()
        bought: list[str] = []
        processes = [name for name in stack.parts if name != "worker"]

        def sell(door) -> None:
            """Purchases until so many were accepted; what a gateway could not is sent again, as a client would."""
            for number in itertools.islice(numbers, EACH_TIME):

                def accepted(number=number) -> str | None:
                    stack.tend(*stack.parts)
                    try:
                        return buy(door, number, "number")
                    except (OSError, AssertionError):
                        return None

                bought.append(until(accepted, f"purchase {number} is accepted", SECONDS_MAX))

        for name in processes:
            # By the gateway that stays.
            door = doors[1] if name == "gateway-1" else doors[0]
            sell(door)
            stack.parts[name].kill()
            sell(door)
        for broker in stack.kafka.brokers:
            sell(doors[0])
            broker.kill()
            sell(doors[1])
            broker.start()
            # Until it has caught up the next one must not go: two of three must have each record.
            until(lambda: is_complete(doors[0], bought[-1], DEMO_PURCHASE), "purchases go on", SECONDS_MAX)

        def complete() -> bool:
            stack.tend(*stack.parts)
            left = [workflow for workflow in bought if not is_complete(doors[0], workflow, DEMO_PURCHASE)]
            bought[:] = left
            return not left

        count = len(bought)
        until(complete, f"all of {count} purchases", 3 * SECONDS_MAX)
        entries = LedgerReader(ledger).entries()
        charged = Counter(entry.number for entry in entries if entry.event == "charged")
        runs = Counter((entry.node, entry.attempt) for entry in entries if entry.event == "begin")
        print(f"{count} purchases, {len(runs)} activities, {sum(runs.values()) - len(runs)} of them more than once")
        assert set(charged) == set(range(count))
        assert set(charged.values()) == {1}
