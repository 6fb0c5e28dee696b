"""Rules for commands and queries that are sent as records: who may send which, and whose it is then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from backbeat.gateway.api.nodes import check_runner
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.routing import Access
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.values import NewWorkflow

_with = msgspec.structs.replace


class Rule(NamedTuple):
    """Rule by which one kind of command is taken."""

    access: Access
    #: makes the caller the owner of what the command names, and refuses runners that nobody is
    own: Callable[[Call, Any], Any] | None = None


def _own_workflow(call: Call, new: NewWorkflow) -> NewWorkflow:
    return _with(new, user_id=call.user_id)


def _own_create(call: Call, record: commands.CreateWorkflow) -> commands.CreateWorkflow:
    return _with(record, workflow=_own_workflow(call, record.workflow))


def _own_signal(call: Call, record: commands.Signal) -> commands.Signal:
    check_runner(call, record.node.user_id)
    new = record.workflow
    return _with(record, workflow=None if new is None else _own_workflow(call, new), link_open=False)


def _own_children(call: Call, record: Any) -> Any:
    for child in record.children:
        check_runner(call, child.user_id)
    return record


def _own_limit(call: Call, record: commands.ChangeLimit) -> commands.ChangeLimit:
    return _with(record, client_id=call.user_id)


def _own_retention(call: Call, record: commands.ChangeRetention) -> commands.ChangeRetention:
    return _with(record, policy=_with(record.policy, owner_id=call.user_id))


def _own_schedule(call: Call, record: commands.PutSchedule) -> commands.PutSchedule:
    plan = record.schedule
    check_runner(call, plan.node.user_id)
    plan = _with(plan, user_id=call.user_id, workflow=_own_workflow(call, plan.workflow))
    return _with(record, schedule=plan, schedule_id=ids.schedule_id(call.user_id, plan.name))


#: Commands that a client application may send, and which of them may. All others engines, archivers and operators send.
COMMANDS: dict[type, Rule] = {
    commands.CreateWorkflow: Rule(Access.CLIENT, _own_create),
    commands.Signal: Rule(Access.WRITER, _own_signal),
    commands.SendMessage: Rule(Access.WRITER),
    commands.ChangeWorkflow: Rule(Access.CLIENT),
    commands.ChangeNode: Rule(Access.CLIENT, _own_children),
    commands.AddChildren: Rule(Access.WRITER, _own_children),
    commands.Heartbeat: Rule(Access.CLIENT),
    commands.RestartNode: Rule(Access.CLIENT),
    commands.ResetNode: Rule(Access.CLIENT),
    commands.ScheduleNode: Rule(Access.CLIENT),
    commands.ChangeLimit: Rule(Access.WRITER, _own_limit),
    commands.PutSchedule: Rule(Access.WRITER, _own_schedule),
    commands.ChangeSchedule: Rule(Access.WRITER),
    commands.RunSchedule: Rule(Access.WRITER),
    commands.StartJob: Rule(Access.WRITER),
    commands.StopJob: Rule(Access.WRITER),
    commands.ChangeRetention: Rule(Access.WRITER, _own_retention),
}
#: Queries whose answers have neither arguments nor results nor metadata.
WITHOUT_PAYLOADS = frozenset(
    {
        queries.GetWorkflow,
        queries.GetWaits,
        queries.GetChildren,
        queries.GetPath,
        queries.GetNodes,
        queries.GetLimits,
        queries.GetJobs,
        queries.GetRetention,
        queries.GetSettings,
        queries.GetEngine,
    }
)
#: Commands that a person who sees all may send without a client application: the record names what it is about.
FOR_ALL = frozenset(
    {
        commands.ChangeWorkflow,
        commands.ChangeNode,
        commands.RestartNode,
        commands.ResetNode,
        commands.ScheduleNode,
        commands.ChangeLimit,
        commands.ChangeSchedule,
        commands.RunSchedule,
        commands.StartJob,
        commands.StopJob,
        commands.ChangeRetention,
    }
)
QUERIES = frozenset(
    {
        queries.GetWorkflow,
        queries.GetNode,
        queries.GetTree,
        queries.GetHistory,
        queries.GetResults,
        queries.GetWaits,
        queries.GetChildren,
        queries.GetPath,
        queries.GetNodes,
        queries.WaitNode,
        queries.GetLimits,
        queries.GetSchedule,
        queries.GetSchedules,
        queries.GetJobs,
        queries.GetRetention,
        queries.GetSettings,
        queries.GetEngine,
    }
)


def names(kinds: Iterable[type]) -> str:
    """Text of these kinds of records, sorted."""
    return ", ".join(sorted(kind.__name__ for kind in kinds))
