"""The public door: what services may send, and what is refused with which reason."""

import json
import uuid

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.values import Backoff, Coalesce
from backbeat.schemas.requests import signals
from backbeat.schemas.requests.signals import SignalRequest
from tests.schemas.examples import SIGNAL_REQUEST

SMALLEST = {"workflow": "W", "subject": "Camera 703", "decider": "D", "signal": "Make Purchase"}
TEXT = str(uuid.uuid4())


def read(headers=None, **changes):
    return codec.decode_request(json.dumps({**SMALLEST, **changes}).encode(), headers)


def test_the_smallest_document():
    assert read() == SignalRequest(workflow="W", subject=b'"Camera 703"', decider="D", signal="Make Purchase")


def test_everything_in_a_document():
    assert read(
        id="order-1",
        client_data={"b": 1, "a": [1, 2]},
        metadata={"m": None},
        fires_at=1_790_000_000_000,
        retry=2,
        retry_interval=5,
        client_id=TEXT,
        parent_link_id=TEXT.upper(),
        coalesce_key="index",
        coalesce="drop",
        mode="blocking",
    ) == SignalRequest(
        workflow="W",
        subject=b'"Camera 703"',
        decider="D",
        signal="Make Purchase",
        id="order-1",
        client_data=b'{"b": 1, "a": [1, 2]}',
        metadata=b'{"m": null}',
        fires_at=1_790_000_000_000,
        retry=2,
        retry_interval=5.0,
        client_id=uuid.UUID(TEXT).bytes,
        parent_link_id=uuid.UUID(TEXT).bytes,
        coalesce_key="index",
        coalesce=Coalesce.DROP,
    )


def test_signals_that_become_one_in_avro():
    request = SignalRequest(
        workflow="W", subject=b"7", decider="D", signal="N", coalesce_key="index", coalesce=Coalesce.DROP
    )
    assert codec.decode_request(codec.encode_signal(request)) == request


@pytest.mark.parametrize(("changes", "why"), [
    ({"coalesce_key": " "}, "`coalesce_key` is blank"),
    ({"coalesce_key": "k", "coalesce": "keep"}, "`coalesce` is keep, and there are replace, drop"),
])  # fmt: skip
def test_what_signals_that_become_one_must_say(changes, why):
    with pytest.raises(DecodeError, match=why):
        read(**changes)


def test_nulls_are_as_absent():
    nulls = dict.fromkeys((*SignalRequest.__struct_fields__, "options", "mode"))
    del nulls["tid"], nulls["backoff"]
    nulls |= dict.fromkeys(("retry_factor", "retry_longest", "retry_jitter"))
    assert read(**{**nulls, **SMALLEST}) == read()


def test_growing_waits_are_said_by_any_of_three_numbers():
    assert read(retry_interval=5).backoff is None
    assert read(retry_factor=1.5).backoff == Backoff(1.5)
    everything = {"retry_factor": 3, "retry_longest": 60, "retry_jitter": 0}
    assert read(**everything).backoff == Backoff(3.0, 60.0, 0.0)
    assert signals.from_record(signals.to_record(read(**everything)), None) == read(**everything)


def test_options_take_the_place_of_the_top_level():
    request = read(client_data={"a": 1}, metadata={"a": 1}, options={"metadata": {"b": 2}, "parent_link_id": TEXT})
    assert (request.client_data, request.metadata) == (b"{}", b'{"b": 2}')
    assert request.parent_link_id == uuid.UUID(TEXT).bytes


@pytest.mark.parametrize("key", ["name", "workflow_type"])
def test_other_words_for_workflow(key):
    document = {key: "Other", **{name: SMALLEST[name] for name in ("subject", "decider", "signal")}}
    assert codec.decode_request(json.dumps(document).encode()).workflow == "Other"


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        ("Größe", '"Größe"'),
        ({"b": 1, "a": {"d": [1, None], "c": ""}}, '{"b":1,"a":{"d":[1,null],"c":""}}'),
        ([[]], "[[]]"),
        (2**70, str(2**70)),
    ],
)
def test_subjects_are_compact_text_with_keys_as_sent(subject, text):
    assert read(subject=subject).subject == text.encode()
    avro = codec.encode_signal(msgspec.structs.replace(SIGNAL_REQUEST, subject=json.dumps(subject).encode()))
    assert codec.decode_request(avro).subject == text.encode()


@pytest.mark.parametrize("subject", [None, False, "", " \t\n", {}, []])
def test_empty_subjects_are_refused(subject):
    with pytest.raises(DecodeError, match="subject"):
        read(subject=subject)
    avro = codec.encode_signal(msgspec.structs.replace(SIGNAL_REQUEST, subject=json.dumps(subject).encode()))
    with pytest.raises(DecodeError, match="subject"):
        codec.decode_request(avro)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-09-21T14:13:20Z", 1_790_000_000_000),
        ("2026-09-21T14:13:20", 1_790_000_000_000),
        ("2026-09-21T16:13:20.5+02:00", 1_790_000_000_500),
    ],
)
def test_times(text, milliseconds):
    assert read(fires_at=text).fires_at == milliseconds


