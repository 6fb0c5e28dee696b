"""Confluent's wire format, with a registry: a real HTTP server on loopback that speaks the registry's API."""

import copy
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
import pytest

from backbeat.schemas import codec
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.errors import DecodeError, RegistryError
from backbeat.schemas.requests.signals import SignalRequest
from tests.schemas.examples import COMMANDS, EXAMPLES, SIGNAL_REQUEST

pytest.importorskip("confluent_kafka.schema_registry", reason="needs the extra `registry`")


class RegistryServer(ThreadingHTTPServer):
    """As much of Confluent Schema Registry's API as its client asks for to register and to look up."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.texts: list[str] = []
        self.subjects: dict[str, int] = {}
        self.requests = 0
        self.broken = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


class Handler(BaseHTTPRequestHandler):
    server: RegistryServer

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = self.path.split("/")[2]
        self.server.subjects[subject] = schema_id = self.server.add(content["schema"])
        self.answer(200, {"id": schema_id, "subject": subject, "version": 1, "schema": content["schema"]})

    def do_GET(self):
        schema_id = int(self.path.split("/")[3].split("?")[0])
        if not 0 < schema_id <= len(self.server.texts):
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            self.answer(200, {"schema": self.server.texts[schema_id - 1]})

    def answer(self, status, content):
        self.server.requests += 1
        if self.server.broken:
            status, content = 400, {"error_code": 40001, "message": "broken"}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def registry():
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    codec.configure(server.url)
    yield server
    codec.configure(None)
    server.shutdown()
    thread.join()
    server.server_close()


def test_records_are_written_with_the_registrys_id_and_read(registry):
    registry.add('"string"')
    for _ in range(2):
        for command in COMMANDS:
            value = codec.encode_command(command)
            assert value[:1] == b"\x00"
            assert int.from_bytes(value[1:5], "big") == registry.subjects[f"backbeat.{type(command).__name__}"]
            assert value[5:] == EXAMPLES[type(command).__name__][0][10:]
            assert codec.decode_command(value) == command
    # Asked once a schema to write; to read, the client remembers what it registered.
    assert registry.requests <= 2 * len(COMMANDS)


def test_single_object_records_are_read_too(registry):
    for value, decode, expected in EXAMPLES.values():
        assert decode(value) == expected


def test_a_services_own_version_of_the_schema(registry):
    schema = copy.deepcopy(RECORDS["SignalRequest"].schema)
    names = ("workflow", "subject", "decider", "signal")
    schema["fields"] = [field for field in schema["fields"] if field["name"] in names]
    schema_id = registry.add(json.dumps(schema))
    out = io.BytesIO()
    content = {"workflow": "W", "subject": '"S"', "decider": "D", "signal": "N"}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), content)
    request = codec.decode_request(b"\x00" + schema_id.to_bytes(4, "big") + out.getvalue(), None)
    assert request == SignalRequest(workflow="W", subject=b'"S"', decider="D", signal="N")


def test_signals_in_confluents_format(registry):
    value = codec.encode_signal(SIGNAL_REQUEST)
    assert value[:1] == b"\x00"
    assert codec.decode_request(value, None) == SIGNAL_REQUEST


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"string"', "no Avro record that stands alone"),
        ("no json", "no Avro record that stands alone"),
        ('{"type": "record", "name": "Other", "namespace": "x", "fields": []}', "x.Other is no record of ours"),
    ],
)
def test_what_is_no_record_of_ours_is_refused(registry, text, reason):
    schema_id = registry.add(text)
    with pytest.raises(DecodeError, match=reason):
        codec.decode_command(b"\x00" + schema_id.to_bytes(4, "big") + b"\x00")


def test_an_unknown_id_is_refused(registry):
    with pytest.raises(DecodeError, match="knows no schema 77"):
        codec.decode_command(b"\x00\x00\x00\x00\x4d")
    with pytest.raises(DecodeError, match="truncated: 3 of the 5 bytes"):
        codec.decode_command(b"\x00\x00\x00")


def test_a_registry_that_fails_is_no_fault_of_the_record(registry):
    registry.broken = True
    with pytest.raises(RegistryError, match=r"did not take the schema of backbeat\.CreateWorkflow"):
        codec.encode_command(COMMANDS[0])
    with pytest.raises(RegistryError, match="did not give schema 1"):
        codec.decode_command(b"\x00\x00\x00\x00\x01")
