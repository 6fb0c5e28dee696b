"""A backup of an installation at work, its restore into an empty cluster, and what is refused."""

from __future__ import annotations

import json
import random
import shutil
import threading
import uuid
from contextlib import ExitStack, contextmanager

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.compose.backup.manifest import NAME
from backbeat.compose.cli.program import backbeat
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, PAYLOADS, SIGNALS_PREFIX, STATE
from backbeat.schemas.messages import ids, views
from backbeat.schemas.messages.commands import StartJob
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import NewNode
from tests.empty_kafka import delete_topics, group_of, stack_on
from tests.integration.caller import node_of, result
from tests.integration.hand import Hand
from tests.integration.installation import install
from tests.integration.rig import PARTITIONS, Rig, running
from tests.integration.topic import read_whole
from tests.waiting import until

pytestmark = pytest.mark.integration


def run(*words):
    """A command, to its end."""
    done = CliRunner().invoke(backbeat, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def answers(activity):
    """What a worker says: half of the first attempts fail, decisions have children."""
    node = activity.node
    dice = random.Random(node.id)
    if node.attempt == 1 and dice.random() < 0.5:
        return [result(node, "errored")]
    children = [NewNode(name="child", user_id=node.user_id, retry_interval_seconds=0.2)] * dice.randrange(3)
    return [result(node, children=tuple(children) if node.depth == 1 else (), response=b'{"result":1}')]


class Load:
    """Signals from a thread, some of which hold others up, until it is ended."""

    def __init__(self, caller):
        self.acknowledged = []
        self._caller = caller
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="load")
        self._thread.start()

    def _send(self):
        dice = random.Random(17)
        newest = {}
        while not self._is_ending.is_set():
            number = dice.randrange(30)
            # What waits stands before what it waits for: no cycle.
            earlier = [signal_number for signal_number in newest if signal_number < number]
            link = newest[dice.choice(earlier)] if earlier and dice.random() < 0.4 else None
            signal = self._caller.signal(
                json.dumps(f"Camera {number}").encode(), retry_interval_seconds=0.2, parent_link_id=link
            )
            answer = self._caller.ask(signal)
            if isinstance(answer, views.NodeView):
                newest[number] = node_of(signal)
                self.acknowledged.append(signal)

    def end(self):
        self._is_ending.set()
        self._thread.join()


def offsets_and_times(kafka, topic):
    messages = read_whole(kafka, topic)
    return [(message.partition(), message.offset(), message.timestamp()[1], message.value()) for message in messages]


def make_holes(kafka):
    """Offsets without a record: of a transaction's marker in the middle, of what was removed at the beginning."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": "holes"})
    producer.init_transactions(120)
    producer.begin_transaction()
    producer.produce(COMMANDS, b"no command", partition=1)
    producer.produce(PAYLOADS, b"removed", partition=0)
    producer.commit_transaction(120)
    admin = AdminClient({"bootstrap.servers": kafka})
    (removed,) = admin.delete_records([TopicPartition(PAYLOADS, 0, 1)]).values()
    removed.result(120)


def forget_taken(kafka, group):
    """The ingest's position as of a moment before it had taken anything."""
    places = [TopicPartition(f"{SIGNALS_PREFIX}default", 0, 0)]
    admin = AdminClient({"bootstrap.servers": kafka})
    (changed,) = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]).values()
    changed.result(120)


