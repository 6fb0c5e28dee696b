"""One record of every kind that crosses a topic, with every field at a value of its own. Golden bytes stand beside."""

from collections.abc import Callable
from typing import Any

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.messages import commands, jobs, limits, queries, schedules
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord, TakenResult
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import NodeChange, StatusChange, StatusChangesRecord
from backbeat.schemas.messages.limits import Limits, LimitView, PoolView
from backbeat.schemas.messages.replies import (
    Done,
    History,
    Made,
    Nodes,
    Position,
    Reason,
    Rejection,
    ReplyRecord,
    Results,
)
from backbeat.schemas.messages.retention import DueWorkflow, DueWorkflows, RetentionPolicies, RetentionPolicy
from backbeat.schemas.messages.schedules import Schedules
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import (
    Children,
    ChildView,
    EngineView,
    NodeView,
    PartitionState,
    Wait,
    Waits,
    WorkflowView,
)
from backbeat.schemas.named_types import REPLIES
from backbeat.schemas.requests.messages import MessageRequest
from backbeat.schemas.requests.signals import SignalRequest
from backbeat.streams.core import effects


def identity(number: int) -> bytes:
    return bytes([number]) * 16


REPLY_TO = commands.ReplyTo(3, identity(1), 2**40)
SOURCE = commands.Source(7, 2**41, 5)
NEW_NODE = commands.NewNode(
    name="Notify Customer",
    user_id=identity(2),
    mode=Mode.NON_BLOCKING,
    type="decision",
    client_data='{"name":"Grüße","timeout":60}'.encode(),
    metadata=b'{"a":[1,2]}',
    fires_at=1_790_000_000_123,
    parent_link_id=identity(3),
    retry_interval_seconds=0.5,
    retries=0,
)
PLAIN_NODE = commands.NewNode(name="Reserve", user_id=identity(2))
NEW_WORKFLOW = commands.NewWorkflow(user_id=identity(2), name="Purchases", subject=b'"Camera 703"', decider="Decider")
WORKFLOW = WorkflowView(
    id=identity(4),
    user_id=identity(2),
    name="Purchases",
    subject=b'{"b":1,"a":2}',
    decider="Decider",
    created_at=1_790_000_000_000,
    updated_at=1_790_000_000_456,
    complete=False,
    paused=None,
)
NODE = NodeView(
    id=identity(5),
    workflow_id=identity(4),
    parent_id=identity(6),
    user_id=identity(2),
    name="Make Purchase",
    mode=Mode.FIRE_AND_FORGET,
    type="decision",
    client_data=b'{"x":"' + b"y" * 9_000 + b'"}',
    metadata=b"{}",
    subject=b'"Camera 703"',
    decider="Decider",
    workflow_name="Purchases",
    server=ServerStatus.SENT_TO_CLIENT,
    client=ClientStatus.RECEIVED,
    created_at=1_790_000_000_000,
    fires_at=-1,
    attempt=2,
    complete_by=None,
    retries_remaining=6,
    retry_interval_seconds=1200.0,
    parent_link_id=None,
    depth=64,
    seq=2**50,
    tid="tid-1",
    priority=3,
    fairness_key="",
    waits_for_slot=False,
)
WAIT = Wait("children", "waits for 400 nodes below it", 2**41, 2**42, identity(6), 2**33)
CHILD = ChildView(
    id=identity(5),
    parent_id=identity(6),
    user_id=identity(2),
    name="Charge card",
    mode=Mode.NON_BLOCKING,
    type="activity",
    server=ServerStatus.RETRIES_EXHAUSTED,
    client=ClientStatus.ERRORED,
    created_at=1_790_000_000_000,
    changed_at=1_790_000_000_456,
    attempt=7,
    retries_remaining=0,
    depth=3,
    seq=2**50,
    has_children=True,
    children_open=2**33,
    error="connection refused by bank-7:443",
    wait=WAIT,
)
LIMIT = limits.Limit(
    client_id=identity(2),
    activity="Send to Bank",
    values=limits.LimitValues(
        concurrency=3,
        rate_count=100,
        rate_period_seconds=60.0,
        rate_burst=5,
        key="metadata.bank",
        aging_seconds=30.0,
    ),
    paused=True,
    revision=2**40,
)
POLICY = RetentionPolicy(
    owner_id=identity(2), name="Purchases", keep_seconds=86_400.5, archive=False, refuse_seconds=3_600.0
)
CHANGES = (
    StatusChange(True, ServerStatus.SENT_TO_CLIENT, ServerStatus.RETRIES_EXHAUSTED, 1_790_000_000_000, b'{"error":1}'),
    StatusChange(False, ClientStatus.RECEIVED, ClientStatus.ERRORED, 5, None),
    StatusChange(True, ServerStatus.PENDING, ServerStatus.DEACTIVATED, 2**62, b""),
)
SIGNAL = commands.Signal(
    id=identity(8), workflow_id=identity(4), node=PLAIN_NODE, workflow=NEW_WORKFLOW, link_open=True, tid="t"
)

