"""The schema files are those of the structs, and what does not follow from an annotation is marked there."""

import copy
import enum
import io
import json
import subprocess
import sys
from typing import Annotated

import fastavro
import msgspec
import pytest

from backbeat.schemas import catalogue, generate, named_types
from backbeat.schemas.__main__ import main
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.compiler import compile_record
from backbeat.schemas.marks import Id, Long, Mark, Merged, Words
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.named_types import COMMANDS, QUERIES, NamedTypes


def test_the_files_are_those_of_the_structs():
    names = [name for name, _ in generate.differences()]
    assert names == [], "schemas/*.avsc differ from the structs of schemas/messages. What to do: make schemas"


def test_every_command_and_query_is_in_its_union():
    assert set(commands.Command.__subclasses__()) == set(COMMANDS)
    assert set(queries.Query.__subclasses__()) == set(QUERIES)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the schemas, with nothing in it."""
    (tmp_path / "history").mkdir()
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    monkeypatch.setattr(catalogue, "HISTORY", tmp_path / "history")
    return tmp_path


def test_generate_writes_what_differs_and_keeps_every_version(folder, capsys):
    assert main(["generate"]) == 0
    capsys.readouterr()
    assert catalogue.documented("ChangeNode")["name"] == "ChangeNode"
    assert {path.stem for path in folder.glob("history/*")} == {record.fingerprint.hex() for record in RECORDS.values()}
    (folder / "Mode.avsc").write_text("{}")
    (folder / "Gone.avsc").write_text("{}")
    (folder / "Done.avsc").unlink()
    kept = folder / "history" / f"{RECORDS['Signal'].fingerprint.hex()}.avsc"
    kept.unlink()
    earlier = folder / "history" / "0011223344556677.avsc"
    earlier.write_text("{}")
    assert main(["generate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["wrote Done.avsc", "removed Gone.avsc: there is no such type any more", "wrote Mode.avsc"]
    assert lines[3].startswith(f"kept {kept.name}: a new version of Signal. What to do: ")
    assert earlier.read_text() == "{}"
    assert catalogue.fingerprint(json.loads(kept.read_text())) == RECORDS["Signal"].fingerprint
    assert main(["generate"]) == 0
    assert capsys.readouterr().out == ""


def test_a_file_that_is_behind_is_given_to_nobody(folder):
    list(generate.generate())
    path = folder / "Mode.avsc"
    path.write_text(path.read_text().replace('"blocking"', '"obstructing"'))
    with pytest.raises(AssertionError, match="make schemas"):
        catalogue.documented("ChangeNode")


class Size(enum.IntEnum):
    """Size of a parcel."""

    SMALL = 0  #: fits a hand
    LARGE = 1


class Colour(enum.StrEnum):
    """Colour of a parcel."""

    SEA_GREEN = "sea_green"
    LARGE = "large"


class Part(msgspec.Struct, frozen=True):
    """A part."""

    id: Id  #: its id


class ParcelRecord(msgspec.Struct, kw_only=True):
    """A parcel.

    As it is sent.
    """

    id: Id  #: the parcel's id
    weight: Long = 7  #: grams
    #: how often; null: nobody
    #: counted
    count: int | None
    parts: tuple[Part, ...] = ()  #: what is in it. Empty: nothing.
    size: Size = Size.LARGE  #: how large
    price: float = 1.5  #: euros
    data: bytes = b"\xff"  #: anything
    part: Part = Part(b"p")  #: the main one
    #: which of the two
    coloured: Annotated[bool, Words("Which", ("size", "colour"), "which", "A word.")] = False
    either: Annotated[Size | Colour, Merged("Either", "coloured", "Either.")]  #: size or colour
    kind: Annotated[Size, Mark.NUMBER] = Size.SMALL  #: as a number
    note: Annotated[str, Mark.STORED] = ""


@pytest.fixture
def parcel(monkeypatch):
    """The types of a parcel are the only ones there are."""
    types = NamedTypes()
    assert types.struct(ParcelRecord, named_types.record_name(ParcelRecord)) == "backbeat.Parcel"
    monkeypatch.setattr(generate, "TYPES", types.by_name)
    return types


def test_a_struct_with_fields_of_every_kind(parcel):
    documents = generate.document()
    assert list(documents) == ["Uuid", "Part", "Size", "Which", "Either", "Parcel"]
    assert documents["Parcel"] == {
        "type": "record",
        "name": "Parcel",
        "namespace": "backbeat",
        "doc": "A parcel. As it is sent.",
        "fields": [
            {"name": "id", "type": "backbeat.Uuid", "doc": "The parcel's id."},
            {"name": "weight", "type": "long", "doc": "Grams.", "default": 7},
            {
                "name": "count",
                "type": ["null", "int"],
                "doc": "How often; null: nobody counted.",
                "default": None,
            },
            {
                "name": "parts",
                "type": {"type": "array", "items": "backbeat.Part"},
                "doc": "What is in it. Empty: nothing.",
                "default": [],
            },
            {"name": "size", "type": "backbeat.Size", "doc": "How large.", "default": "large"},
            {"name": "price", "type": "double", "doc": "Euros.", "default": 1.5},
            {"name": "data", "type": "bytes", "doc": "Anything.", "default": "ÿ"},
            {"name": "part", "type": "backbeat.Part", "doc": "The main one.", "default": {"id": "p"}},
            {"name": "which", "type": "backbeat.Which", "doc": "Which of the two.", "default": "size"},
            {"name": "either", "type": "backbeat.Either", "doc": "Size or colour."},
            {"name": "kind", "type": "int", "doc": "As a number.", "default": 0},
        ],
    }
    assert documents["Size"]["doc"] == "Size of a parcel. small: fits a hand."
    assert documents["Size"]["symbols"] == ["small", "large"]
    assert documents["Which"]["symbols"] == ["size", "colour"]
    assert documents["Either"]["symbols"] == ["small", "large", "sea_green"]
    assert documents["Uuid"]["size"] == 16


def test_a_struct_of_every_kind_crosses(parcel):
    schema = catalogue.stand_alone("Parcel", {name: named.schema for name, named in parcel.by_name.items()})
    encode, decode = compile_record(schema, parcel.by_name)
    part = Part(b"p" * 16)
    for either, word in ((Colour.LARGE, "large"), (Colour.SEA_GREEN, "sea_green"), (Size.SMALL, "small")):
        coloured = isinstance(either, Colour)
        sent = ParcelRecord(id=b"i" * 16, count=3, part=part, coloured=coloured, either=either, note="here")
        value = encode(sent, b"header")
        arrived = decode(value, 6)
        assert arrived == msgspec.structs.replace(sent, note="")
        assert type(arrived.either) is type(either)
        content = fastavro.schemaless_reader(io.BytesIO(value[6:]), fastavro.parse_schema(schema), None)
        assert (content["which"], content["either"]) == ("colour" if coloured else "size", word)


def test_a_field_without_a_comment_is_refused(monkeypatch):
    class Bare(msgspec.Struct):
        """A struct that says little."""

        id: Id  #: its id
        name: str

    types = NamedTypes()
    types.struct(Bare, "Bare")
    monkeypatch.setattr(generate, "TYPES", types.by_name)
    with pytest.raises(AssertionError, match=r"Bare\.name has no `#:` comment"):
        generate.document()


def test_one_name_for_two_types_is_refused():
    class Mode(enum.IntEnum):
        """Another mode."""

        FAST = 0

    types = NamedTypes()
    types.of(commands.NewNode)
    with pytest.raises(AssertionError, match="Mode is the name of two types"):
        types.of(Mode)


def test_the_first_records_of_a_process_wait_for_no_library():
    program = """
import sys
from backbeat.schemas import codec
from backbeat.schemas.messages.commands import Heartbeat
command = Heartbeat(id=bytes(16), user_id=bytes(16), node_id=bytes(16), attempt=1)
assert codec.decode_command(codec.encode_command(command)) == command
assert "fastavro" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_struct_that_has_changed_since_has_another_fingerprint():
    schema = copy.deepcopy(RECORDS["Heartbeat"].schema)
    schema["fields"].append({"name": "mood", "type": "string", "default": ""})
    assert catalogue.Record(schema).fingerprint == catalogue.fingerprint(schema)
    assert catalogue.Record(schema).fingerprint != RECORDS["Heartbeat"].fingerprint
