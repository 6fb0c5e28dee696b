"""When a schedule is due: cron expressions through daylight saving time, intervals, and what cannot be read."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas.cron import RecurrenceError, TooManyTimesError, next_times, times_after, times_between
from backbeat.schemas.messages.schedules import NewSchedule
from backbeat.schemas.messages.values import NewNode, NewWorkflow

USER = bytes(16)


def plan(cron="", zone="UTC", **given):
    workflow = NewWorkflow(user_id=USER, name="w", subject=b"1", decider="d")
    node = NewNode(name="n", user_id=USER)
    return NewSchedule(user_id=USER, name="s", cron=cron, zone=zone, workflow=workflow, node=node, **given)


def ms(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def at_home(cron, zone, begin, count):
    """The next times as a clock on the wall of the zone shows them, with the offset from UTC."""
    home = ZoneInfo(zone)
    after = round(datetime.fromisoformat(begin).replace(tzinfo=home).timestamp() * 1000)
    times = list(islice(times_after(plan(cron, zone), after), count))
    assert times == sorted(set(times))
    assert times[0] > after
    # An engine works them out a command at a time, from the last one on.
    assert [next_times(plan(cron, zone), at, 1)[0] for at in [after, *times[:-1]]] == times
    return [datetime.fromtimestamp(at // 1000, home).strftime("%m-%d %H:%M %z") for at in times]


@pytest.mark.parametrize(("zone", "eve", "expected"), [
    # 02:00 to 03:00 is skipped: a daily run at 02:30 is at the first minute after the gap.
    ("Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
    ("America/New_York", "2026-03-07T12:00", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
    # 02:00 to 03:00 comes twice in Berlin: it is run once, the first time. In New York that is 01:00 to 02:00.
    ("Europe/Berlin", "2026-10-24T12:00", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
    ("America/New_York", "2026-10-31T12:00", ["11-01 02:30 -0500", "11-02 02:30 -0500"]),
])  # fmt: skip
def test_half_past_two_every_day(zone, eve, expected):
    assert at_home("30 2 * * *", zone, eve, 2) == expected


def test_an_hour_that_comes_twice_in_new_york():
    assert at_home("30 1 * * *", "America/New_York", "2026-10-31T12:00", 2) == [
        "11-01 01:30 -0400", "11-02 01:30 -0500",
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("day", ["2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31"])
def test_a_quarter_of_an_hour_is_one_through_every_change(zone, day):
    begin = ms(f"{day}T12:00:00+00:00")
    times = list(islice(times_after(plan("*/15 * * * *", zone), begin), 4 * 48))
    assert times == [begin + number * 15 * 60_000 for number in range(1, 4 * 48 + 1)]


def test_one_that_begins_in_the_second_hour_does_not_go_back_to_the_first():
    second = ms("2026-10-25T02:10:00+01:00")
    assert next_times(plan("30 2 * * *", "Europe/Berlin"), second, 1) == [ms("2026-10-26T02:30:00+01:00")]


def test_the_zone_is_what_the_hours_are_read_in():
    assert next_times(plan("0 9 * * 1", "Asia/Tokyo"), ms("2026-01-01T00:00:00+00:00"), 1) == [
        ms("2026-01-05T00:00:00+00:00")
    ]


@given(
    st.sampled_from(["30 2 * * *", "*/15 * * * *", "0 */2 * * *", "5 1,2,3 * * *", "0 0 1 * *", "59 23 * * 7"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "UTC"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive ones
)
def test_times_ascend_and_do_not_depend_on_where_one_begins(cron, zone, begin):
    timetable = plan(cron, zone)
    after = round(begin.replace(tzinfo=UTC).timestamp() * 1000)
    times = next_times(timetable, after, 6)
    assert all(earlier < later for earlier, later in pairwise([after, *times]))
    # Whoever goes on from one of them finds the rest: so an engine does it, a command at a time.
    for place, at in enumerate(times[:-1]):
        assert next_times(timetable, at, 1) == [times[place + 1]]


@given(st.integers(1, 100_000), st.floats(0, 1, exclude_max=True), st.integers(0, 4_102_444_800_000), st.integers(1, 9))
def test_intervals_are_counted_from_their_offset(seconds, share, after, count):
    offset = float(int(seconds * share))
    times = next_times(plan(interval_seconds=float(seconds), offset_seconds=offset), after, count)
    assert all((at - offset * 1000) % (seconds * 1000) == 0 for at in times)
    assert [later - earlier for earlier, later in pairwise(times)] == [seconds * 1000] * (count - 1)
    assert 0 < times[0] - after <= seconds * 1000


@pytest.mark.parametrize(("cron", "zone", "why"), [
    ("* * * *", "UTC", "five fields"),
    ("0 * * * * *", "UTC", "five fields"),
    ("61 * * * *", "UTC", "Bad minute"),
    ("0 0 31 2 *", "UTC", "Bad day-of-month"),
    ("nonsense in five whole fields", "UTC", "cannot be read"),
    ("0 0 * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
    ("0 0 * * *", "../../etc/passwd", "no time zone"),
    ("0 0 * * *", "Europe", "no time zone"),
    ("0 0 * * *", "", "no time zone"),
])  # fmt: skip
def test_what_cannot_be_read_says_which_part(cron, zone, why):
    with pytest.raises(RecurrenceError, match=why):
        times_after(plan(cron, zone), 0)
    assert next_times(plan(cron, zone), 0, 3) == []


@pytest.mark.parametrize(("seconds", "why"), [
    (0.0, "this has neither"), (0.5, "at least 1 s"), (float("nan"), "at least 1 s"), (float("inf"), "at least 1 s"),
])  # fmt: skip
def test_an_interval_of_nothing_is_none(seconds, why):
    with pytest.raises(RecurrenceError, match=why):
        times_after(plan(interval_seconds=seconds), 0)


@given(
    st.lists(st.text("0123456789*,-/#LWMONFRIJAN", max_size=6), min_size=5, max_size=5).map(" ".join),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_whatever_is_said_is_read_or_refused(cron, zone):
    try:
        times = list(islice(times_after(plan(cron, zone), ms("2026-10-25T00:30:00+00:00")), 3))
    except RecurrenceError:
        return
    assert times == sorted(set(times))


def test_the_end_of_the_calendar_is_an_end():
    assert next_times(plan("0 0 1 1 *"), ms("9999-01-01T00:00:00+00:00"), 5) == []
    with pytest.raises(RecurrenceError, match="No calendar"):
        times_after(plan("0 0 1 1 *"), 2**62)


def test_a_range_has_both_ends_and_a_limit():
    day = timedelta(days=1) // timedelta(milliseconds=1)
    begin = ms("2026-01-01T00:00:00+00:00")
    timetable = plan("0 0 * * *")
    assert times_between(timetable, begin, begin + 2 * day, 3) == [begin, begin + day, begin + 2 * day]
    with pytest.raises(TooManyTimesError, match="more than 2 times"):
        times_between(timetable, begin, begin + 2 * day, 2)
