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
        store.restore([tuple(each) for each in TOLD["changelog"]], ORIGIN)
        store.restored()
    yield store
    store.close()


def test_every_kind_of_record_is_read_and_goes_on(store):
    assert records(store) == TOLD["before"]
    story = Story(store, TOLD["now"], TOLD["count"])
    go_on(story)
    for number, (effects, wanted) in enumerate(zip(story.effects, TOLD["effects"], strict=True)):
        assert as_then(effects, wanted) == msgspec.msgpack.decode(wanted), f"command {number}"
    commit(store)
    after = records(store)
    assert set(after) == set(TOLD["after"])
    for key, wanted in TOLD["after"].items():
        if after[key] != wanted:
            assert as_then(after[key], wanted) == msgspec.msgpack.decode(wanted), key


def as_then(record, wanted):
    """A record without the fields that are newer than that release: at their defaults, they say nothing."""
    return without_newer(msgspec.msgpack.decode(record), msgspec.msgpack.decode(wanted))


def without_newer(value, wanted):
    if isinstance(value, list) and isinstance(wanted, list):
        assert not any(value[len(wanted) :]), "a newer field says something"
        return [without_newer(item, then) for item, then in zip(value, wanted, strict=False)]
    if isinstance(value, dict) and isinstance(wanted, dict):
        assert not any(item for key, item in value.items() if key not in wanted), "a newer field says something"
        return {key: without_newer(item, wanted[key]) for key, item in value.items() if key in wanted}
    return value
