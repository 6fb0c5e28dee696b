"""Results that a client gives of its nodes: statuses, children, heartbeats. A refusal comes before any change."""

from __future__ import annotations

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import follow_ups, links, progress, takes
from backbeat.compose.verify.rules.checks import (
    LIMIT,
    Refused,
    check_node,
    check_progress,
    check_response,
    check_retry_after,
    timeout_of,
)
from backbeat.compose.verify.rules.signals import add_node
from backbeat.compose.verify.rules.tree import (
    CLIENT_COMPLETE,
    COMPLETE,
    DEACTIVATED,
    PROCESSING,
    PROCESSING_CHILDREN,
    RECEIVED,
    RESOLVED,
    SENT,
    SHUTDOWN,
    Node,
    failure_statuses,
)
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages import ids

_WORDS = {
    "deciding": "processing",
    "processing": "processing",
    "deciding_complete": "completed",
    "completed": "completed",
    "errored": "errored",
    "resolved": "resolved",
    "shutdown": "shutdown",
    "deactivated": "deactivated",
    "canceled": "canceled",
}


def _is_late(node: Node, attempt: int | None) -> bool:
    """True for a result of an attempt that is over or answered."""
    return attempt is not None and not is_running(node, attempt)


def is_running(node: Node, attempt: int) -> bool:
    """True when this attempt is with the client and not answered."""
    return node.attempt == attempt and node.status == SENT and node.client in (RECEIVED, PROCESSING)


def _check_children(work: Work, node: Node, children: list[Command]) -> None:
    if len(children) > work.settings["children_max"]:
        raise Refused(LIMIT)
    if not children:
        return
    if node.status == COMPLETE:
        raise Refused("invalid_server_status")
    for child in children:
        check_node(child, work.settings)
        if node.depth + 1 > work.settings["depth_max"]:
            raise Refused(LIMIT)
        timeout_of(child["client_data"], work.settings)
    pair = work.find(node.id)
    takes.check(work, None if pair is None else pair[0], node, children)


def _add_children(work: Work, node: Node, children: list[Command]) -> None:
    added = [add_node(work, node, child, index) for index, child in enumerate(children)]
    if added and node.server == PROCESSING_CHILDREN:
        for child in added:
            progress.make_ready(work, child)
        progress.schedule_later(work, node)


def _is_repeat(work: Work, node: Node) -> bool:
    """True when the nodes that the command makes are there."""
    pair = work.find(node.id)
    assert pair is not None
    return work.find(ids.node_id(pair[0].id, work.command["id"], 0)) is not None


def on_add_children(work: Work, command: Command) -> None:
    """Add children to a node."""
    node, children = work.own_node(command["node_id"]), command["children"]
    runner = _runner(work, node, command["attempt_of"])
    late = _is_late(runner, command["attempt"])
    repeat = bool(children) and _is_repeat(work, node)
    if not late and not repeat:
        _check_children(work, node, children)
    work.enter_node(node.id)
    if runner is not node:
        work.touch(runner)
    if not late and not repeat:
        _add_children(work, node, children)
    work.answer("done" if late else "made", ids.node_id(work.own.id, command["id"], 0))


def _runner(work: Work, node: Node, node_id: bytes | None) -> Node:
    """The node whose attempt adds children."""
    if node_id is None:
        return node
    runner, above = work.find(node_id), work.find(node.id)
    if runner is None or above is None or runner[0] is not above[0]:
        raise Refused("not_found")
    return work.own_node(node_id)


