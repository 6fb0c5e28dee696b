"""The public door for messages: what services may publish, and what is refused with which reason."""

import json

import msgspec
import pytest

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX
from backbeat.schemas.requests.messages import MessageRequest
from backbeat.schemas.varint import write_long
from tests.schemas.test_signals import SMALLEST as SIGNAL

SMALLEST = {"workflow": "W", "subject": "Camera 703", "message": "approval"}


def read(headers=None, **changes):
    return codec.decode_request(json.dumps({**SMALLEST, **changes}).encode(), headers)


def test_the_smallest_document():
    assert read() == MessageRequest(workflow="W", subject=b'"Camera 703"', message="approval", value=b"null")


@pytest.mark.parametrize("value", [None, 0, "", [], {"by": "Grace", "sum": 1.5}])
def test_any_value_in_json_and_avro(value):
    request = read({"backbeat-tid": "t"}.items(), value=value, id="one")
    assert (json.loads(request.value), request.id, request.tid) == (value, "one", "t")
    assert codec.decode_request(codec.encode_message(request), {"backbeat-tid": "t"}.items()) == request


def test_a_header_is_as_good_as_the_field():
    assert read([("backbeat-id", b"one")]) == read(id="one")


@pytest.mark.parametrize("field", sorted(SIGNAL.keys() - SMALLEST.keys()))
def test_a_record_is_a_signal_or_a_message(field):
    with pytest.raises(DecodeError, match=f"field `{field}` is a signal's, and field `message` makes it a message"):
        read(**{field: SIGNAL[field]})


@pytest.mark.parametrize(("document", "reason"), [
    ({**SIGNAL, "value": 1}, "field `value` is a message's: missing field `message`"),
    ({**SMALLEST, "message": " "}, "missing field `message`"),
    ({**SMALLEST, "workflow": ""}, "missing field `workflow`"),
    ({**SMALLEST, "subject": {}}, "field `subject`: the subject is empty"),
    ({**SMALLEST, "client_data": {}}, "field `client_data` is a signal's"),
    ({**SMALLEST, "options": {}}, "field `options` is a signal's"),
    ({**SMALLEST, "beside": False}, "field `beside` is a signal's"),
    ({**SMALLEST, "valeu": 1}, "unknown field `valeu`"),
])  # fmt: skip
def test_bad_messages(document, reason):
    with pytest.raises(DecodeError, match=reason):
        codec.decode_request(json.dumps(document).encode())


DEPTH = JSON_DEPTH_MAX + 1


@pytest.mark.parametrize("text", [b"{", b"1e400", b'"\\ud800"', b"[" * DEPTH + b"]" * DEPTH, b"\xff"])
def test_values_that_not_everybody_could_read(text):
    with pytest.raises(DecodeError):
        codec.decode_request(b'{"workflow":"W","subject":1,"message":"m","value":' + text + b"}")
    avro = codec.encode_message(MessageRequest(workflow="W", subject=b"1", message="m"))
    with pytest.raises(DecodeError):
        codec.decode_request(avro.replace(b"\x08null", write_long(len(text)) + text))


def test_nulls_are_as_absent():
    assert read(**dict.fromkeys(("value", "id", "name", "signal", "client_data", "options", "beside"))) == read()
    assert msgspec.structs.asdict(read())["value"] == b"null"
