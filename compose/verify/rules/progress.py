"""Progress of work through a tree: schedule next, start, completion, pause, deactivation (section 4 of the rules)."""

from __future__ import annotations

from backbeat.compose.verify.rules.slots import must_wait
from backbeat.compose.verify.rules.tree import (
    ANY_RESPONSE,
    BLOCKING,
    CLIENT_COMPLETE,
    CLIENT_READY,
    CLOSED,
    COMPLETE,
    DEACTIVATED,
    EXPIRY,
    FIRE_AND_FORGET,
    PAUSED,
    PENDING,
    PROCESSING_CHILDREN,
    READY,
    RECEIVED,
    RESOLVED,
    RETRIES_EXHAUSTED,
    RETRY,
    RETRYING,
    SENT,
    START,
    STARTED,
    TASK_PREVIOUS,
    TASK_READY,
    TASK_RESUME,
    TASK_SCHEDULE,
    TASK_SHUT,
    TASK_SWEEP,
    TEN_YEARS_MS,
    Node,
    Parent,
    Task,
    Tree,
    cost_of_results,
    digest,
    failure_statuses,
    goes_elsewhere,
    growing_ms,
    wait_ms,
)
from backbeat.compose.verify.rules.work import Work

#: Tasks beyond which a sweep goes on behind the others.
_TASKS_MAX = 100
EXPIRED = b'{"error":"Client did not respond within the specified \'complete_by\' time"}'


def schedule_later(work: Work, parent: Parent) -> None:
    """Schedule next of a parent, behind the tasks there are."""
    task = (TASK_SCHEDULE, parent.seq if isinstance(parent, Node) else 0, 0, 0)
    if not work.tasks or work.tasks[-1] != task:
        work.tasks.append(task)


# --- schedule next ---------------------------------------------------------------------------------------------------


def schedule(work: Work, parent: Parent) -> None:
    """Start the ready children up to the first blocking one that is open; complete a parent that waits for nothing."""
    if isinstance(parent, Node) and parent.server == DEACTIVATED:
        return
    if not _walk(work, parent) or not isinstance(parent, Node):
        return
    if parent.server == RETRIES_EXHAUSTED:
        Work.following.handled(work, parent)
    elif parent.server == PROCESSING_CHILDREN and not parent.waiting:
        if Work.following.undoes(work, parent) or parent.held or parent.links_open:
            return
        work.budget -= 1
        work.set_server(parent, COMPLETE, _returned(work, parent))
        if parent.mode != FIRE_AND_FORGET:
            schedule_later(work, work.own.parent_of(parent))


def _returned(work: Work, node: Node) -> bytes:
    if not node.returns:
        return b""
    child = work.own.node(node.returns)
    node.lacks_result = not child.has_result
    return child.result if child.has_result else b""


def _walk(work: Work, parent: Parent) -> bool:
    """Pass the children that nothing holds up. False: the budget is used up."""
    if parent.examined:
        newest = parent.children[parent.examined - 1]
        if parent.blocked:
            if work.node(newest).server not in CLOSED:
                return True
            parent.blocked = False
        if parent.examined < len(parent.children):
            work.node(newest)
    while parent.examined < len(parent.children):
        if work.budget <= 0:
            work.tasks.appendleft((TASK_SCHEDULE, parent.seq if isinstance(parent, Node) else 0, 0, 0))
            return False
        work.budget -= 1
        child = work.node(parent.children[parent.examined])
        if child.server == PENDING:
            return True
        parent.examined += 1
        if child.server == READY:
            _start_when_due(work, child)
        if child.mode == BLOCKING and child.server not in CLOSED:
            parent.blocked = True
            return True
    return True


def ready_again(work: Work, node: Node) -> None:
    """A node that is ready once more: it starts if the walk has passed it; then its parent schedules next."""
    if start_again(work, node):
        schedule_later(work, work.own.parent_of(node))


def start_again(work: Work, node: Node) -> bool:
    """A ready node starts if the walk has passed it, or goes past it. False: its parent is deactivated."""
    parent = work.own.parent_of(node)
    if isinstance(parent, Node) and work.touch(parent).server == DEACTIVATED:
        return False
    if node.server == READY and (node.place < parent.examined or node.is_beside):
        _start_when_due(work, node)
    return True


# --- from started to complete ----------------------------------------------------------------------------------------


def start_now(work: Work, node: Node) -> None:
    """A ready node starts out of its turn."""
    _start_when_due(work, node)


def _start_when_due(work: Work, node: Node) -> None:
    if node.missing:
        return
    work.set_server(node, STARTED)
    if node.fires_at > work.now:
        work.set_timer(node, node.fires_at, START)
    else:
        start(work, node)


