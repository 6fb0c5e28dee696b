"""Records of every earlier schema version stay readable."""

import copy
import io
import json
import subprocess
import sys
from pathlib import Path

import fastavro
import pytest

from backbeat.schemas import catalogue, codec
from backbeat.schemas.__main__ import main
from backbeat.schemas.catalogue import HISTORY, RECORDS, fingerprint, load_history
from backbeat.schemas.errors import DecodeError
from tests.schemas.examples import EXAMPLES

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FILES = sorted(GOLDEN.glob("*/*.avro"))


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_bytes_are_read(path):
    _, decode, expected = EXAMPLES[path.stem]
    assert decode(path.read_bytes()) == expected


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_golden_bytes(name):
    assert name in {path.stem for path in GOLDEN_FILES}


@pytest.mark.parametrize("name", RECORDS)
def test_todays_version_is_kept(name):
    path = HISTORY / f"{RECORDS[name].fingerprint.hex()}.avsc"
    assert path.exists(), f"{name} changed. What to do: make schemas, and golden bytes for it."


def test_kept_versions_of_schemas_were_not_changed():
    for key, path in load_history():
        assert fingerprint(json.loads(path.read_bytes())) == key, f"{path.name}: a version that was written is final"


def test_golden_bytes_are_of_versions_that_are_kept():
    kept = {key for key, _ in load_history()}
    for path in GOLDEN_FILES:
        assert path.read_bytes()[2:10] in kept, path


@pytest.fixture
def older_wire(tmp_path, monkeypatch):
    """A history in which ResetNode had no tid, no source, and a field that is gone."""
    schema = copy.deepcopy(RECORDS["ResetNode"].schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in ("tid", "source")]
    schema["fields"].insert(1, {"name": "gone", "type": "string"})
    key = fingerprint(schema)
    (tmp_path / f"{key.hex()}.avsc").write_text(json.dumps(schema))
    monkeypatch.setattr(catalogue, "HISTORY", tmp_path)
    codec.configure(None)
    yield schema, key
    monkeypatch.undo()
    codec.configure(None)


def test_an_older_version_is_read_by_avros_rules(older_wire):
    schema, key = older_wire
    content = {"id": b"i" * 16, "gone": "x", "node_id": b"n" * 16}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), content)
    value = b"\xc3\x01" + key + out.getvalue()
    for _ in range(2):
        command = codec.decode_command(value)
        assert (command.id, command.node_id, command.tid, command.source) == (b"i" * 16, b"n" * 16, "", None)
    with pytest.raises(DecodeError, match="1 bytes left over"):
        codec.decode_command(value + b"x")
    for end in range(10, len(value)):
        with pytest.raises(DecodeError, match="ResetNode"):
            codec.decode_command(value[:end])


def test_bundle_order_and_fingerprints(capsys):
    assert main(["bundle", "ChangeNode"]) == 0
    (schema,) = json.loads(capsys.readouterr().out)
    assert fingerprint(schema) == RECORDS["ChangeNode"].fingerprint
    assert main(["bundle"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(RECORDS)
    assert main(["bundle", "Nothing"]) == 2
    assert "Nothing is no record" in capsys.readouterr().err
    assert main(["order"]) == 0
    assert capsys.readouterr().out.startswith("Uuid\n")
    assert main(["fingerprints"]) == 0
    assert f"{RECORDS['Signal'].fingerprint.hex()} backbeat.Signal\n" in capsys.readouterr().out
    assert main([]) == 2


def test_the_schemas_run_as_a_program():
    run = subprocess.run(
        [sys.executable, "-m", "backbeat.schemas", "bundle", "Signal"], capture_output=True, check=True
    )
    assert json.loads(run.stdout)[0]["name"] == "Signal"
