"""The calls about jobs for code without an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from backbeat.client.jobs.calls import JobOptions
from backbeat.client.jobs.views import Job
from backbeat.payload.values import Id

if TYPE_CHECKING:
    from backbeat.client.blocking.loop import Loop
    from backbeat.client.client import Client


class PlainJobCalls:
    """`Client`'s calls about jobs, waiting for their answers."""

    _client: Client
    _loop: Loop

    def start_job(self, action: str, **options: Unpack[JobOptions]) -> Job:
        """Make one change for all nodes, or workflows, that match (`Client.start_job`)."""
        return self._loop.run(self._client.start_job(action, **options))

    def job(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """How far a job is; NotFound where there is none, or no more. `all_clients`: another's, too."""
        return self._loop.run(self._client.job(job_id, all_clients=all_clients))

    def jobs(self, *, all_clients: bool = False) -> list[Job]:
        """The jobs of this client application, newest first, those that ended within the last days too."""
        return self._loop.run(self._client.jobs(all_clients=all_clients))

    def stop_job(self, job_id: Id | bytes, *, all_clients: bool = False) -> Job:
        """Have a job go no further; what it has done stays."""
        return self._loop.run(self._client.stop_job(job_id, all_clients=all_clients))
