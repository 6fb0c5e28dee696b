"""Needs of a person beside failing nodes: dead letters, jobs that refused nodes, schedules with a problem or due soon.

Each is read for all pages together, and a page waits a moment for the first reading only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.console.figures import Figures
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.letters.topic import Filters
from backbeat.payload.values import id_text
from backbeat.schemas.messages import queries

T = TypeVar("T")

#: Age up to which pages show a reading while it is read anew, and how long one waits for the first.
_SHOWN_SECONDS_MAX = 60.0
_WAIT_SECONDS = 1.0
#: Dead letters that are looked for; of more it is said that there are.
LETTERS_MAX = 100
_DAY_MS = 86_400_000
_SOON_MS = 3_600_000


class RefusedJob(msgspec.Struct, frozen=True):
    """A job of the last day that could not change each node which matched."""

    id: str
    refused: int
    #: As whom it was asked for; None: the operator of all.
    user_id: bytes | None


class DueSchedule(msgspec.Struct, frozen=True):
    """A schedule, as far as the overview tells of it."""

    user_id: bytes
    next_at: int | None
    has_problem: bool


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """Needs of a person that one visitor sees. None: not known."""

    letters: int | None
    jobs: list[RefusedJob] | None
    #: Schedules with a problem, and those that are due within the hour.
    problems: int | None
    schedules_soon: int | None

    @property
    def refused(self) -> int:
        """Nodes that these jobs could not change."""
        return sum(job.refused for job in self.jobs or ())

    @property
    def is_known(self) -> bool:
        """True if nothing is missing."""
        return None not in (self.letters, self.jobs, self.problems)


async def needs_of(visit: Visit, figures: Figures | None) -> Needs:
    """The needs that the visitor sees."""
    # Nobody waits here for what is known to be away.
    is_reached = visit.services.engine.missing is None
    is_whole = is_reached and figures is not None and bool(figures.partitions) and not figures.missing_partitions
    letters, jobs, schedules = await asyncio.gather(
        _shared(visit, "letters", lambda: _letters(visit), is_there=is_reached),
        _shared(visit, "refused jobs", lambda: _jobs(visit), is_there=is_whole),
        _shared(visit, "schedules", lambda: _schedules(visit), is_there=is_whole),
    )
    sees_all = visit.who.clients is None
    names = {client.name for client in visit.clients()}
    due = None if schedules is None else [schedule for schedule in schedules if visit.who.sees(schedule.user_id)]
    until = time.time_ns() // 1_000_000 + _SOON_MS
    return Needs(
        letters=None if letters is None else sum(1 for name in letters if sees_all or name in names),
        jobs=None if jobs is None else [job for job in jobs if visit.who.sees(job.user_id)],
        problems=None if due is None else sum(schedule.has_problem for schedule in due),
        schedules_soon=None
        if due is None
        else sum(1 for schedule in due if schedule.next_at is not None and schedule.next_at <= until),
    )


async def _shared(visit: Visit, key: str, read: Callable[[], Awaitable[T]], *, is_there: bool) -> T | None:
    """A reading that pages share; None: it takes longer than a page waits, or what it is read from is away."""
    if not is_there:
        return None
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            value, _ = await visit.parts.shared.get(key, read, shown_seconds_max=_SHOWN_SECONDS_MAX)
    except (TimeoutError, Unavailable):
        return None
    return value  # type: ignore[no-any-return]  # as the reading gave it


async def _letters(visit: Visit) -> list[str]:
    """The client of each dead letter that waits; empty for one of the system's topics."""
    letters, _ = await visit.services.letters.newest(LETTERS_MAX, Filters())
    return [letter.client for letter in letters]


async def _jobs(visit: Visit) -> list[RefusedJob]:
    parts = await _every_answer(visit, queries.GetJobs, "job")
    since = time.time_ns() // 1_000_000 - _DAY_MS
    jobs: dict[bytes, RefusedJob] = {}
    for job in (job for part in parts for job in part.jobs):
        if job.refused and not job.dry_run and job.started_at >= since:
            refused = job.refused + (jobs[job.id].refused if job.id in jobs else 0)
            jobs[job.id] = RefusedJob(id_text(job.id), refused, job.user_id)
    return list(jobs.values())


async def _schedules(visit: Visit) -> list[DueSchedule]:
    parts = await _every_answer(visit, queries.GetSchedules, "schedules")
    return [
        DueSchedule(view.plan.user_id, None if view.paused else view.next_at, bool(view.problem))
        for part in parts
        for view in part.schedules
    ]


async def _every_answer(visit: Visit, kind: type[queries.AnyQuery], noun: str) -> list[Any]:
    parts, is_whole = await visit.ask_all(kind, noun)
    if not is_whole:
        raise Unavailable("not every partition answers")
    return parts
