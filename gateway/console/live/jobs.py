"""Jobs that pages show: which of them have changed, read from the engines once for all pages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from backbeat.errors import Rejected
from backbeat.gateway.http import errors
from backbeat.gateway.people.visitor import Visitor
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.jobs import Job

if TYPE_CHECKING:
    from backbeat.gateway.http.services import Services

#: A page is told a round later where a partition does not answer within this.
_ENGINE_SECONDS = 2.0


class JobScope(msgspec.Struct, frozen=True):
    """Jobs that a page shows: one, or all that its visitor sees."""

    visitor: Visitor
    #: None: all.
    job_id: bytes | None = None

    def has(self, job: Job) -> bool:
        """True for a job that is on the page."""
        return self.job_id in (None, job.id) and self.visitor.sees(job.user_id)


class JobReader:
    """Reader of jobs that knows what it has read last."""

    def __init__(self, services: Services) -> None:
        self._services = services
        #: How far each job is in each partition.
        self._marks: dict[tuple[bytes, int], tuple[object, ...]] = {}

    async def read(self, job_ids: frozenset[bytes] | None) -> tuple[list[Job], set[bytes]]:
        """Records of these jobs (None: of all), and ids of the jobs that are others than at the last reading.

        A partition that does not answer counts as unchanged: the page says that it is away when it is fetched.
        """
        try:
            partitions = self._services.engine.every_partition()
        except errors.Refusal:
            return [], set()
        wanted: Iterable[bytes | None] = (None,) if job_ids is None else job_ids
        asked = itertools.starmap(self._of_partition, itertools.product(partitions, wanted))
        answers = await asyncio.gather(*asked)
        jobs = [job for answer in answers for job in answer]
        marks = {(job.id, job.partition): _mark(job) for job in jobs}
        changed = {key[0] for key, mark in marks.items() if self._marks.get(key) != mark}
        answered = {partition for _, partition in marks}
        self._marks = {key: mark for key, mark in self._marks.items() if key[1] not in answered} | marks
        return jobs, changed

    async def _of_partition(self, partition: int, job_id: bytes | None) -> tuple[Job, ...]:
        try:
            parts = await self._services.engine.query(
                lambda reply_to, deadline: queries.GetJobs(
                    reply_to=reply_to, deadline=deadline, partition=partition, job_id=job_id
                ),
                f"jobs of partition {partition}",
                _ENGINE_SECONDS,
            )
        except (errors.Refusal, Rejected):
            return ()
        return tuple(job for part in parts for job in part.jobs)


def _mark(job: Job) -> tuple[object, ...]:
    """Value that differs where a page of the job does."""
    return job.state, job.examined, job.matched, job.done, job.refused