NEW_SCHEDULE = commands.NewSchedule(
    user_id=identity(2),
    name="Nightly Grüße",
    cron="30 2 * * *",
    zone="Europe/Berlin",
    interval_seconds=1.5,
    offset_seconds=0.25,
    workflow=NEW_WORKFLOW,
    node=PLAIN_NODE,
    overlap=commands.Overlap.CANCEL,
    catch_up_seconds=3600.0,
)
RUNNING = schedules.ScheduleRun(
    1_790_000_000_000, schedules.RunCause.BACKFILL, schedules.RunState.RUNNING, 5, 4, identity(4), identity(5)
)
MISSED = schedules.ScheduleRun(1, schedules.RunCause.DUE, schedules.RunState.MISSED, 2, count=2**20, last_at=2**41)
SCHEDULE = schedules.ScheduleView(
    id=identity(7),
    plan=NEW_SCHEDULE,
    created_at=1_790_000_000_000,
    updated_at=1_790_000_000_001,
    after=1_790_000_000_002,
    paused=True,
    note="the bank is closed",
    next_at=None,
    problem="there is no time zone",
    started=2**33,
    skipped=2,
    missed=3,
    running=(RUNNING,),
    queued=(),
    queued_count=70,
    recent=(MISSED, RUNNING),
)