def start(work: Work, node: Node) -> None:
    """Send a node to its client, unless its workflow is paused or it needs a slot first."""
    if work.own.paused:
        pause(work, node)
    elif not must_wait(work, node):
        send(work, node)


def pause(work: Work, node: Node) -> None:
    """Hold a node until its workflow is resumed."""
    work.set_server(node, PAUSED)
    if not node.in_paused:
        node.in_paused = True
        work.own.paused_nodes.append(node.seq)


def send(work: Work, node: Node) -> None:
    """A new attempt: the node is with its client. A flag is complete at once."""
    node.attempt += 1
    node.progress = None
    renew(work, node)
    work.set_server(node, SENT)
    work.set_client(node, RECEIVED)
    if node.awaits:
        await_message(work, node)
    elif node.type == "flag":
        client_complete(work, node, CLIENT_COMPLETE, None)
        children_ready(work, node)
    elif node.takes:
        work.budget -= cost_of_results(work.own, node)


def await_message(work: Work, node: Node) -> None:
    """A node waits for a message, unless one is there already and nobody else waits for it."""
    tree = work.own
    if node.name not in tree.lines and any(message.name == node.name for message in tree.messages):
        give_message(work, node)
    else:
        tree.lines.setdefault(node.name, []).append(node.seq)


def give_message(work: Work, node: Node) -> None:
    """The oldest message of its name is a node's result."""
    message = next(message for message in work.own.messages if message.name == node.name)
    work.own.messages.remove(message)
    client_complete(work, node, CLIENT_COMPLETE, message.payload)
    children_ready(work, node)


def renew(work: Work, node: Node) -> None:
    """Its timeout counts from now on. While its client works on it, nothing expires."""
    node.timer_at = None
    seconds = work.settings["default_timeout_seconds"] if node.timeout == -1 else node.timeout
    if seconds is None:
        node.complete_by = None
        return
    node.complete_by = work.now + int(seconds * 1000)
    if node.client in (CLIENT_READY, RECEIVED) or node.awaits:
        work.set_timer(node, node.complete_by, EXPIRY)


def client_complete(work: Work, node: Node, client: int, response: bytes | None) -> None:
    """The client is done with it, one way or another: children may begin."""
    client_over(work, node, client, digest(response))


def client_over(work: Work, node: Node, client: int, response: bytes) -> None:
    """The same, by the digest of the response."""
    work.set_client(node, client, response)
    work.set_server(node, PROCESSING_CHILDREN, response, is_stored=False)
    node.complete_by = node.timer_at = None


def children_ready(work: Work, node: Node) -> None:
    """Pending children become ready; then schedule next."""
    if node.active:
        work.tasks.append((TASK_READY, node.seq, node.active, 0))
    else:
        schedule_later(work, node)


def children_become_ready(work: Work, parent: Node, cursor: int) -> None:
    """Pending children become ready, from the cursor on; then their parent schedules next."""
    if parent.server not in (PROCESSING_CHILDREN, COMPLETE):
        return
    for seq in parent.children[work.own.node(cursor).place :]:
        if work.budget <= 0:
            work.tasks.appendleft((TASK_READY, parent.seq, seq, 0))
            return
        work.budget -= 1
        child = work.node(seq)
        if child.server == PENDING:
            make_ready(work, child)
    work.tasks.appendleft((TASK_SCHEDULE, parent.seq, 0, 0))


def make_ready(work: Work, child: Node) -> None:
    """A pending child becomes ready."""
    work.set_server(child, READY)
    work.set_client(child, CLIENT_READY)


# --- errors ----------------------------------------------------------------------------------------------------------


def client_error(
    work: Work,
    node: Node,
    response: bytes | None,
    *,
    retriable: bool = True,
    attempted: bool = True,
    is_refusal: bool = False,
    retry_after: float | None = None,
) -> None:
    """The client failed: it is tried again later, or no more. `is_refusal`: the response is the engine's, in words.

    `retry_after`: the client's own word, in seconds, for how long this wait is. Not `attempted`: the worker did not
    know its name, and another one gets it, at first after a second, at last after a minute.
    """
    client, server = failure_statuses(node, retriable=retriable, attempted=attempted)
    work.set_client(node, client, ANY_RESPONSE if is_refusal else digest(response))
    node.last_error = (
        ANY_RESPONSE if is_refusal else None if response is None else work.partition.keep(node.id, response)
    )
    node.complete_by = node.timer_at = None
    if server == RETRYING:
        if goes_elsewhere(node, attempted=attempted):
            node.handed_back += 1
            wait = growing_ms(node, 1.0, node.handed_back, (2.0, 60.0, 0.2))
        else:
            node.retries -= 1
            wait = wait_ms(node) if retry_after is None else int(min(retry_after * 1000.0, TEN_YEARS_MS))
        node.fires_at = work.now + wait
    work.set_server(node, server)
    if server == RETRYING:
        work.set_timer(node, node.fires_at, RETRY)
    else:
        Work.following.exhausted(work, node, response, is_refusal=is_refusal)


