"""Progress through a tree: schedule next, children ready, start, completion (behaviour document, section 4).

The walk over a parent's children resumes where it stopped, so each child is passed once. That is exact because a closed
node never opens and new children come last: the first blocking child only ever moves forward.
Children that become ready again behind the walk (a retry, a restart, a resume) start directly.

Work that can touch many nodes is a task. Tasks run in order until the command's budget is used up; the rest goes into
a Continue command in the same partition, and other commands may come in between. Every task checks the statuses again.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.commands import Continue
from backbeat.schemas.messages.status import CLOSED, ClientStatus
from backbeat.schemas.messages.values import Task, TaskKind, TimerKind
from backbeat.streams.core.effects import Dispatch, Send, node_view
from backbeat.streams.core.records import TIMEOUT_DEFAULT, TIMEOUT_NONE, Flow, Node, Parent, Workflow
from backbeat.streams.core.step import Step, TaskHandler
from backbeat.streams.core.tree import status

#: Tasks in a queue beyond which a sweep stands back: what it deactivates may add a task each, and a Continue has them.
_TASKS_MAX = 100
#: Bytes of the results going along with an activity that count as a node in a command's budget.
_BYTES_PER_NODE = 16_384
# As the names in `status`.
_SCHEDULE, _READY, _EXPIRY = TaskKind.SCHEDULE, TaskKind.READY, TimerKind.EXPIRY


def run(step: Step) -> None:
    """Do the step's tasks within its budget, and send the rest as a Continue."""
    tasks = step.tasks
    while tasks:
        if step.budget <= 0:
            continuation = Continue(
                id=step.command.id, tid=step.command.tid, workflow_id=step.workflow.id, tasks=tuple(tasks)
            )
            step.effects.append(Send(continuation))
            step.workflow.continuations_pending += 1
            return
        task = tasks.popleft()
        step.hooks.tasks[task.kind](step, task)


def schedule_later(step: Step, parent: Node | Workflow) -> None:
    """Schedule next of a parent, as a task."""
    tasks = step.tasks
    if not tasks or tasks[-1].id != parent.id or tasks[-1].kind != _SCHEDULE:
        tasks.append(Task(_SCHEDULE, parent.id))


# --- schedule next ---------------------------------------------------------------------------------------------------


def _schedule(step: Step, task: Task) -> None:
    """Start the ready children up to the first blocking one; complete a node without open children and links."""
    if task.id == step.workflow.id:
        _walk(step, step.workflow, task)
        return
    node = step.node(task.id)
    if node.server is status.DEACTIVATED or not _walk(step, node, task):
        return
    if node.server is not status.PROCESSING_CHILDREN:
        if node.server is status.RETRIES_EXHAUSTED and node.follow_ups is not None:
            step.hooks.follow_ups.handled(step, node)
        return
    if node.children_open or (node.follow_ups is not None and step.hooks.follow_ups.undoes(step, node)):
        return
    if node.links_open == 0:
        step.budget -= 1
        returns = node.flow is not None and node.flow.returns is not None
        step.set_server(node, status.COMPLETE, step.hooks.returned(step, node) if returns else None)
        if node.mode is not status.FIRE_AND_FORGET:
            schedule_later(step, step.parent(node))


def _walk(step: Step, parent: Parent, task: Task) -> bool:
    """Walk over the children from the cursor on. False: the budget ended before."""
    child_id = _next_to_examine(step, parent)
    while child_id is not None:
        if not step.may_go_on(task):
            return False
        child = step.node(child_id)
        if child.server is status.PENDING:
            return True  # Children become ready together, and the walk must meet them ready.
        parent.cursor, parent.cursor_seq = child.id, child.seq
        if child.server is status.READY:
            _start_when_due(step, child)
        if child.mode is status.BLOCKING and child.server not in CLOSED:
            parent.blocked = True
            return True
        child_id = child.next_sibling
    return True


def _next_to_examine(step: Step, parent: Parent) -> bytes | None:
    """The child behind the cursor; null: there is none, or the child at the cursor is blocking and open."""
    if parent.cursor is None:
        return parent.first_child
    if parent.cursor == parent.last_child and not parent.blocked:
        return None
    child = step.node(parent.cursor)
    if parent.blocked and child.server not in CLOSED:
        return None
    parent.blocked = False
    return child.next_sibling


def reschedule(step: Step, node: Node) -> None:
    """A node that became ready again: start it if the walk has passed it, then schedule next of its parent."""
    parent = start_again(step, node)
    if parent is not None:
        schedule_later(step, parent)


def start_again(step: Step, node: Node) -> Node | Workflow | None:
    """Start a ready node that the walk has passed, or that is beside it. Its parent; null: that is deactivated."""
    parent = step.workflow if node.parent_id is None else step.node(node.parent_id)
    if type(parent) is Node and parent.server is status.DEACTIVATED:
        return None
    if node.server is status.READY and (node.seq <= parent.cursor_seq or is_beside(node)):
        _start_when_due(step, node)
    return parent


