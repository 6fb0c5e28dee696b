"""Calls for dead letters of the caller's topics: its signals and its activities (docs/how-to/operations.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp.web import Response

from backbeat.errors import Unavailable
from backbeat.gateway.api.shapes.letters import letter_of, settled_of, whole_letter_of
from backbeat.gateway.http import errors
from backbeat.gateway.http.access.person import read_reason
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.letters.letters import NOTE_CHARACTERS_MAX, SETTLED_MAX, Letters
from backbeat.gateway.letters.resolve import Outcome
from backbeat.gateway.letters.topic import STATES, WAITING, DeadLetter, Filters, Position
from backbeat.transport.http_words import NEXT_HEADER

T = TypeVar("T")

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
#: In place of a state: all of them.
ALL = "all"


async def index(call: Call) -> Response:
    """GET /dead-letters: newest first."""
    parameters = call.parameters
    state = parameters.text("state") or WAITING
    if state not in (*STATES, ALL):
        raise errors.invalid(f"There is no state {state[:64]!r}; there are {', '.join((*STATES, ALL))}")
    limit = parameters.whole_number("limit")
    if limit is None:
        limit = LIMIT_DEFAULT
    if not 1 <= limit <= LIMIT_MAX:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {LIMIT_MAX} the most")
    before = parameters.text("before")
    filters = Filters(
        state=None if state == ALL else state,
        reason=parameters.text("reason") or "",
        topic=parameters.text("topic") or "",
        clients=_own(call),
        since=parameters.time("since"),
        until=parameters.time("until"),
    )
    letters, older_than = await _available(
        call.services.letters.newest(limit, filters, None if before is None else _position(before))
    )
    headers = None if older_than is None else {NEXT_HEADER: str(older_than)}
    return answer([letter_of(letter) for letter in letters], headers=headers)


async def show(call: Call) -> Response:
    """GET /dead-letters/:position: with its content."""
    (letter,) = await _letters(call, [call.segment("position")])
    return answer(whole_letter_of(letter))


async def redrive(call: Call) -> Response:
    """POST /dead-letters/redrive: send records in again where they came from."""
    return await _settle(call, Letters.redrive)


async def drop(call: Call) -> Response:
    """POST /dead-letters/drop: count records as nobody's concern any more."""
    return await _settle(call, Letters.drop)


async def _settle(call: Call, settle: Callable[[Letters, list[DeadLetter], str], Awaitable[list[Outcome]]]) -> Response:
    texts = call.parameters.value("positions")
    if isinstance(texts, str):
        texts = [texts]  # a form's
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise errors.invalid("positions is missing: a list such as ['0@17', '0@18']")
    if len(texts) > SETTLED_MAX:
        raise errors.invalid(f"{len(texts)} positions; {SETTLED_MAX} is the most")
    note = call.parameters.text("note") or ""
    if call.person is not None:
        note = f"{call.person.name}: {note or read_reason(call.headers)}"
    if len(note) > NOTE_CHARACTERS_MAX:
        raise errors.invalid(f"note has {len(note)} characters; {NOTE_CHARACTERS_MAX} is the most")
    letters = await _letters(call, texts)
    if not call.parameters.flag("again"):
        settled = next((letter for letter in letters if letter.mark is not None), None)
        if settled is not None:
            raise errors.invalid(f"{settled.position} was {settled.state} already; give again if that is meant")
    outcomes = await _available(settle(call.services.letters, letters, note))
    refused = [outcome.error for outcome in outcomes if outcome.error]
    if refused:
        call.outcome = f"refused {len(refused)} of {len(outcomes)}: {refused[0]}"
    return answer([settled_of(outcome) for outcome in outcomes])


async def _letters(call: Call, texts: list[str]) -> list[DeadLetter]:
    """The caller's letters at these positions. 404: one is not there, or another's."""
    positions = sorted({_position(text) for text in texts})
    letters = await _available(call.services.letters.get(positions))
    own = _own(call)
    by_position = {letter.position: letter for letter in letters if own is None or letter.client in own}
    for position in positions:
        if position not in by_position:
            raise errors.not_found(f"There is no dead letter {position}")
    return [by_position[position] for position in positions]


def _own(call: Call) -> frozenset[str] | None:
    """Clients whose letters they are; None: all letters, those of the system's topics included."""
    return None if call.client is None else frozenset({call.client.name})


def _position(text: str) -> Position:
    position = Position.read(text)
    if position is None:
        raise errors.invalid(f"{text[:64]!r} is no position of a dead letter: 0@17 is one")
    return position


async def _available(reading: Awaitable[T]) -> T:
    try:
        return await reading
    except Unavailable as error:
        raise errors.unavailable(str(error), "Backbeat::Unavailable") from error