@pytest.fixture(scope="module")
def bucket():
    """A bucket of an S3 server on loopback, which stands in for the real one."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="backups")
        yield f"s3://backups/second?endpoint={endpoint}"
    server.stop()


#: Subjects of workflows that nothing waits for, and that wait for nothing.
PLAIN = [f'"Plain {number}"'.encode() for number in range(8)]


def ask_for(system, subject):
    """A signal that was acknowledged; its node."""
    signal = system.caller.signal(subject, retry_interval_seconds=0.2)
    assert isinstance(system.caller.ask(signal), views.NodeView)
    return node_of(signal)


@pytest.fixture(scope="module")
def backup(kafka, bucket, tmp_path_factory):
    """The backup of an engine that was at work, what had been acknowledged before it, and the topics as they were."""
    folder = tmp_path_factory.mktemp("backup")
    data_dir, destination = folder / "engine", folder / "copy"
    with ExitStack() as stack:
        system = stack.enter_context(install(kafka, data_dir))
        hand = Hand(system.caller, "default", answers)
        stack.callback(hand.close)
        make_holes(kafka)
        for partition in range(PARTITIONS):
            # Payloads are found by their offsets, dead letters are marked by them.
            system.caller.send_raw(b"chunk", 0, topic=PAYLOADS)
            system.caller.send_raw(b"no command", partition)
        words = ["--bootstrap-servers", kafka, "--application-id", group_of(system.stack)]
        for subject in PLAIN:
            assert system.caller.wait_node(ask_for(system, subject)).server is ServerStatus.COMPLETE
        for partition in range(PARTITIONS):
            system.caller.commit(partition)
        assert run("backup", str(folder / "plain"), *words).exit_code == 0
        load = Load(system.caller)
        try:
            until(lambda: len(load.acknowledged) >= 60, "there is work")
            acknowledged = [*load.acknowledged]
            made = run("backup", str(destination), *words, "--json")
            assert made.exit_code == 0, made.output
            assert len(load.acknowledged) >= len(acknowledged)
        finally:
            load.end()
        # A job works on the nodes of one partition, which another number of partitions does not have together.
        job = StartJob(
            id=uuid.uuid4().bytes, user_id=system.user, partition=0, action="retry", filter=JobFilter(), dry_run=True
        )
        system.caller.ask(job)
        # A signal that was taken, of which the ingest does not know it; two that nobody takes, of which one is none.
        with Publisher(kafka) as publish:
            publish({"workflow": "Purchases", "subject": "taken", "decider": "D", "signal": "Buy"})
        hand.wait_for(lambda activity: activity.node.subject == b'"taken"')
        hand.close()
        system.stop()
        forget_taken(kafka, f"{group_of(system.stack)}-ingest")
        with Publisher(kafka) as publish:
            publish({"workflow": "Purchases", "subject": "later", "decider": "D", "signal": "Buy"})
            publish("this is no signal")
        second = run("backup", bucket, *words, "--json")
        assert second.exit_code == 0, second.output
        originals = {topic: offsets_and_times(kafka, topic) for topic in (COMMANDS, DEAD_LETTERS, PAYLOADS)}
        refused = run("restore", str(destination), "--bootstrap-servers", kafka, "--development")
        assert refused.exit_code == 1
        assert "Error: the cluster is not empty: backbeat." in refused.stderr
        assert run("backup", str(destination), *words).exit_code == 1
    return destination, bucket, data_dir, acknowledged, originals, json.loads(made.stdout)


class Publisher:
    """A service that publishes to its signals topic."""

    def __init__(self, kafka):
        self._producer = Producer({"bootstrap.servers": kafka})

    def __enter__(self):
        return lambda content: self._producer.produce(f"{SIGNALS_PREFIX}default", json.dumps(content), partition=0)

    def __exit__(self, *_):
        assert self._producer.flush(120) == 0


def restored(kafka, source, *more):
    delete_topics(kafka, "backbeat.")
    words = ["--bootstrap-servers", kafka, "--replication", "1", "--development", *more]
    done = run("restore", str(source), *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@contextmanager
def again(kafka, data_dir, partitions=PARTITIONS):
    """An engine on the topics that are there."""
    folder = {} if data_dir is None else {"data_dir": data_dir}
    with running(stack_on(kafka, partitions=partitions, **folder)) as stack:
        system = Rig(stack)
        try:
            yield system
        finally:
            system.close()


def test_workflows_go_on_from_a_backup_that_was_made_under_load(kafka, backup):
    source, _, data_dir, acknowledged, originals, made = backup
    document = restored(kafka, source)
    assert document["positions"] == made["positions"]
    assert document["verdict"]["agrees"]
    assert document["verdict"]["complete"]
    for topic, original in originals.items():
        copies = offsets_and_times(kafka, topic)
        assert copies
        # Where a transaction had its marker there is a record without content.
        assert [copy for copy in copies if copy not in original and copy[3] is not None] == []
    # On the files of the engine before, which are of another changelog.
    with again(kafka, data_dir) as system:
        hand = Hand(system.caller, "default", answers)
        try:
            for signal in acknowledged:
                assert system.caller.wait_node(node_of(signal)).server is ServerStatus.COMPLETE
        finally:
            hand.close()
        for partition in range(PARTITIONS):
            system.caller.commit(partition)
        verdict = run("verify", "--bootstrap-servers", kafka, "--json")
        assert verdict.exit_code == 0, verdict.output
        replay = run("verify", "--bootstrap-servers", kafka, "--replay", "--json")
        assert replay.exit_code == 0, replay.output


def test_signals_that_nobody_had_taken_are_taken_once(kafka, backup):
    restored(kafka, backup[1])
    with again(kafka, None) as system:
        system.hand.wait_for(lambda activity: activity.node.subject == b'"later"')
        letters = until(
            lambda: [row for row in read_whole(kafka, DEAD_LETTERS) if row.value() == b'"this is no signal"'],
            "what is no signal is a dead letter",
        )
        assert len(letters) == 1
        for subject in (b'"later"', b'"taken"'):
            workflow_id = ids.workflow_id(system.user, "Purchases", subject)
            assert len([node for node in system.caller.tree(workflow_id) if node.depth == 1]) == 1


@pytest.mark.parametrize("partitions", [2 * PARTITIONS, PARTITIONS - 1])
def test_workflows_go_on_in_another_number_of_partitions(kafka, backup, partitions):
    document = restored(kafka, backup[0].with_name("plain"), "--partitions", str(partitions))
    assert document["partitions"] == partitions
    assert document["verdict"]["agrees"]
    assert document["verdict"]["complete"]
    with again(kafka, None, partitions) as system:
        hand = Hand(system.caller, "default", answers)
        try:
            for subject in PLAIN:
                node = system.caller.wait_node(ask_for(system, subject))
                assert node.server is ServerStatus.COMPLETE
                # One was there before.
                assert len([row for row in system.caller.tree(node.workflow_id) if row.depth == 1]) == 2
        finally:
            hand.close()
        for partition in range(partitions):
            system.caller.commit(partition)
        verdict = run("verify", "--bootstrap-servers", kafka, "--json")
        assert verdict.exit_code == 0, verdict.output


def test_what_another_number_of_partitions_cannot_hold_is_refused_before_anything_is_made(kafka, backup):
    delete_topics(kafka, "backbeat.")
    words = ["--bootstrap-servers", kafka, "--replication", "1", "--development", "--partitions", "7"]
    refused = run("restore", backup[1], *words)
    assert refused.exit_code == 1
    assert "has commands of jobs, each of which works on one partition's nodes" in refused.stderr
    assert "restore it into its own number of partitions, 4" in refused.stderr
    assert run("topics", "check", "--bootstrap-servers", kafka, "--development").exit_code == 1


def test_a_restore_that_broke_off_is_not_run_on(kafka, backup, monkeypatch):
    from backbeat.compose.backup.restore import Restore

    delete_topics(kafka, "backbeat.")

    def break_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Restore, "_take_signals", break_off)
    words = ["--bootstrap-servers", kafka, "--replication", "1", "--development"]
    assert run("restore", str(backup[0]), *words).exit_code == 1
    assert run("topics", "check", "--bootstrap-servers", kafka, "--development").exit_code == 1
    refused = run("restore", str(backup[0]), *words)
    assert "the cluster is not empty: " in refused.stderr
    # That is seen before a replay, which takes long, and would refuse the job.
    refused = run("restore", backup[1], *words, "--partitions", "7")
    assert "the cluster is not empty: " in refused.stderr


@contextmanager
def an_engine(kafka):
    """A member of the engines' group, as an engine is that comes while a restore writes."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "backbeat", "log_level": 0})
    consumer.subscribe([COMMANDS])
    try:
        # A poll gives errors, too.
        until(lambda: (consumer.poll(0.1), consumer.assignment())[1], "it has joined its group")
        yield
    finally:
        consumer.close()