def retry(work: Work, node: Node, fires_at: int) -> None:
    """Ready once more; whatever is below is deactivated."""
    node.timer_at = None
    node.fires_at = fires_at
    work.set_client(node, CLIENT_READY)
    work.set_server(node, READY)
    reset(work, node)
    ready_again(work, node)


# --- resume, deactivation --------------------------------------------------------------------------------------------


def resume(work: Work) -> None:
    """Paused nodes start, in the order in which they were paused."""
    tree = work.own
    while tree.paused_nodes and not tree.paused:
        if work.budget <= 0:
            work.tasks.appendleft((TASK_RESUME, 0, 0, 0))
            return
        work.budget -= 1
        node = work.node(tree.paused_nodes.pop(0))
        node.in_paused = False
        work.changed = True
        if node.server == PAUSED:
            work.set_server(node, STARTED)
            start(work, node)


def reset(work: Work, node: Node) -> None:
    """Everything below a node counts as deactivated from now on, and is, step by step."""
    if not node.active:
        return
    begin, node.active = node.active, 0
    if node.server in CLOSED and node.client in (CLIENT_COMPLETE, RESOLVED):
        node.counted_from = node.counted_from or begin
    if node.server not in CLOSED:
        node.failures = 0
    for other in work.own.below(node):
        if other.server != DEACTIVATED:
            work.doom(other)
    node.examined, node.blocked = len(node.children), False
    work.tasks.append((TASK_SWEEP, node.seq, begin, len(work.own.nodes) + 1))


def previous(work: Work, node: Node) -> None:
    """Everything that was made before a node counts as deactivated, and gets an entry, deactivated or not."""
    tree = work.own
    for other in tree.nodes[: node.seq - 1]:
        work.doom(other)
    work.changed = True
    work.tasks.append((TASK_PREVIOUS, 0, tree.children[0] if tree.children else 0, node.seq))


def visit(work: Work, task: Task) -> None:
    """Come to the nodes below one, parents first, that were made before the mark."""
    kind, root, cursor, mark = task
    while cursor:
        if work.budget <= 0:
            work.tasks.appendleft((kind, root, cursor, mark))
            return
        work.budget -= 1
        cursor = _next_below(work, work.node(cursor), root, mark)
        if cursor and len(work.tasks) > _TASKS_MAX:
            work.tasks.append((kind, root, cursor, mark))
            return


def _next_below(work: Work, node: Node, root: int, mark: int) -> int:
    tree = work.own
    if node.children and work.node(node.children[0]).seq < mark:
        return node.children[0]
    while True:
        siblings = tree.parent_of(node).children
        if node.place + 1 < len(siblings) and work.node(siblings[node.place + 1]).seq < mark:
            return siblings[node.place + 1]
        if not node.parent or node.parent == root:
            return 0
        node = work.node(node.parent)


def shut_siblings(work: Work, node: Node) -> None:
    """A shutdown: later siblings of a blocking node are deactivated, then its children may begin."""
    siblings = work.own.parent_of(node).children
    if node.mode != BLOCKING or node.place + 1 == len(siblings):
        children_ready(work, node)
        return
    node.held += 1
    work.tasks.append((TASK_SHUT, node.seq, siblings[node.place + 1], len(work.own.nodes) + 1))


def shut(work: Work, node: Node, task: Task) -> None:
    """Later siblings are deactivated, up to the mark; then the node's children may begin."""
    tree: Tree = work.own
    _, _, cursor, mark = task
    for seq in tree.parent_of(node).children[tree.node(cursor).place :]:
        if work.budget <= 0:
            work.tasks.appendleft((TASK_SHUT, node.seq, seq, mark))
            return
        work.budget -= 1
        sibling = work.node(seq)
        if seq >= mark:
            break
        if sibling.server != DEACTIVATED and not sibling.is_beside:
            work.set_server(sibling, DEACTIVATED)
    if node.server in CLOSED:
        return
    node.held -= 1
    if node.server == PROCESSING_CHILDREN:
        children_ready(work, node)
