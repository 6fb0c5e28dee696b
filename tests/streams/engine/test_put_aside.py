"""An engine's own command that was put aside is taken once more when it is sent in again, and then never again."""

from __future__ import annotations

import pytest

from backbeat.schemas.messages.commands import CloseLink
from backbeat.schemas.messages.values import Source
from backbeat.streams.core.records import Meta
from backbeat.streams.engine.redriven import note_put_aside, without_source

SOURCE = Source(1, 20, 0)
PLACE, OTHER = (1, 20, 0), (1, 20, 1)
#: Others have been taken from there since.
LATER = {1: (20, 5)}


def command(source: Source | None) -> CloseLink:
    return CloseLink(id=b"i" * 16, target_id=b"t" * 16, child_id=b"c" * 16, source=source)


@pytest.mark.parametrize(
    ("put_aside", "before", "source", "left"),
    [
        ({7: PLACE}, 7, SOURCE, {}),
        ({7: None}, 7, SOURCE, {}),  # it could not be read
        ({3: OTHER, 7: PLACE, 9: None}, 7, SOURCE, {3: OTHER, 9: None}),
        ({7: PLACE, 9: PLACE}, 7, SOURCE, {}),  # sent twice, by an engine that crashed
        ({7: PLACE}, None, SOURCE, None),  # a repeat of the record itself
        ({7: PLACE}, 8, SOURCE, None),  # of a place where nothing was put aside
        ({7: OTHER}, 7, SOURCE, None),  # of a place where another one was put aside
        ({}, 7, SOURCE, None),
        ({7: None}, 7, None, None),  # of others: known by no source
    ],
)
def test_a_command_that_was_put_aside_comes_once_more(put_aside, before, source, left):
    meta = Meta(put_aside=dict(put_aside), high_water=LATER)
    given = command(source)
    taken = without_source(given, before, meta)
    assert (taken is not given) is (left is not None)
    if left is not None:
        assert taken == command(None)
        assert meta.put_aside == left
        assert without_source(given, before, meta) is given
    else:
        assert meta.put_aside == put_aside


@pytest.mark.parametrize("before", [None, 7])
def test_a_command_that_is_new_by_its_source_keeps_it_and_its_letters_are_repeats(before):
    """So it is a repeat when the engine that has crashed sends it once more."""
    meta = Meta(put_aside={3: OTHER, 7: PLACE, 9: PLACE}, high_water={1: (19, 0)})
    given = command(SOURCE)
    assert without_source(given, before, meta) is given
    assert meta.put_aside == {3: OTHER}


@pytest.mark.parametrize(
    ("given", "put_aside"),
    [(command(SOURCE), {7: PLACE}), (None, {7: None}), (command(None), {})],
    ids=["own", "any", "others"],
)
def test_only_what_may_be_an_engines_own_is_remembered(given, put_aside):
    meta = Meta()
    note_put_aside(meta, 7, given)
    note_put_aside(meta, 7, given)
    assert meta.put_aside == put_aside


@pytest.mark.parametrize(
    ("given", "put_aside"),
    [
        (None, {5: PLACE, 20: None}),
        (command(SOURCE), {3: None, 20: PLACE}),
        (command(None), {3: None, 5: PLACE}),
    ],
    ids=["own", "any", "others"],
)
def test_what_is_put_aside_again_is_remembered_where_it_stands_now(given, put_aside):
    meta = Meta(put_aside={3: None, 5: PLACE})
    note_put_aside(meta, 20, given, 5 if given else 3)
    assert meta.put_aside == put_aside


def test_the_newest_are_remembered():
    meta = Meta()
    for offset in range(1_000):
        note_put_aside(meta, offset, None)
    assert list(meta.put_aside) == list(range(744, 1_000))
