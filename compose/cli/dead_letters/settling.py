"""Settling of dead letters by the command line: of the topic itself, or, for a person, of a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.dead_letters import over_http
from backbeat.compose.cli.dead_letters.printing import Row, Settled, letter_row, settled_of
from backbeat.compose.cli.user.deeds import Deed, written_down
from backbeat.gateway.letters.resolve import Outcome, Resolver
from backbeat.gateway.letters.topic import DeadLetterTopic, Position

if TYPE_CHECKING:
    from backbeat.gateway.letters.topic import DeadLetter, Filters


class Letters(Protocol):
    """Letters that can be settled."""

    def find(self, filters: Filters) -> list[Row]:
        """Letters that match, oldest first."""

    def get(self, positions: Sequence[Position]) -> dict[str, Row]:
        """Letters at these positions, by position."""

    def dry(self, rows: Sequence[Row]) -> Iterable[Settled]:
        """Outcomes that settling them would have; nothing is changed."""

    def settle(self, rows: Sequence[Row]) -> Iterable[Settled]:
        """Outcome of each, as soon as it is known."""


def letters_of(connection: Connection, call: str, note: str, *, again: bool) -> Letters:
    """Letters to be settled by `redrive` or `drop`."""
    if connection.person is not None:
        return _OfGateway(connection, call, note, again=again)
    return _OfTopic(connection, call, note)


class _OfTopic:
    def __init__(self, connection: Connection, call: str, note: str) -> None:
        self._connection, self._call, self._note = connection, call, note
        self._resolver = Resolver(connection.bootstrap_servers, note)

    def find(self, filters: Filters) -> list[Row]:
        with DeadLetterTopic(self._connection.bootstrap_servers) as topic:
            positions = [letter.position for letter in topic.find(filters.match)]
            return list(map(letter_row, topic.get(positions)))

    def get(self, positions: Sequence[Position]) -> dict[str, Row]:
        with DeadLetterTopic(self._connection.bootstrap_servers) as topic:
            return {str(letter.position): letter_row(letter) for letter in topic.get(list(positions))}

    def dry(self, rows: Sequence[Row]) -> Iterator[Settled]:
        for letter in self._letters(rows):
            error = self._resolver.why_not(letter) if self._call == "redrive" else ""
            yield settled_of(Outcome(letter=letter, error=error))

    def settle(self, rows: Sequence[Row]) -> Iterator[Settled]:
        deed = Deed(action=self._call, kind="letter", subjects=[row["position"] for row in rows], reason=self._note)
        settle = self._resolver.redrive if self._call == "redrive" else self._resolver.drop
        with written_down(self._connection.bootstrap_servers, self._connection.actor, deed):
            for outcome in settle(self._letters(rows)):
                yield settled_of(outcome)

    def _letters(self, rows: Sequence[Row]) -> Iterator[DeadLetter]:
        positions = [position for row in rows if (position := Position.read(row["position"])) is not None]
        with DeadLetterTopic(self._connection.bootstrap_servers) as topic:
            yield from topic.get(positions)


class _OfGateway:
    def __init__(self, connection: Connection, call: str, note: str, *, again: bool) -> None:
        self._connection, self._call, self._note, self._again = connection, call, note, again

    def find(self, filters: Filters) -> list[Row]:
        return over_http.list_letters(self._connection, filters, None)

    def get(self, positions: Sequence[Position]) -> dict[str, Row]:
        rows = {str(position): over_http.get_letter(self._connection, str(position)) for position in positions}
        return {position: row for position, row in rows.items() if row is not None}

    def dry(self, rows: Sequence[Row]) -> Iterator[Settled]:
        return (Settled(row["position"], row["source"], row["reason"], "", "") for row in rows)

    def settle(self, rows: Sequence[Row]) -> Iterator[Settled]:
        return over_http.settle(self._connection, self._call, rows, self._note, again=self._again)
