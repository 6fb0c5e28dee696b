"""A data directory and a changelog of an earlier release are read, and go on as they did there, byte for byte."""

import io
import tarfile

import msgspec
import pytest

from backbeat.streams.state.store import META_KEY, PartitionStore
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
        assert msgspec.msgpack.decode(effects) == msgspec.msgpack.decode(wanted), f"command {number}"
    commit(store)
    after = records(store)
    assert msgspec.msgpack.decode(after.pop(META_KEY)) == msgspec.msgpack.decode(TOLD["after"][META_KEY])
    assert {META_KEY: TOLD["after"][META_KEY], **after} == TOLD["after"]
