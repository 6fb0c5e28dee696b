"""Records of a newer version than this code knows are refused: from the changelog, from the local store, and rules."""

import msgspec
import pytest

from backbeat.schemas.messages.jobs import Job, JobFilter
from backbeat.schemas.messages.schedules import NewSchedule
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import NewNode, NewWorkflow
from backbeat.streams.core.coalesce.records import CoalesceIndex
from backbeat.streams.core.inbox.records import Inbox, Line, Message
from backbeat.streams.core.limits.records import FairnessQueue, Pool, SlotTicket
from backbeat.streams.core.links.records import Link
from backbeat.streams.core.records import Meta, Node, StoredReply, Workflow
from backbeat.streams.core.retention.records import ArchiveEntry, SignalTombstone
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.tables import CHUNKS, NODES
from backbeat.streams.core.takes.records import Reference
from backbeat.streams.ports.errors import NewerRecordError
from backbeat.streams.state.restore import Ends, restore
from backbeat.streams.state.store import META_KEY, ChangelogPosition, PartitionStore
from backbeat.streams.state.store_folder import StoreFolder
from backbeat.streams.state.versions import KNOWN, RULES_VERSION, why_unknown_record

ID = bytes(range(16))


def _key(kind, identity, rest=b""):
    return b"w" + identity[:7] + kind + identity[7:] + rest


NODE = Node(
    id=ID,
    workflow_id=ID,
    parent_id=None,
    user_id=ID,
    name="buy",
    mode=Mode.BLOCKING,
    type="activity",
    seq=1,
    depth=1,
    created_at=0,
    fires_at=0,
    client_data=b"{}",
    metadata=b"{}",
    parent_link_id=None,
    retry_interval_seconds=1.0,
    retries_remaining=1,
    timeout_seconds=1.0,
    server=ServerStatus.PENDING,
    client=ClientStatus.PENDING,
)
WORKFLOW = Workflow(id=ID, user_id=ID, name="purchase", subject=b'"x"', decider="", created_at=0, updated_at=0)
PLAN = NewSchedule(
    user_id=ID,
    name="nightly",
    workflow=NewWorkflow(user_id=ID, name="purchase", subject=b'"x"', decider=""),
    node=NewNode(name="buy", user_id=ID),
)
SCHEDULE = Schedule(id=ID, plan=PLAN, made_by=ID, created_at=0, updated_at=0, after=0)
STORED = {
    "node": (_key(b"n", ID), NODE),
    "workflow": (_key(b"w", ID), WORKFLOW),
    "link": (_key(b"l", ID, ID), Link(child=ID, open=True, next=None)),
    "reference": (_key(b"r", ID, bytes(4)), Reference(producer=ID, of_children=False, default=None)),
    "inbox": (_key(b"b", ID), Inbox(kept=((1, "approval"),), size_bytes=12)),
    "message": (_key(b"m", ID, bytes(4)), Message("approval", b"null")),
    "line": (_key(b"a", ID, b"approval"), Line(ID, ID)),
    "stored reply": (b"i" + ID, StoredReply(body_hash=ID, effect=b"", forget_at=0)),
    "pool": (_key(b"p", ID), Pool(id=ID, client_id=ID, activity="pay", key="")),
    "fairness queue": (_key(b"q", ID, b"queue"), FairnessQueue(before=b"queue", next=b"queue")),
    "slot ticket": (_key(b"o", ID, ID), SlotTicket(number=1, has_slot=True, asked_at=0)),
    "schedule": (b"c" + ID, SCHEDULE),
    "job": (b"j" + ID, Job(id=ID, partition=0, user_id=None, action="retry", filter=JobFilter(), started_at=0)),
    "coalesce index": (_key(b"c", ID, b"index"), CoalesceIndex(node_id=ID)),
    "signal tombstone": (_key(b"d", ID), SignalTombstone(forget_at=5)),
    "archive entry": (b"a" + bytes(8) + ID, ArchiveEntry()),
    "meta": (META_KEY, Meta(next_offset=5, topic_id="commands")),
}


def encoded(record, **changes):
    """As a newer Backbeat would write it: a higher version, and a field more at the end."""
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    fields = [field.encode_name for field in msgspec.structs.fields(record)]
    for name, value in changes.items():
        values[fields.index(name)] = value
    return msgspec.msgpack.encode([*values, "a field that this code does not know"])


