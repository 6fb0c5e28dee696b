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
from backbeat.compose.drill.report.words import crashes, words_of
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.bounds import Bound, known_before
from backbeat.compose.drill.watch.direct import DirectSource, parse, read_metrics
from backbeat.compose.drill.watch.figures import LOAD_FIGURES, METRICS_FIGURES, role_of
from backbeat.compose.drill.watch.reading import Reading
from backbeat.compose.drill.watch.scrape import Scrape
from backbeat.compose.drill.watch.watch import TIME, Watch
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
    (line,) = crashes(words_of(services, keeper.parts))
    assert re.fullmatch(r"gateway-1 crashed: signal SIGSEGV, (once|\d+ times)", line)
