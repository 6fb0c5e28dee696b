"""Schedules in a partition's store: kept, listed, restored with their timers, and due with their times."""

import msgspec
import pytest

from backbeat.schemas import codec
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.records import Meta
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.store import every
from backbeat.streams.core.tables import SCHEDULES
from backbeat.streams.engine.due_timers import due_records
from backbeat.streams.state.store import ChangelogPosition, PartitionStore
from tests.schemas.test_cron import ms, plan
from tests.streams.core.storing import put

BEGIN = ms("2026-01-01T00:00:00+00:00")
HOUR = 3_600_000


def schedule(number, **given):
    return Schedule(
        **{
            "id": bytes([number]) * 16, "plan": plan(interval_seconds=3600.0), "made_by": bytes(16),
            "created_at": BEGIN, "updated_at": BEGIN, "after": BEGIN,
            "timer_at": BEGIN + HOUR, "timer_kind": TimerKind.SCHEDULE, "timer_number": 7,
            **given,
        }
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = PartitionStore(tmp_path / "store", 3)
    yield store
    store.close()


def keep(store, row):
    put(store, SCHEDULES, row.id, row)


def commit(store, next_offset=1):
    snapshot = store.snapshot()
    store.write(snapshot, ChangelogPosition("state", next_offset, 0))
    store.mark_durable()
    return snapshot.records


def test_a_list_has_what_was_committed_and_what_was_not_yet(store):
    for number in (1, 3, 5):
        keep(store, schedule(number))
    commit(store)
    keep(store, schedule(4))
    snapshot = store.snapshot()  # under way: neither stored nor changed
    keep(store, schedule(2))
    keep(store, schedule(3, paused=True))
    put(store, SCHEDULES, schedule(5).id, None)
    schedules = list(every(store, SCHEDULES))
    assert [row.id[0] for row in schedules] == [1, 2, 3, 4]
    assert [row.paused for row in schedules] == [False, False, True, False]
    store.write(snapshot, ChangelogPosition("state", 2, 0))
    store.mark_durable()
    commit(store, 3)
    assert list(every(store, SCHEDULES)) == schedules


def test_a_restored_store_has_the_timers_of_its_schedules(store, tmp_path):
    for number, given in ((1, {}), (2, {"timer_at": None}), (3, {"timer_at": BEGIN + 5})):
        keep(store, schedule(number, **given))
    records = commit(store)
    restored = PartitionStore(tmp_path / "restored", 3)
    restored.restore(records, ChangelogPosition("state", 1, 0))
    restored.restore(
        [(b"c" + schedule(3).id, msgspec.msgpack.encode(schedule(3, timer_at=BEGIN + 9)))], restored.origin
    )
    assert [(command.schedule_id[0], command.number) for command in fired(restored, BEGIN + 10)] == [(3, 7)]
    assert [(command.schedule_id[0], command.number) for command in fired(restored, BEGIN + HOUR)] == [(1, 7)]
    restored.close()


def fired(store, now):
    return [codec.decode_command(value) for _, value in due_records(store, now)]


def due(store, now, **given):
    """The command of the one timer."""
    row = schedule(1, **given)
    put(store, SCHEDULES, row.id, row)
    (command,) = fired(store, now)
    return command


def test_the_command_has_the_time_that_came_and_the_next(store):
    command = due(store, BEGIN + HOUR)
    assert (command.number, command.times, command.next_at) == (7, (BEGIN + HOUR,), BEGIN + 2 * HOUR)
    assert command.problem == ""


def test_a_new_schedule_has_only_its_next_time(store):
    command = due(store, BEGIN + 5, timer_at=BEGIN)
    assert (command.times, command.next_at) == ((), BEGIN + HOUR)


def test_after_an_outage_it_has_as_many_as_one_command_may_deal_with(store):
    store.replace_meta(Meta(settings=Settings(slice_nodes_max=3)))
    command = due(store, BEGIN + 9 * HOUR + 1)
    assert command.times == tuple(BEGIN + hour * HOUR for hour in (1, 2, 3))
    assert command.next_at == BEGIN + 4 * HOUR


def test_one_that_this_machine_cannot_read_says_so(store):
    command = due(store, BEGIN + HOUR, plan=plan("0 0 * * *", "Mars/Olympus"))
    assert (command.times, command.next_at) == ((), None)
    assert "Mars/Olympus" in command.problem


def test_many_that_are_late_leave_others_their_turn(store):
    for number in range(30):
        row = schedule(number + 1)
        keep(store, row)
    rounds = []
    while commands := fired(store, BEGIN + 300 * HOUR):
        rounds.append([command.schedule_id[0] for command in commands])
    assert [len(numbers) for numbers in rounds] == [8, 8, 8, 6]  # 250 times each, and the next one
    assert [number for numbers in rounds for number in numbers] == list(range(1, 31))


def test_a_defect_in_one_schedule_stops_that_one_only(store, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("in the library")

    monkeypatch.setattr("backbeat.streams.engine.due_timers.times_after", broken)
    command = due(store, BEGIN + HOUR)
    assert (command.times, command.next_at) == ((), None)
    assert command.problem == "A defect: ZeroDivisionError: in the library"
