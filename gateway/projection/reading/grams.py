"""Runs of one to three letters in the stored texts: a needle with an unknown run matches nothing, without a scan.

A needle too short for the trigram index, or one that PostgreSQL's index reads as words alone, would otherwise be
searched in every row in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, select

from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.storage import tables

METADATA = 0
SUBJECTS = 1
#: Largest number kept: texts in many scripts have millions.
_GRAMS_MAX = 300_000
#: Marker that there are too many to keep.
_TOO_MANY = ""
_LETTERS_MAX = 3
_RUNS_MAX = 10


class Grams:
    """Known runs, in memory and in the table. Used by the follower."""

    def __init__(self, connection: Connection) -> None:
        self._known: dict[int, set[str]] = {METADATA: set(), SUBJECTS: set()}
        for row in connection.execute(select(tables.text_grams.c.kind, tables.text_grams.c.gram)):
            self._known[row.kind].add(row.gram)

    def add(self, statements: Statements, kind: int, texts: Iterable[str]) -> None:
        """Add the runs of new texts."""
        known_grams = self._known[kind]
        if _TOO_MANY in known_grams:
            return
        longest: set[str] = set()
        for text in set(texts):
            longest.update(_longest_runs(text))
        # Where a longest run is known, so are those within it.
        new = set(grams_of(longest - known_grams)) - known_grams
        if len(known_grams) + len(new) > _GRAMS_MAX:
            new = {_TOO_MANY}
        known_grams |= new
        statements.insert(tables.text_grams, [{"kind": kind, "gram": gram} for gram in sorted(new)])


def _longest_runs(text: str) -> Iterator[str]:
    if len(text) <= _LETTERS_MAX:
        return iter((text,) if text else ())
    return map("".join, zip(text, text[1:], text[2:], strict=False))


def grams_of(texts: Iterable[str]) -> list[str]:
    """All runs in the texts."""
    longest = {run for text in texts for run in _longest_runs(text)}
    pairs = {pair for run in longest for pair in (run[:2], run[1:])}
    return sorted({*longest, *pairs, *"".join(longest)} - {""})


def is_nowhere(connection: Connection, kind: int, needle: str) -> bool:
    """True if no text can hold the needle; False proves nothing."""
    length = min(len(needle), _LETTERS_MAX)
    runs = list(dict.fromkeys(needle[at : at + length] for at in range(len(needle) - length + 1)))
    runs = runs[:: -(-len(runs) // _RUNS_MAX)]
    grams = tables.text_grams.c
    statement = select(grams.gram).where(grams.kind == kind).where(grams.gram.in_([_TOO_MANY, *runs]))
    known_grams = set(connection.execute(statement).scalars())
    return _TOO_MANY not in known_grams and len(known_grams) < len(runs)
