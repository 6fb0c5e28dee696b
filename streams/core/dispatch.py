"""apply(command, now, store) -> effects: what every command does. One function a command.

Pure: nothing but the command, the time of its record and the store decides what happens, so a replay does it again
exactly. A command is refused whole or done whole; whatever a client can cause is a rejection, never an exception.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import (
    AddChildren,
    AnyCommand,
    AskSlot,
    ChangeLimit,
    ChangeNode,
    ChangeRetention,
    ChangeSchedule,
    ChangeSettings,
    ChangeWorkflow,
    CloseLink,
    Continue,
    CreateWorkflow,
    DeliveryFailed,
    FailNode,
    FillPool,
    GrantSlot,
    Heartbeat,
    OpenLink,
    PutSchedule,
    ReleaseSlot,
    RemoveWorkflow,
    ResetNode,
    RestartNode,
    RunSchedule,
    ScheduleDue,
    ScheduleNode,
    Signal,
    SpreadLimit,
    StartJob,
    StopJob,
    TimerFired,
    WorkJob,
)
from backbeat.schemas.messages.replies import Done, Made, Reason, Rejection
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import Effect, Ignored, Send, workflow_view
from backbeat.streams.core.idempotency import answered, forget, kept, remember
from backbeat.streams.core.jobs.slices import forget_job, run_job
from backbeat.streams.core.limits import grant, pool, slots
from backbeat.streams.core.records import Meta, Node
from backbeat.streams.core.retention import policies, removal
from backbeat.streams.core.schedules import runs
from backbeat.streams.core.step import Refused, Step, own_node, refuse
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import ANSWERS
from backbeat.streams.core.timers import fired_early
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree import operator, progress
from backbeat.streams.core.tree.create import (
    add_children,
    add_signal,
    check_response,
    check_tid,
    child_ids,
    is_repeat,
    make_workflow,
)
from backbeat.streams.core.tree.failures import client_error, deliver_failed, expire, retry, server_error
from backbeat.streams.core.tree.links import close_link, follow_wait, open_link

_STATUS_WORDS = {
    "processing": "processing",
    "deciding": "processing",
    "completed": "completed",
    "deciding_complete": "completed",
    "errored": "errored",
    "resolved": "resolved",
    "shutdown": "shutdown",
    "deactivated": "deactivated",
    "canceled": "canceled",
}


def apply(command: AnyCommand, now: int, store: Store) -> list[Effect]:
    """Do one command; `now` is its record's time, in milliseconds since the epoch. Returns the effects, in order."""
    meta = store.meta
    now = max(now, meta.now)
    source = command.source
    if source is not None and (source.offset, source.index) <= meta.high_water.get(source.partition, (-1, -1)):
        return [Ignored("an engine command that was already taken")]
    transaction = Transaction(store)
    effects = _answered_before(command, transaction)
    if effects is None:
        effects = _apply(command, now, transaction)
    transaction.commit()
    # Where the partition is: nothing can come between this and the commit.
    meta.now = now
    if source is not None:
        meta.high_water[source.partition] = (source.offset, source.index)
    return effects


def _answered_before(command: AnyCommand, transaction: Transaction) -> list[Effect] | None:
    """The answer that a command with this key was given, or null when it is new."""
    if command.body_hash is None:
        return None
    stored = transaction.get(ANSWERS, command.id)
    if stored is None:
        return None
    if stored.body_hash == command.body_hash:
        return answered(command, kept(stored))
    message = "This idempotency key was used for another request"
    return answered(command, Rejection(Reason.KEY_REUSED, message, found="another body", wanted="the same body"))


def _apply(command: AnyCommand, now: int, transaction: Transaction) -> list[Effect]:
    step = Step(transaction, command, now)
    try:
        check_tid(step)
        _work(step, command)
        return step.finish()
    except Refused as refused:
        rejection = refused.rejection
    transaction.rollback()
    effects = answered(command, rejection)
    signal = command.signal if isinstance(command, OpenLink) and command.waits else command
    if isinstance(signal, Signal) and signal.link_open and signal.node.parent_link_id is not None:
        # Its target waits for a node that will never be.
        child_id = ids.node_id(signal.workflow_id, signal.id, 0)
        close = CloseLink(id=signal.id, tid=signal.tid, target_id=signal.node.parent_link_id, child_id=child_id)
        effects.append(Send(close))
    remember(transaction, command, rejection, now)
    return effects + _fail_refused_result(command, rejection, now, transaction)


