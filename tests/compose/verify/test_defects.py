"""The judge finds what it is for: each defect, put into the core, is found, and says nothing where there is none."""

from __future__ import annotations

import msgspec
import pytest

from backbeat.schemas.messages.commands import ChangeSettings, ChangeWorkflow
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import TaskKind, TimerKind
from backbeat.streams.core import dispatch, retry
from backbeat.streams.core.coalesce import coalesce
from backbeat.streams.core.follow_ups import failure, undo
from backbeat.streams.core.inbox import inbox
from backbeat.streams.core.limits import pool, wait_queue
from backbeat.streams.core.links import cycles, links
from backbeat.streams.core.retention import policies, removal
from backbeat.streams.core.schedules import runs
from backbeat.streams.core.step import Step
from backbeat.streams.core.tables import LINES, MESSAGES
from backbeat.streams.core.takes import allowance, takes
from backbeat.streams.core.tree import create, failures, history, operator, progress, results
from tests.compose.verify import scene
from tests.compose.verify.log import Findings
from tests.compose.verify.scene import played
from tests.streams.core import world

DEFECTS = {}


def defect(*acts):
    """A defect, and the acts in which it shows."""

    def add(function):
        DEFECTS[function.__name__] = function, acts
        return function

    return add


def changed(monkeypatch, owner, name, change):
    """Put a changed function in a function's place; `change` is given the one that was there, and the arguments."""
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given, **named: change(real, *given, **named))


def skipped(monkeypatch, owner, name, condition=lambda *_given, **_named: True, result=None):
    """Nothing is done where the condition holds."""
    changed(
        monkeypatch,
        owner,
        name,
        lambda real, *given, **named: result if condition(*given, **named) else real(*given, **named),
    )


@defect(scene.trees)
def a_wrong_status(patch):
    changed(
        patch,
        Step,
        "set_client",
        lambda real, step, node, to, *more: real(
            step, node, ClientStatus.COMPLETE if to is ClientStatus.PROCESSING else to, *more
        ),
    )


@defect(scene.trees)
def a_forgotten_child(patch):
    skipped(patch, progress, "make_ready", lambda _, child: child.name == "wide 3")


@defect(scene.trees)
def a_child_never_made(patch):
    changed(
        patch, results, "add_children", lambda real, step, node, children: real(step, node, children[:11] or children)
    )


@defect(scene.errors)
def a_retry_spent_twice(patch):
    def spend(real, step, node, *more, **named):
        real(step, node, *more, **named)
        node.retries_remaining = max(0, node.retries_remaining - 1)

    changed(patch, results, "client_error", spend)


@defect(scene.errors)
def a_lost_retry_timer(patch):
    skipped(patch, Step, "set_timer", lambda _, __, ___, kind: kind == TimerKind.RETRY)


@defect(scene.settings)
def a_lost_expiry(patch):
    skipped(patch, Step, "set_timer", lambda _, __, ___, kind: kind == TimerKind.EXPIRY)


@defect(scene.errors)
def a_retry_without_backoff(patch):
    changed(patch, failures, "wait_ms", lambda _, *__: 1)


@defect(scene.errors)
def a_wait_that_does_not_grow(patch):
    changed(patch, retry, "backoff_ms", lambda real, node, attempt, first, _, how: real(node, attempt, first, 1, how))


@defect(scene.errors)
def a_wait_of_the_workers_own_that_is_passed_over(patch):
    changed(patch, failures, "wait_ms", lambda real, node, *_: real(node, None))


@defect(scene.limits)
def a_leaked_slot(patch):
    changed(
        patch, pool._Work, "release", lambda real, work, command: real(work, command) if command.number > 1 else None
    )


@defect(scene.limits)
def a_slot_too_many(patch):
    changed(
        patch,
        pool._Work,
        "_has_room",
        lambda real, work, pool_, limit: real(work, pool_, limit) or (limit is not None and pool_.in_use == 2),
    )


