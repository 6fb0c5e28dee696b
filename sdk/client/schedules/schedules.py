"""Schedules: workflows that are signalled at times. `client.schedules` (docs/how-to/schedules.md)."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, Unpack, cast

from backbeat.client.schedules.views import Schedule
from backbeat.client.session import Session
from backbeat.client.signals import RUN_WORDS, RunOptions, SignalOptions
from backbeat.client.words import check_options
from backbeat.client.workflow_calls import signal_command
from backbeat.errors import InvalidParameters, LimitExceeded
from backbeat.payload.nouns import noun_of
from backbeat.payload.values import seconds, to_milliseconds, to_text
from backbeat.schemas.cron import RecurrenceError, TooManyTimesError, times_after, times_between
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.commands import ChangeSchedule, PutSchedule, RunSchedule, Signal
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.schedules import BACKFILL_MAX, OVERLAP_WORDS, NewSchedule, Overlap

OverlapWord = Literal["skip", "queue", "cancel", "allow"]
#: The least likeness, from 0 to 1, of a word that was meant.
_LIKENESS_MIN = 0.5
#: Options of `put` beside those of its signals.
_TIMES = ("cron", "zone", "every", "offset", "overlap", "catch_up", "paused")


_PLACEHOLDER = re.compile(r"\{(\w*)\}")


def _check_placeholders(subject: Any) -> None:
    """Refuse a word in braces that looks like the one for a run's time, and is not."""
    for word in _PLACEHOLDER.findall(json.dumps(subject, default=str)):
        if word != "scheduled_at" and get_close_matches(word, ["scheduled_at"], 1, _LIKENESS_MIN):
            text = f"The subject has {{{word}}}, which stands for nothing: did you mean {{scheduled_at}}?"
            raise InvalidParameters(Reason.INVALID_PARAMETERS, text, word, "{scheduled_at}")


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

    def __init__(self, session: Session) -> None:
        self._session = session

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
        check_options("schedules.put", options, (*_TIMES, *RUN_WORDS))
        _check_placeholders(subject)
        times = {
            "cron": cron,
            "zone": zone,
            "interval_seconds": _length("every", every),
            "offset_seconds": _length("offset", offset),
            "overlap": _overlap(overlap),
            "catch_up_seconds": _length("catch_up", catch_up),
        }
        # The signal of a run that would be made now: its workflow and node are the schedule's.
        run = await signal_command(self._session, workflow, subject, signal, cast("SignalOptions", options))
        plan = self._plan(name, run, times)
        return noun_of(Schedule, await self._command(PutSchedule, name, schedule=plan, paused=paused))

    async def get(self, name: str) -> Schedule:
        """A schedule: what it is, its next and its past runs. NotFound."""
        query = queries.GetSchedule(schedule_id=self._schedule_id(name), **self._session.query_fields())
        return noun_of(Schedule, (await self._session.query(query, f"schedule {name!r}"))[0])

    async def list(self) -> list[Schedule]:
        """The schedules, by name."""
        query = queries.GetSchedules(partition=queries.ALL_PARTITIONS, **self._session.query_fields())
        parts = await self._session.query(query, "schedules")
        views = (view for part in parts for view in part.schedules)
        return sorted((noun_of(Schedule, view) for view in views), key=lambda schedule: schedule.name)

    async def pause(self, name: str, note: str = "") -> None:
        """Pause a schedule: no run is due until it is resumed. Runs under way go on, queued ones wait."""
        await self._command(ChangeSchedule, name, change="pause", note=note)

    async def resume(self, name: str, note: str = "") -> None:
        """Go on from now: what would have been due meanwhile is not made up for (`backfill` does that)."""
        await self._command(ChangeSchedule, name, change="resume", note=note)

    async def delete(self, name: str) -> None:
        """Forget it. Runs that are under way go on."""
        await self._command(ChangeSchedule, name, change="delete")

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
        begin, until = to_milliseconds(start, 0.0, "start"), to_milliseconds(end, 0.0, "end")
        assert begin is not None, "a time is one"
        assert until is not None, "a time is one"
        schedule = await self.get(name)
        try:
            times = times_between(schedule.view.plan, begin, until, BACKFILL_MAX)
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
        view = await self._command(RunSchedule, name, key, times=times, overlap=_overlap(overlap))
        return noun_of(Schedule, view)

    def _plan(self, name: str, run: Signal, times: dict[str, Any]) -> NewSchedule:
        """A schedule as it is asked for. InvalidParameters, also where no time can be worked out from it."""
        assert run.workflow is not None, "a signal by name has the workflow's"
        plan = NewSchedule(
            user_id=self._session.user_id,
            name=to_text("The schedule's name", name),
            workflow=run.workflow,
            node=run.node,
            **{key: value for key, value in times.items() if value is not None},
        )
        try:
            times_after(plan, int(self._session.transport.now() * 1000))
        except RecurrenceError as error:
            raise unreadable(error) from error
        return plan

    async def _command(self, kind: type[commands.AnyCommand], name: str, key: str | None = None, **fields: Any) -> Any:
        """The engine's answer to a command about a schedule."""
        common = self._session.command_fields()
        command = kind(schedule_id=self._schedule_id(name), **fields, **common)  # type: ignore[call-arg]  # of one that has it
        return await self._session.command(command, f"schedule {name!r}", key)

    def _schedule_id(self, name: str) -> bytes:
        return ids.schedule_id(self._session.user_id, to_text("The schedule's name", name))


def unreadable(error: RecurrenceError) -> InvalidParameters:
    """An error like those that an engine answers, for times that cannot be read."""
    return InvalidParameters(Reason.INVALID_PARAMETERS, str(error), "a schedule without times", "one that has some")


def _overlap(word: Any) -> Overlap | None:
    if word is None:
        return None
    overlap = OVERLAP_WORDS.get(word) if isinstance(word, str) else None
    if overlap is None:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"There is no overlap {word!r}", word, ", ".join(OVERLAP_WORDS)
        )
    return overlap


def _length(name: str, value: float | timedelta | None) -> float | None:
    return None if value is None else seconds(value, name)