FILTER = jobs.JobFilter(
    name="Charge card",
    workflow_name="Purchases",
    workflow_id=identity(4),
    client_id=identity(2),
    subject="Camera é",
    metadata='{"a"',
    error="refused",
    current_status="retries_exhausted",
    past_status="errored",
    status_start=1,
    status_end=2**41,
    created_start=0,
    created_end=2**42,
)
JOB = jobs.Job(
    id=identity(7),
    partition=6,
    user_id=identity(2),
    action="resolve",
    filter=FILTER,
    response=b'{"by":"ann"}',
    dry_run=True,
    started_at=1_790_000_000_000,
    state=jobs.JobState.STOPPED,
    ended_at=1_790_000_000_001,
    examined=2**40,
    matched=70,
    done=68,
    refused=2,
    matches=(jobs.JobMatch(identity(5), "Charge card", "Purchases"),),
    refusals=(jobs.JobRefusal(identity(5), "not_found", "No node"),) * 2,
)
_COMMAND: dict[str, Any] = {
    "id": identity(9),
    "user_id": identity(2),
    "tid": "tid-é",
    "reply_to": REPLY_TO,
    "body_hash": b"hash",
    "source": SOURCE,
}
COMMANDS: tuple[Any, ...] = (
    commands.CreateWorkflow(**_COMMAND, workflow=NEW_WORKFLOW),
    commands.Signal(**_COMMAND, workflow_id=identity(4), node=NEW_NODE, workflow=NEW_WORKFLOW, link_open=True),
    commands.ChangeWorkflow(**_COMMAND, workflow_id=identity(4), change="pause"),
    commands.ChangeNode(
        **_COMMAND,
        node_id=identity(5),
        status="completed",
        response=b'{"result":1}',
        children=(NEW_NODE, PLAIN_NODE),
        attempt=3,
    ),
    commands.SendMessage(**_COMMAND, workflow_id=identity(4), name="approval", payload=b'{"result":{"by":"Grace"}}'),
    commands.AddChildren(**_COMMAND, node_id=identity(5), children=(PLAIN_NODE,) * 70, attempt=1),
    commands.Heartbeat(**_COMMAND, node_id=identity(5), attempt=2),
    commands.RestartNode(**_COMMAND, node_id=identity(5)),
    commands.ResetNode(**_COMMAND, node_id=identity(5)),
    commands.ScheduleNode(**_COMMAND, node_id=identity(5)),
    commands.ChangeSettings(**_COMMAND, settings=Settings(depth_max=3, default_timeout_seconds=1.5)),
    commands.ChangeLimit(**_COMMAND, client_id=identity(2), activity="Send to Bank", values=LIMIT.values, paused=False),
    commands.SpreadLimit(**_COMMAND, limit=LIMIT),
    commands.AskSlot(
        **_COMMAND,
        pool_id=identity(10),
        client_id=identity(2),
        activity="Send to Bank",
        key='"B1"',
        node_id=identity(5),
        number=300,
        priority=1,
        fairness_key="acme",
    ),
    commands.GrantSlot(**_COMMAND, pool_id=identity(10), node_id=identity(5), number=300),
    commands.ReleaseSlot(**_COMMAND, pool_id=identity(10), node_id=identity(5), number=300),
    commands.FillPool(**_COMMAND, pool_id=identity(10), client_id=identity(2), activity="Send to Bank", chain=True),
    commands.PutSchedule(**_COMMAND, schedule_id=identity(7), schedule=NEW_SCHEDULE, paused=True),
    commands.ChangeSchedule(**_COMMAND, schedule_id=identity(7), change="pause", note="why"),
    commands.RunSchedule(**_COMMAND, schedule_id=identity(7), times=(1, 2**41), overlap=commands.Overlap.ALLOW),
    commands.ScheduleDue(
        **_COMMAND, schedule_id=identity(7), number=2**33, times=(5, 6), next_at=2**42, problem="no such zone"
    ),
    commands.ChangeRetention(**_COMMAND, policy=POLICY, forget=True),
    commands.RemoveWorkflow(**_COMMAND, workflow_id=identity(4), revision=2**43),
    commands.TimerFired(**_COMMAND, subject_id=identity(5), kind=2, number=2**33),
    commands.OpenLink(**_COMMAND, target_id=identity(5), child_id=identity(6), signal=SIGNAL, strict=True),
    commands.CloseLink(**_COMMAND, target_id=identity(5), child_id=identity(6)),
    commands.DeliveryFailed(**_COMMAND, node_id=identity(5), attempt=4, response=b'{"error":"no"}'),
    commands.FailNode(**_COMMAND, node_id=identity(5), message="a defect"),
    commands.Continue(
        **_COMMAND,
        workflow_id=identity(4),
        tasks=(commands.Task(1, identity(5), identity(6), 2**34), commands.Task(2, identity(5))),
    ),
    commands.StartJob(**_COMMAND, partition=6, action="resolve", filter=FILTER, response=b'{"by":"ann"}', dry_run=True),
    commands.StopJob(**_COMMAND, partition=6, job_id=identity(7)),
    commands.WorkJob(
        **_COMMAND,
        partition=6,
        job_id=identity(7),
        workflow_id=identity(4),
        tasks=(commands.Task(1, identity(5), identity(6), 2**34),),
    ),
)
_QUERY: dict[str, Any] = {"reply_to": REPLY_TO, "user_id": identity(2), "deadline": 1_790_000_000_000, "tid": "t"}
QUERIES: tuple[Any, ...] = (
    queries.GetWorkflow(**_QUERY, workflow_id=identity(4)),
    queries.GetNode(**_QUERY, node_id=identity(5)),
    queries.GetTree(**_QUERY, workflow_id=identity(4), top_level_only=True),
    queries.GetHistory(**_QUERY, node_id=identity(5)),
    queries.GetResults(**_QUERY, node_id=identity(5), slot=3, after=identity(6)),
    queries.GetWaits(**_QUERY, node_id=identity(5)),
    queries.GetChildren(**_QUERY, parent_id=identity(5), limit=200, after=identity(6), first=identity(7)),
    queries.GetPath(**_QUERY, node_id=identity(5)),
    queries.GetNodes(**_QUERY, partition=7, node_ids=(identity(5), identity(6))),
    queries.WaitNode(**_QUERY, node_id=identity(5)),
    queries.Flush(**_QUERY, partition=7),
    queries.GetSettings(**_QUERY, partition=7),
    queries.GetLimits(**_QUERY, partition=7),
    queries.GetSchedule(**_QUERY, schedule_id=identity(7)),
    queries.GetSchedules(**_QUERY, partition=7),
    queries.GetJobs(**_QUERY, partition=7, job_id=identity(7)),
    queries.GetRetention(**_QUERY, partition=7),
    queries.GetEngine(**_QUERY, partition=7),
    queries.GetDue(**_QUERY, partition=7, limit=3, after_due_at=2**42, after_id=identity(4)),
)
ANSWERS: tuple[Any, ...] = (
    WORKFLOW,
    NODE,
    Done(changed=False),
    Made((identity(5), identity(6))),
    Rejection(Reason.WORKFLOW_COMPLETE, "Workflow is complete", "complete", "open"),
    Nodes((NODE, msgspec.structs.replace(NODE, complete_by=1, parent_id=None))),
    History(CHANGES),
    Results((TakenResult(3, identity(6), b'{"result":1}'), TakenResult(4, identity(7), None, is_default=True))),
    Waits((WAIT, Wait("engine", "waits for nothing but its turn at the engine"))),
    Children((CHILD, msgspec.structs.replace(CHILD, parent_id=None, wait=None))),
    Position(2, 2**45),
    Settings(depth_max=3, default_timeout_seconds=1.5),
    Limits((LimitView(LIMIT, (PoolView('"B1"', 3, (0, 1, 300, 0, 0), 2**41, None),), True),)),
    SCHEDULE,
    Schedules((SCHEDULE, msgspec.structs.replace(SCHEDULE, next_at=2**42, running=()))),
    jobs.Jobs((JOB, msgspec.structs.replace(JOB, user_id=None, filter=jobs.JobFilter(), ended_at=None, matches=()))),
    RetentionPolicies((POLICY,)),
    EngineView(
        instance="engine-1",
        version="0.1.0",
        since=1_769_860_800_000,
        partition=7,
        state=PartitionState.RESTORING,
        position=12,
        waiting=3,
        restored=0.25,
        restore_left=1_200_000,
        timers_soon=4,
        timers_overdue=2,
        overdue_since=1_769_860_700_000,
    ),
    DueWorkflows((DueWorkflow(identity(4), identity(2), "Purchases", 2**42, 2**43),)),
)
SIGNAL_REQUEST = SignalRequest(
    workflow="Purchases",
    subject='{"größe":1}'.encode(),
    decider="Decider",
    signal="Make Purchase",
    id="order-1",
    client_data=b'{"a": 1}',
    metadata=b'{"b": 2}',
    fires_at=1_790_000_000_000,
    retry=2,
    retry_interval=0.25,
    client_id=identity(2),
    parent_link_id=identity(3),
)
MESSAGE_REQUEST = MessageRequest(
    workflow="Purchases", subject='{"größe":1}'.encode(), message="approval", value=b'{"by": "Grace"}', id="approval-1"
)
CHANGED = effects.StatusChanged(identity(4), tuple(NodeChange(identity(5), change) for change in CHANGES))


