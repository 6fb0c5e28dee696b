"""Signals, which add nodes at the top of workflows; messages, which workflows keep until nodes wait for them."""

from __future__ import annotations

import json

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import follow_ups, links, progress, takes
from backbeat.compose.verify.rules.checks import (
    INVALID,
    LIMIT,
    NOT_FOUND,
    Refused,
    check_json,
    check_node,
    check_size,
    check_text,
    check_workflow,
    timeout_of,
)
from backbeat.compose.verify.rules.tree import (
    CLIENT_COMPLETE,
    CLIENT_READY,
    CLOSED,
    DEACTIVATED,
    MODE_WORDS,
    PAUSED,
    PENDING,
    READY,
    STARTED,
    TASK_DELIVER,
    Message,
    Node,
    Task,
    Tree,
)
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages import ids

_MESSAGES_MAX = 1_000
_BYTES_MAX = 1_048_576


def on_create_workflow(work: Work, command: Command) -> None:
    """Find a workflow, or make it."""
    new = command["workflow"]
    identity = ids.workflow_id(new["user_id"], new["name"], new["subject"])
    if work.enter(identity) is None:
        check_workflow(new, work.settings)
        _make(work, identity, new)
    work.answer()


def _make(work: Work, identity: bytes, new: Command) -> Tree:
    tree = Tree(
        id=identity,
        user_id=new["user_id"],
        name=new["name"],
        subject=new["subject"],
        decider=new["decider"],
        created_at=work.now,
        updated_at=work.now,
    )
    spill, number = work.partition.spill, work.partition.number
    spill.announce(number, identity)
    spill.family(number, identity).trees[identity] = tree
    work.tree = tree
    work.changed = True
    return tree


def on_signal(work: Work, command: Command) -> None:
    """Add a node at the top."""
    if command["node"]["parent_link_id"] is not None and not command["link_open"]:
        if command["workflow"] is not None:
            check_workflow(command["workflow"], work.settings)
        check_node(command["node"], work.settings)
        target_id = command["node"]["parent_link_id"]
        fields = {"target_id": target_id, "child_id": links.child_of(command), "signal": command}
        work.send("OpenLink", {**fields, "waits": [], "waits_at": 0})
        return
    add_signal(work, command)


def add_signal(work: Work, command: Command, *, is_followed: bool = False) -> None:
    """A signal whose link is open, or that has none."""
    node_id, new = links.child_of(command), command["workflow"]
    stored = work.find(node_id)
    if stored is None and work.partition.was_removed(node_id):
        _refuse_repeat(work, command)
        return
    tree = work.enter(command["workflow_id"])
    if new is not None and ids.workflow_id(new["user_id"], new["name"], new["subject"]) != command["workflow_id"]:
        raise Refused(INVALID)
    if tree is None and new is not None:
        check_workflow(new, work.settings)
    owner = tree.user_id if tree is not None else None if new is None else new["user_id"]
    if owner is None or command["user_id"] not in (None, owner):
        raise Refused(NOT_FOUND)
    if stored is not None:
        work.answer()
        return
    if command["coalesce_key"] is not None and _was_dropped(work, command):
        return
    if tree is not None and tree.complete:
        raise Refused("workflow_complete")
    link = command["node"]["parent_link_id"]
    may_close_cycle = link is not None and not command["beside"] and not is_followed
    if may_close_cycle and tree is not None and tree.waits and links.follow(work, command):
        return
    if command["coalesce_key"] is not None and _coalesce(work, command, tree):
        return
    _check_signal(work, command)
    if tree is None:
        assert new is not None
        tree = _make(work, command["workflow_id"], new)
    mode = "non_blocking" if command["beside"] else "blocking"
    node = add_node(work, None, {**command["node"], "mode": mode, "type": "decision"}, 0)
    node.server, node.client = READY, CLIENT_READY
    node.coalesce_key = command["coalesce_key"] or ""
    if node.coalesce_key:
        tree.coalescing[node.coalesce_key] = node.seq
    work.answer()
    if command["beside"]:
        progress.start_again(work, node)
    progress.schedule_later(work, tree)


def _check_signal(work: Work, command: Command) -> None:
    check_node({**command["node"], "type": "decision"}, work.settings)
    if work.settings["depth_max"] < 1:
        raise Refused(LIMIT)
    timeout_of(command["node"]["client_data"], work.settings)
    takes.check(work, work.tree, None, [command["node"]])
    if any(row["kind"] == "undo" for row in command["node"]["follow_ups"]):
        raise Refused(INVALID)


def _refuse_repeat(work: Work, command: Command) -> None:
    """The repeat of a signal whose workflow was removed."""
    if command["reply_to"] is not None:
        raise Refused(NOT_FOUND)
    if command["link_open"] and command["node"]["parent_link_id"] is not None:
        fields = {"target_id": command["node"]["parent_link_id"], "child_id": links.child_of(command)}
        work.send("CloseLink", fields)


def _was_dropped(work: Work, command: Command) -> bool:
    """True for the repeat of a signal that another one stands for."""
    answer = work.partition.answer_of(command["id"])
    if answer is None:
        return False
    body_hash, form, node_id = answer
    if form != "made":
        work.answer()
        return True
    if body_hash:
        raise Refused("key_reused")
    if node_id is None or work.find(node_id) is None:
        _refuse_repeat(work, command)
    else:
        work.answer()
    return True


