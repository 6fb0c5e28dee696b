"""`backbeat dead-letters`: the refused records and their reasons; redrive them or drop them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from backbeat.compose.cli.durations import Moment, milliseconds
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.options import add_options, as_option, json_option, operating, yes_option

if TYPE_CHECKING:
    from backbeat.compose.cli.connection import Connection
    from backbeat.compose.cli.dead_letters.printing import Row
    from backbeat.compose.cli.dead_letters.settling import Letters
    from backbeat.gateway.letters.topic import Filters, Position

F = TypeVar("F", bound=Callable[..., Any])

_LAST_DEFAULT = 20


@click.group()
def dead_letters() -> None:
    """Look at records that were refused, send them in again, or drop them.

    A dead letter is named by its position, PARTITION@OFFSET (or OFFSET alone where there is one partition).
    """


class _PositionType(click.ParamType):
    name = "position"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> Position:
        """The position of an option's text."""
        from backbeat.gateway.letters.topic import Position

        if isinstance(value, tuple):
            return Position(*value)
        position = Position.read(value)
        if position is None:
            self.fail(
                f"{value!r} is no position; `backbeat dead-letters list` shows them, for example 0@17", param, ctx
            )
        return position


_FILTERS = (
    click.option("--reason", default="", metavar="TEXT", help="Only those whose reason has this in it."),
    click.option("--topic", default="", metavar="NAME", help="Only those that came from this topic."),
    click.option("--client", default="", metavar="NAME", help="Only those of this client application's topics."),
    click.option("--since", type=Moment(), metavar="TIME", help="Only those refused since: a time, or how long ago."),
    click.option("--until", type=Moment(), metavar="TIME", help="Only those refused before: a time, or how long ago."),
)


def filtered(command: F) -> F:
    """Add the options of the filters of letters; the command gets them as `filters`."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        reason: str,
        topic: str,
        client: str,
        since: datetime | None,
        until: datetime | None,
        **options: Any,
    ) -> Any:
        from backbeat.gateway.letters.topic import Filters

        filters = Filters(
            reason=reason,
            topic=topic,
            clients=frozenset({client}) if client else None,
            since=None if since is None else milliseconds(since),
            until=None if until is None else milliseconds(until),
        )
        return command(*arguments, filters=filters, **options)

    return cast("F", add_options(*_FILTERS)(run))


# --- looking ---------------------------------------------------------------------------------------------------------


@dead_letters.command(
    "list",
    epilog="""\b
Examples:
  backbeat dead-letters list
  backbeat dead-letters list --last 5 --bootstrap-servers kafka-1:9092
  backbeat dead-letters list --client shop --reason 'missing field' --since 2h
  backbeat dead-letters list --before 0@312             the page before
  backbeat dead-letters list --state all --json | jq -r .reason | sort | uniq -c
""",
)
@operating
@filtered
@click.option(
    "--state",
    type=click.Choice(["waiting", "redriven", "dropped", "all"]),
    default="waiting",
    show_default=True,
    help="What became of them.",
)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=_LAST_DEFAULT,
    show_default=True,
    help="How many of each partition.",
)
@click.option("--before", type=_PositionType(), metavar="POSITION", help="Only older ones than this.")
@json_option
def list_(
    connection: Connection, filters: Filters, state: str, last: int, before: Position | None, *, as_json: bool
) -> None:
    """List the newest refused records: where each stands, when, where from, why, and how it begins."""
    from backbeat.compose.cli.dead_letters.over_http import list_letters
    from backbeat.compose.cli.dead_letters.printing import letter_row, print_letter
    from backbeat.compose.cli.show.printing import emit, note
    from backbeat.gateway.letters.topic import DeadLetterTopic

    filters = _in_state(filters, None if state == "all" else state)
    older_than: Position | None = None
    rows: list[tuple[Row, bytes | None]]
    if connection.person is not None:
        if before is not None:
            raise click.UsageError("--before is asked of Kafka itself: as a person give --until")
        rows = [(row, None) for row in list_letters(connection, filters, last)]
    else:
        with DeadLetterTopic(connection.bootstrap_servers) as topic:
            letters, older_than = topic.newest(last, filters.match, before)
        rows = [(letter_row(letter), letter.value or b"") for letter in letters]
    for row, value in rows:
        if as_json:
            emit(row)
        else:
            print_letter(row, value)
    if not rows:
        note("There is none.")
    elif older_than is not None:
        note(f"There are older ones: --before {older_than}")


@dead_letters.command(
    epilog="""\b
Examples:
  backbeat dead-letters show 0@17
  backbeat dead-letters show 17 --json | jq .content
  backbeat dead-letters show 17 --raw > record.avro
