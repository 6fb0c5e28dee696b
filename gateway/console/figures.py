"""Figures that all pages share: counted at most every few seconds a gateway, however many look."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.console.health.alarms import (
    Alarm,
    behind_alarms,
    engine_alarms,
    kafka_alarm,
    search_alarm,
    worker_alarms,
)
from backbeat.gateway.console.health.standing import Standing, StandingReader
from backbeat.gateway.console.health.watch import Watch
from backbeat.gateway.console.health.workers import Workers, workers_of
from backbeat.gateway.console.show.course import Course
from backbeat.gateway.people.visitor import Visitor
from backbeat.gateway.projection import Projection, ProjectionError
from backbeat.gateway.projection.reading.workflow_nodes import newest_number

if TYPE_CHECKING:
    from backbeat.gateway.api.shapes.reports import ActivityFigures
    from backbeat.gateway.engine_client import Engine

#: Age from which figures are counted anew.
_AGE_SECONDS_MAX = 3.0
#: Age up to which a page shows them while they are counted: to miss an engine takes a second.
_SHOWN_SECONDS_MAX = 15.0
#: Time over which results are counted.
WINDOW_SECONDS = 60.0
#: Time that a page waits for figures; without any yet it says so.
_WAIT_SECONDS = 2.0
_ENGINE_SECONDS = 1.0
#: Time between two counts where nobody looks: figures of the course.
_KEPT_SECONDS = 60.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures as of a moment."""

    #: Milliseconds since the epoch.
    at: int
    #: Activities with nodes at work; None: the projection was away.
    activities: list[ActivityFigures] | None
    #: Number of the newest workflow in the projection.
    newest_workflow: int
    #: Partitions whose engine does not answer.
    missing_partitions: list[int]
    partitions: int
    #: What is not well.
    alarms: list[Alarm]
    #: Who takes the activities of each client; empty: nothing was ever sent, or Kafka does not say.
    workers: list[Workers]
    #: Engines, topics and the search; None: not known.
    standing: Standing | None

    def alarms_of(self, visitor: Visitor) -> list[Alarm]:
        """Alarms of everybody, and of the clients that the visitor sees."""
        return [alarm for alarm in self.alarms if alarm.client_id is None or visitor.sees(alarm.client_id)]

    def says(self, trouble: str) -> bool:
        """True if one of the alarms says this."""
        return any(alarm.text == trouble for alarm in self.alarms)

    def failing(self, visitor: Visitor) -> int:
        """Nodes that wait for a person, of the clients that the visitor sees."""
        return sum(
            activity.failing
            for activity in self.activities or ()
            if activity.failing and visitor.sees(UUID(activity.user_id).bytes)
        )


class Counter:
    """Counts figures when a page asks for them and they have become old."""

    def __init__(self, engine: Engine, projection: Projection, standing: StandingReader) -> None:
        self._engine = engine
        self._projection = projection
        self._standing = standing
        self._watch = Watch()
        self._figures: Figures | None = None
        self._counted_at = 0.0
        self._counting: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        #: What needs a person and what is done, over the last day and hour.
        self.course = Course()

    def start(self) -> None:
        """Count once a minute, also where nobody looks: who does at night sees the day before."""
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop that."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))

    async def _keep(self) -> None:
        while True:
            await self.figures()
            await asyncio.sleep(_KEPT_SECONDS)

    @property
    def newest(self) -> Figures | None:
        """The newest figures, however old: for a page that must not wait."""
        return self._figures

    async def figures(self, age_seconds_max: float = _SHOWN_SECONDS_MAX) -> Figures | None:
        """Figures of this age at most, unless counting takes long; None: they are being counted for the first time."""
        age_seconds = time.monotonic() - self._counted_at
        if age_seconds > _AGE_SECONDS_MAX and self._counting is None:
            self._counting = asyncio.create_task(self._count())
        if self._counting is not None and (self._figures is None or age_seconds > age_seconds_max):
            await asyncio.wait((self._counting,), timeout=_WAIT_SECONDS)
        return self._figures

    async def _count(self) -> None:
        try:
            self._figures = await self._counted()
            # Of a gateway that has just started: the next page waits for better ones.
            self._counted_at = time.monotonic() if self._projection.has_begun else 0.0
            if self._figures.activities is not None:
                self.course.note(self._figures.activities)
        finally:
            self._counting = None

    async def _counted(self) -> Figures:
        at = time.time_ns() // 1_000_000
        self._watch.begin()
        alarms: list[Alarm] = []
        activities = None
        newest_workflow = 0
        missing: list[int] = []
        standing: Standing | None = None
        if self._engine.missing is not None:
            alarms.append(kafka_alarm(self._engine.missing))
        else:
            missing, standing = await asyncio.gather(
                self._engine.missing_partitions(_ENGINE_SECONDS), self._standing.read()
            )
            if standing is not None and standing.trouble:
                alarms.append(kafka_alarm(standing.trouble))
        alarms += engine_alarms(missing, self._engine.partitions, standing, self._watch, at)
        try:
            activities = (await self._projection.activities(WINDOW_SECONDS)).activities
            newest_workflow = await self._projection.read(newest_number)
        except (ProjectionError, Unavailable) as error:
            alarms.append(search_alarm(str(error)))
        else:
            if self._projection.trouble:
                alarms.append(search_alarm(f"The search does not follow: {self._projection.trouble}"))
        workers = self._workers(standing, activities, at)
        if standing is not None:
            alarms += behind_alarms(standing.search_records_behind, self._watch, at)
        return Figures(
            at=at,
            activities=activities,
            newest_workflow=newest_workflow,
            missing_partitions=missing,
            partitions=self._engine.partitions,
            alarms=[*alarms, *worker_alarms(workers)],
            workers=workers,
            standing=standing,
        )

    def _workers(self, standing: Standing | None, activities: list[ActivityFigures] | None, at: int) -> list[Workers]:
        if standing is None or standing.backlog is None:
            return []
        at_work = {
            UUID(activity.user_id).bytes for activity in activities or () if activity.completed or activity.errored
        }
        return workers_of(standing.backlog.queues.activities, standing.clients, at_work, self._watch, at)


class Freshness:
    """Freshens the projection at most once a second, for all pages together."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._freshened_at = 0.0

    async def freshen(self, seconds_max: float) -> float:
        """Seconds that lists may be behind."""
        age = time.monotonic() - self._freshened_at
        if age < 1.0 and seconds_max < 1.0:
            return age
        began_at = time.monotonic()
        stale_seconds = await self._projection.freshen(seconds_max)
        if not stale_seconds:
            # What was written while it was on its way may lack.
            self._freshened_at = began_at
        return stale_seconds