@defect(scene.limits)
def a_slot_out_of_turn(patch):
    def newest(_, records, pool_, *__):
        node = next(band.newest for band in pool_.bands if band.newest is not None)
        return wait_queue.NextTicket(node, records.ticket(pool_, node), by_turn=False)

    changed(patch, pool, "next_in_line", newest)


@defect(scene.trees)
def two_signals_of_a_workflow_at_once(patch):
    def step_over(real, step, parent):
        parent.blocked = False
        return real(step, parent)

    changed(patch, progress, "_next_to_examine", step_over)


@defect(scene.trees)
def children_in_another_order(patch):
    changed(patch, results, "add_children", lambda real, step, node, children: real(step, node, children[::-1]))


@defect(scene.trees)
def a_lost_result(patch):
    changed(patch, Step, "set_client", lambda real, step, node, to, response=None: real(step, node, to, None))


@defect(scene.trees)
def a_lost_entry_of_a_history(patch):
    skipped(
        patch,
        history,
        "pack",
        lambda machine, _, to, *__, **___: (machine, to) == (history.SERVER, ServerStatus.STARTED),
        result=b"",
    )


@defect(scene.links)
def a_link_that_is_not_opened(patch):
    others = tuple(hook for hook in dispatch._HOOKS.on_node if hook is not links.open_of_child)
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(on_node=others))


@defect(scene.links)
def a_link_that_is_not_closed(patch):
    skipped(patch, Step, "close_link")


@defect(scene.links)
def a_cycle_that_is_let_in(patch):
    others = tuple(hook for hook in dispatch._HOOKS.before_signal if hook is not cycles.follow_waits)
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(before_signal=others))


@defect(scene.trees)
def a_reset_that_forgets_what_is_below(patch):
    skipped(patch, progress, "reset")


@defect(scene.trees)
def the_rest_of_a_cut_command_is_lost(patch):
    def run(real, step):
        real(step)
        step.effects = [e for e in step.effects if type(getattr(e, "command", None)).__name__ != "Continue"]

    changed(patch, progress, "run", run)


@defect(scene.trees)
def a_late_result_counts(patch):
    skipped(patch, results, "_is_late", result=False)


@defect(scene.trees)
def a_shutdown_leaves_siblings(patch):
    changed(patch, progress, "shut_siblings", lambda _, step, node: progress.children_ready(step, node))


@defect(scene.trees)
def previous_nodes_stay(patch):
    skipped(patch, progress, "deactivate_previous")


@defect(scene.pauses)
def a_pause_that_holds_nothing(patch):
    changed(patch, progress, "pause", lambda _, step, node: progress.send(step, node))


@defect(scene.pauses)
def a_resume_that_forgets_one(patch):
    def resume(step, _):
        step.workflow.paused_first = None

    patch.setitem(dispatch._HOOKS.tasks, TaskKind.RESUME, resume)


@defect(scene.pauses)
def signals_that_do_not_coalesce(patch):
    skipped(patch, coalesce, "still_waits", result=False)


@defect(scene.pauses)
def an_answer_that_is_not_remembered(patch):
    patch.setattr("backbeat.streams.core.step.save_reply", lambda *_: None)


@defect(scene.pauses)
def a_closed_workflow_takes_a_signal(patch):
    def leave_open(real, step, command):
        real(step, command)
        step.workflow.complete = False

    patch.setitem(dispatch.HANDLERS, ChangeWorkflow, lambda s, k: leave_open(operator.change_workflow, s, k))


@defect(scene.errors)
def a_tree_too_deep(patch):
    def deeper(real, step, *given):
        step.settings = msgspec.structs.replace(step.settings, depth_max=100)
        return real(step, *given)

    changed(patch, create, "_add", deeper)


@defect(scene.errors)
def a_date_that_nobody_waits_for(patch):
    def start(_, step, node):
        step.set_server(node, ServerStatus.STARTED)
        progress.start(step, node)

    changed(patch, progress, "_start_when_due", start)


