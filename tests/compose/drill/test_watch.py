"""The watch: figures of metrics and journals, and the bounds that end a fault."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time

import msgspec
import pytest

from backbeat.compose.drill.load.account import Account
from backbeat.compose.drill.load.journal import Entry, Journal
from backbeat.compose.drill.load.payments import MAKE
from backbeat.compose.drill.load.rig import Rig
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.report.result import RunResult
from backbeat.compose.drill.report.text import text_lines
from backbeat.compose.drill.report.words import crashes, words_of
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.tower import Tower
from backbeat.compose.drill.watch.bounds import TIME, Bound, Guard, agreed, known_before, outcome_of
from backbeat.compose.drill.watch.direct import DirectSource, parse, read_metrics
from backbeat.compose.drill.watch.figures import LOAD_FIGURES, METRICS_FIGURES, role_of
from backbeat.compose.drill.watch.reading import Reading
from backbeat.compose.drill.watch.scrape import Scrape
from backbeat.compose.drill.watch.watch import Watch
from backbeat.compose.local.child_process import ChildProcess
from tests.waiting import until

TEXT = """# HELP backbeat_engine_lag_records x
# TYPE backbeat_engine_lag_records gauge
backbeat_engine_lag_records{partition="0"} 7.0
backbeat_engine_lag_records{partition="1"} 5.0
backbeat_engine_status_changes_total{machine="server",status="complete"} %d
backbeat_engine_status_changes_total{machine="server",status="errored"} 0.0
backbeat_engine_command_age_seconds_bucket{le="0.1"} %d
backbeat_engine_command_age_seconds_bucket{le="1.0"} %d
backbeat_engine_command_age_seconds_bucket{le="+Inf"} %d
process_resident_memory_bytes 104857600.0
python_info{version="3"} 1.0
"""


class _Texts:
    """A source that has these texts, one after the other; 2 s lie between them."""

    def __init__(self, *texts):
        self.texts = list(enumerate(texts))

    def read(self, services):
        number, text = self.texts.pop(0)
        return {service.name: Reading(parse(text), 2.0 * number) for service in services if text}

    def close(self):
        pass


def test_figures_of_metrics():
    texts = _Texts(TEXT % (100, 10, 10, 10), TEXT % (150, 60, 110, 110), "", TEXT % (20, 5, 5, 5))
    scrape = Scrape([Service(name="e", role="engine", metrics_url="http://x")], texts)
    first = scrape.sample()
    assert (first["lag_records"], first["nodes_completed_per_second"]) == (12.0, 0.0)
    second = scrape.sample()
    assert second["nodes_completed_per_second"] == 25.0
    assert second["command_age_p99_seconds"] == 1.0
    assert second["engine_memory_mebibytes"] == 100.0
    assert {name for name in second if not role_of(name)} == set(METRICS_FIGURES)
    assert scrape.sample()["engines_answering"] == 0.0
    # A counter that fell began anew: nothing is counted twice, and nothing below 0.
    assert scrape.sample()["nodes_completed_per_second"] == 0.0
    scrape.close()


def test_an_account_of_the_journals(tmp_path):
    journal, other = Journal(tmp_path / "a.jsonl"), Journal(tmp_path / "b.jsonl")
    account = Account(tmp_path)
    began = time.monotonic()
    for payment in ("sdk-1", "topic-2", "http-3", "sdk-4"):
        journal.note("asked", payment, way=payment.partition("-")[0])
    for payment in ("sdk-1", "topic-2", "http-3"):
        journal.note("taken", payment, way=payment.partition("-")[0])
    journal.note("failed", "sdk-4", way="sdk", error="Timeout: no answer")
    for payment in ("sdk-1", "topic-2"):
        other.note("begun", payment, step="Send to bank", node=f"n-{payment}", attempt=1)
        other.note("paid", payment, step="Send to bank", node=f"n-{payment}", attempt=1)
    # The same attempt once more is what at least once means; another node is money lost.
    other.note("begun", "sdk-1", step="Send to bank", node="n-sdk-1", attempt=1)
    other.note("paid", "sdk-1", step="Send to bank", node="n-sdk-1", attempt=1)
    other.note("paid", "topic-2", step="Send to bank", node="another", attempt=1)
    account.read()
    totals = account.totals()
    assert (totals.asked, totals.taken, totals.completed) == (4, 3, 2)
    assert (totals.lost, totals.examples_lost, totals.paid_twice, totals.executed_again) == (1, ["http-3"], 1, 1)
    sample = account.sample()
    assert (sample["open_payments"], sample["completed_per_second"]) == (2, 2 / 5)
    assert set(sample) == set(LOAD_FIGURES)
    figures = account.ways(began, time.monotonic())
    assert (figures["sdk"].asked, figures["sdk"].taken, figures["sdk"].failures) == (2, 1, 1)
    assert account.failure_kinds(began, time.monotonic()) == {"Timeout": 1}
    assert account.open_before(time.monotonic()) == 2
    other.note("begun", "http-3", step=MAKE, node="root", attempt=1)
    account.read()
    assert account.payments["http-3"].root == "root"


def test_silence_lasts_until_somebody_is_answered_again(tmp_path):
    lines = []
    for number, (asked, taken) in enumerate([(1, 1.5), (3, 31), (20, 32), (29, 33)]):
        lines += [Entry(asked, "asked", f"sdk-{number}", "sdk"), Entry(taken, "taken", f"sdk-{number}", "sdk")]
    (tmp_path / "a.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    account = Account(tmp_path)
    account.read()
    # All that was asked for within the span was taken after it.
    assert account.ways(2.0, 30.0)["sdk"].longest_silence_seconds == 29.0
    assert account.ways(0.0, 2.0)["sdk"].longest_silence_seconds == 1.5
    assert account.ways(40.0, 50.0)["sdk"].longest_silence_seconds == 0.0
    (tmp_path / "b.jsonl").write_bytes(msgspec.json.encode(Entry(31.5, "asked", "sdk-9", "sdk")) + b"\n")
    account.read()
    # Whoever is never answered hears nothing until now.
    assert account.ways(31.2, 32.0)["sdk"].longest_silence_seconds == pytest.approx(time.monotonic() - 33, abs=60)


class _Load:
    """An account whose figure the test sets."""

    value = 1.0

    def read(self):
        pass

    def sample(self):
        return {"figure": self.value}


@pytest.fixture
def load_and_watch():
    load = _Load()
    watch = Watch(load, Scrape([], DirectSource()))
    watch.start()
    yield load, watch
    watch.stop()


def test_what_goes_beyond_a_bound_is_told_once(load_and_watch):
    load, watch = load_and_watch
    anomalies = []
    watch.guard([Bound(figure="figure", at_most=5), Bound(figure="unknown", at_least=1)], anomalies.append)
    until(lambda: len(watch.samples) > 2, "samples are taken")
    assert anomalies == []
    load.value = 9.0
    until(lambda: anomalies, "it is told")
    count = len(watch.samples)
    until(lambda: len(watch.samples) > count + 2, "samples are taken")
    assert [str(each) for each in anomalies] == ["figure was 9: figure at most 5"]
    assert watch.between(0, anomalies[0].at)[-1][TIME] < anomalies[0].at
    watch.guard([Bound(figure="figure", at_least=10)], anomalies.append)
    until(lambda: len(anomalies) > 1, "a new guard tells again")


def test_an_anomaly_of_before_does_not_count():
    bounds = [Bound(figure="lag", at_most=10), Bound(figure="memory", at_most=10)]
    assert known_before(bounds, [{"lag": 3}, {"lag": 30, "memory": 1}, {"lag": 3}]) == bounds[:1]


class _Series:
    """Latencies as the fault makes them, and a lag that was there before it."""

    def __init__(self, mark):
        self._mark = mark

    def read(self):
        pass

    def sample(self):
        return {"p99_seconds": 30.0 if self._mark.exists() else 0.1, "lag_records": 900.0, "failures_share": 0.0}


def test_a_fault_beyond_a_bound_is_ended_and_the_report_says_by_whom_and_which_bound(tmp_path):
    mark = tmp_path / "mark"
    bounds = (
        Bound(figure="p99_seconds", at_most=2, times_before=5),
        Bound(figure="lag_records", at_most=10),
        Bound(figure="failures_share", at_most=0.5),
    )
    play = Play(
        name="slow",
        summary="payments take long",
        fault="script",
        targets="shop",
        arguments={"inject": ["touch", str(mark)], "abort": ["rm", str(mark)], "check": ["test", "!", "-e", str(mark)]},
        seconds=300,
        bounds=bounds,
    )
    rig = Rig(tmp_path, Keeper(), bootstrap_servers="", gateways=[], per_second=1, workers=0, partitions=1, plain=True)
    watch = Watch(_Series(mark), Scrape([], DirectSource()))
    watch.start()
    try:
        topology = Topology([Service(name="shop", role="shop")])
        result = Tower(topology, rig, watch, tmp_path, per_second=1, seed=1, say=lambda _: None).play(play)
    finally:
        watch.stop()
    assert (result.ended_by, result.reason) == ("the watch", "p99_seconds was 30: p99_seconds at most 2")
    assert result.failed == ["an anomaly ended it: p99_seconds was 30: p99_seconds at most 2"]
    assert result.seconds < 300
    assert not mark.exists()
    lines = [line.strip() for line in text_lines(RunResult(id="r", began_at=0.0, plays=[result]))]
    assert any(line.endswith("; ended by the watch: p99_seconds was 30: p99_seconds at most 2") for line in lines)
    assert "bound: p99_seconds at most 2: worst 30, NOT KEPT" in lines
    assert "bound: failures_share at most 0.5: worst 0, kept" in lines
    assert "bound: engine_memory_mebibytes at most 2000: never seen, kept" in lines
    assert "did not count, it was so before: lag_records at most 10" in lines
    assert not any(line.startswith("bound: lag_records") for line in lines)
    assert any(line.startswith("bound: the fault's end after its anomaly at most 2 s: worst ") for line in lines)


def test_a_bound_may_be_passed_for_a_while():
    bound = Bound(figure="completed_per_second", at_least=0.1, for_seconds=3)
    series = [6, 0, 0, 1, 0, 0, 0, 0, 0, 5]
    samples = [{TIME: 100.0 + at, "completed_per_second": value} for at, value in enumerate(series)]
    guard = Guard([bound])
    anomalies = [guard.look(sample) for sample in samples]
    assert [each is not None for each in anomalies] == [False] * 7 + [True, True, False]
    assert anomalies[7].at == 107.0
    assert str(bound) == "completed_per_second at least 0.1, or not for longer than 3 s"
    # What is slow for a moment before a fault counts in it; what stands still all the time does not.
    assert known_before([bound], samples[:3]) == []
    assert known_before([bound], samples[1:3]) == [bound]
    outcome = outcome_of(bound, samples)
    assert (outcome.worst, outcome.is_kept) == (0, False)
    assert outcome_of(bound, samples[:6]).is_kept
    assert outcome_of(bound, [{TIME: 1.0}]).worst is None


@pytest.mark.parametrize(("before", "most"), [([], 60), ([1.0], 60), ([5.0, 9.0, 7.0], 140)])
def test_a_latency_may_be_as_many_times_that_of_before(before, most):
    bound = Bound(figure="p99_seconds", at_most=60, times_before=20)
    (agreed_bound,) = agreed([bound], [{TIME: 0.0, "p99_seconds": value} for value in before])
    assert agreed_bound.at_most == most
    assert agreed_bound.is_kept({"p99_seconds": most})
    assert not agreed_bound.is_kept({"p99_seconds": most + 1})


def test_a_process_that_ends_amid_its_answer_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def break_off() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30057\r\n\r\n")

        threading.Thread(target=break_off, daemon=True).start()
        with pytest.raises(OSError, match="the answer broke off: IncompleteRead"):
            read_metrics(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics")


def test_a_process_that_crashed_is_told_and_one_that_was_killed_is_not(tmp_path):
    parts = []
    for name, number in (("gateway-1", signal.SIGSEGV), ("engine-1", signal.SIGKILL)):
        log = tmp_path / f"{name}.log"
        command = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(number)})"]
        parts.append(
            Part(name, ChildProcess(name, command, log_path=log, pid_path=log.with_suffix(".pid")), tmp_path / "hold")
        )
    keeper = Keeper()
    keeper.start()
    try:
        keeper.add(parts)
        until(lambda: all(part.deaths for part in keeper.parts), "both have ended")
        (tmp_path / "hold").touch()
    finally:
        keeper.stop()
    services = [Service(name=part.name, role="x", log=str(part.process.log_path)) for part in keeper.parts]
    (line,) = crashes(words_of(Topology(services), keeper.parts, 60))
    assert re.fullmatch(r"gateway-1 crashed: signal SIGSEGV, (once|\d+ times)", line)
