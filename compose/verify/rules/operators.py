"""Commands of operators, timers and slots; settings; the rest of work that was cut."""

from __future__ import annotations

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import follow_ups, progress, signals, takes
from backbeat.compose.verify.rules.checks import INVALID, NOT_FOUND, Refused
from backbeat.compose.verify.rules.tree import (
    CLIENT_PENDING,
    CLIENT_READY,
    COMPLETE,
    DEACTIVATED,
    ERRORED,
    PROCESSING_CHILDREN,
    READY,
    RETRY,
    START,
    STARTED,
    TASK_COUNT_RESULTS,
    TASK_DELIVER,
    TASK_FOLLOW_CANCEL,
    TASK_FORGET_LINKS,
    TASK_GIVE_RESULTS,
    TASK_PREVIOUS,
    TASK_READY,
    TASK_RESUME,
    TASK_SCHEDULE,
    TASK_SHUT,
    TASK_SWEEP,
    TASK_UNDO,
    Node,
    Task,
)
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages.bounds import SETTINGS


def on_grant_slot(work: Work, command: Command) -> None:
    """A node has its slot."""
    node = work.enter_node(command["node_id"])
    asked = (command["pool_id"], command["number"])
    if node is None or node.server != STARTED or (node.slot, node.slot_number) != asked:
        return
    if work.own.paused:
        progress.pause(work, node)
    else:
        node.granted_at = work.now
        progress.send(work, node)


def on_node_timer(work: Work, command: Command) -> None:
    """A node's timer has come, if it is the one that stands."""
    node = work.enter_node(command["subject_id"])
    stands = node is not None and node.timer_at is not None
    if node is None or not stands or (node.timer_kind, node.timer_number) != (command["kind"], command["number"]):
        return
    node.timer_at = None
    if command["kind"] == START:
        progress.start(work, node)
    elif command["kind"] == RETRY:
        progress.retry(work, node, node.fires_at)
    elif node.awaits:
        signals.on_timeout(work, node)
    else:
        progress.client_error(work, node, progress.EXPIRED)


def on_restart_node(work: Work, command: Command) -> None:
    """Retry a node now."""
    node = work.own_node(command["node_id"])
    pair = work.find(node.id)
    assert pair is not None
    failed_unsent = node.client == CLIENT_READY and node.server == ERRORED
    if node.status != DEACTIVATED and not failed_unsent:
        if node.client == CLIENT_PENDING:
            parent = pair[0].parent_of(node)
            if isinstance(parent, Node) and parent.status not in (PROCESSING_CHILDREN, COMPLETE):
                raise Refused("invalid_client_status")
        work.check(node, CLIENT_READY, READY)
    work.enter_node(node.id)
    if node.server != DEACTIVATED:
        if node.parent and node.client == CLIENT_PENDING:
            work.node(node.parent)
        if failed_unsent:
            node.fires_at = work.now
            work.set_server(node, READY)
            progress.ready_again(work, node)
        else:
            node.handed_back = 0
            progress.retry(work, node, work.now)
    work.answer()


def on_reset_node(work: Work, command: Command) -> None:
    """Deactivate whatever is below a node."""
    node = work.own_node(command["node_id"])
    work.enter_node(node.id)
    if node.server != DEACTIVATED:
        progress.reset(work, node)
    work.answer()


def on_schedule_node(work: Work, command: Command) -> None:
    """Schedule next of a node."""
    node = work.own_node(command["node_id"])
    work.enter_node(node.id)
    if node.server != DEACTIVATED:
        progress.schedule_later(work, node)
    work.answer()


def on_change_workflow(work: Work, command: Command) -> None:
    """Complete, pause or resume a workflow."""
    tree, change = work.enter(command["workflow_id"]), command["change"]
    if tree is None or command["user_id"] not in (None, tree.user_id):
        raise Refused(NOT_FOUND)
    if change not in ("complete", "pause", "resume"):
        raise Refused(INVALID)
    before = tree.complete, tree.paused, tree.updated_at
    if change == "complete":
        tree.complete = True
    else:
        tree.paused = change == "pause"
    if change == "resume":
        work.tasks.append((TASK_RESUME, 0, 0, 0))
    tree.updated_at = work.now
    work.changed = before != (tree.complete, tree.paused, tree.updated_at)
    work.answer()


def on_change_settings(work: Work, command: Command) -> None:
    """Settings by which commands are judged from now on."""
    settings, names = command["settings"], command["names"]
    if settings["version"] != 1 or any(name not in SETTINGS for name in names):
        raise Refused(INVALID)
    changed = {**work.settings, **{name: settings[name] for name in names or SETTINGS}}
    if any(not least <= changed[name] <= most for name, (least, most) in SETTINGS.items()):
        raise Refused(INVALID)
    work.partition.state.settings = changed
    work.answer()


def on_continue(work: Work, command: Command) -> None:
    """The rest of the work of an earlier command."""
    tree = work.enter(command["workflow_id"])
    offset = command["source"]["offset"]
    if tree is None or offset not in tree.pending:
        raise Refused("nothing is left of that command's work")
    work.tasks.extend(tree.pending.pop(offset))
    work.changed = True


def run_tasks(work: Work) -> None:
    """Do the tasks in their order, as far as the budget goes."""
    while work.tasks:
        if work.budget <= 0:
            work.defer()
            return
        _do(work, work.tasks.popleft())


def _do(work: Work, task: Task) -> None:
    kind, seq, cursor, mark = task
    if kind == TASK_SCHEDULE:
        progress.schedule(work, work.node(seq) if seq else work.own)
    elif kind == TASK_READY:
        progress.children_become_ready(work, work.node(seq), cursor)
    elif kind in (TASK_SWEEP, TASK_PREVIOUS):
        progress.visit(work, task)
    elif kind == TASK_SHUT:
        progress.shut(work, work.node(seq), task)
    elif kind == TASK_RESUME:
        progress.resume(work)
    elif kind == TASK_COUNT_RESULTS:
        takes.count(work, task)
    elif kind == TASK_GIVE_RESULTS:
        takes.give(work, task)
    elif kind == TASK_DELIVER:
        signals.deliver(work, task)
    elif kind == TASK_UNDO:
        follow_ups.walk(work, task)
    elif kind == TASK_FOLLOW_CANCEL:
        follow_ups.canceled(work, work.node(seq))
    else:
        done = min(work.budget, mark)
        work.budget -= done
        if done < mark:
            work.tasks.appendleft((TASK_FORGET_LINKS, seq, 0, mark - done))


OPERATOR_RULES: dict[str, Rule] = {
    "ChangeWorkflow": on_change_workflow,
    "RestartNode": on_restart_node,
    "ResetNode": on_reset_node,
    "ScheduleNode": on_schedule_node,
    "ChangeSettings": on_change_settings,
    "GrantSlot": on_grant_slot,
}
