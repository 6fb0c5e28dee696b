"""Dead letters as they are printed: for people, and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from backbeat.compose.cli.dead_letters.content import decoded, text_of
from backbeat.compose.cli.dead_letters.resolve import Settled
from backbeat.compose.cli.dead_letters.topic import Letter
from backbeat.compose.cli.show.printing import emit, json_text, print_facts
from backbeat.compose.cli.show.sanitize import one_line, plain

_START_CHARACTERS = 100


def facts(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    """A letter as JSON; `whole` with what it holds."""
    found: dict[str, Any] = {
        "position": str(letter.position),
        "at": _when(letter.at),
        "state": letter.state,
        "reason": letter.reason,
        "topic": letter.topic,
        "source": letter.source,
        "times_redriven": letter.times_redriven,
    }
    if letter.mark is not None:
        found["mark"] = {
            "at": _when(letter.mark.at),
            "went_to": letter.mark.went_to or None,
            "note": letter.mark.note or None,
        }
    if whole:
        kind, content = decoded(letter)
        found |= {
            "key": text_of(letter.key),
            "headers": {name: text_of(value) for name, value in letter.headers},
            "kind": kind or None,
            "content": content if kind else None,
            "unreadable": None if kind else content,
            "value_base64": None if letter.value is None else base64.b64encode(letter.value).decode(),
        }
    return found


def tell(letter: Letter) -> None:
    """A letter in three lines: where and when; why; how it begins."""
    times = f"  sent in {letter.times_redriven} times before" if letter.times_redriven else ""
    state = "" if letter.mark is None else f"  {letter.state}"
    click.echo(f"{letter.position}  {_when(letter.at)}  {plain(letter.source)}{times}{state}")
    click.echo(f"    {one_line(letter.reason)}")
    click.echo(f"    {(letter.value or b'')[:_START_CHARACTERS]!r}")


def tell_whole(letter: Letter) -> None:
    """All that is known of a letter."""
    kind, content = decoded(letter)
    mark = letter.mark
    print_facts(
        (
            ("position", str(letter.position)),
            ("put aside", _when(letter.at)),
            ("state", letter.state),
            ("then", "" if mark is None else f"{_when(mark.at)}  {mark.went_to}  {mark.note}".rstrip()),
            ("sent in before", f"{letter.times_redriven} times" if letter.times_redriven else ""),
            ("came from", letter.source),
            ("reason", letter.reason),
            ("key", text_of(letter.key)),
            *((f"header {name}", text_of(value)) for name, value in letter.headers if not name.startswith("backbeat-")),
            ("record", kind or f"not readable: {content}"),
        )
    )
    if not kind:
        click.echo(f"    {letter.value!r}")
        return
    for name, value in content.items():
        click.echo(f"    {name} = {json_text(value)}")


def tell_settled(settled: Iterable[Settled], *, as_json: bool, dry_run: bool = False) -> int:
    """Print what became of each letter as it becomes known; how many wait on."""
    failed = 0
    for one in settled:
        failed += bool(one.error)
        if as_json:
            emit(
                {
                    "position": str(one.letter.position),
                    "done": not one.error and not dry_run,
                    "went_to": one.went_to or None,
                    "error": one.error or None,
                    "reason": one.letter.reason,
                }
            )
            continue
        became = f"stays: {one.error}" if one.error else one.went_to and f"went to {one.went_to}"
        click.echo(
            f"{one.letter.position}  {plain(one.letter.source)}  {became or one_line(one.letter.reason)}".rstrip()
        )
    return failed


def _when(at_milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(at_milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
