"""Schedules: workflows that are signalled at times. `client.schedules` (docs/schedules.md)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack

from backbeat.client.schedules.views import Schedule
from backbeat.client.signals import RUN_WORDS, RunOptions
from backbeat.client.words import check_options
from backbeat.errors import InvalidParameters, LimitExceeded
from backbeat.payload.values import seconds, to_milliseconds
from backbeat.streams.core.commands import ChangeSchedule, Overlap, PutSchedule, RunSchedule
from backbeat.streams.core.effects import Reason
from backbeat.streams.core.schedules.runs import BACKFILL_MAX
from backbeat.streams.core.schedules.schedule import OVERLAP_WORDS
from backbeat.streams.engine.cron import RecurrenceError, TooManyTimesError, times_between

if TYPE_CHECKING:
    from backbeat.client.schedules.calls import ScheduleCalls

OverlapWord = Literal["skip", "queue", "cancel", "allow"]
#: What `put` is told beside the options of its signals.
_TIMES = ("cron", "zone", "every", "offset", "overlap", "catch_up", "paused")


class Schedules:
    """The schedules of one client application, each known by its name.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def plan() -> None:
    ...     schedules = Backbeat().client().schedules
    ...     nightly = await schedules.put(
    ...         "nightly", "Reports", "night of {scheduled_at}", "Make report", cron="30 2 * * *", zone="Europe/Berlin"
    ...     )
    ...     print(nightly, nightly.overlap)
    >>> asyncio.run(plan())
    <Schedule 'nightly' 30 2 * * *> skip
    """

    def __init__(self, client: ScheduleCalls) -> None:
        self._client = client

    async def put(
        self,
        name: str,
        workflow: str,
        subject: Any,
        signal: str,
        *,
        cron: str | None = None,
        zone: str | None = None,
        every: float | timedelta | None = None,
        offset: float | timedelta | None = None,
        overlap: OverlapWord | None = None,
        catch_up: float | timedelta | None = None,
        paused: bool | None = None,
        **options: Unpack[RunOptions],
    ) -> Schedule:
        """Make a schedule, or change the one of this name, which keeps what it has done.

        At each time the `workflow` of this name and `subject` is signalled, as `Client.signal` does it; `options` are
        those of a signal. In the subject, `{scheduled_at}` stands for the time, so each run is a workflow of its own;
        without it all of them are in one, one after the other.

        Either `cron`, five fields that are read in the time zone `zone` (UTC), or `every` so long, from `offset` after
        the epoch on. `overlap`: what is done with a run that is due while an earlier one has not ended (skip). A run
        that is later than `catch_up`, seconds or a timedelta, is missed (a day).
        """
        check_options("put", options, (*_TIMES, *RUN_WORDS))
        given = {
            "cron": cron,
            "zone": zone,
            "interval_seconds": _length("every", every),
            "offset_seconds": _length("offset", offset),
            "overlap": _overlap(overlap),
            "catch_up_seconds": _length("catch_up", catch_up),
        }
        plan = await self._client.schedule_plan(name, workflow, subject, signal, options, **given)
        return Schedule(await self._client.schedule_command(PutSchedule, name, schedule=plan, paused=paused))

    async def get(self, name: str) -> Schedule:
        """A schedule: what it is, its next and its past runs. NotFound."""
        return await self._client.schedule_by_name(name)

    async def all(self) -> list[Schedule]:
        """All of them, by name."""
        return await self._client.all_schedules()

    async def pause(self, name: str, note: str = "") -> None:
        """Nothing is due until it is resumed. Runs that are under way go on, queued ones wait."""
        await self._client.schedule_command(ChangeSchedule, name, change="pause", note=note)

    async def resume(self, name: str, note: str = "") -> None:
        """Go on from now: what would have been due meanwhile is not made up for (`backfill` does that)."""
        await self._client.schedule_command(ChangeSchedule, name, change="resume", note=note)

    async def delete(self, name: str) -> None:
        """Forget it. Runs that are under way go on."""
        await self._client.schedule_command(ChangeSchedule, name, change="delete")

    async def trigger(
        self, name: str, *, overlap: OverlapWord | None = None, idempotency_key: str | None = None
    ) -> Schedule:
        """A run now, also of a paused one. `overlap`: as the schedule has it, unless said otherwise."""
        return await self._run(name, (), overlap, idempotency_key)

    async def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        *,
        overlap: OverlapWord | None = None,
        idempotency_key: str | None = None,
    ) -> Schedule:
        """A run for each of its times from `start` to `end`, both included; 1,000 at most, else LimitExceeded.

        They are run whether they were run before or not, one after the other (`overlap`: queue) unless said otherwise.
        """
        begin, until = to_milliseconds(start, 0.0), to_milliseconds(end, 0.0)
        assert begin is not None, "a time is one"
        assert until is not None, "a time is one"
        found = await self._client.schedule_by_name(name)
        try:
            times = times_between(found.view.plan, begin, until, BACKFILL_MAX)
        except TooManyTimesError as error:
            raise LimitExceeded(Reason.LIMIT_EXCEEDED, str(error), "more", f"at most {BACKFILL_MAX}") from error
        except RecurrenceError as error:
            raise unreadable(error) from error
        if not times:
            raise InvalidParameters(
                Reason.INVALID_PARAMETERS,
                f"{name!r} is never due from {start.isoformat()} to {end.isoformat()}",
                "no time",
                "a longer range",
            )
        return await self._run(name, tuple(times), overlap, idempotency_key)

    async def _run(self, name: str, times: tuple[int, ...], overlap: OverlapWord | None, key: str | None) -> Schedule:
        said = _overlap(overlap)
        return Schedule(await self._client.schedule_command(RunSchedule, name, key, times=times, overlap=said))


def unreadable(error: RecurrenceError) -> InvalidParameters:
    """What cannot be read, as an error like those that an engine answers."""
    return InvalidParameters(Reason.INVALID_PARAMETERS, str(error), "a schedule without times", "one that has some")


def _overlap(said: Any) -> Overlap | None:
    if said is None:
        return None
    found = OVERLAP_WORDS.get(said) if isinstance(said, str) else None
    if found is None:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"There is no overlap {said!r}", said, ", ".join(OVERLAP_WORDS)
        )
    return found


def _length(name: str, value: float | timedelta | None) -> float | None:
    return None if value is None else seconds(value, name)
