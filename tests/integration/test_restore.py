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
def system(kafka, tmp_path):
    with install(kafka, tmp_path) as installed:
        yield installed


def subjects(count):
    return [json.dumps(f"Camera {number}").encode() for number in range(count)]


def work(system, count=12):
    """Workflows in every state: done, in work, waiting for a retry, waiting for their time, linked."""
    nodes = [system.signal(subject, retry_interval_seconds=3_600) for subject in subjects(count)]
    for index, node in enumerate(nodes):
        children = tuple(NewNode(name=f"child {number}", user_id=system.user) for number in range(3))
        if index % 3 == 0:
            assert system.say(node, children=children, response=b'{"result":1}') == Done()
        elif index % 3 == 1:
            assert system.say(node, "errored") == Done()
        later = system.caller.signal(
            node.subject, fires_at=int(time.time() * 1000) + 3_600_000, parent_link_id=nodes[0].id
        )
        system.caller.send(later)
    system.caller.ask(msgspec.structs.replace(system.caller.signal(b'"keyed"'), body_hash=b"h" * 16))
    return nodes


def commit_all(system):
    for partition in range(PARTITIONS):
        system.caller.commit(partition)


def workflow_of(system, subject):
    return workflow_id(system.user, "Purchases", subject)


def trees(system, count=12):
    return [system.caller.tree(workflow_of(system, subject)) for subject in subjects(count)]


def test_what_was_not_committed_is_done_again_after_kill_9(kafka, tmp_path):
    with install(kafka, tmp_path, **NO_COMMIT) as system:
        nodes = work(system)
        before = trees(system)
        system.kill()
        # A first commit may say who has the partition; it holds nothing of the work.
        assert all(records.keys() <= {b"m"} for records in state(system.kafka, STATE)), "something was committed"
        waiting = system.caller.begin(system.caller.signal(b'"while nobody ran"'))
        system.start()
        system.caller.wait(waiting)
        assert trees(system) == before
        # Each of the first activities came again, the same.
        for node in nodes:
            first, *again = system.hand.of(node.id)
            assert again
            assert all(repeat == first for repeat in again)
        # A repeat of an answer changes nothing; the answer to the newest attempt does.
        assert system.say(nodes[0]) == Done(changed=False)
        assert system.say(nodes[2]) == Done()
        assert system.caller.wait_node(nodes[2].id).server is ServerStatus.COMPLETE


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


def test_a_partition_that_is_restored_twice_over_one_connection_is_read_whole(system):
    work(system)
    commit_all(system)
    changelog = KafkaChangelog(system.kafka, "backbeat", "backbeat-test")
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


def test_the_first_command_after_kill_9_with_many_nodes_stored(system):
    restart_with_nodes(system, 5_000)


def test_a_bulk_retry_goes_on_after_kill_9_and_retries_each_node_once(system):
    retry_all(system, 1_000, slice_nodes_max=2, kills=1)


def without_meta(records):
    return {key: value for key, value in records.items() if key != b"m"}


#: What was done to a partition's local store while it was left aside, and what the engine says of it.
STALE = {
    0: ({"written_at": -STATE_DELETE_RETENTION_MS}, "it was left aside for 24 h"),
    1: ({"state_topic_id": "another"}, "it is of another changelog topic"),
    2: ({"next_offset": 1_000_000}, "its offset 10"),
}
LOST = 3


def test_lost_and_stale_local_stores_are_rebuilt_the_same_and_what_was_deleted_does_not_come_back(system):
    work(system)
    commit_all(system)
    system.stop()
    before = [without_meta(system.scan(partition)) for partition in range(PARTITIONS)]
    assert all(any(key[:1] == kind for records in before for key in records) for kind in (b"w", b"t", b"i"))
    ghost = b"w" + b"\x01" * 7 + b"l" + b"\x01" * 25
    for partition, (change, _) in STALE.items():
        with system.store(partition) as store:
            origin = store.origin
            for name, value in change.items():
                setattr(origin, name, getattr(origin, name) + value if isinstance(value, int) else value)
            store._db.put(ORIGIN_KEY, msgspec.msgpack.encode(origin))
            # The changelog has it deleted, and perhaps no mark of that any more.
            store._db.put(ghost, b"ghost")
    shutil.rmtree(system.path(LOST))
    system.start()
    assert len(trees(system)) == 12
    commit_all(system)
    system.stop()
    log = system.log()
    for partition, (_, reason) in STALE.items():
        assert f"partition {partition}: the local store is wiped: {reason}" in log
    after = [without_meta(system.scan(partition)) for partition in range(PARTITIONS)]
    assert after == before
    changelog = [without_meta(records) for records in state(system.kafka, STATE)]
    assert [{key: records[key] for key in records if key[:1] != b"t"} for records in after] == changelog


# --- topics that do not belong to the state ---------------------------------------------------------------------------


def test_a_cut_log_is_none_of_a_committed_states_concern_but_another_log_is_refused(system):
    work(system)
    commit_all(system)
    system.stop()
    system.cut(COMMANDS)
    system.start()
    made = system.caller.signal(b'"after"')
    assert system.caller.ask(made).id == node_of(made)
    assert len(trees(system)) == 12
    system.stop()
    system.recreate(COMMANDS)
    line = system.start_refused()
    assert f"the state is of another topic {COMMANDS}" in line
    # Without its files the engine comes to the same by the changelog.
    shutil.rmtree(system.stack.data_dir / "engine-1")
    assert f"the state is of another topic {COMMANDS}" in system.start_refused()


def test_an_emptied_changelog_is_refused(system):
    work(system)
    commit_all(system)
    system.stop()
    system.recreate(STATE)
    line = system.start_refused()
    assert f"{STATE} is empty, but the store in " in line
    assert "Was the topic deleted?" in line
    # Without its files the engine knows by the group's offsets.
    shutil.rmtree(system.stack.data_dir / "engine-1")
    line = system.start_refused()
    assert f"{STATE}, read from its beginning, holds nothing of it. Was the topic deleted?" in line
    assert ends(system.kafka, STATE) == dict.fromkeys(range(PARTITIONS), 0)


def test_a_log_that_was_cut_is_refused(kafka, tmp_path):
    with install(kafka, tmp_path, **NO_COMMIT) as system:
        system.caller.ask(system.caller.signal(b'"first"'))
        commit_all(system)
        work(system)
        system.kill()
        system.cut(COMMANDS)
        line = system.start_refused()
        assert f"of {COMMANDS}, which holds" in line
        assert "The log was cut" in line