class OneChangelog:
    """A changelog with some records."""

    state_topic_id = "state"
    commands_topic_id = "commands"

    def __init__(self, stored):
        self.stored = stored

    def state_ends(self, partition):
        return Ends(0, len(self.stored))

    def command_ends(self, partition):
        return Ends(0, 100)

    def committed_position(self, partition):
        return None

    def read(self, partition, offset):
        return self.stored[offset:], len(self.stored)

    def abort_open_transaction(self, transactional_id):
        return False


def restored(path, stored):
    return restore(lambda: PartitionStore(path, 3), StoreFolder(path).remove, pytest.fail, OneChangelog(stored))


def test_what_this_code_writes_is_of_the_versions_that_it_knows():
    assert {type(record): record.version for _, record in STORED.values()} == KNOWN
    assert Meta().rules_version == RULES_VERSION


@pytest.mark.parametrize("name", STORED)
def test_known_records_are_known(name):
    key, record = STORED[name]
    assert why_unknown_record(key, msgspec.msgpack.encode(record)) is None
    assert why_unknown_record(key, encoded(record)) is None


@pytest.mark.parametrize("name", STORED)
def test_a_newer_record_in_the_changelog_is_refused(name, tmp_path):
    key, record = STORED[name]
    known = [(META_KEY, msgspec.msgpack.encode(STORED["meta"][1]))]
    newer = record.version + 1
    restored(tmp_path / "known", [*known, (key, encoded(record))]).close()

    with pytest.raises(NewerRecordError) as caught:
        restored(tmp_path / "newer", [*known, (key, encoded(record, version=newer))])
    named = f"{'an' if name[0] in 'ai' else 'a'} {name} record"
    assert f"partition 3: {named} of version {newer} was written by a newer Backbeat" in str(caught.value)
    assert "What to do" in str(caught.value)


def test_a_kind_of_record_that_nobody_here_writes_is_a_newer_ones(tmp_path):
    for key in (b"w" + ID[:7] + b"z" + ID, b"y" + ID):
        with pytest.raises(NewerRecordError, match="it knows no such kind"):
            restored(tmp_path / key.hex(), [(key, b"\x90")])


def test_whoever_reads_the_changelog_only_knows_the_rules_that_made_it():
    newer = msgspec.structs.replace(STORED["meta"][1], rules_version=RULES_VERSION + 1)
    why = why_unknown_record(META_KEY, msgspec.msgpack.encode(newer))
    assert why is not None
    assert why.startswith("rules of version 2 was written by a newer Backbeat")


def test_newer_rules_are_refused(tmp_path):
    newer = msgspec.structs.replace(STORED["meta"][1], rules_version=RULES_VERSION + 1)
    with pytest.raises(NewerRecordError, match="rules of version 2"):
        restored(tmp_path / "one", [(META_KEY, msgspec.msgpack.encode(newer))])


def put(path, key, value):
    """Into the local store, past the code that would refuse it."""
    store = PartitionStore(path, 3)
    store._db.put(key, value)
    store.close()


def test_a_local_store_that_a_newer_one_has_written_is_refused_before_anything_of_it_is_used(tmp_path):
    meta = STORED["meta"][1]
    put(tmp_path / "version", META_KEY, encoded(meta, version=meta.version + 1))
    put(tmp_path / "rules", META_KEY, encoded(meta, rules_version=2))
    with pytest.raises(NewerRecordError, match="partition 3: a meta record of version 3"):
        PartitionStore(tmp_path / "version", 3)
    with pytest.raises(NewerRecordError, match="partition 3: rules of version 2"):
        PartitionStore(tmp_path / "rules", 3)
    # The refusal has let go of its files: the newer program can be started.
    with pytest.raises(NewerRecordError):
        PartitionStore(tmp_path / "version", 3)


def test_a_newer_record_in_the_local_store_is_refused_when_it_is_read(tmp_path):
    key, node = STORED["node"]
    put(tmp_path / "one", key, encoded(node, version=2))
    store = PartitionStore(tmp_path / "one", 3)
    try:
        with pytest.raises(NewerRecordError, match="a node record of version 2"):
            store.get(NODES, ID)
    finally:
        store.close()


def test_packed_history_has_no_version(tmp_path):
    store = PartitionStore(tmp_path / "one", 3)
    store.restore([(_key(b"h", ID, bytes(4)), b"\xff" * 15)], ChangelogPosition("state", 1, 0))
    assert store.get(CHUNKS, (ID, 0)) == b"\xff" * 15
    store.close()