def _fail_refused_result(command: AnyCommand, rejection: Rejection, now: int, transaction: Transaction) -> list[Effect]:
    """A worker's result that cannot be taken is a client error of its node: nobody else would tell the worker."""
    attempt: int | None = None
    match command:
        case ChangeNode() | AddChildren() if command.attempt is not None:
            node_id, attempt = command.node_id, command.attempt
        case OpenLink() if command.user_id is not None and command.signal is not None:
            # A worker's, ahead of its answer: a signal of its client that the running node is to wait for.
            node_id = command.target_id
        case _:
            return []
    if rejection.reason not in (Reason.LIMIT_EXCEEDED, Reason.INVALID_PARAMETERS):
        return []
    step = Step(transaction, msgspec.structs.replace(command, reply_to=None, body_hash=None, tid=""), now)
    node = step.enter_node(node_id)
    if node is None or _is_late(step, node, node.attempt if attempt is None else attempt):
        return []
    client_error(step, node, msgspec.json.encode({"error": {"message": rejection.message}}))
    return step.finish()


def _work(step: Step, command: AnyCommand) -> None:
    """A command and all that follows from it within its workflow; a job does each of its changes so."""
    _do(step, command)
    progress.run(step)
    policies.review(step)


def _do(step: Step, command: AnyCommand) -> None:
    match command:
        case ChangeNode() | AddChildren() | Heartbeat() if removal.is_left_behind(step, command):
            step.ignore("a result of a node that is there no more")
        case ChangeNode():
            _change_node(step, command)
        case Signal():
            add_signal(step, command)
        case TimerFired():
            _timer_fired(step, command)
        case AddChildren():
            _add_children(step, command)
        case Heartbeat():
            _heartbeat(step, command)
        case Continue():
            _continue(step, command)
        case AskSlot() | ReleaseSlot() | FillPool() | SpreadLimit():
            pool.do(step, command)
        case GrantSlot():
            grant.granted(step, command)
        case CloseLink():
            # The target is a node, or the schedule that the child is a run of.
            if not runs.run_ended(step, command):
                close_link(step, command)
        case OpenLink(waits=()):
            open_link(step, command)
        case OpenLink(signal=Signal() as signal) if command.waits_at == len(command.waits):
            add_signal(step, signal, is_followed=True)
        case OpenLink():
            follow_wait(step, command)
        case CreateWorkflow():
            step.reply(workflow_view(make_workflow(step, command.workflow)))
        case ChangeWorkflow():
            operator.change_workflow(step, command)
        case RestartNode():
            operator.restart(step, command)
        case ResetNode():
            operator.reset(step, command)
        case ScheduleNode():
            operator.schedule(step, command)
        case DeliveryFailed():
            deliver_failed(step, command)
        case FailNode():
            server_error(step, command)
        case ChangeSettings():
            operator.change_settings(step, command)
        case ChangeLimit():
            slots.change_limit(step, command)
        case PutSchedule() | ChangeSchedule() | RunSchedule() | ScheduleDue():
            runs.do(step, command)
        case StartJob() | StopJob() | WorkJob():
            run_job(step, command, _work)
        case ChangeRetention():
            policies.change(step, command)
        case RemoveWorkflow():
            removal.remove(step, command)
        case _:
            assert_never(command)


# --- what a client says of a node -----------------------------------------------------------------------------------


def _change_node(step: Step, command: ChangeNode) -> None:
    node = own_node(step, command.node_id)
    status = _STATUS_WORDS.get(command.status)
    if status is None:
        message = f"Unknown status change {command.status}"
        raise refuse(Reason.UNKNOWN_STATUS, message, found=command.status, wanted=", ".join(_STATUS_WORDS))
    if _is_late(step, node, command.attempt):
        return
    check_response(step, command.response)
    if command.children and is_repeat(step):
        step.ignore("a repeat: its children are there")
        step.reply(Done(changed=False))
        return
    add_children(step, node, command.children)
    if node.server is ServerStatus.DEACTIVATED:
        step.reply(Done(changed=False))
        return
    _set_status(step, node, status, command)
    step.reply(Done())


def _is_late(step: Step, node: Node, attempt: int | None) -> bool:
    """Whether a worker's result is of an attempt that is over or answered: then it changes nothing."""
    if attempt is None:
        return False
    if _runs(node, attempt):
        return False
    step.ignore(f"a result of attempt {attempt}, which is over")
    step.reply(Done(changed=False))
    return True


def _runs(node: Node, attempt: int) -> bool:
    """Whether this attempt is with the client and not answered."""
    return (
        node.attempt == attempt
        and node.server is ServerStatus.SENT_TO_CLIENT
        and node.client in (ClientStatus.RECEIVED, ClientStatus.PROCESSING)
    )


