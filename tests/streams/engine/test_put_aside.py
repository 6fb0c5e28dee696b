"""An engine's own command that was put aside is taken once more when it is sent in again, and then never again."""

from __future__ import annotations

import pytest

from backbeat.schemas.messages.commands import CloseLink
from backbeat.schemas.messages.values import Source
from backbeat.streams.core.records import Meta
from backbeat.streams.engine.redriven import note_put_aside, without_source

SOURCE = Source(1, 20, 0)


def command(source: Source | None) -> CloseLink:
    return CloseLink(id=b"i" * 16, target_id=b"t" * 16, child_id=b"c" * 16, source=source)


@pytest.mark.parametrize(
    ("put_aside", "before", "source", "is_taken"),
    [
        ([7], 7, SOURCE, True),
        ([3, 7, 9], 7, SOURCE, True),
        ([7], None, SOURCE, False),  # a repeat of the record itself
        ([7], 8, SOURCE, False),  # of a place where nothing was put aside
        ([], 7, SOURCE, False),
        ([7], 7, None, False),  # of others: known by no source
    ],
)
def test_a_command_that_was_put_aside_comes_once_more(put_aside, before, source, is_taken):
    meta = Meta(put_aside=list(put_aside))
    given = command(source)
    taken = without_source(given, before, meta)
    assert (taken is not given) is is_taken
    if is_taken:
        assert taken == command(None)
        assert meta.put_aside == [offset for offset in put_aside if offset != before]
        assert without_source(given, before, meta) is given
    else:
        assert meta.put_aside == put_aside


@pytest.mark.parametrize(
    ("given", "is_noted"), [(command(SOURCE), True), (None, True), (command(None), False)], ids=["own", "any", "others"]
)
def test_only_what_may_be_an_engines_own_is_remembered(given, is_noted):
    meta = Meta()
    note_put_aside(meta, 7, given)
    note_put_aside(meta, 7, given)
    assert meta.put_aside == ([7] if is_noted else [])


def test_the_newest_are_remembered():
    meta = Meta()
    for offset in range(1_000):
        note_put_aside(meta, offset, None)
    assert meta.put_aside == list(range(744, 1_000))