def is_beside(node: Node) -> bool:
    """True for a signal that starts beside the others: only such a one is at the top, and not blocking."""
    return node.parent_id is None and node.mode is status.NON_BLOCKING


# --- from started to complete ----------------------------------------------------------------------------------------


def start_now(step: Step, node: Node) -> None:
    """Start a ready node out of its turn."""
    _start_when_due(step, node)


def _start_when_due(step: Step, node: Node) -> None:
    if node.flow is not None and node.flow.missing:
        return  # It stays ready: it starts with the last of the results that it takes.
    step.set_server(node, status.STARTED)
    if node.fires_at > step.now:
        step.set_timer(node, node.fires_at, TimerKind.START)
    else:
        start(step, node)


def start(step: Step, node: Node) -> None:
    """Send a started node to its client, unless its workflow is paused or it waits for a slot."""
    if step.workflow.paused:
        pause(step, node)
        return
    for must_wait in step.hooks.before_send:
        if must_wait(step, node):
            return
    send(step, node)


def pause(step: Step, node: Node) -> None:
    """Hold a started node until the workflow is resumed."""
    step.set_server(node, status.PAUSED)
    _hold(step, node)


def send(step: Step, node: Node) -> None:
    """Begin an attempt: dispatch the node to its client."""
    node.attempt += 1
    node.progress = None
    renew_deadline(step, node)
    step.set_server(node, status.SENT_TO_CLIENT)
    step.set_client(node, status.CLIENT_RECEIVED)
    if node.awaits is not None:
        step.hooks.await_message(step, node)
    elif node.type == "flag":
        complete(step, node, None)
    else:
        view, elsewhere = node_view(node, step.workflow), node.handed_back > 0
        if node.flow is None or not node.flow.taken:
            step.effects.append(Dispatch(view, elsewhere))
        else:
            results, counts = step.hooks.results(step.transaction, node)
            size = 0
            for result in results:
                size += 0 if result.failure_index is not None else len(result.response or b"")
            step.budget -= len(results) + size // _BYTES_PER_NODE
            step.effects.append(Dispatch(view, elsewhere, node.flow.taken, results, counts))


def renew_deadline(step: Step, node: Node) -> None:
    """`complete_by` of a node that is with its client: its timeout from now. It counts until the client begins."""
    node.timer_at = None
    seconds = node.timeout_seconds
    if seconds == TIMEOUT_DEFAULT:
        seconds = step.settings.default_timeout_seconds
    if seconds == TIMEOUT_NONE:
        node.complete_by = None
        return
    node.complete_by = step.now + int(seconds * 1000)
    if node.client in (status.CLIENT_READY, status.CLIENT_RECEIVED) or node.awaits is not None:
        step.set_timer(node, node.complete_by, _EXPIRY)


def complete(step: Step, node: Node, response: bytes | None) -> None:
    """Complete a node that goes to no client; then its children begin."""
    client_done(step, node, status.CLIENT_COMPLETE, response)
    children_ready(step, node)


def client_done(step: Step, node: Node, client: ClientStatus, response: bytes | None) -> None:
    """The client is done with the node: its children are to begin. Refused: from another status."""
    step.check(node, client, status.PROCESSING_CHILDREN)
    step.set_client(node, client, response)
    step.set_server(node, status.PROCESSING_CHILDREN, response, same_response=True)
    node.complete_by = node.timer_at = None


def children_ready(step: Step, node: Node) -> None:
    """Make every pending child ready; then schedule next of the node."""
    if node.first_active_child is None:
        schedule_later(step, node)
    else:
        step.tasks.append(Task(_READY, node.id, node.first_active_child))


def _make_children_ready(step: Step, task: Task) -> None:
    parent, cursor = step.node(task.id), task.cursor
    if parent.server not in (status.PROCESSING_CHILDREN, status.COMPLETE):
        return
    while cursor is not None:
        if not step.may_go_on(task, cursor):
            return
        child = step.node(cursor)
        if child.server is status.PENDING:
            make_ready(step, child)
        cursor = child.next_sibling
    step.tasks.appendleft(Task(_SCHEDULE, parent.id))


def make_ready(step: Step, child: Node) -> None:
    """Make a pending child ready/ready."""
    step.set_server(child, status.READY)
    step.set_client(child, status.CLIENT_READY)


# --- pause and resume ------------------------------------------------------------------------------------------------


def _hold(step: Step, node: Node) -> None:
    """Append a node to the chain of paused nodes. It may still be in it from an earlier pause."""
    if node.in_paused:
        return
    workflow = step.workflow
    if workflow.paused_last is None:
        workflow.paused_first = node.id
    else:
        last = step.get_node(workflow.paused_last)
        assert last is not None, "the last paused node is not stored"
        last.next_paused = node.id
    workflow.paused_last = node.id
    node.in_paused = True