def _heartbeat(step: Step, command: Heartbeat) -> None:
    node = own_node(step, command.node_id)
    if _runs(node, command.attempt):
        progress.renew_deadline(step, node)
        step.reply(Done())
        return
    found = word(node.server) if node.attempt == command.attempt else f"attempt {node.attempt}"
    if command.reply_to is None:
        # It crossed its own answer: nothing that an operator must look at.
        step.ignore(f"a heartbeat of attempt {command.attempt}, which is over")
        return
    message = f"Attempt {command.attempt} is over"
    raise refuse(Reason.INVALID_SERVER_STATUS, message, found=found, wanted=word(ServerStatus.SENT_TO_CLIENT))


def _set_status(step: Step, node: Node, status: str, command: ChangeNode) -> None:
    response = command.response
    match status:
        case "processing":
            step.check_client(node, ClientStatus.PROCESSING)
            step.set_client(node, ClientStatus.PROCESSING)
            progress.renew_deadline(step, node)
        case "completed":
            step.check(node, ClientStatus.COMPLETE, ServerStatus.PROCESSING_CHILDREN)
            progress.client_complete(step, node, response)
        case "errored":
            client_error(step, node, response, retriable=command.retriable)
        case "resolved":
            _close_exhausted(step, node, ClientStatus.RESOLVED, response)
            progress.children_ready(step, node)
        case "shutdown":
            _close_exhausted(step, node, ClientStatus.SHUTDOWN, response)
            progress.shut_siblings(step, node)
        case "deactivated":
            if node.server is ServerStatus.SENT_TO_CLIENT:
                progress.renew_deadline(step, node)
            progress.deactivate_previous(step, node)
        case "canceled":
            _cancel(step, node)
        case _:
            raise AssertionError(f"no status has the word {status}")


def _close_exhausted(step: Step, node: Node, client: ClientStatus, response: bytes | None) -> None:
    """Resolved and shutdown: the client gives up on the node and the tree goes on."""
    step.check(node, client, ServerStatus.PROCESSING_CHILDREN)
    step.set_client(node, client, response)
    step.set_server(node, ServerStatus.PROCESSING_CHILDREN, response, same_response=True)
    progress.end_deadline(step, node)


def _cancel(step: Step, node: Node) -> None:
    step.deactivate(node)
    progress.schedule_later(step, step.parent(node))
    progress.reset(step, node)


def _add_children(step: Step, command: AddChildren) -> None:
    node = own_node(step, command.node_id)
    if _is_late(step, node, command.attempt):
        return
    if command.children and is_repeat(step):
        step.ignore("a repeat: its children are there")
    else:
        add_children(step, node, command.children)
    step.reply(Made(child_ids(step, len(command.children))))


# --- what the engine's own parts say --------------------------------------------------------------------------------


def _timer_fired(step: Step, command: TimerFired) -> None:
    if fired_early(step, command.kind, command.subject_id, command.number):
        return
    if command.kind == TimerKind.ANSWER:
        if not forget(step.transaction, command.subject_id):
            step.ignore("an answer that was forgotten before")
        return
    if command.kind == TimerKind.SLOT:
        pool.do(step, command)
        return
    if command.kind == TimerKind.JOB:
        forget_job(step, command.subject_id)
        return
    if removal.takes_timer(step, command):
        return
    node = step.enter_node(command.subject_id)
    if node is None or node.timer_at is None or (node.timer_kind, node.timer_number) != (command.kind, command.number):
        step.ignore("a timer that no longer stands")
        return
    step.clear_timer(node)
    match command.kind:
        case TimerKind.START:
            progress.start(step, node)
        case TimerKind.RETRY:
            retry(step, node, fires_at=node.fires_at)
        case TimerKind.EXPIRY:
            expire(step, node)
        case TimerKind.SCHEDULE:
            raise AssertionError("a schedule's timer is a command of its own, and no node has one")
        case _:
            raise AssertionError(f"no node has a timer of the kind {command.kind}")


def _continue(step: Step, command: Continue) -> None:
    if removal.takes_task(step, command.tasks[0]):
        return
    workflow = step.enter(command.workflow_id)
    assert workflow is not None, "the rest of the work on a workflow that is not stored"
    workflow.slices_under_way -= 1
    step.tasks.extend(command.tasks)


def new_meta(topic_id: str) -> Meta:
    """A partition that nothing has happened in yet."""
    return Meta(topic_id=topic_id)
