"""What the watchdog takes for a hang, and what not."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.kafka.lag_probe import LagProbe
from backbeat.streams.process.watch import watchdog
from backbeat.streams.process.watch.watchdog import Standing, Watchdog, Watched


def dog(positions, seconds_max=10.0, name="the restore of partition"):
    return Watchdog([Watched(name, lambda: positions, seconds_max)], pytest.fail)


def test_a_position_that_moves_is_no_reason():
    positions = {3: 0}
    guard = dog(positions)
    for _ in range(100):
        positions[3] += 1
        guard.look(1.0)
    assert guard.reasons == []


def test_a_position_that_stands_for_too_long_is_a_reason():
    guard = dog({3: 7})
    for _ in range(11):
        guard.look(1.0)
    assert guard.reasons == []
    guard.look(1.0)
    assert guard.reasons == ["the restore of partition 3 has not moved for 11 s (the most is 10 s)"]


def test_a_partition_that_came_back_begins_anew():
    positions = {3: 7}
    guard = dog(positions)
    for _ in range(9):
        guard.look(1.0)
    del positions[3]
    guard.look(1.0)
    positions[3] = 7
    for _ in range(10):
        guard.look(1.0)
    assert guard.reasons == []


def test_the_event_loop_has_no_number():
    guard = dog({None: 5}, name="the event loop")
    for _ in range(12):
        guard.look(1.0)
    assert guard.reasons == ["the event loop has not moved for 11 s (the most is 10 s)"]


def test_positions_stand_each_for_itself():
    standing = Standing()
    standing.look({1: 5, 2: 5}, 0.0)
    assert standing.look({1: 5, 2: 6}, 4.0) == {1: 4.0, 2: 0.0}


def test_the_watchdog_gives_one_reason_from_a_thread_of_its_own():
    reasons = []
    done = threading.Event()

    def ended(reason):
        reasons.append((reason, threading.current_thread().name))
        done.set()

    guard = Watchdog([Watched("the event loop", lambda: {None: 0}, 0.05)], ended, tick_seconds=0.01)
    guard.start()
    assert done.wait(120)
    guard._thread.join(120)
    assert len(reasons) == 1
    assert reasons[0][0].startswith("the event loop has not moved")
    assert reasons[0][1] == "watchdog"


def test_time_in_which_the_process_did_not_run_does_not_count(monkeypatch):
    # A process that was stopped for an hour finds its watchdog's wait an hour long.
    guard = dog({None: 5}, name="the event loop")
    seen = []
    monkeypatch.setattr(guard, "look", seen.append)
    clock = iter([0.0, 0.25, 3_600.0, 3_600.25])
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    waits = iter([False, False, False, True])
    monkeypatch.setattr(guard._stopping, "wait", lambda _: next(waits))
    guard._run()
    assert seen == [0.25, 1.0, 0.25]


def test_a_partition_without_a_leader_says_nothing_of_the_others():
    probe = LagProbe("127.0.0.1:1", lambda: {0: 5, 1: 5, 2: 5}, lambda _, position: position, 1.0)

    def answer(offset):
        future = Future()
        if offset is None:
            future.set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))
        else:
            future.set_result(SimpleNamespace(offset=offset))
        return future

    ends = {0: None, 1: 9, 2: 5}
    asked = {place: answer(ends[place.partition]) for place in (TopicPartition(COMMANDS, number) for number in ends)}
    probe._admin = SimpleNamespace(list_topics=lambda *_, **__: None, list_offsets=lambda *_, **__: asked)
    assert probe._look() == {1: 5}