def _resume(step: Step, task: Task) -> None:
    """Start the paused nodes in the order in which they were paused."""
    workflow = step.workflow
    while workflow.paused_first is not None and not workflow.paused and step.may_go_on(task):
        node = step.node(workflow.paused_first)
        workflow.paused_first, node.next_paused, node.in_paused = node.next_paused, None, False
        if workflow.paused_first is None:
            workflow.paused_last = None
        if node.server is status.PAUSED:
            step.set_server(node, status.STARTED)
            start(step, node)


# --- deactivation ----------------------------------------------------------------------------------------------------


def reset(step: Step, node: Node) -> None:
    """Deactivate everything below a node. By its mark, all of it counts as deactivated at once (`deactivation`)."""
    begin = node.first_active_child
    if begin is None:
        return
    workflow = step.workflow
    node.deactivate_below = workflow.next_seq
    step.marks.clear()
    node.first_active_child = None
    if node.server in CLOSED:
        workflow.detached_open -= node.children_open
        flow = node.flow or Flow()
        if node.client in (status.CLIENT_COMPLETE, status.CLIENT_RESOLVED) and flow.counted_from is None:
            # It may have a result, which stays what it was.
            node.flow = replace(flow, counted_from=begin)
    elif node.flow is not None and node.flow.failures:
        # What it allows, it allows of the children that it joins.
        node.flow = replace(node.flow, failures=0)
    node.children_open = 0
    node.cursor, node.cursor_seq, node.blocked = node.last_child, workflow.next_seq - 1, False
    workflow.sweeps += 1
    step.tasks.append(Task(TaskKind.SWEEP, node.id, begin, node.deactivate_below))


def _visit(step: Step, task: Task) -> None:
    """Read the nodes below the task's root, which settles marked ones."""
    cursor = task.cursor
    while cursor is not None:
        if not step.may_go_on(task, cursor):
            return
        cursor = _next_below(step, step.node(cursor), task)
        if cursor is not None and len(step.tasks) > _TASKS_MAX:
            step.tasks.append(Task(task.kind, task.id, cursor, task.mark))
            return
    if task.kind == TaskKind.SWEEP:
        step.workflow.sweeps -= 1


def deactivate_previous(step: Step, node: Node) -> None:
    """Deactivate every node of the workflow that was created before this one; nothing is scheduled."""
    workflow = step.workflow
    workflow.watermark = max(workflow.watermark, node.seq)
    workflow.watermarks += 1
    step.tasks.append(Task(TaskKind.DEACTIVATE_PREVIOUS, workflow.id, workflow.first_child, node.seq))


def _next_below(step: Step, node: Node, task: Task) -> bytes | None:
    """The node after this one, parents first, among those below the task's root with a seq under its mark."""
    if node.first_child is not None and step.node(node.first_child).seq < task.mark:
        return node.first_child
    current = node
    while True:
        if current.next_sibling is not None and step.node(current.next_sibling).seq < task.mark:
            return current.next_sibling
        if current.parent_id is None or current.parent_id == task.id:
            return None
        current = step.node(current.parent_id)


def shut_down(step: Step, node: Node, response: bytes | None) -> None:
    """Shut a node down: its later siblings do not run, and what was done before it is undone."""
    client_done(step, node, status.CLIENT_SHUTDOWN, response)
    step.hooks.follow_ups.gave_up(step, node)
    shut_siblings(step, node)


def shut_siblings(step: Step, node: Node) -> None:
    """Deactivate the later siblings of a blocking node, then make its children ready.

    Meanwhile the node is held open, as by a link, so that no sibling starts.
    """
    if node.mode is not status.BLOCKING or node.next_sibling is None:
        children_ready(step, node)
        return
    node.links_open += 1
    step.tasks.append(Task(TaskKind.SHUT_SIBLINGS, node.id, node.next_sibling, step.workflow.next_seq))


def _shut_siblings(step: Step, task: Task) -> None:
    """Deactivate siblings up to the mark: those created after the shutdown stay, and signals beside the others."""
    node, cursor = step.node(task.id), task.cursor
    while cursor is not None:
        if not step.may_go_on(task, cursor):
            return
        sibling = step.node(cursor)
        if sibling.seq >= task.mark:
            break
        if sibling.server is not status.DEACTIVATED and not is_beside(sibling):
            step.deactivate(sibling)
        cursor = sibling.next_sibling
    if node.server in CLOSED:
        return
    node.links_open -= 1
    if node.server is status.PROCESSING_CHILDREN:
        children_ready(step, node)


#: Work that can touch many nodes of a workflow.
TASKS: dict[TaskKind, TaskHandler] = {
    TaskKind.SCHEDULE: _schedule,
    TaskKind.READY: _make_children_ready,
    TaskKind.SWEEP: _visit,
    TaskKind.SHUT_SIBLINGS: _shut_siblings,
    TaskKind.DEACTIVATE_PREVIOUS: _visit,
    TaskKind.RESUME: _resume,
}
