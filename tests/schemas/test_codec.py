"""Values to bytes and back, for every record; the same bytes in other libraries; no other bytes accepted."""

import io
import json
from typing import Any

import avro.io
import avro.schema
import fastavro
import msgspec
import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given, settings
from hypothesis import strategies as st

from backbeat.schemas import codec
from backbeat.schemas.catalogue import RECORDS, load_sources
from backbeat.schemas.errors import DecodeError, EncodeError
from backbeat.schemas.kafka.topics import RECORD_BYTES_MAX
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.commands import OpenLink, ResetNode
from backbeat.schemas.messages.history import NodeChange, NodeProgress, Progress, StatusChange
from backbeat.schemas.messages.replies import Made
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import LinkWait
from backbeat.schemas.varint import read_int, read_long, write_int, write_long
from backbeat.streams.core import effects
from tests.schemas import examples
from tests.schemas.examples import EXAMPLES, NODE, identity

DECODERS = (
    codec.decode_command,
    codec.decode_query,
    codec.decode_reply,
    codec.decode_activity,
    codec.decode_status_changes,
    codec.decode_request,
)


def test_there_is_an_example_of_every_record():
    assert set(EXAMPLES) == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_written_is_read(name):
    value, decode, expected = EXAMPLES[name]
    assert decode(value) == expected


@pytest.mark.parametrize("name", RECORDS)
def test_apaches_library_reads_what_we_write(name):
    value = EXAMPLES[name][0]
    schema = avro.schema.parse(json.dumps(RECORDS[name].schema))
    source = io.BytesIO(value[10:])
    theirs = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(source))
    assert source.read() == b""
    assert theirs == fastavro.schemaless_reader(io.BytesIO(value[10:]), RECORDS[name].parsed, None)


