"""Load of a drill: how its beginning ends."""

from __future__ import annotations

import contextlib
import random
import re

import pytest
from click.testing import CliRunner

from backbeat import PlainClient
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.abort import abort_run
from backbeat.compose.drill.faults.catalogue import make_fault
from backbeat.compose.drill.load import rig as rigs
from backbeat.compose.drill.load.closing import unclosed
from backbeat.compose.drill.load.payments import CLIENT, FLOOD_CLIENT, TOKEN_VARIABLE, WEBHOOK_CLIENT
from backbeat.compose.drill.load.retention import keep_briefly, keep_for_ever
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.topology.keeper import Keeper
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.tower import Tower
from backbeat.compose.drill.watch.direct import DirectSource, read_metrics
from backbeat.compose.drill.watch.scrape import Scrape
from backbeat.compose.drill.watch.watch import Watch
from backbeat.errors import Unauthorized
from backbeat.schemas.kafka.client_registry import ClientRegistry
from tests.empty_kafka import stack_on
from tests.waiting import until

PARTITIONS = 2


@pytest.fixture
def rig(tmp_path):
    """A load of which nothing is ever paid."""
    (tmp_path / "journal").mkdir()
    return rigs.Rig(
        tmp_path,
        Keeper(),
        bootstrap_servers="127.0.0.1:1",
        gateways=[],
        per_second=1,
        workers=1,
        partitions=1,
        plain=True,
    )


@pytest.fixture(scope="module")
def stack(kafka):
    """An installation whose gateway asks for tokens, as those that are shipped do."""
    with stack_on(kafka, partitions=PARTITIONS, gateways=[["--require-auth-token=writes"]]) as stack:
        yield stack


@contextlib.contextmanager
def rig_on(stack, folder):
    """A load with its keeper."""
    folder.mkdir()
    keeper = Keeper()
    keeper.start()
    try:
        yield (
            rigs.Rig(
                folder,
                keeper,
                bootstrap_servers=stack.bootstrap_servers,
                gateways=stack.http_urls,
                per_second=3,
                workers=1,
                partitions=PARTITIONS,
                plain=True,
                listen_address="127.0.0.2",
            ),
            keeper,
        )
    finally:
        keeper.stop()


def test_the_load_is_paid_where_a_gateway_asks_for_tokens_and_posts_to_another_address(stack, tmp_path):
    with rig_on(stack, tmp_path / "run") as (rig, keeper):
        rig.start()
        paid = {payment.way for payment in rig.account.payments.values() if payment.paid_at}
        assert paid == {"sdk", "topic", "http"}
        assert not any(rig._env[TOKEN_VARIABLE] in word for part in keeper.parts for word in part.process.command)
    with ClientRegistry(stack.bootstrap_servers) as registry:
        client = registry.by_name(WEBHOOK_CLIENT)
    assert client.activity_endpoint.startswith("http://127.0.0.2:")
    with PlainClient(stack.http_urls[0], client=WEBHOOK_CLIENT) as client, pytest.raises(Unauthorized):
        client.signal("Payments", "without a token", "Make payment")


def test_a_flood_is_let_in_where_a_gateway_asks_for_tokens(stack, tmp_path):
    arguments = {
        "bootstrap_servers": stack.bootstrap_servers,
        "plain": True,
        "client": FLOOD_CLIENT,
        "per_second": 1,
        "callers": 1,
        "folder": str(tmp_path),
        "order": "flood",
    }
    gateway = Service(name="gateway-1", role="gateway", metrics_url=f"{stack.http_urls[0]}/metrics")
    flood = make_fault("flood", arguments, [gateway], random.Random(1))

    def taken() -> float:
        values = read_metrics(gateway.metrics_url)
        return sum(
            value
            for (name, labels), value in values.items()
            if name == "backbeat_gateway_requests_total" and dict(labels)["status"].startswith("2")
        )

    def is_taken() -> bool:
        flood.act()
        return taken() > before + 5

    flood.inject()
    try:
        before = taken()
        until(is_taken, "its calls are taken")
    finally:
        flood.abort()
    assert flood.check() == []
    assert re.search(r"answers to calls: 20\d \d+ times;", flood.notes[0])
    with PlainClient(stack.http_urls[0], client=FLOOD_CLIENT) as client, pytest.raises(Unauthorized):
        client.signal("Flood", "without a token", "Flood")


def test_a_run_asks_for_other_payments_than_those_before_it(stack, tmp_path):
    for name in ("first", "second"):
        with rig_on(stack, tmp_path / name) as (rig, _):
            rig.start()
            rig.stop_asking()
            assert rig.wait_paid(60), rig.account.totals()
            totals = rig.account.totals()
            assert totals.asked == totals.taken == totals.completed > 0, totals


