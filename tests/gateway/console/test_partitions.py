"""Pages while one partition has no engine: what the others say is shown, and what is missing is said."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import msgspec
import pytest

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages import activities, jobs
from backbeat.gateway.console.show.course import Course
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http import errors
from backbeat.gateway.people.visitor import DEVELOPER
from backbeat.payload.values import id_text
from backbeat.schemas.messages import commands
from backbeat.schemas.messages.jobs import Job, JobFilter, Jobs, JobState
from backbeat.schemas.messages.limits import Limit, Limits, LimitValues, LimitView
from tests.streams.core.world import USER, reply_to

JOB = Job(
    id=b"j" * 16, partition=0, user_id=None, action="retry", filter=JobFilter(), started_at=1, state=JobState.RUNNING
)


class Engine:
    """An engine that has some of its two partitions."""

    partitions = 2

    def __init__(self, here, answer):
        self.here = here
        self.answer = answer

    def every_partition(self):
        return range(self.partitions)

    def client(self, _):
        return None

    def _answer(self, message):
        if getattr(message, "partition", 0) not in self.here:
            raise errors.unavailable("partition has no engine", "Backbeat::Unavailable")
        return msgspec.structs.replace(self.answer)

    async def query(self, make, _noun, _seconds):
        return [self._answer(make(reply_to(), 0))]

    async def command(self, make, *_):
        return self._answer(make(reply_to()))


def done(work):
    """The outcome, from a loop in a thread of its own: the browser of other tests has one in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def visit_of(engine, **values):
    async def figures():
        return None

    counter = SimpleNamespace(figures=figures, course=Course())
    parts = SimpleNamespace(services=SimpleNamespace(engine=engine), counter=counter)
    visit = Visit(parts, SimpleNamespace(query={}, headers={}), "jobs", "tid")
    visit.visitor, visit.values = DEVELOPER, values
    return visit


def stop(reply_to, partition):
    return commands.StopJob(id=b"c" * 16, tid="", reply_to=reply_to, partition=partition, job_id=JOB.id)


def test_a_job_is_shown_and_stopped_in_the_partitions_that_answer():
    visit = visit_of(Engine({0}, Jobs((JOB,))), id=id_text(JOB.id))
    job = done(jobs._job(visit))
    assert (job.state, job.ended_at) == (JobState.PARTIAL, None)
    assert visit.troubles == ["partition has no engine"]
    _, outcome = done(jobs._send(visit, stop, "job"))
    assert outcome == "done, but 1 of 2 partitions did not answer: partition has no engine"
    away = visit_of(Engine(set(), None), id=id_text(JOB.id))
    with pytest.raises(PageError, match="partition has no engine"):
        done(jobs._job(away))
    with pytest.raises(errors.Refusal):
        done(jobs._send(away, stop, "job"))


def test_a_limit_that_no_engine_tells_is_not_taken_for_none():
    limit = Limit(client_id=USER, activity="Deliver", values=LimitValues(concurrency=1), paused=True)
    engine = Engine({0, 1}, Limits((LimitView(limit),)))
    (row,), is_known = done(activities._rows(visit_of(engine)))
    assert (row.limit.paused, row.is_limit_known, is_known) == (True, True, True)
    engine.here = {0}
    visit = visit_of(engine)
    (row,), is_known = done(activities._rows(visit))
    assert (row.limit.paused, row.is_limit_known, is_known) == (True, False, False)
    assert visit.troubles == ["partition has no engine"]
    engine.here = set()
    assert done(activities._rows(visit_of(engine))) == ([], False)
    # A change that was answered is done, also where nobody says that all know it.
    engine.here = {0}
    command = commands.ChangeLimit(id=b"c" * 16, tid="", client_id=USER, activity="Deliver", paused=True)
    outcome = done(activities._send(visit_of(engine), command))
    assert outcome == "done, and not everywhere yet: partition has no engine"
