"""Printing of dead letters: for people, and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from backbeat.compose.cli.show.printing import emit, json_text, print_fields
from backbeat.compose.cli.show.sanitize import one_line, plain
from backbeat.gateway.letters.content import decoded, text_of
from backbeat.gateway.letters.resolve import Outcome
from backbeat.gateway.letters.topic import DeadLetter
from backbeat.schemas.kafka.dead_letters import OUR_PREFIX

_START_CHARACTERS = 100


def letter_row(letter: DeadLetter, *, whole: bool = False) -> dict[str, Any]:
    """JSON row of a letter; `whole`: with its content."""
    row: dict[str, Any] = {
        "position": str(letter.position),
        "at": _when(letter.at),
        "state": letter.state,
        "reason": letter.reason,
        "topic": letter.topic,
        "source": letter.source,
        "times_redriven": letter.times_redriven,
    }
    if letter.mark is not None:
        row["mark"] = {
            "at": _when(letter.mark.at),
            "went_to": letter.mark.went_to or None,
            "note": letter.mark.note or None,
        }
    if whole:
        kind, content = decoded(letter)
        row |= {
            "key": text_of(letter.key),
            "headers": {name: text_of(value) for name, value in letter.headers},
            "kind": kind or None,
            "content": content if kind else None,
            "unreadable": None if kind else content,
            "value_base64": None if letter.value is None else base64.b64encode(letter.value).decode(),
        }
    return row


def print_letter(letter: DeadLetter) -> None:
    """Print a letter in three lines: position and time; reason; beginning."""
    times = f"  sent in {letter.times_redriven} times before" if letter.times_redriven else ""
    state = "" if letter.mark is None else f"  {letter.state}"
    click.echo(f"{letter.position}  {_when(letter.at)}  {plain(letter.source)}{times}{state}")
    click.echo(f"    {one_line(letter.reason)}")
    click.echo(f"    {(letter.value or b'')[:_START_CHARACTERS]!r}")


def print_whole(letter: DeadLetter) -> None:
    """Print a letter with all its fields and its content."""
    kind, content = decoded(letter)
    mark = letter.mark
    print_fields(
        (
            ("position", str(letter.position)),
            ("refused", _when(letter.at)),
            ("state", letter.state),
            ("then", "" if mark is None else f"{_when(mark.at)}  {mark.went_to}  {mark.note}".rstrip()),
            ("sent in before", f"{letter.times_redriven} times" if letter.times_redriven else ""),
            ("came from", letter.source),
            ("reason", letter.reason),
            ("key", text_of(letter.key)),
            *((f"header {name}", text_of(value)) for name, value in letter.headers if not name.startswith(OUR_PREFIX)),
            ("record", kind or f"not readable: {content}"),
        )
    )
    if not kind:
        click.echo(f"    {letter.value!r}")
        return
    for name, value in content.items():
        click.echo(f"    {name} = {json_text(value)}")


def print_outcomes(outcomes: Iterable[Outcome], *, as_json: bool, dry_run: bool = False) -> int:
    """Print each letter's outcome as soon as it is known; the number that still wait is returned."""
    failed_count = 0
    for outcome in outcomes:
        failed_count += bool(outcome.error)
        if as_json:
            emit(
                {
                    "position": str(outcome.letter.position),
                    "done": not outcome.error and not dry_run,
                    "went_to": outcome.went_to or None,
                    "error": outcome.error or None,
                    "reason": outcome.letter.reason,
                }
            )
            continue
        result = f"stays: {outcome.error}" if outcome.error else outcome.went_to and f"went to {outcome.went_to}"
        letter = outcome.letter
        click.echo(f"{letter.position}  {plain(letter.source)}  {result or one_line(letter.reason)}".rstrip())
    return failed_count


def _when(at_milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(at_milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
