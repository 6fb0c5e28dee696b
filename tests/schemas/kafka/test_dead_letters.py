"""Headers of dead letters: what a record says of itself is believed where it can be read."""

import pytest

from backbeat.schemas.kafka.dead_letters import REDRIVEN, redrive_headers, redrives_of


@pytest.mark.parametrize(
    ("values", "redrives"),
    [([], 0), ([b"2", b"1"], 2), ([None], 0), ([b""], 0), (["²".encode()], 0), ([b"-1"], 0), ([b"9" * 5_000, b"3"], 3)],
)
def test_redrives_that_cannot_be_read_count_for_none(values, redrives):
    headers = [(REDRIVEN, value) for value in values]

    assert redrives_of(headers) == redrives
    assert redrive_headers(headers) == [(REDRIVEN, str(redrives + 1).encode())]
