"""What came of an attempt, as the commands that tell the engine (section 6 of the behaviour document).

An attempt is answered by one command: its status, its response and its children together. Children too many for one
command go ahead in commands of their own. Each command's id follows from node, attempt and its place, so that
repeating the attempt's commands does nothing twice.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from backbeat.errors import LimitExceeded
from backbeat.payloads import LIMITS, to_json
from backbeat.streams.core import ids
from backbeat.streams.core.commands import AddChildren, ChangeNode, NewNode
from backbeat.streams.core.effects import NodeView, Reason

#: Below the engine's own bound on one command (1,000), so that an operator may lower that a little.
CHILDREN_MAX = 900
#: Payload bytes of the children in one command; a response and the names come on top.
CHILDREN_BYTES_MAX = 700_000
#: An error's text and traceback: the end of it says most.
_MESSAGE_CHARACTERS_MAX = 8_000
_TRACEBACK_CHARACTERS_MAX = 32_000
#: JSON-RPC's code for an error of the server's own kind.
_ERROR_CODE = -32000
#: Place of the answer itself. Children that go ahead count from 1: a second run of the attempt may have other numbers
#: of them, and its answer must still be known as the answer.
_ANSWER = 0

_RESULT_HEAD = b'{"jsonrpc":"2.0","result":'
_RESULT_TAIL = b',"error":null,"id":null}'
_NOTHING = _RESULT_HEAD + b"null" + _RESULT_TAIL


def completed(
    view: NodeView, user_id: bytes, result: Any, children: Sequence[NewNode]
) -> Iterator[AddChildren | ChangeNode]:
    """The commands of an attempt whose handler returned; the last one is its answer."""
    response = _NOTHING if result is None else _RESULT_HEAD + to_json("result", result) + _RESULT_TAIL
    if len(response) > LIMITS.payload_bytes_max:
        raise LimitExceeded(
            Reason.LIMIT_EXCEEDED,
            f"The result has {len(response)} bytes; payload_bytes_max is {LIMITS.payload_bytes_max}",
            f"{len(response)} bytes",
            f"payload_bytes_max {LIMITS.payload_bytes_max}",
        )
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
    if isinstance(error, str):
        message, lines = error, []
    else:
        message, lines = _describe(error), _traceback(error)
    body = {"code": _ERROR_CODE, "message": message, "data": lines}
    response = msgspec.json.encode({"jsonrpc": "2.0", "result": None, "error": body, "id": None})
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


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot say what it is must not end the worker
        text = "(its text cannot be made)"
    # Lone surrogates are no UTF-8.
    text = text.encode(errors="replace").decode()
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:_MESSAGE_CHARACTERS_MAX]


def _traceback(error: BaseException) -> list[str]:
    # The first frame is the worker's own.
    at = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, at))
    except Exception:  # noqa: BLE001 - as above
        return []
    return text.encode(errors="replace").decode()[-_TRACEBACK_CHARACTERS_MAX:].splitlines()
