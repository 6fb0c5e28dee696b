"""Which struct or enum of ours each named type of the schemas is."""

from __future__ import annotations

from typing import Any

from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import NodeChange, StatusChange, StatusChangesRecord
from backbeat.schemas.messages.jobs import Job, JobFilter, JobMatch, JobRefusal, Jobs, JobState
from backbeat.schemas.messages.limits import Limit, Limits, LimitValues, LimitView, PoolView
from backbeat.schemas.messages.replies import Done, History, Made, Nodes, Position, Reason, Rejection, ReplyRecord
from backbeat.schemas.messages.retention import DueWorkflow, DueWorkflows, RetentionPolicies, RetentionPolicy
from backbeat.schemas.messages.schedules import RunCause, RunState, ScheduleRun, Schedules, ScheduleView
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus, word
from backbeat.schemas.messages.views import NodeView, WorkflowView

from .catalogue import load_sources
from .compiler import Binding, Field

COMMANDS: tuple[type, ...] = commands.AnyCommand.__args__
QUERIES: tuple[type, ...] = queries.AnyQuery.__args__
#: The record that carries each kind of answer.
REPLIES: dict[type, str] = {
    WorkflowView: "WorkflowReply",
    NodeView: "NodeReply",
    Done: "DoneReply",
    Made: "MadeReply",
    Rejection: "RejectionReply",
    Nodes: "NodesReply",
    History: "HistoryReply",
    Position: "PositionReply",
    Settings: "SettingsReply",
    Limits: "LimitsReply",
    ScheduleView: "ScheduleReply",
    Schedules: "SchedulesReply",
    Jobs: "JobsReply",
    RetentionPolicies: "RetentionReply",
    DueWorkflows: "DueReply",
}


def _status_change() -> Binding:
    """In a struct `server` names the machine of both statuses; on the wire they share one enum of all words."""
    symbols: list[str] = load_sources()["Status"]["symbols"]
    byte = {symbol: index * 2 for index, symbol in enumerate(symbols)}
    machines: tuple[tuple[ClientStatus | ServerStatus, ...], ...] = (tuple(ClientStatus), tuple(ServerStatus))
    return Binding(
        StatusChange,
        {
            "status_type": Field("server", "OutType[{x}.server]", "InType[d[p]]"),
            "from_status": Field("from_status", "OutStatus[{x}.server][{x}.from_status]", "InStatus[{server}][d[p]]"),
            "to_status": Field("to_status", "OutStatus[{x}.server][{x}.to_status]", "InStatus[{server}][d[p]]"),
        },
        {
            "OutType": {False: b"\x00", True: b"\x02"},
            "InType": {0: False, 2: True},
            "OutStatus": [{status: bytes((byte[word(status)],)) for status in machine} for machine in machines],
            "InStatus": [{byte[word(status)]: status for status in machine} for machine in machines],
        },
    )


def bindings(signal: type) -> dict[str, Binding]:
    """By name of the type. `signal`: the struct of a signal request as it stands in Avro."""
    structs: list[Any] = [
        *COMMANDS,
        *QUERIES,
        *REPLIES,
        commands.ReplyTo,
        commands.Source,
        commands.NewNode,
        commands.NewWorkflow,
        commands.Task,
        commands.LinkWait,
        commands.NewSchedule,
        ScheduleRun,
        JobFilter,
        JobMatch,
        JobRefusal,
        Job,
        NodeChange,
        LimitView,
        PoolView,
        Limit,
        LimitValues,
        DueWorkflow,
        RetentionPolicy,
    ]
    return {
        **{struct.__name__: Binding(struct) for struct in structs},
        **dict.fromkeys(REPLIES.values(), Binding(ReplyRecord)),
        "Mode": Binding(Mode),
        "Coalesce": Binding(commands.Coalesce),
        "ClientStatus": Binding(ClientStatus),
        "ServerStatus": Binding(ServerStatus),
        "Reason": Binding(Reason),
        "Overlap": Binding(commands.Overlap),
        "RunState": Binding(RunState),
        "RunCause": Binding(RunCause),
        "JobState": Binding(JobState),
        "ActivityKind": Binding(ActivityKind),
        "Activity": Binding(ActivityRecord),
        "StatusChanges": Binding(StatusChangesRecord),
        "StatusChange": _status_change(),
        "SignalRequest": Binding(signal),
    }