@defect(scene.retention)
def a_workflow_removed_too_early(patch):
    def arrange(real, transaction, workflow, finished_at, now):
        real(transaction, workflow, finished_at, now)
        if workflow.removal_at is not None:
            workflow.removal_at -= 9_000

    changed(patch, policies, "arrange", arrange)


@defect(scene.retention)
def a_removed_signal_that_is_forgotten(patch):
    patch.setattr(removal, "SignalTombstone", lambda forget_at: removal.__dict__["ArchiveEntry"]())


@defect(scene.takes)
def a_taker_that_does_not_wait(patch):
    def start(_, step, node):
        step.set_server(node, ServerStatus.STARTED)
        progress.start(step, node)

    changed(patch, progress, "_start_when_due", start)


@defect(scene.takes)
def a_taker_that_is_never_told(patch):
    skipped(patch, takes, "_give_later")


@defect(scene.takes)
def a_taker_that_goes_on_without_its_result(patch):
    changed(patch, takes, "_settle", lambda real, step, taker, taken, **_: real(step, taker, taken, is_there=True))


@defect(scene.takes)
def a_default_where_there_is_a_result(patch):
    changed(
        patch,
        takes,
        "_settle",
        lambda real, *given, is_there: real(*given, is_there=is_there and given[2].default is None),
    )


@defect(scene.takes)
def a_result_of_a_later_node(patch):
    skipped(patch, takes, "check_position")


@defect(scene.takes)
def another_result_than_the_childs(patch):
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(returned=lambda *_: b'{"result":7}'))


@defect(scene.takes)
def results_that_are_given_twice(patch):
    def settle(real, step, taker, taken, *, is_there):
        real(step, taker, taken, is_there=is_there)
        if taker.flow.missing and is_there:
            taker.flow = msgspec.structs.replace(taker.flow, missing=taker.flow.missing - 1)

    changed(patch, takes, "_settle", settle)


def listeners(patch, of_exhausted):
    """Another listener in place of the one that allows failures."""
    rows = list(dispatch._HOOKS.on_status)
    others = [row for row in rows[ServerStatus.RETRIES_EXHAUSTED] if row is not allowance.allow_failure]
    rows[ServerStatus.RETRIES_EXHAUSTED] = (*others, of_exhausted)
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(on_status=tuple(rows)))


@defect(scene.allowances)
def a_failure_that_is_not_allowed(patch):
    def allow(step, node, before):
        parent = step.get_node(node.parent_id) if node.parent_id else None
        if parent is not None and parent.flow is not None and parent.flow.failures:
            parent.flow = msgspec.structs.replace(parent.flow, failures=parent.flow.failures - 1)
        allowance.allow_failure(step, node, before)

    listeners(patch, allow)


@defect(scene.allowances)
def a_failure_that_is_allowed_and_waits(patch):
    listeners(patch, lambda *_: None)


@defect(scene.allowances)
def a_failure_that_counts_for_no_result(patch):
    patch.setattr(takes, "is_allowed_failure", lambda node: False)


@defect(scene.messages)
def a_message_that_is_given_twice(patch):
    patch.setattr(
        inbox, "_take", lambda step, number: step.transaction.get(MESSAGES, (step.workflow.id, number)).payload
    )


@defect(scene.messages)
def the_newest_node_gets_the_message(patch):
    def newest(real, step, task):
        name = step.transaction.get(MESSAGES, (step.workflow.id, task.mark))
        line = None if name is None else step.transaction.edit(LINES, (step.workflow.id, name.name))
        if line is not None:
            line.first = line.last
        real(step, task)

    tasks = dispatch._HOOKS.tasks
    real = tasks[TaskKind.DELIVER_MESSAGE]
    changed_tasks = {**tasks, TaskKind.DELIVER_MESSAGE: lambda step, task: newest(real, step, task)}
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(tasks=changed_tasks))


