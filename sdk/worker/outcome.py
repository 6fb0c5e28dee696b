"""Outcome of an attempt, as the commands that tell the engine (section 6 of the behaviour document).

An attempt is answered by one command: its status, its response and its children together. Children too many for one
command go ahead in commands of their own, and so do groups of them and signals. Each command's id follows from node,
attempt and its place, so that repeating the attempt's commands does nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backbeat.activities.children import Group, route_via_parent
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AddChildren, AnyCommand, ChangeNode, Signal
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.responses import error_response, outlook, result_response

#: Below the engine's own bound on one command (1,000), so that an operator may lower that a little.
CHILDREN_MAX = 900
#: Payload bytes of the children in one command; a response and the names come on top.
CHILDREN_BYTES_MAX = 700_000
#: Place of the answer itself. Children that go ahead count from 1: a second run of the attempt may have other numbers
#: of them, and its answer must still be known as the answer.
_ANSWER = 0
#: Place of the last children of an attempt that is answered later: behind all that can go ahead.
_LAST_PLACE = 2**32 - 1


def completed(
    view: NodeView, user_id: bytes, result: Any, added: Sequence[NewNode | Group], signals: Sequence[Signal] = ()
) -> Iterator[AnyCommand]:
    """The commands of an attempt whose handler returned; the last one is its answer."""
    response = result_response(result)
    for signal in signals:
        yield route_via_parent(signal, view)
    rest: tuple[NewNode, ...] = ()
    if added:
        ahead, rest = _ahead(view, user_id, added)
        yield from ahead
    yield _answer(view, user_id, "completed", response, rest)


def postponed(
    view: NodeView, user_id: bytes, added: Sequence[NewNode | Group], signals: Sequence[Signal]
) -> Iterator[AnyCommand]:
    """The commands of an attempt that is answered later, by its node's id: all but the answer."""
    for signal in signals:
        yield route_via_parent(signal, view)
    ahead, rest = _ahead(view, user_id, added)
    yield from ahead
    if rest:
        yield _children(view, user_id, _LAST_PLACE, rest)


def handed_back(view: NodeView, user_id: bytes, reason: str) -> ChangeNode:
    """The answer for an activity that this worker does not have: no attempt, and another worker gets it."""
    return _answer(view, user_id, "errored", error_response(reason), (), attempted=False)


def errored(view: NodeView, user_id: bytes, error: BaseException | str, *, gives_up: bool = False) -> ChangeNode:
    """The answer of an attempt that failed. `gives_up`: it is not tried again, as after a `Fail`."""
    return _answer(view, user_id, "errored", error_response(error), (), **outlook(error, gives_up=gives_up))


def _answer(
    view: NodeView,
    user_id: bytes,
    status: str,
    response: bytes,
    children: tuple[NewNode, ...],
    **failure: Any,
) -> ChangeNode:
    return ChangeNode(
        id=_command_id(view, _ANSWER),
        user_id=user_id,
        tid=view.tid,
        node_id=view.id,
        status=status,
        response=response,
        children=children,
        attempt=view.attempt,
        **failure,
    )


def _ahead(
    view: NodeView, user_id: bytes, added: Sequence[NewNode | Group]
) -> tuple[list[AddChildren], tuple[NewNode, ...]]:
    """The commands that go ahead of the answer, and the children that go with it.

    A group's flag must be there, and what is below it too, before the answer lets it start: it would be complete at
    once. So all children up to the last group go ahead, then the members of the groups.
    """
    last = max((place for place, child in enumerate(added) if isinstance(child, Group)), default=-1) + 1
    parts, first = _split([child.flag if isinstance(child, Group) else child for child in added[:last]])
    if first:
        parts.append(first)
    after, rest = _split([child for child in added[last:] if not isinstance(child, Group)])
    commands = [_children(view, user_id, place, part) for place, part in enumerate([*parts, *after], start=_ANSWER + 1)]
    flags = [
        ids.node_id(view.workflow_id, command.id, index)
        for command in commands
        for index in range(len(command.children))
    ]
    for flag, child in zip(flags, added[:last], strict=False):
        if isinstance(child, Group):
            parts, first = _split(child.members)
            for part in [*parts, first]:
                commands.append(_children(view, user_id, len(commands) + 1, part, flag=flag))
    return commands, rest


def _children(
    view: NodeView, user_id: bytes, place: int, children: tuple[NewNode, ...], *, flag: bytes | None = None
) -> AddChildren:
    """Children of the node, or of a flag below it, which has no attempt: nobody runs it."""
    return AddChildren(
        id=_command_id(view, place),
        user_id=user_id,
        tid=view.tid,
        node_id=view.id if flag is None else flag,
        children=children,
        attempt=view.attempt if flag is None else None,
    )


def _command_id(view: NodeView, place: int) -> bytes:
    return ids.command_id(view.id, view.attempt.to_bytes(8, "big"), place.to_bytes(4, "big"))


def _split(children: Sequence[NewNode]) -> tuple[list[tuple[NewNode, ...]], tuple[NewNode, ...]]:
    """The children that go ahead, by command, and those that go with the answer."""
    parts: list[tuple[NewNode, ...]] = []
    part: list[NewNode] = []
    size = 0
    for child in children:
        child_size = len(child.client_data) + len(child.metadata)
        if part and (len(part) >= CHILDREN_MAX or size + child_size > CHILDREN_BYTES_MAX):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(child)
        size += child_size
    return parts, tuple(part)