@contextmanager
def a_writer_of_state(kafka):
    """A record in the state that is not the restore's, of a process that has gone again."""
    producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
    producer.produce(STATE, b"value", b"key", 0)
    assert producer.flush(120) == 0
    yield


@pytest.mark.parametrize(
    ("comes", "reason"),
    [(an_engine, "engines run on this cluster"), (a_writer_of_state, f"somebody else writes to {STATE}, partition 0")],
    ids=["an engine", "somebody else's record"],
)
def test_a_restore_beside_which_engines_come_makes_no_installation(kafka, backup, monkeypatch, comes, reason):
    from backbeat.compose.backup.restore import Restore

    delete_topics(kafka, "backbeat.")
    take_signals = Restore._take_signals
    with ExitStack() as stack:

        def come(restore):
            take_signals(restore)
            stack.enter_context(comes(kafka))

        monkeypatch.setattr(Restore, "_take_signals", come)
        words = ["--bootstrap-servers", kafka, "--replication", "1", "--development"]
        refused = run("restore", str(backup[0]), *words)
        assert refused.exit_code == 1
        assert reason in refused.stderr
    # No engine runs on half of it.
    assert run("topics", "check", "--bootstrap-servers", kafka, "--development").exit_code == 1


DAMAGES = {
    "missing": (lambda path: path.unlink(), "is missing"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "were written"),
    "flipped": (lambda path: path.write_bytes(path.read_bytes()[:-9] + b"#" + path.read_bytes()[-8:]), "checksum"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("file", [f"{STATE}/0/000000.gz", NAME])
def test_a_damaged_backup_is_told_before_anything_is_written(backup, tmp_path, file, damage, reason):
    copy = tmp_path / "copy"
    shutil.copytree(backup[0], copy)
    assert run("backup", "check", str(copy)).exit_code == 0
    damage(copy / file)
    checked = run("backup", "check", str(copy))
    assert checked.exit_code == 1
    assert "What to do: " in checked.stderr
    if file != NAME:
        assert f"{file} " in checked.stderr
        assert reason in checked.stderr
    # No Kafka is at that address: nothing was asked of it.
    refused = run("restore", str(copy), "--bootstrap-servers", "127.0.0.1:1")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1] == checked.stderr.splitlines()[-1]