def _coalesce(work: Work, command: Command, tree: Tree | None) -> bool:
    """True: a signal of the same key still waits, and stands for this one."""
    check_text(command["coalesce_key"], work.settings["name_bytes_max"])
    check_node(command["node"], work.settings)
    seq = None if tree is None else tree.coalescing.get(command["coalesce_key"])
    if tree is None or seq is None:
        return False
    waiting = tree.node(seq)
    if waiting.attempt or waiting.server in CLOSED or work.touch(waiting).server not in (READY, STARTED, PAUSED):
        return False
    if command["coalesce"] == "replace":
        _check_signal(work, command)
        work.set_server(waiting, DEACTIVATED)
        progress.schedule_later(work, tree)
        progress.reset(work, waiting)
        return False
    if command["body_hash"] is None:
        work.partition.remember(command["id"], b"", "made", waiting.id)
    link = command["node"]["parent_link_id"]
    if command["link_open"] and link is not None:
        work.send("CloseLink", {"target_id": link, "child_id": links.child_of(command)})
    work.answer()
    return True


def add_node(work: Work, parent: Node | None, new: Command, index: int) -> Node:
    """A new node, pending, or born deactivated below a deactivated parent. Its content was checked."""
    tree, keep = work.own, work.partition.keep
    holder = tree if parent is None else parent
    born_deactivated = parent is not None and parent.server == DEACTIVATED
    priority, fairness_key = new["priority"], new["fairness_key"]
    if priority is None:
        priority = 3 if parent is None else parent.priority
    if fairness_key is None:
        fairness_key = "" if parent is None else parent.fairness_key
    node = Node(
        id=ids.node_id(tree.id, work.command["id"], index),
        seq=len(tree.nodes) + 1,
        parent=0 if parent is None else parent.seq,
        place=len(holder.children),
        user_id=new["user_id"],
        name=new["name"],
        mode=MODE_WORDS.index(new["mode"]),
        type=new["type"],
        depth=1 if parent is None else parent.depth + 1,
        created_at=work.now,
        fires_at=work.now if new["fires_at"] is None else new["fires_at"],
        client_data=keep(tree.id, new["client_data"]),
        metadata=keep(tree.id, new["metadata"]),
        link=new["parent_link_id"],
        retry_interval_seconds=new["retry_interval_seconds"],
        retries=new["retries"],
        backoff=None if new["backoff"] is None else list(new["backoff"].values()),
        given=0 if new["backoff"] is None else new["retries"],
        timeout=timeout_of(new["client_data"], work.settings),
        failures_allowed=new["failures_allowed"],
        server=DEACTIVATED if born_deactivated else PENDING,
        tid=work.command["tid"],
        priority=priority,
        fairness_key=fairness_key,
    )
    if new["awaits"] is not None:
        node.awaits, node.default = True, new["awaits"]["default"]
        node.retries = node.given = 0
    work.add(holder, node)
    if node.link is not None and parent is not None and not born_deactivated:
        links.link_child(work, node, node.link)
    takes.add(work, node, new["takes"])
    follow_ups.add(work, node, new["follow_ups"])
    return node


def on_open_link(work: Work, command: Command) -> None:
    """OpenLink: a link to open, or a signal on its way."""
    if not command["waits"]:
        links.on_open_link(work, command)
    elif command["signal"] is not None and command["waits_at"] == len(command["waits"]):
        add_signal(work, command["signal"], is_followed=True)
    else:
        links.follow_one(work, command)


# --- messages (docs/explanation/messages.md) --------------------------------------------------------------------------


def on_send_message(work: Work, command: Command) -> None:
    """A message is kept, and given to a node that waits for one of its name."""
    tree = work.enter(command["workflow_id"])
    if tree is None or command["user_id"] not in (None, tree.user_id):
        raise Refused(NOT_FOUND)
    if command["body_hash"] is None and work.partition.answer_of(command["id"]) is not None:
        return
    if tree.complete:
        raise Refused("workflow_complete")
    name, payload = command["name"], command["payload"]
    check_text(name, work.settings["name_bytes_max"])
    check_size(len(payload), work.settings["payload_bytes_max"])
    check_json(payload, work.settings["json_depth_max"])
    kept_bytes = sum(len(message.name.encode()) + len(message.payload) for message in tree.messages)
    if len(tree.messages) >= _MESSAGES_MAX or kept_bytes + len(name.encode()) + len(payload) > _BYTES_MAX:
        raise Refused(LIMIT)
    number = tree.messages[-1].number + 1 if tree.messages else 1
    tree.messages.append(Message(number, name, payload))
    work.tasks.append((TASK_DELIVER, 0, 0, number))
    if command["body_hash"] is None:
        work.partition.remember(command["id"], b"", "done")
    work.answer("done")


def deliver(work: Work, task: Task) -> None:
    """Messages of one name go to the nodes that wait for them, both from the oldest on."""
    tree = work.own
    name = next((message.name for message in tree.messages if message.number == task[3]), None)
    while name is not None and name in tree.lines and any(message.name == name for message in tree.messages):
        if work.budget <= 0:
            work.tasks.appendleft(task)
            return
        work.budget -= 1
        seq = tree.lines[name][0]
        node = work.node(seq)
        if tree.lines.get(name, [0])[0] == seq:
            progress.give_message(work, node)


def on_timeout(work: Work, node: Node) -> None:
    """No message has come in time."""
    if node.default is not None:
        progress.client_complete(work, node, CLIENT_COMPLETE, node.default)
        progress.children_ready(work, node)
        return
    text = f"No message {node.name!r} was sent to its workflow in time"
    error = json.dumps({"error": {"message": text}}, separators=(",", ":"), ensure_ascii=False)
    progress.client_error(work, node, error.encode())


SIGNAL_RULES: dict[str, Rule] = {
    "CreateWorkflow": on_create_workflow,
    "Signal": on_signal,
    "SendMessage": on_send_message,
    "OpenLink": on_open_link,
}