def test_payments_are_kept_briefly_for_a_soak_and_for_ever_again(stack, tmp_path):
    with rig_on(stack, tmp_path / "run") as (rig, _):
        rig.start()
        keep_briefly(stack.bootstrap_servers)
        rig.stop_asking()
        assert rig.wait_paid(60), rig.account.totals()
        roots = rig.account.roots()
        assert len(roots) >= 3

        def is_removed() -> bool:
            left = unclosed(stack.bootstrap_servers, roots, 0)
            return len(left) == len(roots) and all(status.startswith("not known: ") for status in left.values())

        until(is_removed, "what is complete is removed")
        assert unclosed(stack.bootstrap_servers, roots, 0, is_removed=True) == {}
    assert not is_kept_for_ever(stack)
    keep_for_ever(stack.bootstrap_servers)
    assert is_kept_for_ever(stack)


def test_a_run_keeps_its_payments_after_a_soak_that_was_killed(stack, tmp_path):
    with rig_on(stack, tmp_path / "soak") as (rig, _):
        rig.start()
        keep_briefly(stack.bootstrap_servers)
    with rig_on(stack, tmp_path / "run") as (rig, _):
        rig.start()
        assert is_kept_for_ever(stack)


def is_kept_for_ever(stack) -> bool:
    """True if neither of the drill's clients has a retention for its payments."""
    policies = []
    for name in (CLIENT, WEBHOOK_CLIENT):
        with PlainClient(stack.bootstrap_servers, client=name) as client:
            policies.append(client.retention.get("Payments"))
    return policies == [None, None]


def test_a_worker_is_killed_while_an_activity_is_at_work(stack, tmp_path):
    with rig_on(stack, tmp_path / "run") as (rig, keeper):
        rig.start()
        (worker,) = [service for service in rig.services if service.role == "worker"]
        (part,) = [part for part in keeper.parts if part.name == worker.name]
        arguments = {"every_seconds": [0, 0], "step_seconds": 1.0}
        fault = make_fault("kill-at-work", arguments, [worker], random.Random(1))
        fault.inject()

        def is_killed() -> bool:
            fault.act()
            return len(part.deaths) >= 2

        until(is_killed, "it was killed twice")
        fault.abort()
        assert fault.check() == []
        assert {reason for _, reason in part.deaths} == {"signal SIGKILL"}
        assert any(re.fullmatch(r"worker-1: [1-9]\d* activities were at work", note) for note in fault.notes)
        rig.stop_asking()
        assert rig.wait_paid(120), rig.account.totals()
        # What was at work began again: by no chance, since it was there.
        assert rig.account.totals().executed_again > 0


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])  # noqa: S104 - refused
def test_an_endpoint_has_one_address(address):
    refused = CliRunner().invoke(backbeat, ["drill", "run", "1", "--listen-address", address])
    assert (refused.exit_code, "cannot post to every address" in refused.output) == (2, True), refused.output


def test_a_run_that_waits_for_its_first_payments_is_aborted(rig, tmp_path, monkeypatch):
    monkeypatch.setattr(rigs, "_FIRST_SECONDS_MAX", 0.5)
    with pytest.raises(SetupError, match="no payment over sdk, topic was paid"):
        rig._wait_first()
    assert list(abort_run(tmp_path, "Ada")) == [f"Run {tmp_path.name}: nothing more is played."]
    rig._wait_first()


def test_a_keeper_that_has_ended_ends_the_wait(rig):
    rig._keeper.failure = "the keeper of the drill's processes ended: no more threads"
    with pytest.raises(SetupError, match="no more threads"):
        rig._wait_first()


def test_no_fault_begins_once_a_run_is_aborted(rig, tmp_path):
    """Aborted while it waits before a fault, for as long as six seconds."""
    mark = tmp_path / "mark"
    arguments = {"inject": ["touch", str(mark)]}
    play = Play(name="mark", summary="-", fault="script", targets="shop", seconds=5, arguments=arguments)
    watch = Watch(rig.account, Scrape([], DirectSource()))
    topology = Topology([Service(name="shop", role="shop")])
    tower = Tower(topology, rig, watch, tmp_path, per_second=1, seed=1, say=lambda _: None)
    list(abort_run(tmp_path, "Ada"))
    result = tower.play(play)
    watch.stop()
    assert result.skipped == "Ada has aborted the run"
    assert not mark.exists()
    assert not (tmp_path / "capsules").exists()