def on_change_node(work: Work, command: Command) -> None:
    """Result that a client gives of a node."""
    node = work.own_node(command["node_id"])
    word = _WORDS.get(command["status"])
    if word is None:
        raise Refused("unknown_status")
    children = command["children"]
    if _is_late(node, command["attempt"]):
        work.enter_node(node.id)
        work.answer()
        return
    check_response(command["response"], work.settings)
    check_retry_after(command["retry_after_seconds"])
    if children and _is_repeat(work, node):
        work.enter_node(node.id)
        work.answer()
        return
    _check_children(work, node, children)
    if node.status != DEACTIVATED:
        _check_word(work, node, word, command)
        if word == "completed" and command["returns"] is not None:
            takes.check_returns(work, node, command)
        if word == "completed" and command["gives_up"]:
            follow_ups.check_gives_up(work, node)
    work.enter_node(node.id)
    _add_children(work, node, children)
    if node.server != DEACTIVATED:
        _say(work, node, word, command)
        if word == "completed" and command["returns"] is not None:
            returned = work.find(command["returns"])
            assert returned is not None, "a child that was looked for"
            node.returns = returned[1].seq
        if word == "completed" and command["gives_up"]:
            node.gives_up = True
    work.answer()


def _check_word(work: Work, node: Node, word: str, command: Command) -> None:
    if word == "processing":
        work.check(node, client=PROCESSING)
    elif word == "completed":
        work.check(node, CLIENT_COMPLETE, PROCESSING_CHILDREN)
    elif word == "errored":
        flags = {name: command[name] for name in ("retriable", "attempted")}
        work.check(node, *failure_statuses(node, **flags))
    elif word in ("resolved", "shutdown"):
        work.check(node, RESOLVED if word == "resolved" else SHUTDOWN, PROCESSING_CHILDREN)
    elif word == "canceled" and command["compensate"] and node.status == COMPLETE:
        raise Refused("invalid_server_status")


def _say(work: Work, node: Node, word: str, command: Command) -> None:
    response = command["response"]
    if word == "processing":
        work.set_client(node, PROCESSING)
        progress.renew(work, node)
    elif word == "completed":
        progress.client_complete(work, node, CLIENT_COMPLETE, response)
        progress.children_ready(work, node)
    elif word == "errored":
        flags = {name: command[name] for name in ("retriable", "attempted")}
        progress.client_error(work, node, response, **flags, retry_after=command["retry_after_seconds"])
    elif word == "resolved":
        follow_ups.decided(work, node)
        progress.client_complete(work, node, RESOLVED, response)
        progress.children_ready(work, node)
    elif word == "shutdown":
        follow_ups.decided(work, node)
        progress.client_complete(work, node, SHUTDOWN, response)
        follow_ups.gave_up(work, node)
        progress.shut_siblings(work, node)
    elif word == "deactivated":
        if node.server == SENT:
            progress.renew(work, node)
        progress.previous(work, node)
    elif command["compensate"] and node.server == PROCESSING_CHILDREN:
        follow_ups.compensate(work, node)
    else:
        work.set_server(node, DEACTIVATED)
        progress.schedule_later(work, work.own.parent_of(node))
        progress.reset(work, node)


def on_heartbeat(work: Work, command: Command) -> None:
    """A worker is still at it."""
    node = work.own_node(command["node_id"])
    if is_running(node, command["attempt"]):
        progress_report = command["progress"]
        if progress_report is not None:
            check_progress(progress_report, work.settings)
        work.enter_node(node.id)
        progress.renew(work, node)
        if progress_report is not None:
            node.progress = [progress_report["fraction"], progress_report["note"]]
            work.changed = True
        work.answer()
    elif command["reply_to"] is not None:
        raise Refused("invalid_server_status")
    else:
        work.enter_node(node.id)


def on_delivery_failed(work: Work, command: Command) -> None:
    """An activity did not come to its client."""
    pair = work.find(command["node_id"])
    if pair is not None and is_running(pair[1], command["attempt"]):
        check_response(command["response"], work.settings)
        work.enter_node(pair[1].id)
        progress.client_error(work, pair[1], command["response"])
    else:
        work.enter_node(command["node_id"])


RESULT_RULES: dict[str, Rule] = {
    "ChangeNode": on_change_node,
    "AddChildren": on_add_children,
    "Heartbeat": on_heartbeat,
    "DeliveryFailed": on_delivery_failed,
    "CloseLink": links.on_close_link,
}
