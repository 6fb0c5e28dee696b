"""Which struct or enum of ours each named type of the schemas is."""

from __future__ import annotations

from typing import Any

from backbeat.streams.core import commands, effects, queries, records
from backbeat.streams.core.jobs import records as job_records
from backbeat.streams.core.schedules import schedule
from backbeat.streams.core.tree.history import StatusChange
from backbeat.streams.core.tree.status import ClientStatus, Mode, ServerStatus, word

from .catalogue import load_sources
from .compiler import Binding, Field
from .records import ActivityKind, ActivityRecord, ReplyRecord, StatusChangesRecord

COMMANDS: tuple[type, ...] = commands.AnyCommand.__args__
QUERIES: tuple[type, ...] = queries.AnyQuery.__args__
#: The record that carries each kind of answer.
REPLIES: dict[type, str] = {
    effects.WorkflowView: "WorkflowReply",
    effects.NodeView: "NodeReply",
    effects.Done: "DoneReply",
    effects.Made: "MadeReply",
    effects.Rejection: "RejectionReply",
    queries.Nodes: "NodesReply",
    queries.History: "HistoryReply",
    queries.Position: "PositionReply",
    records.Settings: "SettingsReply",
    effects.Limits: "LimitsReply",
    schedule.ScheduleView: "ScheduleReply",
    queries.Schedules: "SchedulesReply",
    job_records.Jobs: "JobsReply",
    queries.RetentionPolicies: "RetentionReply",
    queries.DueWorkflows: "DueReply",
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
        commands.NewSchedule,
        schedule.ScheduleRun,
        job_records.JobFilter,
        job_records.JobMatch,
        job_records.JobRefusal,
        job_records.Job,
        effects.NodeChange,
        effects.LimitView,
        effects.PoolView,
        records.Limit,
        records.LimitValues,
        queries.DueWorkflow,
        records.RetentionPolicy,
    ]
    return {
        **{struct.__name__: Binding(struct) for struct in structs},
        **dict.fromkeys(REPLIES.values(), Binding(ReplyRecord)),
        "Mode": Binding(Mode),
        "Coalesce": Binding(commands.Coalesce),
        "ClientStatus": Binding(ClientStatus),
        "ServerStatus": Binding(ServerStatus),
        "Reason": Binding(effects.Reason),
        "Overlap": Binding(commands.Overlap),
        "RunState": Binding(schedule.RunState),
        "RunCause": Binding(schedule.RunCause),
        "JobState": Binding(job_records.JobState),
        "ActivityKind": Binding(ActivityKind),
        "Activity": Binding(ActivityRecord),
        "StatusChanges": Binding(StatusChangesRecord),
        "StatusChange": _status_change(),
        "SignalRequest": Binding(signal),
    }
