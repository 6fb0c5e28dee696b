"""JSON of dead letters, as `backbeat dead-letters --json` has it, too."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from backbeat.gateway.letters.content import decoded, text_of
from backbeat.gateway.letters.resolve import Outcome
from backbeat.gateway.letters.topic import DeadLetter
from backbeat.payload.nouns import time_text


class LetterMark(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Mark of a dead letter that was redriven or dropped."""

    at: str
    went_to: Annotated[str | None, Meta(description="the place of the record that was sent in; null: it was dropped")]
    note: str | None


class Letter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A record that could not be processed."""

    position: Annotated[str, Meta(description="its name: partition@offset in the topic of dead letters")]
    at: Annotated[str, Meta(description="when it was refused")]
    state: Annotated[str, Meta(description="`waiting`, `redriven` or `dropped`")]
    reason: str
    topic: Annotated[str, Meta(description="where it came from")]
    source: Annotated[str, Meta(description="its place there: topic, partition@offset")]
    times_redriven: Annotated[int, Meta(description="how often it had been sent in again before it came here")]
    mark: LetterMark | None


class WholeLetter(Letter, frozen=True, kw_only=True, rename="camel"):
    """A record that could not be processed, with its content."""

    key: str
    headers: dict[str, str]
    kind: Annotated[str | None, Meta(description="the kind of the record; null: it cannot be read")]
    content: Annotated[Any, Meta(description="the record, decoded")]
    unreadable: Annotated[str | None, Meta(description="why it cannot be read; null: it can")]
    value_base64: Annotated[str | None, Meta(description="the record as it came; null: it was too large")]


class SettledLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A dead letter that was to be settled."""

    position: str
    went_to: Annotated[str | None, Meta(description="the place of the record that was sent in")]
    error: Annotated[str | None, Meta(description="why it waits on; null: it does not")]


class NewSettling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dead letters to be settled."""

    positions: Annotated[
        list[Annotated[str, Meta(pattern=r"^[0-9]{1,9}@[0-9]{1,18}$")]],
        Meta(min_length=1, max_length=200, description="their positions, such as 0@17"),
    ]
    note: Annotated[
        Annotated[str, Meta(max_length=1_000)] | None, Meta(description="why, or who; it is kept with them")
    ] = None
    again: Annotated[bool | None, Meta(description="true: those that were settled before, too")] = None


def letter_of(letter: DeadLetter) -> Letter:
    """A letter of a list."""
    return Letter(**_fields(letter))


def whole_letter_of(letter: DeadLetter) -> WholeLetter:
    """A letter with its content."""
    kind, content = decoded(letter)
    return WholeLetter(
        **_fields(letter),
        key=text_of(letter.key),
        headers={name: text_of(value) for name, value in letter.headers},
        kind=kind or None,
        content=content if kind else None,
        unreadable=None if kind else content,
        value_base64=None if letter.value is None else base64.b64encode(letter.value).decode(),
    )


def settled_of(outcome: Outcome) -> SettledLetter:
    """Outcome of settling a letter."""
    return SettledLetter(
        position=str(outcome.letter.position), went_to=outcome.went_to or None, error=outcome.error or None
    )


def _fields(letter: DeadLetter) -> dict[str, Any]:
    mark = letter.mark
    return {
        "position": str(letter.position),
        "at": time_text(letter.at),
        "state": letter.state,
        "reason": letter.reason,
        "topic": letter.topic,
        "source": letter.source,
        "times_redriven": letter.times_redriven,
        "mark": None
        if mark is None
        else LetterMark(at=time_text(mark.at), went_to=mark.went_to or None, note=mark.note or None),
    }
