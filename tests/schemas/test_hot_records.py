"""Functions of records that were made ahead, as a compiled wheel has them; here in Python."""

import sys

import pytest

from backbeat import schemas
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.compiler import compile_record
from backbeat.schemas.named_types import TYPES
from backbeat.schemas.wire import HEADER_BYTES, Wire, compiled_functions
from compose.setup import hot_records
from tests.schemas.examples import EXAMPLES

MODULE = "backbeat.schemas.hot_records"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installation that has them."""
    (tmp_path / hot_records.PLACE.rpartition("/")[2]).write_text(hot_records.source())
    monkeypatch.setattr(schemas, "__path__", [str(tmp_path)])
    monkeypatch.delenv("BACKBEAT_PURE", raising=False)
    sys.modules.pop(MODULE, None)
    yield
    sys.modules.pop(MODULE, None)
    vars(schemas).pop("hot_records", None)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", hot_records.NAMES)
def test_generated_codecs_write_and_read_the_same_as_avro(name):
    functions = compiled_functions(name)
    assert functions is not None
    encode, decode = functions
    assert encode.__module__ == decode.__module__ == MODULE
    value = EXAMPLES[name][0]
    record = compile_record(RECORDS[name].schema, TYPES)[1](value, HEADER_BYTES)
    assert decode(value, HEADER_BYTES) == record
    assert encode(record, value[:HEADER_BYTES]) == value
    for damaged in (value[:-1], value + b"\0"):
        with pytest.raises((ValueError, LookupError)):
            decode(damaged, HEADER_BYTES)


@pytest.mark.usefixtures("installed")
def test_a_process_takes_them_where_they_are():
    assert compiled_functions("GetNode") is None
    assert Wire().decode(EXAMPLES["GetNode"][0])[0] == "GetNode"
    assert MODULE in sys.modules
    assert Wire()._functions("Activity")[1].__module__ == MODULE


@pytest.mark.usefixtures("installed")
def test_nobody_takes_them_where_python_is_asked_for(monkeypatch):
    monkeypatch.setenv("BACKBEAT_PURE", "1")
    assert compiled_functions("Activity") is None
    assert MODULE not in sys.modules
