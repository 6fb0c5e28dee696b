"""Headers of dead letters: what a record says of itself is believed where it can be read."""

import pytest

from backbeat.schemas.kafka.dead_letters import (
    REDRIVEN,
    REDRIVEN_FROM,
    SOURCE_OFFSET,
    dead_letter,
    redrive_headers,
    redriven_from,
    redrives_of,
)


@pytest.mark.parametrize(
    ("values", "redrives"),
    [([], 0), ([b"2", b"1"], 2), ([None], 0), ([b""], 0), (["²".encode()], 0), ([b"-1"], 0), ([b"9" * 5_000, b"3"], 3)],
)
def test_redrives_that_cannot_be_read_count_for_none(values, redrives):
    headers = [(REDRIVEN, value) for value in values]

    assert redrives_of(headers) == redrives
    assert redrive_headers(headers) == [(REDRIVEN, str(redrives + 1).encode())]


def test_a_redriven_record_says_where_it_stood_last():
    headers = [("trace", b"t")]
    for offset in (7, 19):
        headers = dead_letter(None, b"", headers, reason="", topic="t", partition=0, offset=offset).headers
        assert (SOURCE_OFFSET, str(offset).encode()) in headers
        assert redriven_from(headers) is None
        headers = redrive_headers(headers)
        assert redriven_from(headers) == offset
    assert headers == [("trace", b"t"), (REDRIVEN, b"2"), (REDRIVEN_FROM, b"19")]


@pytest.mark.parametrize("value", [None, b"", b"-1", "²".encode(), b"9" * 19])
def test_a_place_that_cannot_be_read_is_none(value):
    assert redriven_from([(REDRIVEN_FROM, value)]) is None
