"""Poison of the drill: every kind of the fuzzers, and nothing that an engine would take."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from backbeat.compose.drill.poison.kinds import Poisons, Sample, is_refused
from backbeat.compose.drill.poison.records import MUTATIONS
from backbeat.compose.verify.avro import UnreadableError
from backbeat.compose.verify.rules.checks import Refused, check_record
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, signals_topic
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from tests.compose.verify.log import READER
from tests.fuzz.generator import Generator

PARTITIONS = 4
USER = b"alice-alice-alic"
#: What the fuzzers draw, and the kinds of the drill that are it.
KINDS = {
    "command": {
        "a command by the schema",
        "a command in another partition",
        *(f"a command, {name}" for name in MUTATIONS),
    },
    "query": {"a query by the schema", "a query that was mutated"},
    "document": {"a signal with fields of any kind"},
    "record": {"a signal by the schema"},
}
#: The registry of clients is kept for ever, and no drill writes into that of an installation; plans and times are no
#: records.
NOT_PLAYED = {"client", "plan", "time"}


def sample(number):
    workflow = c.NewWorkflow(user_id=USER, name="order", subject=b'"%d"' % number, decider="D")
    workflow_id = ids.workflow_id(USER, "order", workflow.subject)
    node = c.NewNode(name="pay", user_id=USER, type="decision")
    command = c.Signal(
        id=number.to_bytes(16, "big"), user_id=USER, tid="t", workflow_id=workflow_id, workflow=workflow, node=node
    )
    return Sample(codec.encode_command(command), ids.partition_of(workflow_id, PARTITIONS))


def make_poisons(seed):
    samples = [sample(number) for number in range(5)]
    assert not any(is_refused(each.value, each.partition, PARTITIONS) for each in samples)
    return Poisons(random.Random(seed), PARTITIONS, samples, "drill")


def test_the_drill_has_every_kind_of_the_fuzzers():
    drawn = {
        name
        for kind in (Generator, *Generator.__bases__)
        for name in vars(kind)
        if not name.startswith("_") and name not in ("note", "structured", "mutated")
    }
    assert drawn == {*KINDS, *NOT_PLAYED}
    assert set().union(*KINDS.values()) <= set(make_poisons(1).kinds)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_comes_in_turn_and_no_engine_takes_any(seed):
    poisons = make_poisons(seed)
    kinds = Counter()
    for _ in range(3 * len(poisons.kinds)):
        record = poisons.draw()
        kinds[record.kind] += 1
        if record.topic == COMMANDS:
            assert 0 <= record.partition < PARTITIONS
            assert record.value is None or is_refused(record.value, record.partition, PARTITIONS), record
            # Nor does the judge.
            with pytest.raises((UnreadableError, Refused)):
                check_record(*READER.read(record.value), record.partition, 5, PARTITIONS)
        elif record.topic == signals_topic("drill"):
            with pytest.raises(DecodeError):
                codec.decode_request(record.value, None)
        else:
            # A query changes nothing, whatever it asks for.
            assert record.topic == QUERIES
            with pytest.raises(DecodeError):
                codec.decode_command(record.value)
    assert kinds == dict.fromkeys(poisons.kinds, 3)


def test_without_commands_to_copy_there_are_kinds_enough():
    poisons = Poisons(random.Random(1), 1, [], "drill")
    assert {poisons.draw().kind for _ in range(len(poisons.kinds))} == set(poisons.kinds)
    assert len(poisons.kinds) < len(make_poisons(1).kinds)
