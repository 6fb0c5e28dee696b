"""How workflows and nodes come to be (behaviour document, sections 1, 2 and 5): found or made, checked, placed."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import msgspec

from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import TIME_MAX, TIME_MIN
from backbeat.schemas.messages.commands import OpenLink, Signal
from backbeat.schemas.messages.json_text import JsonTextError, TooDeepError, parse
from backbeat.schemas.messages.replies import Made, Reason
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import (
    PRIORITY_DEFAULT,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Coalesce,
    NewNode,
    NewWorkflow,
)
from backbeat.streams.core.effects import Send, node_view
from backbeat.streams.core.idempotency import keep, kept
from backbeat.streams.core.records import TIMEOUT_DEFAULT, TIMEOUT_NONE, Node, Workflow
from backbeat.streams.core.retention import removal
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import ANSWERS, WAITING
from backbeat.streams.core.tree.coalesce import still_waits
from backbeat.streams.core.tree.deactivation import is_left_over
from backbeat.streams.core.tree.links import follow_waits, open_child_link
from backbeat.streams.core.tree.progress import make_ready, reset, schedule_later

_T = TypeVar("_T")

_TIMEOUT_SECONDS_MAX = 100 * 365 * 86_400.0
_EMPTY_SUBJECT = re.compile(rb'null|false|\{\}|\[\]|"(\s|\\[tnrf])*"')


def make_workflow(step: Step, new: NewWorkflow, wanted_id: bytes | None = None) -> Workflow:
    """The workflow of this user, name and subject: the one that is there, else a new one.

    `wanted_id`: under which the sender knows it. Another one is refused: it may be another partition's.
    """
    identity = ids.workflow_id(new.user_id, new.name, new.subject)
    if wanted_id is not None and wanted_id != identity:
        message = f"The id of the workflow is {identity.hex()}, by its user, name and subject, not {wanted_id.hex()}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=wanted_id.hex(), wanted=identity.hex())
    found = step.enter(identity)
    if found is not None:
        return found
    check_workflow(step, new)
    workflow = Workflow(
        id=identity,
        user_id=new.user_id,
        name=new.name,
        subject=new.subject,
        decider=new.decider,
        created_at=step.now,
        updated_at=step.now,
    )
    step.make(workflow)
    return workflow


def add_signal(step: Step, command: Signal, *, is_followed: bool = False) -> None:
    """A top-level node, ready at once; then schedule next of the workflow.

    `is_followed`: its link was looked for along the waits of other workflows, and closes no cycle.
    """
    if command.node.parent_link_id is not None and not command.link_open:
        # The link is opened first, at its target, which sends the signal on. One that is too large is refused here:
        # wrapped in the other command it would be larger still.
        if command.workflow is not None:
            check_workflow(step, command.workflow)
        check_node(step, command.node)
        identity = ids.node_id(command.workflow_id, command.id, 0)
        link = OpenLink(
            id=command.id,
            tid=command.tid,
            reply_to=command.reply_to,
            target_id=command.node.parent_link_id,
            child_id=identity,
            signal=command,
        )
        step.effects.append(Send(link))
        return
    identity = ids.node_id(command.workflow_id, command.id, 0)
    there = step.get_node(identity)
    if removal.was_removed(step.transaction, identity, there):
        removal.refuse_repeat(step, command)
        return
    if command.workflow is None:
        workflow = step.enter(command.workflow_id)
    else:
        workflow = make_workflow(step, command.workflow, command.workflow_id)
    if workflow is None or (command.user_id is not None and command.user_id != workflow.user_id):
        message = f"No workflow has the id {command.workflow_id.hex()}"
        raise refuse(Reason.NOT_FOUND, message, found="nothing", wanted="a workflow")
    if there is not None:
        step.ignore("a repeat: its node is there")
        step.reply(node_view(there, workflow))
        return
    if command.coalesce_key is not None and _was_dropped(step, command):
        return
    if workflow.complete:
        message = "The workflow is complete and takes no more signals"
        raise refuse(Reason.WORKFLOW_COMPLETE, message, found="complete", wanted="a workflow that is not complete")
    if command.node.parent_link_id is not None and workflow.waits and not is_followed and follow_waits(step, command):
        return
    if command.coalesce_key is not None and _coalesce(step, command):
        return
    node = _add(step, None, _as_signal(command.node), 0)
    node.server, node.client = ServerStatus.READY, ClientStatus.READY
    node.coalesce_key = command.coalesce_key or ""
    step.note_waiting(node)
    step.reply(node_view(node, workflow))
    schedule_later(step, workflow)


def _as_signal(new: NewNode) -> NewNode:
    """A signal is always blocking and a decision, whatever was asked for."""
    if new.mode is Mode.BLOCKING and new.type == "decision":
        return new
    return msgspec.structs.replace(new, mode=Mode.BLOCKING, type="decision")


def _was_dropped(step: Step, command: Signal) -> bool:
    """Answer the repeat of a signal that was dropped: no node tells of it, so the one that stands for it was kept."""
    answer = step.transaction.get(ANSWERS, command.id)
    if answer is None:
        return False
    said = kept(answer)
    if not isinstance(said, Made):
        step.reply(said)
        return True
    if answer.body_hash:
        message = "This id is that of another command, which was given a key"
        raise refuse(Reason.KEY_REUSED, message, found="children that were added", wanted="an id of its own")
    standing = step.get_node(said.ids[0])
    if standing is None or is_left_over(standing, step.workflow):
        removal.refuse_repeat(step, command)
        return True
    step.ignore("a repeat: another signal stands for it")
    step.reply(node_view(standing, step.workflow))
    return True


def _coalesce(step: Step, command: Signal) -> bool:
    """Of this signal and one of its key that still waits one remains. Whether it is that one; this one is answered."""
    key = command.coalesce_key
    assert key is not None
    check_text("coalesce_key", key, step.settings.name_bytes_max)
    check_node(step, command.node)
    workflow = step.workflow
    found = step.transaction.get(WAITING, (workflow.id, key))
    waiting = None if found is None else step.node(found.node_id)
    if waiting is None or not still_waits(waiting):
        return False
    if command.coalesce is Coalesce.REPLACE:
        step.deactivate(waiting)
        schedule_later(step, workflow)
        reset(step, waiting)
        return False
    step.ignore("a signal of its coalesce_key still waits and stands for it")
    if command.body_hash is None:
        stands = Made((waiting.id,))
        keep(step.transaction, command.id, b"", stands, step.now)
    if command.link_open and command.node.parent_link_id is not None:
        step.close_link(command.node.parent_link_id, ids.node_id(workflow.id, command.id, 0))
    step.reply(node_view(waiting, workflow))
    return True


def child_ids(step: Step, count: int) -> tuple[bytes, ...]:
    """The ids of the nodes that the command makes."""
    return tuple(ids.node_id(step.workflow.id, step.command.id, index) for index in range(count))


def is_repeat(step: Step) -> bool:
    """Whether the nodes that the command makes are there already."""
    return step.get_node(ids.node_id(step.workflow.id, step.command.id, 0)) is not None


def add_children(step: Step, parent: Node, children: tuple[NewNode, ...]) -> None:
    """Add children to a node, all or none."""
    limit = step.settings.children_max
    if len(children) > limit:
        message = f"{len(children)} children in one command; children_max is {limit}. Send more in further commands"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(len(children)), wanted=f"children_max {limit}")
    if not children:
        return
    if parent.server is ServerStatus.COMPLETE:
        message = "Cannot add children to a node that is complete"
        raise refuse(Reason.INVALID_SERVER_STATUS, message, found="complete", wanted="a node that is not complete")
    nodes = [_add(step, parent, child, index) for index, child in enumerate(children)]
    if parent.server is ServerStatus.PROCESSING_CHILDREN:
        for node in nodes:
            make_ready(step, node)
        schedule_later(step, parent)


def _add(step: Step, parent: Node | None, new: NewNode, index: int) -> Node:
    check_node(step, new)
    depth = 1 if parent is None else parent.depth + 1
    if depth > step.settings.depth_max:
        limit = step.settings.depth_max
        message = (
            f"The node would be {depth} levels deep; depth_max is {limit}. Let the signal of another workflow, or "
            "siblings, go on with it; or have depth_max raised (backbeat settings set depth_max=…)"
        )
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(depth), wanted=f"depth_max {limit}")
    workflow = step.workflow
    born_deactivated = parent is not None and parent.server is ServerStatus.DEACTIVATED
    node = Node(
        id=ids.node_id(workflow.id, step.command.id, index),
        workflow_id=workflow.id,
        parent_id=None if parent is None else parent.id,
        user_id=new.user_id,
        name=new.name,
        mode=new.mode,
        type=new.type,
        seq=workflow.next_seq,
        depth=depth,
        created_at=step.now,
        fires_at=step.now if new.fires_at is None else new.fires_at,
        client_data=new.client_data,
        metadata=new.metadata,
        parent_link_id=new.parent_link_id,
        retry_interval_seconds=new.retry_interval_seconds,
        retries_remaining=new.retries,
        timeout_seconds=timeout_of(step, new.client_data),
        priority=_inherited(new.priority, parent, "priority", PRIORITY_DEFAULT),
        fairness_key=_inherited(new.fairness_key, parent, "fairness_key", ""),
        server=ServerStatus.DEACTIVATED if born_deactivated else ServerStatus.PENDING,
        client=ClientStatus.PENDING,
        tid=step.command.tid,
    )
    workflow.next_seq += 1
    step.add(node)
    if new.parent_link_id is not None and parent is not None and not born_deactivated:
        open_child_link(step, node, new.parent_link_id)
    return node


def _inherited(given: _T | None, parent: Node | None, name: str, default: _T) -> _T:
    """What a child was given, else what its parent has."""
    if given is not None:
        return given
    value: _T = default if parent is None else getattr(parent, name)
    return value


# --- checks ----------------------------------------------------------------------------------------------------------


def check_node(step: Step, new: NewNode) -> None:
    """Refuse a node that is larger than the limits allow, or is no node."""
    limits = step.settings
    check_text("node name", new.name, limits.name_bytes_max)
    check_text("node type", new.type, limits.name_bytes_max)
    _check_size("client_data", len(new.client_data), "payload_bytes_max", limits.payload_bytes_max)
    _check_size("metadata", len(new.metadata), "payload_bytes_max", limits.payload_bytes_max)
    _check_metadata(step, new.metadata)
    _check_size("node", len(new.client_data) + len(new.metadata), "record_bytes_max", limits.record_bytes_max)
    if new.priority is not None and not PRIORITY_FIRST <= new.priority <= PRIORITY_LAST:
        message = f"priority is not one of {PRIORITY_FIRST} (goes first) to {PRIORITY_LAST}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.priority), wanted="1 to 5")
    if new.fairness_key:
        _check_size("fairness_key", len(new.fairness_key.encode()), "name_bytes_max", limits.name_bytes_max)
    if new.retries < 0:
        message = "retries is below 0"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.retries), wanted="0 or more")
    if new.fires_at is not None and not TIME_MIN <= new.fires_at <= TIME_MAX:
        message = "fires_at is no time that can be written: it is milliseconds since the epoch, up to the year 9999"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.fires_at), wanted=f"at most {TIME_MAX}")
    if not 0 <= new.retry_interval_seconds < math.inf:
        message = "retry_interval_seconds is not a number from 0 up"
        raise refuse(
            Reason.INVALID_PARAMETERS, message, found=str(new.retry_interval_seconds), wanted="0 or more seconds"
        )


def check_workflow(step: Step, new: NewWorkflow) -> None:
    """Refuse a workflow that is larger than the limits allow, or is none."""
    limits = step.settings
    check_text("workflow name", new.name, limits.name_bytes_max)
    check_text("decider", new.decider, limits.name_bytes_max)
    _check_size("subject", len(new.subject), "subject_bytes_max", limits.subject_bytes_max)
    if _EMPTY_SUBJECT.fullmatch(new.subject) or not new.subject:
        message = "A subject is any JSON value but an empty one"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=new.subject.decode(), wanted="a subject")
    check_json(step, "subject", new.subject)


def check_tid(step: Step) -> None:
    """Refuse a transaction id that is no id: it is kept with every node and sent with every effect."""
    _check_size("tid", len(step.command.tid.encode()), "name_bytes_max", step.settings.name_bytes_max)


def check_text(what: str, text: str, limit: int) -> None:
    """Refuse a text that is empty, or longer than `name_bytes_max`, the limit."""
    if not text:
        raise refuse(Reason.INVALID_PARAMETERS, f"The {what} is empty", found="nothing", wanted=f"a {what}")
    _check_size(what, len(text.encode()), "name_bytes_max", limit)


def _check_size(what: str, size: int, limit_name: str, limit: int) -> None:
    if size > limit:
        message = f"The {what} has {size} bytes; {limit_name} is {limit}"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=f"{size} bytes", wanted=f"{limit_name} {limit}")


def timeout_of(step: Step, client_data: bytes) -> float:
    """Seconds from `client_data.timeout`: a number or numeric text; null is none; absent is the configured default."""
    if client_data == b"{}":
        return TIMEOUT_DEFAULT
    value = check_json(step, "client_data", client_data)
    if not isinstance(value, dict):
        raise _bad_client_data("it is another value")
    if "timeout" not in value:
        return TIMEOUT_DEFAULT
    timeout = value["timeout"]
    if timeout is None:
        return TIMEOUT_NONE
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float, str)):
        raise _bad_client_data("timeout is no number")
    try:
        seconds = float(timeout)
    except (ValueError, OverflowError) as error:
        raise _bad_client_data(str(error)) from error
    if math.isnan(seconds):
        raise _bad_client_data("timeout is no number")
    return min(max(seconds, 0.0), _TIMEOUT_SECONDS_MAX)


def check_json(step: Step, what: str, text: bytes) -> Any:
    """Refuse a text that is no JSON, or deeper than `json_depth_max`: whoever reads it later must be able to."""
    limit = step.settings.json_depth_max
    try:
        return parse(text, limit)
    except TooDeepError as error:
        message = f"The {what} is nested more than {limit} levels deep; json_depth_max is {limit}"
        found, wanted = f"more than {limit} levels", f"json_depth_max {limit}"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=found, wanted=wanted) from error
    except JsonTextError as error:
        message = f"The {what} is no JSON: {error}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(error), wanted="JSON") from error


def check_response(step: Step, response: bytes | None) -> None:
    """Refuse a response that is larger than the limits allow, or no JSON."""
    if response is None:
        return
    limit = step.settings.payload_bytes_max
    if len(response) > limit:
        message = f"The response has {len(response)} bytes; payload_bytes_max is {limit}"
        found, wanted = f"{len(response)} bytes", f"payload_bytes_max {limit}"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=found, wanted=wanted)
    check_json(step, "response", response)


def _check_metadata(step: Step, metadata: bytes) -> None:
    """Refuse metadata that is no JSON. Mostly it is an object; clients of the original send any value."""
    if metadata != b"{}":
        check_json(step, "metadata", metadata)


def _bad_client_data(why: str) -> Refused:
    message = f"client_data is no JSON object with a valid timeout: {why}"
    return refuse(Reason.INVALID_PARAMETERS, message, found=why, wanted="a JSON object; timeout a number or null")
