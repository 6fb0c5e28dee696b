"""Printing of dead letters: for people, and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from backbeat.compose.cli.show.printing import emit, json_text, print_fields
from backbeat.compose.cli.show.sanitize import one_line, plain
from backbeat.gateway.letters.content import decoded, text_of
from backbeat.gateway.letters.resolve import Outcome
from backbeat.gateway.letters.topic import DeadLetter
from backbeat.schemas.kafka.dead_letters import OUR_PREFIX

_START_CHARACTERS = 100


#: A letter as `--json` has it.
Row = dict[str, Any]


class Settled(NamedTuple):
    """A letter that was to be settled, and what became of it."""

    position: str
    source: str
    reason: str
    went_to: str
    error: str


def settled_of(outcome: Outcome) -> Settled:
    """Outcome of a letter that this process has settled."""
    letter = outcome.letter
    return Settled(str(letter.position), letter.source, letter.reason, outcome.went_to, outcome.error)


def letter_row(letter: DeadLetter, *, whole: bool = False) -> Row:
    """JSON row of a letter; `whole`: with its content."""
    row: Row = {
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


def print_letter(row: Row, value: bytes | None) -> None:
    """Print a letter in two lines, position and time, and the reason; and its beginning, where that is known."""
    times = f"  sent in {row['times_redriven']} times before" if row["times_redriven"] else ""
    state = f"  {row['state']}" if "mark" in row else ""
    click.echo(f"{row['position']}  {row['at']}  {plain(row['source'])}{times}{state}")
    click.echo(f"    {one_line(row['reason'])}")
    if value is not None:
        click.echo(f"    {value[:_START_CHARACTERS]!r}")


def print_whole(row: Row) -> None:
    """Print a letter with all its fields and its content."""
    mark, kind = row.get("mark"), row["kind"]
    print_fields(
        (
            ("position", row["position"]),
            ("refused", row["at"]),
            ("state", row["state"]),
            ("then", "" if mark is None else " ".join(filter(None, (mark["at"], mark["went_to"], mark["note"])))),
            ("sent in before", f"{row['times_redriven']} times" if row["times_redriven"] else ""),
            ("came from", row["source"]),
            ("reason", row["reason"]),
            ("key", row["key"]),
            *((f"header {name}", value) for name, value in row["headers"].items() if not name.startswith(OUR_PREFIX)),
            ("record", kind or f"not readable: {row['unreadable']}"),
        )
    )
    if not kind:
        click.echo(f"    {value_of(row)!r}")
        return
    for name, value in row["content"].items():
        click.echo(f"    {name} = {json_text(value)}")


def value_of(row: Row) -> bytes | None:
    """The record of a whole letter as it came."""
    return None if row["value_base64"] is None else base64.b64decode(row["value_base64"])


def print_outcomes(outcomes: Iterable[Settled], *, as_json: bool, dry_run: bool = False) -> int:
    """Print each letter's outcome as soon as it is known; the number that still wait is returned."""
    failed_count = 0
    for outcome in outcomes:
        failed_count += bool(outcome.error)
        if as_json:
            emit(
                {
                    "position": outcome.position,
                    "done": not outcome.error and not dry_run,
                    "went_to": outcome.went_to or None,
                    "error": outcome.error or None,
                    "reason": outcome.reason,
                }
            )
            continue
        result = f"stays: {outcome.error}" if outcome.error else outcome.went_to and f"went to {outcome.went_to}"
        click.echo(f"{outcome.position}  {plain(outcome.source)}  {result or one_line(outcome.reason)}".rstrip())
    return failed_count


def _when(at_milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(at_milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