@defect(scene.messages)
def a_repeated_message_counts(patch):
    patch.setattr(inbox, "store_reply", lambda *_: None)


@defect(scene.messages)
def a_default_that_nobody_gets(patch):
    def without(step, node):
        node.awaits = msgspec.structs.replace(node.awaits, default=None)
        inbox.no_message(step, node)

    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(no_message=without))


@defect(scene.messages)
def a_wait_that_is_sent_to_its_client(patch):
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(await_message=lambda step, node: None))


@defect(scene.messages)
def a_signal_beside_that_waits_its_turn(patch):
    patch.setattr(create, "start_again", lambda step, node: None)


@defect(scene.messages)
def a_failed_signal_beside_that_waits_its_turn(patch):
    patch.setattr(progress, "is_beside", lambda _: False)


@defect(scene.follow_ups)
def a_failure_that_nobody_handles(patch):
    follow_ups(patch, exhausted=lambda *_: None)


@defect(scene.follow_ups)
def a_handler_that_never_ends_its_node(patch):
    follow_ups(patch, handled=lambda *_: None)


@defect(scene.follow_ups)
def a_handler_with_another_error(patch):
    changed(patch, failure, "error_of", lambda *_: b"{}")


@defect(scene.follow_ups)
def anybody_gives_up(patch):
    follow_ups(patch, gives_up=lambda *_: None)


@defect(scene.follow_ups)
def a_handler_that_goes_on_behind_an_operator(patch):
    follow_ups(patch, decided=lambda *_: None)


@defect(scene.follow_ups)
def nobody_knows_what_was_given_up(patch):
    follow_ups(patch, gave_up=lambda *_: None)


@defect(scene.follow_ups)
def an_undo_of_what_was_not_done(patch):
    skipped(patch, undo, "_was_done", result=True)


@defect(scene.follow_ups)
def an_undo_that_waits_for_none(patch):
    skipped(patch, undo, "_wait")


@defect(scene.follow_ups)
def a_cancel_that_undoes_nothing(patch):
    follow_ups(patch, compensate=lambda step, node: step.deactivate(node))


@defect(scene.follow_ups)
def nothing_follows_a_cancel(patch):
    tasks = {**dispatch._HOOKS.tasks, TaskKind.FOLLOW_CANCEL: lambda *_: None}
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(tasks=tasks))


def follow_ups(patch, **hooks):
    patch.setattr(dispatch, "_HOOKS", dispatch._HOOKS._replace(follow_ups=dispatch._HOOKS.follow_ups._replace(**hooks)))


@defect(scene.schedules)
def runs_that_overlap(patch):
    changed(
        patch,
        runs,
        "_run",
        lambda real, step, schedule, times, cause, _: real(step, schedule, times, cause, runs.Overlap.ALLOW),
    )


@defect(scene.schedules)
def a_run_that_never_ends(patch):
    skipped(patch, runs, "_end")


@defect(scene.settings)
def settings_that_are_not_kept(patch):
    patch.setitem(dispatch.HANDLERS, ChangeSettings, lambda step, _: step.reply(Done()))


@defect(scene.links)
def effects_that_count_twice(patch):
    def forget(real, command, now, store):
        store.meta.high_water.clear()
        return real(command, now, store)

    changed(patch, world, "apply", forget)


@pytest.fixture(scope="module")
def clean():
    """Acts that were judged without a defect."""
    return {act.__name__: Findings(played(act).world) for act in scene.ACTS}


def test_without_a_defect_all_agrees(clean):
    for name, findings in clean.items():
        assert findings.nothing, (name, findings.differences[:3], findings.sends[:3])
        assert not findings.unjudged
    assert Findings(played(*scene.ACTS).world).nothing


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name, monkeypatch):
    put_in, acts = DEFECTS[name]
    put_in(monkeypatch)
    assert not Findings(played(*acts).world).nothing


def test_there_are_more_than_thirty_kinds():
    assert len(DEFECTS) > 30
