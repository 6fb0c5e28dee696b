"""Which runs of one to three letters there are in the texts: a needle with another one is found nowhere, at once.

Without it, a needle too short for the index of trigrams, or one that PostgreSQL's index takes for its words alone,
would be looked for in every row to find none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from sqlalchemy import Connection, select

from backbeat.gateway.projection.following.statements import Statements
from backbeat.gateway.projection.storage import tables

METADATA = 0
SUBJECTS = 1
#: More are not kept: texts in many scripts have millions.
_GRAMS_MAX = 300_000
#: Stands for: not all are kept.
_TOO_MANY = ""
_LETTERS_MAX = 3
_ASKED_MAX = 10


class Grams:
    """Those that are known, in memory and in the table. Used by whoever follows."""

    def __init__(self, connection: Connection) -> None:
        self._known: dict[int, set[str]] = {METADATA: set(), SUBJECTS: set()}
        for row in connection.execute(select(tables.text_grams.c.kind, tables.text_grams.c.gram)):
            self._known[row.kind].add(row.gram)

    def add(self, statements: Statements, kind: int, texts: Iterable[str]) -> None:
        """Take in new texts."""
        known = self._known[kind]
        if _TOO_MANY in known:
            return
        new: set[str] = set()
        for text in set(texts):
            new |= set(_runs(text)) - known
        if len(known) + len(new) > _GRAMS_MAX:
            new = {_TOO_MANY}
        known |= new
        statements.insert(tables.text_grams, [{"kind": kind, "gram": gram} for gram in sorted(new)])


def _runs(text: str) -> Iterator[str]:
    yield from text
    yield from map("".join, pairwise(text))
    yield from map("".join, zip(text, text[1:], text[2:], strict=False))


def grams_of(texts: Iterable[str]) -> list[str]:
    """All that stand in the texts."""
    found: set[str] = set()
    for text in texts:
        found.update(_runs(text))
    return sorted(found)


def is_nowhere(connection: Connection, kind: int, needle: str) -> bool:
    """Whether no text can hold the needle. False does not say that one does."""
    length = min(len(needle), _LETTERS_MAX)
    runs = list(dict.fromkeys(needle[at : at + length] for at in range(len(needle) - length + 1)))
    runs = runs[:: -(-len(runs) // _ASKED_MAX)]
    grams = tables.text_grams.c
    asked = select(grams.gram).where(grams.kind == kind).where(grams.gram.in_([_TOO_MANY, *runs]))
    found = set(connection.execute(asked).scalars())
    return _TOO_MANY not in found and len(found) < len(runs)