@pytest.mark.parametrize("name", ["workflow", "subject", "decider", "signal"])
@pytest.mark.parametrize("absent", [{}, {"value": None}, {"value": " "}])
def test_missing_fields_are_named(name, absent):
    document = {key: value for key, value in SMALLEST.items() if key != name}
    if absent:
        document[name] = absent["value"]
    with pytest.raises(DecodeError, match=f"field `{name}`"):
        codec.decode_request(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signal": 5}, r"Expected `str \| null`, got `int` - at `\$.signal`"),
        ({"clientData": {}}, "unknown field `clientData`"),
        ({"options": {"client_id": TEXT}}, "unknown field `client_id`"),
        ({"client_data": [1]}, "`client_data` is no JSON object"),
        ({"metadata": "x"}, "`metadata` is no JSON object"),
        ({"mode": "non_blocking"}, "`mode` is non_blocking"),
        ({"fires_at": "tomorrow"}, "`fires_at` is neither"),
        ({"fires_at": -1}, "`fires_at` is out of range"),
        ({"fires_at": 253_402_300_800_000}, "`fires_at` is out of range"),
        ({"retry": -1}, "`retry` is -1"),
        ({"retry": 2**31}, "`retry` is 2147483648"),
        ({"retry_interval": -0.5}, "`retry_interval` is -0.5"),
        ({"retry_factor": 0.5}, "`retry_factor` is 0.5, and 1 is the least"),
        ({"retry_longest": -1}, "`retry_longest` is -1, and 0 is the least"),
        ({"retry_jitter": 2}, "`retry_jitter` is 2, and 0 is the least and 1 the most"),
        ({"client_id": "me"}, "`client_id` is no UUID: me"),
        ({"parent_link_id": "x" * 36}, "`parent_link_id` is no UUID"),
    ],
)
def test_bad_fields_are_named(changes, reason):
    with pytest.raises(DecodeError, match=reason):
        read(**changes)


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"1", b"{", b'{"a"', b"\xff", b'{"workflow":"\xff"}', b"[" * 100_000, b'{"subject":1e999}']
)
def test_a_signal_that_is_no_json_object_is_refused(value):
    with pytest.raises(DecodeError):
        codec.decode_request(value)


@pytest.mark.parametrize("field", ["client_data", "metadata", "subject"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1e400}', "out of range"),
        ('{"a":"\\ud800"}', "JSON"),
        ('{"a":' + "[" * 3_000 + "]" * 3_000 + "}", "nested more than"),
        ('{"a":' + "[" * 210 + "]" * 210 + "}", "nested more than 20. levels"),
    ],
)
def test_texts_that_not_everybody_could_read(field, text, reason):
    document = json.dumps({**SMALLEST, field: "PLACE"}).replace('"PLACE"', text).encode()
    with pytest.raises(DecodeError, match=reason):
        codec.decode_request(document)
    avro = codec.encode_signal(msgspec.structs.replace(SIGNAL_REQUEST, **{field: text.encode()}))
    with pytest.raises(DecodeError, match=reason):
        codec.decode_request(avro)


def test_payloads_that_are_no_utf8():
    value = json.dumps({**SMALLEST, "client_data": {"a": "PLACE"}}).encode().replace(b"PLACE", b"\xff\xfe")
    with pytest.raises(DecodeError):
        codec.decode_request(value)


def test_headers_give_id_and_transaction_id():
    headers = [("backbeat-id", b"from header"), ("backbeat-tid", "tid-1"), ("other", None)]
    request = read(headers)
    assert (request.id, request.tid) == ("from header", "tid-1")
    assert read(headers, id="own").id == "own"
    with pytest.raises(DecodeError, match="header backbeat-id is no UTF-8"):
        read([("backbeat-id", b"\xff")])


def test_avro_fields_are_checked_as_well():
    for change, reason in (
        ({"client_data": b"[1]"}, "`client_data` is no JSON object"),
        ({"metadata": b"{"}, "`metadata` is no JSON"),
        ({"subject": b"Camera 703"}, "`subject` is no JSON"),
        ({"retry": -1}, "`retry` is -1"),
        ({"workflow": ""}, "missing field `workflow`"),
    ):
        value = codec.encode_signal(msgspec.structs.replace(SIGNAL_REQUEST, **change))
        with pytest.raises(DecodeError, match=reason):
            codec.decode_request(value)


# The tables of Unicode are made when the first text is drawn.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*SMALLEST, "options", "client_data", "fires_at", "retry", "client_id", "id"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_any_document(document):
    try:
        request = codec.decode_request(json.dumps({**SMALLEST, **document}).encode())
    except DecodeError:
        return
    assert codec.decode_request(codec.encode_signal(request)) == request
