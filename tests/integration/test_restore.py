"""Engines that come back: after kill -9, without their files, with old files, and on topics that are not theirs."""

import json
import shutil
import time

import msgspec
import pytest

from backbeat.schemas.kafka.topics import COMMANDS, STATE, STATE_DELETE_RETENTION_MS
from backbeat.schemas.messages.ids import workflow_id
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import NewNode
from backbeat.streams.state.restore import KafkaChangelog
from tests.integration.bulk import retry_all
from tests.integration.caller import node_of
from tests.integration.installation import install, restart_with_nodes
from tests.integration.rig import PARTITIONS
from tests.integration.topic import ends, state

ORIGIN_KEY = b"o"
#: Long enough that no test sees a commit that it did not ask for.
NO_COMMIT = {"BACKBEAT_COMMIT_INTERVAL_SECONDS": "600", "BACKBEAT_TOUCH_INTERVAL_SECONDS": "600"}


@pytest.fixture
def one(own_kafka, tmp_path):
    with install(own_kafka, tmp_path) as installed:
        yield installed


def subjects(count):
    return [json.dumps(f"Camera {number}").encode() for number in range(count)]


def work(one, count=12):
    """Workflows in every state: done, in work, waiting for a retry, waiting for their time, linked."""
    nodes = [one.signal(subject, retry_interval_seconds=3_600) for subject in subjects(count)]
    for index, node in enumerate(nodes):
        children = tuple(NewNode(name=f"child {each}", user_id=one.user) for each in range(3))
        if index % 3 == 0:
            assert one.say(node, children=children, response=b'{"result":1}') == Done()
        elif index % 3 == 1:
            assert one.say(node, "errored") == Done()
        later = one.caller.signal(
            node.subject, fires_at=int(time.time() * 1000) + 3_600_000, parent_link_id=nodes[0].id
        )
        one.caller.send(later)
    one.caller.ask(msgspec.structs.replace(one.caller.signal(b'"keyed"'), body_hash=b"h" * 16))
    return nodes


def commit_all(one):
    for partition in range(PARTITIONS):
        one.caller.commit(partition)


def workflow_of(one, subject):
    return workflow_id(one.user, "Purchases", subject)


def trees(one, count=12):
    return [one.caller.tree(workflow_of(one, subject)) for subject in subjects(count)]


def test_what_was_not_committed_is_done_again_after_kill_9(own_kafka, tmp_path):
    with install(own_kafka, tmp_path, **NO_COMMIT) as one:
        nodes = work(one)
        before = trees(one)
        one.kill()
        # A first commit may say who has the partition; it holds nothing of the work.
        assert all(records.keys() <= {b"m"} for records in state(one.kafka, STATE)), "something was committed"
        waiting = one.caller.begin(one.caller.signal(b'"while nobody ran"'))
        one.start()
        one.caller.wait(waiting)
        assert trees(one) == before
        # Each of the first activities came again, the same.
        for node in nodes:
            first, *again = one.hand.of(node.id)
            assert again
            assert all(each == first for each in again)
        # A repeat of an answer changes nothing; the answer to the newest attempt does.
        assert one.say(nodes[0]) == Done(changed=False)
        assert one.say(nodes[2]) == Done()
        assert one.caller.wait_node(nodes[2].id).server is ServerStatus.COMPLETE


class LateConsumer:
    """A consumer that a slow broker gives nothing at first; until it does, the library says how far it was before."""

    def __init__(self, consumer):
        self._consumer = consumer
        self._waits, self._position = False, None

    def __getattr__(self, name):
        return getattr(self._consumer, name)

    def assign(self, partitions):
        (known,) = self._consumer.position(partitions)
        self._waits, self._position = True, known
        self._consumer.assign(partitions)

    def poll(self, seconds):
        if self._waits:
            self._waits = False
            return None
        self._position = None
        return self._consumer.poll(seconds)

    def position(self, partitions):
        return self._consumer.position(partitions) if self._position is None else [self._position]


