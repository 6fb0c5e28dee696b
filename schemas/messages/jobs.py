"""Jobs as they are stored and as the outside sees them: one change for all nodes or workflows that match.

A job is asked of every partition under one id; each partition keeps a record of its own and works by itself, so what
the whole job has come to is the sum of the records (`add_up`). What a job does is in `slices`, what it
matches in `filters`. Times are milliseconds since the epoch.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated

import msgspec

from backbeat.schemas.marks import Id, Long, Mark, Time

#: What a job may do with the nodes that match, and the status that they are in where its filter names none.
NODE_ACTIONS: dict[str, str | None] = {
    "retry": "retries_exhausted",
    "resolve": "retries_exhausted",
    "shutdown": "retries_exhausted",
    #: it would deactivate complete nodes, too: a status must be named
    "cancel": None,
}
#: What a job may do with workflows.
WORKFLOW_ACTIONS = ("pause", "resume")
#: Matches that a job shows, the first ones, and refusals.
SHOWN_MAX = 20
#: Job records that a partition keeps; one more takes the place of the oldest that has ended.
KEPT_MAX = 100
#: Characters of a job's note, and of the name of whoever has started it.
NOTE_CHARACTERS_MAX, ACTOR_CHARACTERS_MAX = 1_000, 100
#: How long a job that has ended is shown.
RETENTION_MS = 7 * 86_400_000


class JobState(enum.StrEnum):
    """State of a job in one partition."""

    RUNNING = "running"
    STOPPED = "stopped"  #: before it had come to the end; what it had done by then stays
    DONE = "done"
    #: of the sum: some partitions were never asked; sent again under its id it begins there. No partition says it
    PARTIAL = "partial"


class JobFilter(msgspec.Struct, gc=False, frozen=True, array_like=True, kw_only=True):
    """Conditions on nodes or workflows. All must hold; null holds for every one.

    The words are those of the searches (behaviour document, section 5). Pause and resume take those of workflows only.
    """

    name: str | None = None  #: the node's whole name
    workflow_name: str | None = None  #: the workflow's whole name
    workflow_id: Id | None = None  #: the workflow
    client_id: Id | None = None  #: who runs the node; for pause and resume whose the workflow is
    subject: str | None = None  #: stands in the subject's compact JSON text
    metadata: str | None = None  #: stands in the metadata's compact JSON text
    error: str | None = None  #: stands in what the node's last error says
    current_status: str | None = None  #: either status of the node has it now
    past_status: str | None = None  #: a status change of the node led to it: the same one that the two times are of
    status_start: Time | None = None  #: milliseconds since the epoch of a status change: then or later
    status_end: Time | None = None  #: milliseconds since the epoch of a status change: then or earlier
    created_start: Time | None = None  #: milliseconds since the epoch: made then or later
    created_end: Time | None = None  #: milliseconds since the epoch: made then or earlier


def scope_problem(job_filter: JobFilter, *, everything: bool) -> str:
    """Reason to refuse a job where it is asked for: nothing says which nodes, or two things do. Empty: none.

    A filter that is left out by mistake would make it a job over all. Whose the nodes are says not which.
    """
    filters = [
        name for name in JobFilter.__struct_fields__ if name != "client_id" and getattr(job_filter, name) is not None
    ]
    if everything and filters:
        return f"`all` and `{filters[0]}` contradict each other: give filters, or `all`"
    if not everything and not filters:
        return "Nothing says which nodes or workflows: give a filter, or `all` if every one is meant"
    return ""


#: What of it is about nodes, and cannot be asked of a workflow.
NODE_FILTERS = ("name", "metadata", "error", "current_status", "past_status", "status_start", "status_end")

#: What of it are times.
TIME_FILTERS = ("status_start", "status_end", "created_start", "created_end")


class JobMatch(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A node or workflow that a job is about."""

    id: Id  #: its id
    name: str  #: its name
    workflow_name: str  #: the name of its workflow


class JobRefusal(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A node or workflow that matched a job, and could not be changed."""

    id: Id  #: its id
    reason: str  #: as a rejection has it; `defect`: the engine failed on it, a server error
    message: str  #: the same for people


class Job(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """A job in one partition. The whole job is the sum over all of them."""

    version: Annotated[int, Mark.STORED] = 1
    id: Id  #: the job's id
    partition: int  #: the partition that this is of
    user_id: Id | None  #: whose nodes or workflows it may touch; null: anybody's
    action: str  #: `retry`, `resolve`, `shutdown` or `cancel`; `pause` or `resume`
    filter: JobFilter  #: what it is about
    response: bytes | None = None  #: JSON text that resolved nodes and those shut down keep
    dry_run: bool = False  #: whether it only counts
    tid: Annotated[str, Mark.STORED] = ""
    started_at: Time  #: milliseconds since the epoch
    state: JobState = JobState.RUNNING  #: how far it is
    ended_at: Time | None = None  #: milliseconds since the epoch; null: it runs
    examined: Long = 0  #: nodes or workflows that were looked at
    matched: Long = 0  #: of those, the ones that matched
    done: Long = 0  #: of those, the ones that were changed
    refused: Long = 0  #: and those that could not be
    matches: tuple[JobMatch, ...] = ()  #: the first that matched
    refusals: tuple[JobRefusal, ...] = ()  #: the first that were refused
    cursor: Annotated[bytes, Mark.STORED] = b""  #: the id that was examined last
    forget_at: Annotated[int | None, Mark.STORED] = None  #: when its timer is due
    note: str = ""  #: why, as whoever has started it said
    actor: str = ""  #: the person who has started it; empty: a client application or the command line has


class Jobs(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="jobs"):
    """Jobs of one partition."""

    jobs: tuple[Job, ...]  #: the jobs, by id


def add_up(jobs: Sequence[Job], partitions: int) -> Job:
    """A job as a whole, from its records in some or all of so many partitions; one at least."""
    assert 0 < len(jobs) <= partitions, "a job is kept once in each partition that was asked for it"
    states = {job.state for job in jobs}
    if len(jobs) < partitions:
        states.add(JobState.PARTIAL)
    order = (JobState.PARTIAL, JobState.RUNNING, JobState.STOPPED, JobState.DONE)
    state = next(state for state in order if state in states)
    ends = [job.ended_at for job in jobs if job.ended_at is not None]
    return msgspec.structs.replace(
        jobs[0],
        state=state,
        started_at=min(job.started_at for job in jobs),
        ended_at=max(ends) if state in (JobState.STOPPED, JobState.DONE) else None,
        examined=sum(job.examined for job in jobs),
        matched=sum(job.matched for job in jobs),
        done=sum(job.done for job in jobs),
        refused=sum(job.refused for job in jobs),
        matches=tuple(match for job in jobs for match in job.matches)[:SHOWN_MAX],
        refusals=tuple(refusal for job in jobs for refusal in job.refusals)[:SHOWN_MAX],
    )
