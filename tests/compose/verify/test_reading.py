"""Reading of the log by the judge: what is no record, and what ends it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.compose.drill.poison.records import Records
from backbeat.compose.verify.avro import UnreadableError
from backbeat.compose.verify.log import _taken
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.named_types import COMMANDS
from tests.compose.verify.log import READER
from tests.fuzz.generator import USERS, Generator

SUBJECT = b'"s"'
#: What there is of each kind of field: booleans, branches, symbols, counts, lengths.
BYTES = (0x00, 0x01, 0x02, 0x03, 0x05, 0x7F, 0xFF)
NOT_FINITE = (b"\x00\x00\x00\x00\x00\x00\xf0\x7f", b"\x00\x00\x00\x00\x00\x00\xf8\xff")


def is_read(value: bytes) -> tuple[bool, bool]:
    """Whether the judge reads a record, and whether an engine does."""
    judge = engine = True
    try:
        READER.read(value)
    except UnreadableError:
        judge = False
    try:
        codec.decode_command(value)
    except DecodeError:
        engine = False
    return judge, engine


def test_the_judge_reads_what_an_engine_reads_whatever_is_changed_in_a_record():
    signal = c.Signal(
        id=b"i" * 16,
        user_id=USERS[0],
        tid="t",
        workflow_id=ids.workflow_id(USERS[0], "order", SUBJECT),
        workflow=c.NewWorkflow(user_id=USERS[0], name="order", subject=SUBJECT, decider="D"),
        node=c.NewNode(name="pay", user_id=USERS[0], type="decision"),
    )
    value = codec.encode_command(signal)
    assert is_read(value) == (True, True)
    changed = [value[:at] + bytes((byte,)) + value[at + 1 :] for at in range(10, len(value)) for byte in BYTES]
    changed += [value[:at] + double + value[at + 8 :] for at in range(10, len(value) - 8) for double in NOT_FINITE]
    read = [is_read(each) for each in changed]
    assert [each for each, (judge, engine) in zip(changed, read, strict=True) if judge != engine] == []
    assert 100 < sum(judge for judge, _ in read) < len(read) - 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_judge_reads_what_an_engine_reads_of_what_nobody_means(seed):
    generator = Generator(seed, 4)
    values = [generator.command()[0] for _ in range(1_000)]
    # By their schema all numbers and lengths are right; a record that was damaged has others, and indexes of two bytes.
    records = Records(random.Random(seed), 4, USERS)
    values += [records.mutated(records.structured(kind.__name__)) for kind in COMMANDS for _ in range(20)]
    assert [value.hex() for value in values if len({*is_read(value)}) > 1] == []


def message(code: int | None) -> Any:
    return SimpleNamespace(error=lambda: None if code is None else KafkaError(code), offset=lambda: 7)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, (True, 8)),
        (KafkaError._PARTITION_EOF, (False, 7)),
        (KafkaError.NOT_LEADER_FOR_PARTITION, (False, 3)),
        (KafkaError.LEADER_NOT_AVAILABLE, (False, 3)),
    ],
)
def test_a_leader_that_moves_is_waited_for(code, expected):
    assert _taken(message(code), 3) == expected


def test_an_error_that_stays_ends_the_reading():
    with pytest.raises(KafkaException):
        _taken(message(KafkaError.TOPIC_AUTHORIZATION_FAILED), 3)
