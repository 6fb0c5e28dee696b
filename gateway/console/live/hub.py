"""Hub of the pages that look: one reader and one count of figures for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from backbeat.delivery.history_reader import Followed
from backbeat.gateway.console.live.jobs import JobReader, JobScope

if TYPE_CHECKING:
    from backbeat.gateway.console.figures import Counter, Figures
    from backbeat.gateway.http.services import Services
    from backbeat.schemas.messages.jobs import Job

#: Pages that look at once, of a gateway and of a session. Browsers open six connections to a host that speaks HTTP/1.1:
#: were all of them streams, no further page would come.
STREAMS_MAX = 200
STREAMS_OF_SESSION_MAX = 4
#: More changed nodes of a workflow than these are said as `stale`.
IDS_MAX = 500
_ROUND_SECONDS = 1.0
_FIGURES_SECONDS = 5.0
_JOBS_SECONDS = 2.0
#: Jobs that take a second to read are read every ten.
_JOBS_PAUSE = 10.0


class Stream:
    """News for one page: sets, so that they stay small however slowly it reads."""

    def __init__(
        self,
        workflows: frozenset[bytes],
        session_id: str,
        *,
        wants_figures: bool,
        job_scope: JobScope | None = None,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.workflows = workflows
        #: True once the page has hung up: its handler notices that when it tells something the next time.
        self.is_gone = is_gone
        self.session_id = session_id
        self.wants_figures = wants_figures
        #: Jobs that the page shows; None: none.
        self.job_scope = job_scope
        self.job_ids: set[bytes] = set()
        #: True once its jobs were read: what has changed between its making and then is not known.
        self.has_jobs = False
        self.dirty: dict[bytes, set[bytes]] = {}
        #: Workflows of which any node may have changed.
        self.stale: set[bytes] = set()
        self.has_new_figures = False
        #: True once changes of its workflows are seen.
        self.is_watched = False
        self.is_over = False
        self.wake = asyncio.Event()

    def note(self, workflow_id: bytes, node_ids: set[bytes]) -> None:
        """Add changed nodes."""
        if workflow_id in self.stale:
            return
        dirty = self.dirty.setdefault(workflow_id, set())
        dirty |= node_ids
        if len(dirty) > IDS_MAX:
            self.note_stale(workflow_id)
        self.wake.set()

    def note_stale(self, workflow_id: bytes) -> None:
        """Any of its nodes may have changed."""
        self.dirty.pop(workflow_id, None)
        self.stale.add(workflow_id)
        self.wake.set()

    def note_jobs(self, jobs: Iterable[Job], changed: set[bytes]) -> None:
        """Add those of the jobs that have changed; at first all that the page shows."""
        assert self.job_scope is not None, "the page shows jobs"
        job_ids = {job.id for job in jobs if self.job_scope.has(job) and (job.id in changed or not self.has_jobs)}
        self.has_jobs = True
        if job_ids:
            self.job_ids |= job_ids
            self.wake.set()

    def take(self) -> tuple[dict[bytes, set[bytes]], set[bytes], set[bytes], bool]:
        """Take the news: nodes, stale workflows, jobs, figures; from now on they count as told."""
        changes = self.dirty, self.stale, self.job_ids, self.has_new_figures
        self.dirty, self.stale, self.job_ids, self.has_new_figures = {}, set(), set(), False
        self.wake.clear()
        return changes


class Hub:
    """Streams of one gateway. Used from its event loop."""

    def __init__(self, services: Services, counter: Counter) -> None:
        self._services = services
        self._counter = counter
        self._jobs = JobReader(services)
        self._streams: set[Stream] = set()
        self._rounds: asyncio.Task[None] | None = None

    @property
    def streams(self) -> int:
        """Number of pages that look."""
        return len(self._streams)

    def has_room(self, session_id: str) -> bool:
        """True if one more page of this session may look."""
        sessions = [stream.session_id for stream in self._streams if not stream.is_gone()]
        of_session = sessions.count(session_id) if session_id else 0
        return len(sessions) < STREAMS_MAX and of_session < STREAMS_OF_SESSION_MAX

    def add(self, stream: Stream) -> None:
        """Begin to tell a page."""
        self._streams.add(stream)
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run_rounds())
        self._watch()

    def remove(self, stream: Stream) -> None:
        """Tell a page no more."""
        self._streams.discard(stream)
        self._watch()

    async def stop(self) -> None:
        """End all streams and the reader."""
        for stream in self._streams:
            stream.is_over = True
            stream.wake.set()
        if self._rounds is not None:
            self._rounds.cancel()
        self._services.changes.follow(self, {})

    def _watch(self) -> None:
        watched = frozenset(workflow for stream in self._streams for workflow in stream.workflows)
        self._services.changes.follow(self, dict.fromkeys(watched))

    # --- what the feed of changes says -------------------------------------------------------------------------------

    def told(self, records: list[Followed]) -> None:
        """Tell the pages of a record's workflow which nodes have changed."""
        changed: dict[bytes, set[bytes]] = {}
        for workflow_id, _, record in records:
            changed.setdefault(workflow_id, set()).update(change.node_id for change in record.changes)
        for stream in self._streams:
            for workflow_id in stream.workflows & changed.keys():
                stream.note(workflow_id, changed[workflow_id])

    def followed(self, offsets: Mapping[bytes, int]) -> None:
        """Mark a page as stale: changes between its making and now were not seen."""
        for stream in self._streams:
            if not stream.is_watched and stream.workflows <= offsets.keys():
                stream.is_watched = True
                for workflow_id in stream.workflows:
                    stream.note_stale(workflow_id)

    def failed(self, reason: str) -> None:
        """Nothing: the reader says it, and tries again."""

    def ended(self) -> None:
        """Nothing: streams end by themselves when the gateway stops."""

    async def _run_rounds(self) -> None:
        """While somebody looks: end streams when the gateway stops, read jobs and count figures for who wants them."""
        loop = asyncio.get_running_loop()
        seen: object = None
        next_count_at = next_jobs_at = 0.0
        try:
            while self._streams:
                await asyncio.sleep(_ROUND_SECONDS)
                if self._services.stopping:
                    for stream in self._streams:
                        stream.is_over = True
                        stream.wake.set()
                    return
                if loop.time() >= next_jobs_at:
                    began_at = loop.time()
                    await self._tell_jobs()
                    next_jobs_at = began_at + max(_JOBS_SECONDS, _JOBS_PAUSE * (loop.time() - began_at))
                if loop.time() < next_count_at or not any(stream.wants_figures for stream in self._streams):
                    continue
                next_count_at = loop.time() + _FIGURES_SECONDS
                figures = await self._counter.figures(age_seconds_max=0.0)
                mark = _mark(figures)
                if mark != seen:
                    if seen is not None:
                        self._tell_figures()
                    seen = mark
        finally:
            self._rounds = None

    async def _tell_jobs(self) -> None:
        """Read the jobs that pages show, and tell each page which of its own have changed."""
        scopes = [stream.job_scope for stream in self._streams if stream.job_scope is not None]
        if not scopes:
            return
        job_ids = {scope.job_id for scope in scopes}
        jobs, changed = await self._jobs.read(None if None in job_ids else frozenset(filter(None, job_ids)))
        for stream in self._streams:
            # Of one that has come meanwhile the jobs may not have been asked for.
            if stream.job_scope in scopes:
                stream.note_jobs(jobs, changed)

    def _tell_figures(self) -> None:
        for stream in self._streams:
            if stream.wants_figures:
                stream.has_new_figures = True
                stream.wake.set()


def _mark(figures: Figures | None) -> object:
    """Value that differs where figures do; their age is no difference."""
    if figures is None:
        return None
    counts = {
        (activity.user_id, activity.activity, word, nodes)
        for activity in figures.activities or ()
        for word, nodes in activity.nodes.items()
    }
    alarms = tuple(alarm.mark for alarm in figures.alarms)
    return frozenset(counts), tuple(figures.missing_partitions), alarms, figures.newest_workflow