def test_a_partition_that_is_restored_twice_over_one_connection_is_read_whole(one):
    work(one)
    commit_all(one)
    changelog = KafkaChangelog(one.kafka, "backbeat", "backbeat-test")
    changelog._consumer = LateConsumer(changelog._consumer)

    def read_whole(partition):
        records, reached = [], 0
        end = changelog.state_ends(partition).end
        while reached < end:
            more, reached = changelog.read(partition, reached)
            records += more
        return records

    try:
        for partition in range(PARTITIONS):
            first = read_whole(partition)
            assert first
            assert read_whole(partition)[: len(first)] == first
    finally:
        changelog.close()


def test_the_first_command_after_kill_9_with_many_nodes_stored(one):
    restart_with_nodes(one, 5_000)


def test_a_bulk_retry_goes_on_after_kill_9_and_retries_each_node_once(one):
    retry_all(one, 1_000, slice_nodes_max=2, kills=1)


def without_meta(records):
    return {key: value for key, value in records.items() if key != b"m"}


#: What was done to a partition's local store while it was left aside, and what the engine says of it.
STALE = {
    0: ({"written_at": -STATE_DELETE_RETENTION_MS}, "it was left aside for 24 h"),
    1: ({"state_topic_id": "another"}, "it is of another changelog topic"),
    2: ({"next_offset": 1_000_000}, "its offset 10"),
}
LOST = 3


def test_lost_and_stale_local_stores_are_rebuilt_the_same_and_what_was_deleted_does_not_come_back(one):
    work(one)
    commit_all(one)
    one.stop()
    before = [without_meta(one.scan(partition)) for partition in range(PARTITIONS)]
    assert all(any(key[:1] == kind for records in before for key in records) for kind in (b"w", b"t", b"i"))
    ghost = b"w" + b"\x01" * 7 + b"l" + b"\x01" * 25
    for partition, (change, _) in STALE.items():
        with one.store(partition) as store:
            origin = store.origin
            for name, value in change.items():
                setattr(origin, name, getattr(origin, name) + value if isinstance(value, int) else value)
            store._db.put(ORIGIN_KEY, msgspec.msgpack.encode(origin))
            # The changelog has it deleted, and perhaps no mark of that any more.
            store._db.put(ghost, b"ghost")
    shutil.rmtree(one.path(LOST))
    one.start()
    assert len(trees(one)) == 12
    commit_all(one)
    one.stop()
    log = one.log()
    for partition, (_, said) in STALE.items():
        assert f"partition {partition}: the local store is wiped: {said}" in log
    after = [without_meta(one.scan(partition)) for partition in range(PARTITIONS)]
    assert after == before
    changelog = [without_meta(records) for records in state(one.kafka, STATE)]
    assert [{key: records[key] for key in records if key[:1] != b"t"} for records in after] == changelog


# --- topics that do not belong to the state ---------------------------------------------------------------------------


def test_a_cut_log_is_none_of_a_committed_states_concern_but_another_log_is_refused(one):
    work(one)
    commit_all(one)
    one.stop()
    one.cut(COMMANDS)
    one.start()
    made = one.caller.signal(b'"after"')
    assert one.caller.ask(made).id == node_of(made)
    assert len(trees(one)) == 12
    one.stop()
    one.recreate(COMMANDS)
    line = one.start_refused()
    assert f"the state is of another topic {COMMANDS}" in line
    # Without its files the engine comes to the same by the changelog.
    shutil.rmtree(one.stack.data_dir / "engine-1")
    assert f"the state is of another topic {COMMANDS}" in one.start_refused()


def test_an_emptied_changelog_is_refused(one):
    work(one)
    commit_all(one)
    one.stop()
    one.recreate(STATE)
    line = one.start_refused()
    assert f"{STATE} is empty, but the store in " in line
    assert "Was the topic deleted?" in line
    # Without its files the engine knows by the group's offsets.
    shutil.rmtree(one.stack.data_dir / "engine-1")
    line = one.start_refused()
    assert f"{STATE}, read from its beginning, holds nothing of it. Was the topic deleted?" in line
    assert ends(one.kafka, STATE) == dict.fromkeys(range(PARTITIONS), 0)


def test_a_log_that_was_cut_is_refused(own_kafka, tmp_path):
    with install(own_kafka, tmp_path, **NO_COMMIT) as one:
        one.caller.ask(one.caller.signal(b'"first"'))
        commit_all(one)
        work(one)
        one.kill()
        one.cut(COMMANDS)
        line = one.start_refused()
        assert f"of {COMMANDS}, which holds" in line
        assert "The log was cut" in line
