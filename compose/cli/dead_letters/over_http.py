"""Dead letters as a person's gateway lists and settles them, in the rows that the command prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.dead_letters.printing import Row, Settled

if TYPE_CHECKING:
    from backbeat import Client
    from backbeat.client.operations.dead_letters import DeadLetter, SettledLetter
    from backbeat.gateway.letters.topic import Filters

#: Letters that a gateway settles at once.
_AT_ONCE = 200
_LETTERS_MAX = 20_000


def list_letters(connection: Connection, filters: Filters, limit: int | None) -> list[Row]:
    """The newest letters that match, oldest first; None: 20,000 at most."""

    async def find(client: Client) -> list[DeadLetter]:
        return await client.dead_letters.list(
            state=filters.state or "all",
            reason=filters.reason or None,
            topic=filters.topic or None,
            since=_time(filters.since),
            until=_time(filters.until),
            limit=_LETTERS_MAX if limit is None else limit,
        )

    letters = _of_client(connection, filters).run(find)
    return [_row(letter) for letter in reversed(letters)]


def get_letter(connection: Connection, position: str) -> Row | None:
    """A letter whole; None: it is not there."""
    from backbeat.errors import NotFound

    try:
        letter = connection.run(lambda client: client.dead_letters.get(position))
    except NotFound:
        return None
    whole = {
        name: getattr(letter, name) for name in ("key", "headers", "kind", "content", "unreadable", "value_base64")
    }
    return {**_row(letter), **whole}


def settle(connection: Connection, call: str, letters: Sequence[Row], note: str, *, again: bool) -> Iterator[Settled]:
    """Outcome of each letter, by `redrive` or `drop`."""
    by_position = {row["position"]: row for row in letters}
    positions = [*by_position]

    def send(some: Sequence[str]) -> list[SettledLetter]:
        return connection.run(lambda client: getattr(client.dead_letters, call)(some, note=note, again=again))

    for first in range(0, len(positions), _AT_ONCE):
        for outcome in send(positions[first : first + _AT_ONCE]):
            row = by_position[outcome.position]
            yield Settled(outcome.position, row["source"], row["reason"], outcome.went_to or "", outcome.error or "")


def _of_client(connection: Connection, filters: Filters) -> Connection:
    return replace(connection, client=next(iter(filters.clients or ()), ""))


def _row(letter: DeadLetter) -> Row:
    row: dict[str, Any] = {
        "position": letter.position,
        "at": _text(letter.at),
        "state": letter.state,
        "reason": letter.reason,
        "topic": letter.topic,
        "source": letter.source,
        "times_redriven": letter.times_redriven,
    }
    if letter.mark is not None:
        row["mark"] = {"at": _text(letter.mark.at), "went_to": letter.mark.went_to, "note": letter.mark.note}
    return row


def _text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _time(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