"""
)
@click.argument("position", type=_PositionType(), metavar="POSITION")
@operating
@click.option("--raw", is_flag=True, help="The record's value as it came, and nothing else.")
@json_option
def show(connection: Connection, position: Position, *, raw: bool, as_json: bool) -> None:
    """Show one whole: headers, key, and the record decoded; or why it cannot be."""
    from backbeat.compose.cli.dead_letters.over_http import get_letter
    from backbeat.compose.cli.dead_letters.printing import letter_row, print_whole, value_of
    from backbeat.compose.cli.show.printing import emit
    from backbeat.gateway.letters.topic import DeadLetterTopic

    row: Row | None
    if connection.person is not None:
        row = get_letter(connection, str(position))
    else:
        with DeadLetterTopic(connection.bootstrap_servers) as topic:
            letter = next(topic.get([position]), None)
        row = None if letter is None else letter_row(letter, whole=True)
    if row is None:
        raise SetupError(f"there is no dead letter {position}. To see them: backbeat dead-letters list --state all")
    if raw:
        sys.stdout.buffer.write(value_of(row) or b"")
    elif as_json:
        emit(row)
    else:
        print_whole(row)


# --- settling --------------------------------------------------------------------------------------------------------


_settling_options = add_options(
    click.argument("positions", type=_PositionType(), metavar="[POSITION]...", nargs=-1),
    operating,
    as_option,
    filtered,
    click.option("--all", "every", is_flag=True, help="All that wait."),
    click.option("--again", is_flag=True, help="Those that were redriven or dropped before, too."),
    click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first."),
    click.option("--dry-run", is_flag=True, help="Only say which it would be."),
    click.option("--note", default="", metavar="TEXT", help="Kept with it: why, or who."),
    yes_option,
    json_option,
)


@dead_letters.command(
    epilog="""\b
Examples:
  backbeat dead-letters redrive 0@17 0@18
  backbeat dead-letters redrive --client shop --reason 'unknown client' --dry-run
  backbeat dead-letters redrive --all --yes --json

Exit codes: 0 all were sent in, 1 some could not be (they wait on).
"""
)
@_settling_options
def redrive(connection: Connection, **options: Any) -> None:
    """Send records in again where they came from, once what was wrong is mended.

    To the same topic and partition, with their key, headers and command id: one that was applied already, or is sent
    twice, is recognised. One that is refused again comes back as a new letter that says how often it was sent in.
    """
    _settle(connection, "redrive", "Send {} in again?", **options)


@dead_letters.command(
    epilog="""\b
Examples:
  backbeat dead-letters drop 0@17 --note 'a test'
  backbeat dead-letters drop --until 2026-01-31 --dry-run
"""
)
@_settling_options
def drop(connection: Connection, **options: Any) -> None:
    """Count records as nobody's concern any more: they are not listed, and not sent in by --all.

    The topic is a log, so they stay in it: `list --state dropped` shows them, `redrive --again` brings them back.
    """
    _settle(connection, "drop", "Drop {}?", **options)


def _settle(
    connection: Connection,
    call: str,
    question: str,
    *,
    positions: tuple[Position, ...],
    filters: Filters,
    every: bool,
    again: bool,
    limit: int | None,
    dry_run: bool,
    note: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Choose letters, ask, settle them, print the outcomes: the same for redriving and dropping."""
    from backbeat.compose.cli.dead_letters.printing import print_outcomes
    from backbeat.compose.cli.dead_letters.settling import letters_of
    from backbeat.compose.cli.show.printing import note as say

    if bool(positions) + (filters.narrows or every) != 1:
        raise click.UsageError("give positions, or filters, or --all")
    # Before anything is asked: a person who gives no reason is refused whatever the answer.
    letters = letters_of(connection if dry_run else connection.because(note), call, note, again=again)
    if positions:
        chosen = _named(letters, positions, again=again)
    else:
        chosen = letters.find(_in_state(filters, None if again else filters.state))
    chosen = chosen[:limit]
    if not chosen:
        say("There is none.")
        return
    if dry_run:
        print_outcomes(letters.dry(chosen), as_json=as_json, dry_run=True)
        return
    if not yes and not click.confirm(question.format(_count(len(chosen))), err=True):
        raise SetupError("nothing was done.")
    failed = print_outcomes(letters.settle(chosen), as_json=as_json)
    if failed:
        say(f"{failed} of {len(chosen)} wait on.")
        raise click.exceptions.Exit(Exit.FAILED)


def _named(letters: Letters, positions: tuple[Position, ...], *, again: bool) -> list[Row]:
    """The letters at these positions; SetupError where one is missing, or was settled before."""
    rows = letters.get(positions)
    for position in positions:
        row = rows.get(str(position))
        if row is None:
            raise SetupError(f"there is no dead letter {position}. To see them: backbeat dead-letters list --state all")
        if "mark" in row and not again:
            raise SetupError(f"{position} was {row['state']} already. What to do: give --again if that is meant.")
    return [rows[str(position)] for position in sorted(set(positions))]


def _in_state(filters: Filters, state: str | None) -> Filters:
    import dataclasses

    return dataclasses.replace(filters, state=state)


def _count(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number} dead letters"
