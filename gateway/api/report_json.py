"""What the reports say (behaviour document, section 7): counts, as they travel from a gateway to the command line."""

from __future__ import annotations

import msgspec

#: A node that does nothing and waits for nothing is inconsistent after so many hours.
STUCK_HOURS = 20.0

#: Beside the words of the server statuses: a started node whose time has not come.
SCHEDULED = "scheduled"


class _Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """JSON with keys in camelCase, as all of the gateway's answers."""


class ActivityFigures(_Figures, frozen=True, kw_only=True):
    """The nodes of one name of one client application."""

    user_id: str
    activity: str
    #: nodes by server status, and `scheduled`
    nodes: dict[str, int]
    #: changes to server status complete, and to client status errored, in the seconds that were asked for
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
        """Nodes that failed and go on only when somebody sees to it."""
        return self.nodes.get("errored", 0) + self.nodes.get("retries_exhausted", 0)

    @property
    def paused(self) -> int:
        """Nodes that wait for their workflow to be resumed."""
        return self.nodes.get("paused", 0)


class Activities(_Figures, frozen=True, kw_only=True):
    """Activities, and over how many seconds `completed` and `errored` were counted."""

    seconds: float
    activities: list[ActivityFigures]


class WorkflowFigures(_Figures, frozen=True, kw_only=True):
    """The workflows of one name of one client application."""

    user_id: str
    workflow: str
    workflows: int
    #: those of them that have a node that is neither complete nor deactivated
    open_workflows: int
    #: nodes by server status, and `scheduled`
    nodes: dict[str, int]


class TimerFigures(_Figures, frozen=True, kw_only=True):
    """The timers of one kind: `start`, `retry` or `deadline`."""

    kind: str
    #: due later than now
    ahead: int
    #: due and not fired yet
    due: int
    #: milliseconds since the epoch: when the first of them all is due
    first_at: int | None


class Summary(_Figures, frozen=True, kw_only=True):
    """The console report."""

    #: milliseconds since the epoch
    at: int
    workflows: list[WorkflowFigures]
    activities: list[ActivityFigures]
    timers: list[TimerFigures]
    #: of the changelog: partition -> the next offset that the projection will read
    positions: dict[int, int]


class DailyFigures(_Figures, frozen=True, kw_only=True):
    """One workflow type of one client application, in the time of a report."""

    user_id: str
    workflow: str
    #: nodes that completed
    completed: int
    #: attempts that failed
    errored: int
    #: nodes that had no attempt left
    exhausted: int
    #: nodes that are stuck at the end of that time, by server status
    inconsistent: dict[str, int]


class Daily(_Figures, frozen=True, kw_only=True):
    """The daily report."""

    #: milliseconds since the epoch: from here, to before this
    since: int
    until: int
    stuck_hours: float
    workflows: list[DailyFigures]
