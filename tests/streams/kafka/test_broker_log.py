"""An outage of Kafka is told once in ten seconds, whatever librdkafka's clients say; nothing else is held back."""

import logging
import time

import pytest

from backbeat.delivery import kafka
from backbeat.schemas.kafka import broker_log, brokers
from backbeat.schemas.kafka.broker_log import BrokerLog, Outages
from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError, wait_until_reached
from backbeat.streams.kafka.reachability import Reachability

NOWHERE = "127.0.0.1:1"
logger = logging.getLogger("backbeat")


@pytest.fixture
def outages(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    fresh = Outages()
    monkeypatch.setattr(broker_log, "OUTAGES", fresh)
    return fresh


def test_what_fails_again_and_again_is_told_once_and_counted(outages, caplog):
    now = [100.0]
    outages_clock = type("Time", (), {"monotonic": staticmethod(lambda: now[0])})
    broker_log.time, before = outages_clock, time
    try:
        log = BrokerLog(logger, outages)
        for _ in range(50):
            log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-1", "Connection refused")
        now[0] += 10.0
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#consumer-2", "Connection refused")
        log.log(logging.ERROR, "%s [%s] %s", "CONFWARN", "rdkafka#consumer-2", "something else")
    finally:
        broker_log.time = before
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[1].endswith("(49 such lines were left out)")
    assert lines[2] == "CONFWARN [rdkafka#consumer-2] something else"


@pytest.mark.parametrize(
    "make", [kafka.make_producer, lambda servers, settings: kafka.make_consumer(servers, "g", settings)]
)
def test_a_worker_or_client_without_a_kafka_writes_a_line_and_not_one_a_connection(make, caplog):
    client = make(NOWHERE, {})
    lines = []
    tries = 0
    logger.addFilter(lines.append)
    real = broker_log.OUTAGES.tell

    def count(*given):
        nonlocal tries
        tries += 1
        real(*given)

    broker_log.OUTAGES.tell = count
    try:
        deadline = time.monotonic() + 60
        while tries < 20:
            client.poll(0.1)
            assert time.monotonic() < deadline
    finally:
        del broker_log.OUTAGES.tell
        logger.removeFilter(lines.append)
    # However slow the machine is: far fewer lines than connections.
    assert len(lines) <= 2 + tries // 10


def test_a_process_waits_for_its_brokers_however_long(monkeypatch, outages):
    tries = []

    def reach(servers):
        tries.append(servers)
        if len(tries) < 5:
            raise UnreachableError(servers)

    monkeypatch.setattr(brokers, "reach", reach)
    wait_until_reached(NOWHERE)
    assert len(tries) == 5


def test_it_does_not_wait_for_brokers_that_refuse_it(monkeypatch):
    def reach(servers):
        raise RefusedError(servers, "wrong password")

    monkeypatch.setattr(brokers, "reach", reach)
    with pytest.raises(RefusedError):
        wait_until_reached(NOWHERE)


def test_brokers_that_do_not_answer_are_away():
    reachability = Reachability(NOWHERE, 4)
    assert not reachability.is_away()
    reachability.look()
    assert reachability.is_away()


def test_a_number_of_partitions_that_was_changed_is_said_once(caplog):
    reachability = Reachability(NOWHERE, 4)
    for count in (4, 6, 6, 0, 4):
        reachability._compare(count)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "has 6 partitions now and had 4" in line
    assert reachability.other_count is None
    reachability._compare(6)
    assert reachability.other_count == 6
