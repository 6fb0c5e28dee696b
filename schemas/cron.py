"""Times of a schedule, from its cron expression or interval.

The only file that reads cron expressions and time zones. What it says depends on the machine's time zone data, so it
never decides anything during a replay: an engine that finds a schedule due puts the times into the log (`due_timers`),
and doors ask it for no more than whether a schedule can be read and what its next times are likely to be.

Daylight saving time, as Debian's cron has it: a time that the clock skips in spring is made up for at the first minute
after the gap, one that comes twice in autumn is taken the first time; but where minutes or hours begin with a star, the
schedule goes by what the clock shows, so every quarter of an hour is a quarter of an hour, through both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from backbeat.schemas.messages.schedules import INTERVAL_SECONDS_MIN, NewSchedule

_FIELDS = 5


class RecurrenceError(ValueError):
    """There are no times: the text says which part of the schedule cannot be read, and what could."""


class TooManyTimesError(ValueError):
    """There are more times than were asked for."""


def times_after(plan: NewSchedule, after: int) -> Iterator[int]:
    """The times after `after`, ascending, all in milliseconds since the epoch; it may end. RecurrenceError."""
    if not plan.cron:
        return _intervals(plan, after)
    zone = _zone(plan.zone)
    return _cron_times(_cron(plan.cron, _datetime(after, zone)), after)


def next_times(plan: NewSchedule, after: int, count: int) -> list[int]:
    """The next `count` times at most; none where the schedule cannot be read."""
    try:
        return list(islice(times_after(plan, after), count))
    except RecurrenceError:
        return []


def times_between(plan: NewSchedule, begin: int, end: int, limit: int) -> list[int]:
    """The times from `begin` to `end`, both included. RecurrenceError; TooManyTimesError for more than `limit`."""
    times: list[int] = []
    for at in times_after(plan, begin - 1):
        if at > end:
            break
        if len(times) == limit:
            raise TooManyTimesError(f"There are more than {limit} times in this range. Take a shorter one")
        times.append(at)
    return times


def _intervals(plan: NewSchedule, after: int) -> Iterator[int]:
    if plan.interval_seconds == 0:
        raise RecurrenceError("A schedule has a cron expression or an interval, and this has neither")
    if not (math.isfinite(plan.interval_seconds) and plan.interval_seconds >= INTERVAL_SECONDS_MIN):
        raise RecurrenceError(f"An interval is at least {INTERVAL_SECONDS_MIN:g} s, not {plan.interval_seconds:g}")
    if not math.isfinite(plan.offset_seconds):
        raise RecurrenceError(f"The offset of an interval is a number of seconds, not {plan.offset_seconds:g}")
    interval, offset = round(plan.interval_seconds * 1000), round(plan.offset_seconds * 1000)
    return _every(interval, after + interval - (after - offset) % interval)


def _every(interval: int, at: int) -> Iterator[int]:
    while True:
        yield at
        at += interval


def _zone(name: str) -> tzinfo:
    try:
        # CronSim takes every zone but UTC itself for one with daylight saving time.
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise RecurrenceError(f"There is no time zone {name!r}; give a name such as Europe/Berlin, or UTC") from error


def _cron(text: str, begin: datetime) -> CronSim:
    if len(text.split()) != _FIELDS:
        raise RecurrenceError(
            f"The cron expression {text!r} does not have five fields: minute, hour, day of month, month, day of week"
        )
    try:
        return CronSim(text, begin)
    except CronSimError as error:
        raise RecurrenceError(f"The cron expression {text!r} cannot be read: {error}") from error


def _cron_times(dates: Iterator[datetime], after: int) -> Iterator[int]:
    try:
        for date in dates:
            at = int(date.timestamp()) * 1000
            # Begun in an hour that comes a second time, the library begins with the first.
            if at > after:
                yield at
    except OverflowError:  # the calendar ends
        return


def _datetime(milliseconds: int, zone: tzinfo) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds // 1000, zone)
    except (OverflowError, ValueError, OSError) as error:
        raise RecurrenceError(f"No calendar has the time {milliseconds}") from error
