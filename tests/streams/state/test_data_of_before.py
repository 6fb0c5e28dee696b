"""A data directory and a changelog of an earlier release are read, and go on as they did there, byte for byte."""

import io
import tarfile

import msgspec
import pytest

from backbeat.streams.state.store import PartitionStore
from tests.streams.core.every_command import PARTITION, Story, go_on
from tests.streams.state.golden_store import ORIGIN, STORE, STORY, commit, records

TOLD = msgspec.msgpack.decode(STORY.read_bytes())


@pytest.fixture(params=["data directory", "changelog"])
def store(request, tmp_path):
    if request.param == "data directory":
        with tarfile.open(fileobj=io.BytesIO(STORE.read_bytes())) as archive:
            archive.extractall(tmp_path, filter="data")
        store = PartitionStore(tmp_path / "partition", PARTITION)
    else:
        store = PartitionStore(tmp_path / "restored", PARTITION)
        store.restore([tuple(record) for record in TOLD["changelog"]], ORIGIN)
        store.restored()
    yield store
    store.close()


def test_every_kind_of_record_is_read_and_goes_on(store):
    assert records(store) == TOLD["before"]
    story = Story(store, TOLD["now"], TOLD["count"])
    go_on(story)
    for number, (effects, golden) in enumerate(zip(story.effects, TOLD["effects"], strict=True)):
        assert as_then(effects, golden) == msgspec.msgpack.decode(golden), f"command {number}"
    commit(store)
    after = records(store)
    assert set(after) == set(TOLD["after"])
    for key, golden in TOLD["after"].items():
        if after[key] != golden:
            assert as_then(after[key], golden) == msgspec.msgpack.decode(golden), key


def as_then(record, golden):
    """A record without the fields that are newer than that release: at their defaults, they say nothing."""
    return without_newer(msgspec.msgpack.decode(record), msgspec.msgpack.decode(golden))


def without_newer(value, golden):
    if isinstance(value, list) and isinstance(golden, list):
        assert not any(value[len(golden) :]), "a newer field says something"
        return [without_newer(item, then) for item, then in zip(value, golden, strict=False)]
    if isinstance(value, dict) and isinstance(golden, dict):
        assert not any(item for key, item in value.items() if key not in golden), "a newer field says something"
        return {key: without_newer(item, golden[key]) for key, item in value.items() if key in golden}
    return value
