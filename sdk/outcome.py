"""What came of an attempt, as the commands that tell the engine (section 6 of the behaviour document).

An attempt is answered by one command: its status, its response and its children together. Children too many for one
command go ahead in commands of their own. Each command's id follows from node, attempt and its place, so that
repeating the attempt's commands does nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backbeat.responses import error_response, result_response
from backbeat.streams.core import ids
from backbeat.streams.core.commands import AddChildren, ChangeNode, NewNode
from backbeat.streams.core.effects import NodeView

#: Below the engine's own bound on one command (1,000), so that an operator may lower that a little.
CHILDREN_MAX = 900
#: Payload bytes of the children in one command; a response and the names come on top.
CHILDREN_BYTES_MAX = 700_000
#: Place of the answer itself. Children that go ahead count from 1: a second run of the attempt may have other numbers
#: of them, and its answer must still be known as the answer.
_ANSWER = 0


def completed(
    view: NodeView, user_id: bytes, result: Any, children: Sequence[NewNode]
) -> Iterator[AddChildren | ChangeNode]:
    """The commands of an attempt whose handler returned; the last one is its answer."""
    response = result_response(result)
    ahead, rest = _split(children) if children else ([], ())
    for place, part in enumerate(ahead, start=_ANSWER + 1):
        yield AddChildren(
            id=_command_id(view, place),
            user_id=user_id,
            tid=view.tid,
            node_id=view.id,
            children=part,
            attempt=view.attempt,
        )
    yield _answer(view, user_id, "completed", response, rest)


def errored(view: NodeView, user_id: bytes, error: BaseException | str) -> ChangeNode:
    """The answer of an attempt that failed."""
    response = error_response(error)
    return _answer(view, user_id, "errored", response, ())


def _answer(view: NodeView, user_id: bytes, status: str, response: bytes, children: tuple[NewNode, ...]) -> ChangeNode:
    return ChangeNode(
        id=_command_id(view, _ANSWER),
        user_id=user_id,
        tid=view.tid,
        node_id=view.id,
        status=status,
        response=response,
        children=children,
        attempt=view.attempt,
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
