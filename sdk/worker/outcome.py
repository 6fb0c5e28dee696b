"""Outcome of an attempt, as the commands that tell the engine (section 6 of the behaviour document).

An attempt is answered by one command: its status, its response and its children together. Children too many for one
command go ahead in commands of their own, and so do groups of them and signals. Each command's id follows from node,
attempt and its place, so that repeating the attempt's commands does nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from backbeat.activities.children import Group, route_via_parent
from backbeat.activities.follow_ups import size_of
from backbeat.activities.results import Taking
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AddChildren, AnyCommand, ChangeNode, Signal
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.responses import error_response, outlook, result_response

#: Below the engine's own bound on one command (1,000), so that an operator may lower that a little.
CHILDREN_MAX = 900
#: Payload bytes of the children in one command, defaults of results included; a response and the names come on top.
CHILDREN_BYTES_MAX = 700_000
#: Place of the answer itself. Children that go ahead count from 1: a second run of the attempt may have other numbers
#: of them, and its answer must still be known as the answer.
_ANSWER = 0
#: Place of the last children of an attempt that is answered later: behind all that can go ahead.
_LAST_PLACE = 2**32 - 1


def completed(
    view: NodeView,
    user_id: bytes,
    result: Any,
    added: Sequence[NewNode | Group],
    signals: Sequence[Signal] = (),
    *,
    returned_place: int | None = None,
    gives_up: bool = False,
) -> Iterator[AnyCommand]:
    """The commands of an attempt whose handler returned; the last one is its answer.

    `returned_place`: of the child, among what was added, whose result is the node's own. `gives_up`: it handles a
    failure, and shuts down what has failed.
    """
    response = result_response(result)
    for signal in signals:
        yield route_via_parent(signal, view)
    rest: tuple[NewNode, ...] = ()
    returns = None
    if added:
        ahead, rest, added_ids = _ahead(view, user_id, added, _ANSWER)
        yield from ahead
        returns = None if returned_place is None else added_ids[returned_place]
    yield _answer(view, user_id, "completed", response, rest, returns=returns, gives_up=gives_up)


def postponed(
    view: NodeView, user_id: bytes, added: Sequence[NewNode | Group], signals: Sequence[Signal]
) -> Iterator[AnyCommand]:
    """The commands of an attempt that is answered later, by its node's id: all but the answer."""
    for signal in signals:
        yield route_via_parent(signal, view)
    ahead, rest, _ = _ahead(view, user_id, added, _LAST_PLACE)
    yield from ahead
    if rest:
        yield _children(view, user_id, _LAST_PLACE, rest)


def handed_back(view: NodeView, user_id: bytes, reason: str) -> ChangeNode:
    """The answer for an activity that this worker cannot begin: no attempt, and another worker gets it."""
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
    view: NodeView, user_id: bytes, added: Sequence[NewNode | Group], rest_place: int
) -> tuple[list[AddChildren], tuple[NewNode, ...], list[bytes]]:
    """The commands that go ahead of the answer, the children that go with it, and the ids of what was added.

    `rest_place`: of the command that has the last children.

    A group's flag must be there, and what is below it too, before the answer lets it start: it would be complete at
    once. So all children up to the last group go ahead, then the members of the groups.
    """
    last = max((place for place, child in enumerate(added) if isinstance(child, Group)), default=-1) + 1
    parts, first = _split([child.flag if isinstance(child, Group) else child for child in added[:last]])
    if first:
        parts.append(first)
    after, rest = _split([child for child in added[last:] if not isinstance(child, Group)])
    commands = [_children(view, user_id, place, part) for place, part in enumerate([*parts, *after], start=_ANSWER + 1)]
    places = [(command.id, index) for command in commands for index in range(len(command.children))]
    places += [(_command_id(view, rest_place), index) for index in range(len(rest))]
    added_ids = [ids.node_id(view.workflow_id, command_id, index) for command_id, index in places]
    for flag, child in zip(added_ids, added[:last], strict=False):
        if isinstance(child, Group):
            parts, first = _split(child.members)
            for part in [*parts, first]:
                commands.append(_children(view, user_id, len(commands) + 1, part, flag=flag))
    commands = [
        msgspec.structs.replace(command, children=_with_takes(command.children, added_ids)) for command in commands
    ]
    return commands, _with_takes(rest, added_ids), added_ids


def _with_takes(children: tuple[NewNode, ...], added_ids: list[bytes]) -> tuple[NewNode, ...]:
    """The children with the ids of those whose results they take."""
    if not any(type(child) is Taking for child in children):
        return children
    return tuple(_with_ids(child, added_ids) if isinstance(child, Taking) else child for child in children)


def _with_ids(child: Taking, added_ids: list[bytes]) -> NewNode:
    fields = {name: getattr(child, name) for name in NewNode.__struct_fields__}
    return NewNode(**{**fields, "takes": tuple(result.take(added_ids) for result in child.results)})


def _children(
    view: NodeView, user_id: bytes, place: int, children: tuple[NewNode, ...], *, flag: bytes | None = None
) -> AddChildren:
    """Children of the node, or of a flag below it: a refusal is an error of the node's attempt either way."""
    return AddChildren(
        id=_command_id(view, place),
        user_id=user_id,
        tid=view.tid,
        node_id=view.id if flag is None else flag,
        children=children,
        attempt=view.attempt,
        attempt_of=None if flag is None else view.id,
    )


def _command_id(view: NodeView, place: int) -> bytes:
    return ids.command_id(view.id, view.attempt.to_bytes(8, "big"), place.to_bytes(4, "big"))


def _split(children: Sequence[NewNode]) -> tuple[list[tuple[NewNode, ...]], tuple[NewNode, ...]]:
    """The children that go ahead, by command, and those that go with the answer."""
    parts: list[tuple[NewNode, ...]] = []
    part: list[NewNode] = []
    size = taken = 0
    for child in children:
        child_size = len(child.client_data) + len(child.metadata)
        if child.follow_ups:
            child_size += size_of(child.follow_ups)
        takes = 0
        if isinstance(child, Taking):
            takes = len(child.results)
            child_size += sum(len(result.default or b"") for result in child.results)
        is_full = len(part) >= CHILDREN_MAX or taken + takes > CHILDREN_MAX or size + child_size > CHILDREN_BYTES_MAX
        if part and is_full:
            parts.append(tuple(part))
            part, size, taken = [], 0, 0
        part.append(child)
        size += child_size
        taken += takes
    return parts, tuple(part)
