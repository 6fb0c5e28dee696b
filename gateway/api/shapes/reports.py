"""JSON of the reports (behaviour document, section 7): counts, from a gateway to the command line."""

from __future__ import annotations

import msgspec

#: Hours after which an idle node that waits for nothing counts as inconsistent.
STUCK_HOURS = 20.0

#: Beside the words of the server statuses: a started node whose time has not come.
SCHEDULED = "scheduled"


class _Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """JSON with keys in camelCase, as all of the gateway's answers."""


class ActivityFigures(_Figures, frozen=True, kw_only=True):
    """The nodes of one name of one client application."""

    user_id: str
    activity: str
    #: Nodes by server status, and `scheduled`.
    nodes: dict[str, int]
    #: Changes to server status complete, and to client status errored, in the requested seconds.
    completed: int
    errored: int

    @property
    def waiting(self) -> int:
        """Nodes that wait for their time."""
        return self.nodes.get(SCHEDULED, 0) + self.nodes.get("started", 0)

    @property
    def running(self) -> int:
        """Nodes that are with a client, in its queue or at work."""
        return self.nodes.get("sent_to_client", 0)

    @property
    def retrying(self) -> int:
        """Nodes that failed and wait for their next attempt."""
        return self.nodes.get("retrying", 0)

    @property
    def failing(self) -> int:
        """Nodes that failed and wait for an operator."""
        return self.nodes.get("errored", 0) + self.nodes.get("retries_exhausted", 0)

    @property
    def paused(self) -> int:
        """Nodes that wait for their workflow to be resumed."""
        return self.nodes.get("paused", 0)


#: Parts of the last hour in which failures are counted.
CAUSE_BINS = 12


class Cause(_Figures, frozen=True, kw_only=True):
    """Nodes of one activity that have failed with what is, but for ids, numbers and quoted words, the same error."""

    id: str
    user_id: str
    activity: str
    #: The error with `#` for what differs; empty: no error is known.
    cause: str
    #: One of the errors as it was.
    sample: str
    #: The longest piece that is the same in all of them: what a job's filter `error` can ask for.
    fixed: str
    #: Nodes now, by server status: retries_exhausted, errored, retrying.
    nodes: dict[str, int]
    #: Workflows that these nodes are in.
    workflows: int
    #: Milliseconds since the epoch of the first and the last of these failures.
    first_at: int
    last_at: int
    #: Those of the last hour, in twelve parts of it, the oldest first.
    last_hour: list[int]

    @property
    def failing(self) -> int:
        """Nodes that wait for a person."""
        return self.nodes.get("retries_exhausted", 0) + self.nodes.get("errored", 0)


class Causes(_Figures, frozen=True, kw_only=True):
    """Failed nodes by cause, those first that need a person."""

    #: milliseconds since the epoch
    at: int
    causes: list[Cause]
    #: Number of further causes.
    more: int
    #: Nodes of all causes, the further ones too, by server status.
    nodes: dict[str, int]
    #: Failed nodes by kind, also those of kinds that were not asked for.
    kinds: dict[str, int]

    @property
    def failing(self) -> int:
        """Nodes that wait for a person."""
        return self.nodes.get("retries_exhausted", 0) + self.nodes.get("errored", 0)


#: Kinds of failed nodes: retries exhausted; failed in the engine; waiting for a retry; due for one, and not sent.
FAILURE_KINDS = ("exhausted", "errored", "retrying", "overdue")
#: What failed nodes are grouped by.
FAILURE_GROUPS = ("activity", "client", "workflow")


class FailureGroup(_Figures, frozen=True, kw_only=True, omit_defaults=True):
    """Failed nodes of one activity, client or workflow."""

    #: The client application that runs them; of a workflow: that owns it.
    user_id: str
    activity: str | None = None
    workflow_id: str | None = None
    #: Name of the workflow, and its subject as compact JSON text.
    workflow: str | None = None
    subject: str | None = None
    #: Nodes now, by server status: retries_exhausted, errored, retrying.
    nodes: dict[str, int]
    #: Workflows that these nodes are in.
    workflows: int
    #: Milliseconds since the epoch of the first and the last of these failures.
    first_at: int
    last_at: int

    @property
    def failing(self) -> int:
        """Nodes that wait for a person."""
        return self.nodes.get("retries_exhausted", 0) + self.nodes.get("errored", 0)


class Failures(_Figures, frozen=True, kw_only=True):
    """Failed nodes by activity, client or workflow, those first that need a person."""

    #: milliseconds since the epoch
    at: int
    #: activity, client or workflow
    by: str
    groups: list[FailureGroup]
    #: Number of further groups.
    more: int
    #: Failed nodes by kind, also those of kinds that were not asked for.
    kinds: dict[str, int]


class Activities(_Figures, frozen=True, kw_only=True):
    """Activities, and the seconds over which `completed` and `errored` were counted."""

    seconds: float
    activities: list[ActivityFigures]


class WorkflowFigures(_Figures, frozen=True, kw_only=True):
    """The workflows of one name of one client application."""

    user_id: str
    workflow: str
    workflows: int
    #: Workflows with a node that is neither complete nor deactivated.
    open_workflows: int
    #: Nodes by server status, and `scheduled`.
    nodes: dict[str, int]


class TimerFigures(_Figures, frozen=True, kw_only=True):
    """The timers of one kind: `start`, `retry` or `deadline`."""

    kind: str
    #: due later than now
    ahead: int
    #: due and not fired yet
    due: int
    #: Milliseconds since the epoch of the earliest timer; None: there is no timer.
    first_at: int | None


class Summary(_Figures, frozen=True, kw_only=True):
    """The console report."""

    #: milliseconds since the epoch
    at: int
    workflows: list[WorkflowFigures]
    activities: list[ActivityFigures]
    timers: list[TimerFigures]
    #: Next changelog offset of the projection, by partition.
    positions: dict[int, int]


class DailyFigures(_Figures, frozen=True, kw_only=True):
    """A workflow type of one client application, in the time of a report."""

    user_id: str
    workflow: str
    #: Nodes that completed.
    completed: int
    #: Attempts that failed.
    errored: int
    #: Nodes without attempts left.
    exhausted: int
    #: Nodes that are stuck at the end of the time, by server status.
    inconsistent: dict[str, int]


class Daily(_Figures, frozen=True, kw_only=True):
    """The daily report."""

    #: Milliseconds since the epoch; `until` is excluded.
    since: int
    until: int
    stuck_hours: float
    workflows: list[DailyFigures]