def _examples() -> dict[str, tuple[bytes, Callable[[bytes], Any], Any]]:
    examples: dict[str, tuple[bytes, Callable[[bytes], Any], Any]] = {}
    for command in COMMANDS:
        examples[type(command).__name__] = (codec.encode_command(command), codec.decode_command, command)
    for query in QUERIES:
        examples[type(query).__name__] = (codec.encode_query(query), codec.decode_query, query)
    for answer in ANSWERS:
        name = REPLIES[type(answer)]
        reply = ReplyRecord(REPLY_TO.asker, REPLY_TO.number, 1, False, "t", answer)
        examples[name] = (codec.encode_reply(REPLY_TO, answer, "t", 1, last=False), codec.decode_reply, reply)
    notification = effects.Notify(NODE, "Client Error", "it failed", b'{"message":"m"}')
    examples["Activity"] = (
        codec.encode_activity(notification.record()),
        codec.decode_activity,
        ActivityRecord(NODE, ActivityKind.NOTIFICATION, "Client Error", "it failed", b'{"message":"m"}'),
    )
    examples["StatusChanges"] = (
        codec.encode_status_changes(CHANGED.records("t")[0]),
        codec.decode_status_changes,
        StatusChangesRecord(CHANGED.workflow_id, "t", CHANGED.changes),
    )
    examples["SignalRequest"] = (codec.encode_signal(SIGNAL_REQUEST), codec.decode_request, SIGNAL_REQUEST)
    examples["MessageRequest"] = (codec.encode_message(MESSAGE_REQUEST), codec.decode_request, MESSAGE_REQUEST)
    return examples


#: By name of the record: its bytes today, how they are read, and what they must be.
EXAMPLES = _examples()