def crc_64_avro(text: bytes) -> bytes:
    """As the Avro specification has it, bit by bit."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in text:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
    return value.to_bytes(8, "little")


@pytest.mark.parametrize("name", RECORDS)
def test_the_header_is_marker_and_fingerprint_of_the_canonical_form(name):
    canonical = to_parsing_canonical_form(RECORDS[name].schema)
    # (Apache's Python library spells a type out again in a union, against the specification; Java's does not.)
    assert canonical.count('"size":16') == ('"backbeat.Uuid"' in canonical)
    assert EXAMPLES[name][0][:10] == b"\xc3\x01" + crc_64_avro(canonical.encode())


def test_apaches_library_has_the_same_fingerprint():
    schema = avro.schema.parse(json.dumps(RECORDS["SignalRequest"].schema))
    assert schema.fingerprint("CRC-64-AVRO") == RECORDS["SignalRequest"].fingerprint


@pytest.mark.parametrize("name", RECORDS)
def test_we_read_what_fastavro_writes(name):
    value, decode, expected = EXAMPLES[name]
    content = fastavro.schemaless_reader(io.BytesIO(value[10:]), RECORDS[name].parsed, None)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, RECORDS[name].parsed, content)
    assert out.getvalue() == value[10:]
    assert decode(value[:10] + out.getvalue()) == expected


def test_arrays_in_sized_blocks_are_read():
    # Java's blocking encoder writes a negative count and the block's bytes.
    made = Made((identity(1), identity(2)))
    value = codec.encode_reply(examples.REPLY_TO, made, "")
    whole = b"\x04" + identity(1) + identity(2) + b"\x00"
    assert value.endswith(whole)
    blocks = write_long(-1) + write_long(16) + identity(1) + write_long(1) + identity(2) + b"\x00"
    assert codec.decode_reply(value.removesuffix(whole) + blocks).answer == made


@pytest.mark.parametrize("server", [False, True])
def test_every_status_crosses(server):
    machine = ServerStatus if server else ClientStatus
    changes = tuple(
        NodeChange(identity(1), StatusChange(server, before, after, 0, None)) for before in machine for after in machine
    )
    value = codec.encode_status_changes(effects.StatusChanged(identity(2), changes).records("")[0])
    decoded = codec.decode_status_changes(value).changes
    assert decoded == changes
    assert {type(change.change.from_status) for change in decoded} == {machine}


@pytest.mark.parametrize(
    ("count", "size", "records_count"),
    [
        (500, 8_500, 5),
        (16, 256 * 1024, 4),
        (2, 2 * 1024 * 1024 - 4096, 2),
        (2, 512 * 1024, 1),
        (500, None, 1),
        (0, 9, 1),
    ],
)
def test_status_changes_are_in_records_that_kafka_takes(count, size, records_count):
    response = None if size is None else b"x" * size
    machine = ClientStatus
    change = StatusChange(False, machine.RECEIVED, machine.COMPLETE, 0, response)
    changes = tuple(NodeChange(identity(number % 200), change) for number in range(count))
    progress = (NodeProgress(identity(1), 0, Progress(0.5)),)
    records = effects.StatusChanged(identity(2), changes, progress).records("t")
    assert len(records) == records_count
    assert tuple(change for record in records for change in record.changes) == changes
    assert [record.progress for record in records] == [()] * (records_count - 1) + [progress]
    for record in records:
        assert len(codec.encode_status_changes(record)) <= RECORD_BYTES_MAX


def test_a_status_of_the_other_machine_is_refused():
    change = StatusChange(True, ServerStatus.STARTED, ServerStatus.STARTED, 0, None)
    changed = effects.StatusChanged(identity(2), (NodeChange(identity(1), change),))
    value = bytearray(codec.encode_status_changes(changed.records("")[0]))
    at = value.index(identity(1)) + 16
    assert value[at] == 2
    value[at] = 0
    with pytest.raises(DecodeError, match="a status that its machine does not have"):
        codec.decode_status_changes(bytes(value))


def test_a_branch_in_two_bytes_is_refused_as_that():
    value = codec.encode_command(ResetNode(id=identity(1), node_id=identity(2), user_id=identity(3)))
    at = value.index(identity(3)) - 1
    assert value[at] == 2
    with pytest.raises(DecodeError, match="`user_id`: an index of 2 bytes"):
        codec.decode_command(value[:at] + b"\x82\x00" + value[at + 1 :])


def test_the_links_that_a_signal_is_followed_along_cross():
    waits = (LinkWait(identity(5), identity(4), "pay"), LinkWait(identity(7), identity(3), "é", 0))
    command = OpenLink(
        id=identity(1), target_id=identity(7), child_id=identity(6), signal=examples.SIGNAL, waits=waits, waits_at=1
    )
    assert codec.decode_command(codec.encode_command(command)) == command


def test_source_marks_a_command():
    command = msgspec.structs.replace(examples.COMMANDS[5], source=None)
    decoded = codec.decode_command(codec.encode_command(command, examples.SOURCE))
    assert decoded == msgspec.structs.replace(command, source=examples.SOURCE)


@pytest.mark.parametrize(
    ("type_", "kind"), [("decision", "decision"), ("activity", "activity"), ("something", "activity")]
)
def test_kind_of_an_activity(type_, kind):
    node = msgspec.structs.replace(NODE, type=type_)
    record = codec.decode_activity(codec.encode_activity(effects.Dispatch(node).record()))
    assert record == ActivityRecord(node, ActivityKind(kind), None, None, None)


VALUE = EXAMPLES["ChangeNode"][0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "begins with nothing"),
        (b'{"a":1}', "begins with 7b 22"),
        (b"\xc3\x01abc", "truncated: 5 of the 10 bytes of a header"),
        (b"\xc3\x01abcdefgh", "unknown fingerprint 6162636465666768"),
        (b"\x00\x00\x00\x00\x01", "no schema registry is configured"),
        (VALUE[:15], "ChangeNode: truncated: field `id` has 5 of 16 bytes"),
        (VALUE[:-1], "ChangeNode: truncated: field `compensate` has 0 of 1 bytes"),
        (VALUE[:-4], "ChangeNode: truncated: field `attempted` has 0 of 1 bytes"),
        (VALUE[:-5], "ChangeNode: truncated: it ends before field `retry_after_seconds`"),
        (VALUE[:-6], "ChangeNode: truncated: field `retriable` has 0 of 1 bytes"),
        (VALUE[:-7], "ChangeNode: truncated: it ends before field `attempt`"),
        (VALUE + b"\x00\x00", "ChangeNode: 2 bytes left over"),
        (VALUE[:26] + b"\x08" + VALUE[27:], "field `user_id` is branch 4 of a union of 2"),
        (VALUE.replace("é".encode(), b"\xff\xff"), "field `tid` is no UTF-8"),
        (
            VALUE.replace(b"\x1eNotify Customer", b"\x1fNotify Customer"),
            r"field `children\[0\].name` has the length -16",
        ),
        (EXAMPLES["Activity"][0], "wrong type: a Activity where a command was expected"),
    ],
)
def test_a_decode_error_names_the_field_and_the_reason(value, reason):
    with pytest.raises(DecodeError, match=reason):
        codec.decode_command(value)


def test_an_endless_array_is_refused_at_once():
    start = VALUE.index(b"\x04\x1eNotify")
    value = VALUE[:start] + write_long(2**62) + VALUE[start + 1 :]
    with pytest.raises(DecodeError, match="field `children` announces 4611686018427387904 items"):
        codec.decode_command(value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(bad):
    command = msgspec.structs.replace(
        examples.SIGNAL, node=msgspec.structs.replace(examples.PLAIN_NODE, retry_interval_seconds=bad)
    )
    with pytest.raises(DecodeError, match=r"field `node.retry_interval_seconds` is no finite number"):
        codec.decode_command(codec.encode_command(command))


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": b"short"},
        {"node_id": "x" * 16},
        {"node_id": None},
        {"status": 5},
        {"status": "\ud800"},
        {"attempt": 2**31},
        {"children": (NODE,)},
    ],
)
def test_what_does_not_fit_is_not_written(change):
    with pytest.raises(EncodeError, match="ChangeNode does not fit its schema"):
        codec.encode_command(msgspec.structs.replace(examples.COMMANDS[3], **change))


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(number):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert write_long(number) == out.getvalue()
    assert read_long(b"x" + write_long(number) + b"y", 1) == (number, 1 + len(out.getvalue()))


@pytest.mark.parametrize("number", [2**13 - 1, 2**13, 2**27, 2**41 - 1, 2**41, 2**63 - 1, -(2**63), -1, 0])
def test_numbers_at_the_seams(number):
    assert read_long(write_long(number), 0) == (number, len(write_long(number)))


def test_numbers_with_too_many_bits():
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match="more than 64 bits"):
            write_long(number)
    for number in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="more than 32 bits"):
            write_int(number)
        with pytest.raises(ValueError, match="more than 32 bits"):
            read_int(write_long(number), 0)
    with pytest.raises(ValueError, match="without an end"):
        read_long(b"\xff" * 11, 0)
    with pytest.raises(ValueError, match="without an end"):
        read_long(b"\xff" * 9 + b"\x7f", 0)


def value_or_refusal(decode: Any, value: bytes) -> None:
    try:
        decode(value)
    except DecodeError as error:
        assert str(error)  # noqa: PT017 - either outcome is right; a refusal gives its reason


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(DECODERS))
def test_any_bytes(value, decode):
    value_or_refusal(decode, value)


@settings(max_examples=1500)
@given(st.data())
def test_any_damage(data):
    value, decode, _ = EXAMPLES[data.draw(st.sampled_from(sorted(EXAMPLES)))]
    value = value[:400] if data.draw(st.booleans()) else value
    damaged = bytearray(value)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(10, max(10, min(len(damaged), 500) - 1)))
        end = at + data.draw(st.integers(0, 3))
        damaged[at:end] = data.draw(st.binary(max_size=6))
    value_or_refusal(decode, bytes(damaged))


def test_every_type_and_field_is_documented():
    for name, source in load_sources().items():
        assert source["doc"].strip(), name
        assert source["namespace"] == "backbeat"
        for field in source.get("fields", ()):
            assert field["doc"].strip(), f"{name}.{field['name']}"


def test_the_files_load_in_the_order_that_is_documented():
    known: dict[str, Any] = {}
    for source in load_sources().values():
        fastavro.parse_schema(source, known)
    for record in RECORDS.values():
        assert record.full_name in known
