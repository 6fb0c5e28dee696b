"""`apply(command, now, store) -> effects`: dispatches a command to its handler.

Pure: the result follows from the command, the time of its record and the store, so a replay repeats it exactly. A
command is refused whole or applied whole; a client's mistake is a rejection, never an exception.

Each room has tables of its commands, timers and tasks, and hooks (`handlers`). Here they become one table of each.
"""

from __future__ import annotations

from backbeat.schemas.messages.commands import AnyCommand, ChangeSettings, Continue, TimerFired
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core import gone, idempotency
from backbeat.streams.core.checks import check_tid
from backbeat.streams.core.coalesce import handlers as coalesce
from backbeat.streams.core.effects import Effect, Ignored
from backbeat.streams.core.follow_ups import handlers as follow_ups
from backbeat.streams.core.heartbeat import handlers as heartbeat
from backbeat.streams.core.idempotency import answered, find_reply, save_reply
from backbeat.streams.core.inbox import handlers as inbox
from backbeat.streams.core.jobs import handlers as jobs
from backbeat.streams.core.limits import handlers as limits
from backbeat.streams.core.links import handlers as links
from backbeat.streams.core.retention import handlers as retention
from backbeat.streams.core.schedules import handlers as schedules
from backbeat.streams.core.settings import change_settings
from backbeat.streams.core.step import Guard, Handler, Hooks, Refused, Step
from backbeat.streams.core.store import Store
from backbeat.streams.core.takes import handlers as takes
from backbeat.streams.core.timers import fired_early
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree import handlers as tree
from backbeat.streams.core.tree import progress


def apply(command: AnyCommand, now: int, store: Store) -> list[Effect]:
    """Apply one command. `now`: its record's time, milliseconds since the epoch. Returns the effects, in order."""
    meta = store.meta
    now = max(now, meta.now)
    source = command.source
    if source is not None and (source.offset, source.index) <= meta.high_water.get(source.partition, (-1, -1)):
        return [Ignored("an engine command that was already taken")]
    transaction = Transaction(store)
    effects = None if command.body_hash is None else find_reply(transaction, command)
    if effects is None:
        effects = _apply(command, now, transaction)
    transaction.commit()
    # The partition's position: nothing can come between this and the commit.
    meta.now = now
    if source is not None:
        meta.high_water[source.partition] = (source.offset, source.index)
    return effects


def _apply(command: AnyCommand, now: int, transaction: Transaction) -> list[Effect]:
    step = Step(transaction, command, now, _HOOKS)
    try:
        check_tid(step)
        _work(step, command)
        return step.finish()
    except Refused as refused:
        rejection = refused.rejection
    transaction.rollback()
    step.effects = answered(command, rejection)
    save_reply(transaction, command, rejection, now)
    for note_refused in _HOOKS.on_refused:
        note_refused(step, rejection)
    return step.effects


def _work(step: Step, command: AnyCommand) -> None:
    """Apply a command and the tasks that follow from it within its workflow. A job applies each of its changes so."""
    kind = type(command)
    guard = _BEFORE.get(kind)
    if guard is None or not guard(step, command):
        HANDLERS[kind](step, command)
    progress.run(step)
    retention.AFTER(step)


# --- the engine's own commands ---------------------------------------------------------------------------------------


def _timer_fired(step: Step, command: TimerFired) -> None:
    if not fired_early(step, command.kind, command.subject_id, command.number):
        TIMERS[command.kind](step, command)


def _expire_reply(step: Step, command: TimerFired) -> None:
    if not idempotency.expire_reply(step.transaction, command.subject_id):
        step.ignore("an answer that was forgotten before")


def _continue(step: Step, command: Continue) -> None:
    task = command.tasks[0]
    handler = retention.TASKS.get(task.kind)
    if handler is not None:
        handler(step, task)
        return
    workflow = step.enter(command.workflow_id)
    assert workflow is not None, "the rest of the work on a workflow that is not stored"
    workflow.continuations_pending -= 1
    step.tasks.extend(command.tasks)


# --- the rooms, together ---------------------------------------------------------------------------------------------

#: Handler of each command type.
HANDLERS: dict[type, Handler] = {
    **tree.HANDLERS,
    **heartbeat.HANDLERS,
    **inbox.HANDLERS,
    **links.HANDLERS,
    **limits.HANDLERS,
    **schedules.HANDLERS,
    **jobs.HANDLERS,
    **retention.HANDLERS,
    ChangeSettings: change_settings,
    TimerFired: _timer_fired,
    Continue: _continue,
}
#: Handler of each kind of timer. A schedule's timer is a command of its own (ScheduleDue).
TIMERS: dict[TimerKind, Handler] = {
    **tree.TIMERS,
    **limits.TIMERS,
    **jobs.TIMERS,
    **retention.TIMERS,
    TimerKind.ANSWER: _expire_reply,
}
_BEFORE: dict[type, Guard] = retention.BEFORE
_LISTENERS = (
    limits.ON_STATUS,
    coalesce.ON_STATUS,
    links.ON_STATUS,
    inbox.ON_STATUS,
    takes.ON_STATUS,
    follow_ups.ON_STATUS,
)
_HOOKS = Hooks(
    work=_work,
    tasks={**tree.TASKS, **links.TASKS, **takes.TASKS, **inbox.TASKS, **follow_ups.TASKS},
    on_signal=(links.ON_SIGNAL, gone.is_repeat),
    before_signal=(coalesce.ON_REPEAT, tree.BEFORE_SIGNAL, links.BEFORE_SIGNAL, coalesce.BEFORE_SIGNAL),
    on_node=(links.ON_NODE, coalesce.ON_NODE),
    on_status=tuple(tuple(listener[to] for listener in _LISTENERS if to in listener) for to in sorted(ServerStatus)),
    take=takes.TAKE,
    results=takes.RESULTS,
    returned=takes.RETURNED,
    await_message=inbox.AWAIT_MESSAGE,
    no_message=inbox.NO_MESSAGE,
    follow_ups=follow_ups.HOOKS,
    before_send=(limits.BEFORE_SEND,),
    link_targets=(schedules.LINK_TARGET,),
    on_refused=(links.ON_REFUSED, tree.ON_REFUSED),
)
