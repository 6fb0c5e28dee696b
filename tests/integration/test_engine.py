"""The engine on a real Kafka: what comes of commands, queries, timers and activities that cannot be delivered."""

import json
import time
import uuid

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.compose.cli.program import backbeat
from backbeat.compose.verify.stored import FIELDS
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.kafka.topics import COMMANDS, STATE, activities_topic, client_topics, ensure_client_topics
from backbeat.schemas.messages import activities, ids, queries
from backbeat.schemas.messages.commands import (
    AddChildren,
    ChangeNode,
    ChangeWorkflow,
    CreateWorkflow,
    RestartNode,
)
from backbeat.schemas.messages.replies import Done, Made, Reason, Rejection
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import NewNode, NewWorkflow
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.schemas.routes import route_of_subject
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import delete_topics
from tests.integration.caller import node_of, result
from tests.integration.rig import PARTITIONS, rig
from tests.integration.topic import Reader, ends
from tests.waiting import until


@pytest.fixture(scope="module")
def system(kafka, tmp_path_factory):
    with rig(kafka, tmp_path_factory.mktemp("engine"), BACKBEAT_COMMIT_INTERVAL_SECONDS="0.3") as started:
        yield started


@pytest.fixture
def subject(unique):
    return json.dumps(f"Camera {unique}").encode()


@pytest.fixture
def caller(system):
    return system.caller


@pytest.fixture
def new(system):
    """Makes children."""

    def make(name="child", **more):
        return NewNode(name=name, **{"user_id": system.user, **more})

    return make


def fresh():
    return uuid.uuid4().bytes


# --- the way of a node -----------------------------------------------------------------------------------------------


def test_a_signal_its_children_and_their_completion_in_order(system, caller, subject, new):
    signal = caller.signal(subject, name="Make Purchase", client_data=b'{"card":"4711"}')
    made = caller.ask(signal)
    assert isinstance(made, NodeView)
    assert (made.id, made.name, made.client_data) == (node_of(signal), "Make Purchase", b'{"card":"4711"}')
    top = system.dispatched(made.id)
    assert (top.server, top.client) == (ServerStatus.SENT_TO_CLIENT, ClientStatus.RECEIVED)
    assert (top.workflow_name, top.subject, top.decider, top.tid) == ("Purchases", subject, "D", signal.tid)
    children = (new("first"), new("second", mode=Mode.NON_BLOCKING), new("third", mode=Mode.NON_BLOCKING))
    answer = result(top, children=children, response=b'{"result":{"ok":true}}')
    assert caller.ask(answer) == Done()
    first, second, third = (ids.node_id(made.workflow_id, answer.id, index) for index in range(3))
    activity = system.dispatched(first)
    # The first is in the way of the others.
    assert [row.server for row in caller.tree(made.workflow_id)][2:] == [ServerStatus.READY, ServerStatus.READY]
    assert system.say(activity) == Done()
    for node in (system.dispatched(second), system.dispatched(third)):
        assert caller.node(made.id).server is ServerStatus.PROCESSING_CHILDREN
        assert system.say(node) == Done()
    assert caller.wait_node(made.id).client is ClientStatus.COMPLETE
    tree = caller.tree(made.workflow_id)
    assert [row.name for row in tree] == ["Make Purchase", "first", "second", "third"]
    assert {row.server for row in tree} == {ServerStatus.COMPLETE}
    assert [row.parent_id for row in tree] == [None, made.id, made.id, made.id]


def test_history_tells_every_change_with_its_response(system, caller, subject):
    node = system.signal(subject)
    system.say(node, "processing")
    system.say(node, response=b'{"result":7}', ordinal=1)
    (history,) = caller.query(queries.GetHistory, node_id=node.id)
    changes = [(change.server, change.from_status.name, change.to_status.name) for change in history.changes]
    assert changes == [
        (True, "READY", "STARTED"),
        (True, "STARTED", "SENT_TO_CLIENT"),
        (False, "READY", "RECEIVED"),
        (False, "RECEIVED", "PROCESSING"),
        (False, "PROCESSING", "COMPLETE"),
        (True, "SENT_TO_CLIENT", "PROCESSING_CHILDREN"),
        (True, "PROCESSING_CHILDREN", "COMPLETE"),
    ]
    assert [change.response for change in history.changes[4:6]] == [b'{"result":7}'] * 2
    times = [change.at for change in history.changes]
    assert times == sorted(times)


def test_a_link_to_another_partition_is_waited_for(system, caller, unique):
    subjects = [json.dumps(f"{unique} {number}").encode() for number in range(20)]
    target = system.signal(subjects[0])
    elsewhere = next(
        name
        for name in subjects[1:]
        if ids.partition_of(ids.murmur2(name).to_bytes(4, "big"), PARTITIONS) != ids.partition_of(target.id, PARTITIONS)
    )
    linked = system.signal(elsewhere, parent_link_id=target.id)
    system.say(target)
    assert caller.node(target.id).server is ServerStatus.PROCESSING_CHILDREN
    system.say(linked)
    assert caller.wait_node(target.id).server is ServerStatus.COMPLETE


def test_pause_and_resume(system, caller, subject):
    running = system.signal(subject)
    change = {"user_id": system.user, "workflow_id": running.workflow_id}
    assert caller.ask(ChangeWorkflow(id=fresh(), change="pause", **change)) == Done()
    system.say(running)
    waiting = caller.signal(subject)
    caller.send(waiting)
    system.wait_for_server(node_of(waiting), ServerStatus.PAUSED)
    assert caller.workflow(running.workflow_id).paused
    assert caller.ask(ChangeWorkflow(id=fresh(), change="resume", **change)) == Done()
    system.say(system.dispatched(node_of(waiting)))
    assert caller.wait_node(node_of(waiting)).server is ServerStatus.COMPLETE


# --- answers ---------------------------------------------------------------------------------------------------------


def test_replies_to_commands(system, caller, subject, new):
    workflow = NewWorkflow(user_id=system.user, name="Purchases", subject=subject, decider="D")
    view = caller.ask(CreateWorkflow(id=fresh(), user_id=system.user, workflow=workflow))
    assert isinstance(view, WorkflowView)
    assert view.id == ids.workflow_id(system.user, "Purchases", subject)
    assert caller.workflow(view.id) == view
    node = system.signal(subject)
    add = AddChildren(id=fresh(), user_id=system.user, node_id=node.id, children=(new("a"), new("b")))
    assert caller.ask(add) == Made(tuple(ids.node_id(view.id, add.id, index) for index in range(2)))
    assert caller.ask(add) == Made(tuple(ids.node_id(view.id, add.id, index) for index in range(2)))
    assert len(caller.tree(view.id)) == 3
    assert system.say(node) == Done()
    assert system.say(node) == Done(changed=False)


def test_rejections_say_what_was_found_and_wanted(system, caller, subject, new):
    node = system.signal(subject)
    more = {"user_id": system.user, "node_id": node.id}

    def refused(command):
        answer = caller.ask(command)
        assert isinstance(answer, Rejection), answer
        return answer.reason, answer.found, answer.wanted

    assert refused(ChangeNode(id=fresh(), status="dancing", **more))[:2] == (Reason.UNKNOWN_STATUS, "dancing")
    assert refused(ChangeNode(id=fresh(), status="resolved", **more)) == (
        Reason.INVALID_CLIENT_STATUS,
        "received",
        "resolved",
    )
    nobody = ids.node_id(node.workflow_id, b"nobody", 0)
    missing = ChangeNode(id=fresh(), user_id=system.user, node_id=nobody, status="completed")
    assert refused(missing) == (Reason.NOT_FOUND, "nothing", "a node")
    anothers = ChangeNode(id=fresh(), user_id=fresh(), node_id=node.id, status="completed")
    assert refused(anothers)[0] is Reason.NOT_FOUND
    many = AddChildren(id=fresh(), children=tuple(new() for _ in range(1_001)), **more)
    assert refused(many) == (Reason.LIMIT_EXCEEDED, "1001", "children_max 1000")
    large = ChangeNode(id=fresh(), status="completed", response=b'"' + b"x" * 262_143 + b'"', **more)
    assert refused(large) == (Reason.LIMIT_EXCEEDED, "262145 bytes", "payload_bytes_max 262144")
    assert caller.node(node.id) == msgspec.structs.replace(node, client=node.client)


def test_a_callers_key_gives_the_same_answer_again(system, caller, subject):
    signal = msgspec.structs.replace(caller.signal(subject), body_hash=b"h" * 16)
    first = caller.ask(signal)
    assert caller.ask(signal) == first
    other = caller.ask(msgspec.structs.replace(signal, body_hash=b"i" * 16))
    assert isinstance(other, Rejection)
    assert other.reason is Reason.KEY_REUSED
    assert len(caller.tree(signal.workflow_id)) == 1


# --- queries ---------------------------------------------------------------------------------------------------------


def test_a_large_tree_comes_in_parts_and_holds_up_nothing(system, caller, subject, new):
    node = system.signal(subject)
    for start in (0, 600):
        children = tuple(new(f"child {start + index}", mode=Mode.NON_BLOCKING) for index in range(600))
        caller.ask(AddChildren(id=fresh(), user_id=system.user, node_id=node.id, children=children))
    asked = caller.begin_query(queries.GetTree, workflow_id=node.workflow_id)
    assert caller.ask(caller.signal(subject + b" ")) is not None
    view, *parts = caller.wait_parts(asked)
    assert isinstance(view, WorkflowView)
    assert [len(part.nodes) for part in parts] == [50] * 24 + [1]
    nodes = [row for part in parts for row in part.nodes]
    assert nodes[0].id == node.id
    assert [row.name for row in nodes[1:]] == [f"child {index}" for index in range(1_200)]
    _, top = caller.query(queries.GetTree, workflow_id=node.workflow_id, top_level_only=True)
    assert [row.id for row in top.nodes] == [node.id]


def test_what_is_not_there_or_anothers_is_not_found(system, caller, subject):
    node = system.signal(subject)
    nobody = ids.node_id(node.workflow_id, b"nobody", 0)
    for kind, fields in (
        (queries.GetNode, {"node_id": nobody}),
        (queries.GetNode, {"node_id": node.id, "user_id": fresh()}),
        (queries.GetHistory, {"node_id": nobody}),
        (queries.WaitNode, {"node_id": nobody}),
        (queries.GetWorkflow, {"workflow_id": nobody}),
        (queries.GetTree, {"workflow_id": node.workflow_id, "user_id": fresh()}),
    ):
        (answer,) = caller.query(kind, **fields)
        assert isinstance(answer, Rejection), kind
        assert answer.reason is Reason.NOT_FOUND


def test_waiting_for_a_node(system, caller, subject):
    node = system.signal(subject)
    # At its deadline a wait gives the node as it is.
    waited = caller.query_once(queries.WaitNode, node_id=node.id, seconds=0.3)
    assert waited is not None
    assert waited[0].server is ServerStatus.SENT_TO_CLIENT
    waits = [caller.begin_query(queries.WaitNode, node_id=node.id, seconds=60) for _ in range(3)]
    assert caller.node(node.id) is not None  # the waits have been read before this
    system.say(node)
    for wait in waits:
        closed, history = caller.wait_parts(wait)
        assert closed.server is ServerStatus.COMPLETE
        assert history.changes[-1].to_status is ServerStatus.COMPLETE


def test_a_query_whose_deadline_is_over_is_not_answered(system, caller, subject):
    node = system.signal(subject)
    late = caller.begin_query(queries.GetNode, node_id=node.id, seconds=-10)
    assert caller.node(node.id) is not None  # asked later, in the same partition
    assert not caller.has_answer(late)


def test_a_flush_gives_a_position_that_holds_what_was_answered(system, caller, subject):
    signal = caller.signal(subject)
    node = caller.ask(signal)
    partition = ids.partition_of(node.id, PARTITIONS)
    offset = caller.commit(partition)
    reader = Reader(system.kafka, STATE, committed=True)
    until_there = dict.fromkeys(reader.positions, 0) | {partition: offset}
    keys = {message.key() for message in reader.read(until_there) if message.offset() < offset}
    reader.close()
    prefix = node.id[: ids.PREFIX_BYTES]
    assert b"w" + prefix + b"n" + node.id[ids.PREFIX_BYTES :] in keys


# --- time ------------------------------------------------------------------------------------------------------------


def test_retries_come_by_timers_until_they_are_exhausted(system, caller, subject):
    node = system.signal(subject, retries=2, retry_interval_seconds=0.05)
    error = b'{"error":{"message":"declined"}}'
    for attempt in (1, 2):
        assert system.say(system.dispatched(node.id, attempt), "errored", response=error) == Done()
    last = system.dispatched(node.id, 3)
    assert last.retries_remaining == 0
    system.say(last, "errored", response=error)
    (notice,) = system.hand.wait_for(
        lambda activity: activity.node.id == node.id and activity.kind is activities.ActivityKind.NOTIFICATION
    )
    assert (notice.notification_name, notice.error) == (node.name, b'{"message":"declined"}')
    assert system.statuses(node.id) == ("errored", "retries_exhausted")
    assert caller.ask(RestartNode(id=fresh(), user_id=system.user, node_id=node.id)) == Done()
    system.say(system.dispatched(node.id, 4))
    assert caller.wait_node(node.id).server is ServerStatus.COMPLETE


def test_a_client_that_does_not_answer_in_time_is_tried_again(system, subject):
    node = system.signal(subject, client_data=b'{"timeout":0.2}', retry_interval_seconds=0.05)
    again = system.dispatched(node.id, 2)
    assert again.retries_remaining == node.retries_remaining - 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_timers_that_were_due_while_nobody_ran_fire_at_once(system, caller, subject, how):
    due = int(time.time() * 1000) + 5_000
    signals = [caller.signal(json.dumps(f"{subject!r} {number}").encode(), fires_at=due) for number in range(20)]
    for signal in signals:
        assert caller.ask(signal).server is not ServerStatus.SENT_TO_CLIENT
    if how == "kill":
        system.kill()
    else:
        system.stack.stop_engine()
    until(lambda: time.time() * 1000 > due + 200, "the timers are due")
    assert not any(system.hand.of(node_of(signal)) for signal in signals)
    system.start()
    for signal in signals:
        node = system.dispatched(node_of(signal))
        assert node.fires_at == due
        system.say(node)
        assert caller.wait_node(node.id).server is ServerStatus.COMPLETE
        assert {activity.node.attempt for activity in system.hand.of(node.id)} == {1}


# --- what cannot be delivered ----------------------------------------------------------------------------------------


def test_a_node_of_an_unknown_client_fails_as_a_client_error(system, caller, subject, new):
    node = system.signal(subject)
    stranger = new("stranger", user_id=fresh(), retries=0)
    answer = result(node, children=(stranger,))
    caller.ask(answer)
    child = ids.node_id(node.workflow_id, answer.id, 0)
    system.wait_for_server(child, ServerStatus.RETRIES_EXHAUSTED)
    (history,) = caller.query(queries.GetHistory, node_id=child)
    responses = b"".join(change.response or b"" for change in history.changes)
    assert f"No client has the id {stranger.user_id.hex()}".encode() in responses


def test_an_effect_to_a_missing_topic_is_not_taken_as_sent(system, caller, subject, unique, new):
    client = add_client(system.kafka, unique, partitions=PARTITIONS)
    topic = activities_topic(unique)

    def child_of_theirs(number):
        node = system.signal(json.dumps(f"{unique} {number}").encode())
        answer = result(node, children=(new("theirs", user_id=client.id_bytes, retries=1, retry_interval_seconds=600),))
        caller.ask(answer)
        return ids.node_id(node.workflow_id, answer.id, 0)

    there = child_of_theirs(1)
    system.wait_for_server(there, ServerStatus.SENT_TO_CLIENT)
    # Until the broker has heard of it, it takes records of the topic, which are gone with it.
    delete_topics(system.kafka, topic)
    lost = child_of_theirs(2)
    # Other work goes on meanwhile.
    node = system.signal(subject)
    system.say(node)
    assert caller.wait_node(node.id).server is ServerStatus.COMPLETE
    system.wait_for_server(lost, ServerStatus.RETRYING)
    for partition in range(PARTITIONS):
        caller.commit(partition)
    ensure_client_topics(system.kafka, client_topics(unique, PARTITIONS))
    reader = Reader(system.kafka, topic)

    def tried_again():
        # A producer takes a moment to see that a topic is there again; until then its attempts fail as before.
        if caller.node(lost).server in (ServerStatus.RETRYING, ServerStatus.RETRIES_EXHAUSTED):
            caller.ask(RestartNode(id=fresh(), user_id=client.id_bytes, node_id=lost))
        return any(decode_activity(message.value()).node.id == lost for message in reader.read())

    until(tried_again, "the activity comes once its topic is there")
    reader.close()


# --- the judge, over all that was done above -------------------------------------------------------------------------


def verify(kafka, *options):
    return CliRunner().invoke(backbeat, ["verify", "--bootstrap-servers", kafka, "--json", *options])


def judged(kafka, *options):
    """Exit code and verdict of `backbeat verify`."""
    done = verify(kafka, *options)
    assert done.exit_code in (0, 1, 5), done.output
    return done.exit_code, json.loads(done.stdout)


def node_key(node_id):
    return b"w" + node_id[: ids.PREFIX_BYTES] + b"n" + node_id[ids.PREFIX_BYTES :]


def store_row(kafka, node_id):
    """A node's record as the changelog has it."""
    reader = Reader(kafka, STATE)
    rows = []

    def read():
        rows.extend(message for message in reader.read() if message.key() == node_key(node_id))
        return rows

    until(read, "the node's record comes")
    reader.close()
    return msgspec.msgpack.decode(rows[-1].value())


def write_row(kafka, node_id, row):
    """A record that no engine has written."""
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(STATE, msgspec.msgpack.encode(row), node_key(node_id), ids.partition_of(node_id, PARTITIONS))
    assert producer.flush(60) == 0


def test_the_judge_agrees_while_an_engine_is_killed_and_finds_a_changed_record(system, caller, subject, new, tmp_path):
    wide = system.signal(subject, name="wide")
    flags = tuple(new(f"flag {number}", type="flag", mode=Mode.NON_BLOCKING) for number in range(600))
    caller.ask(result(wide, children=flags))
    answers = [caller.begin(caller.signal(json.dumps(f"judged {number}").encode())) for number in range(200)]
    system.kill()
    snapshot = tmp_path / "judge.sqlite"
    code, verdict = judged(system.kafka)  # as of the last commit before the kill
    assert (code, verdict["differences"], verdict["sends"], verdict["unjudged"]) == (0, [], [], [])
    system.start()
    for answer in answers:
        assert isinstance(caller.wait(answer), NodeView)
    assert caller.wait_node(wide.id).server is ServerStatus.COMPLETE
    for partition in range(PARTITIONS):
        caller.commit(partition)
    code, verdict = judged(system.kafka, "--snapshot", str(snapshot))
    assert (code, verdict["differences"], verdict["sends"], verdict["unjudged"]) == (0, [], [], [])
    assert verdict["judged"]["workflows"] > 200
    assert verdict["judged"]["nodes"] > 800
    whole = verdict["judged"]["records"]
    code, again = judged(system.kafka, "--replay")
    assert (code, again["differences"], again["unjudged"]) == (0, [], [])
    # From the snapshot on, and no record is folded twice.
    before = ends(system.kafka, COMMANDS)  # the snapshot reaches at least as far
    signal = system.signal(json.dumps("after the snapshot").encode())
    partition = ids.partition_of(signal.id, PARTITIONS)
    caller.commit(partition)
    code, verdict = judged(system.kafka, "--snapshot", str(snapshot))
    assert (code, verdict["differences"], verdict["sends"]) == (0, [], [])
    assert 0 < verdict["judged"]["records"] < whole
    text = tmp_path / "text"
    text.write_text("no snapshot " * 1_000)
    done = verify(system.kafka, "--snapshot", str(text))
    assert done.exit_code == 1
    assert "is no snapshot of backbeat verify" in done.stderr
    # Without the snapshot nothing can be said of partitions whose commands were removed, and with it all.
    admin = AdminClient({"bootstrap.servers": system.kafka})
    place = TopicPartition(COMMANDS, partition, before[partition])
    admin.delete_records([place])[place].result(120)
    code, verdict = judged(system.kafka)
    assert (code, verdict["agrees"], verdict["complete"]) == (5, True, False)
    assert [left["kind"] for left in verdict["unjudged"]] == [f"partition {partition}"]
    code, verdict = judged(system.kafka, "--snapshot", str(snapshot))
    assert (code, verdict["differences"], verdict["unjudged"]) == (0, [], [])
    # A node that was sent is said to be complete.
    subjects = (json.dumps(f"changed {number}").encode() for number in range(1_000))
    elsewhere = next(name for name in subjects if ids.partition_of(route_of_subject(name), PARTITIONS) != partition)
    signal = system.signal(elsewhere)
    caller.commit(ids.partition_of(signal.id, PARTITIONS))
    row = store_row(system.kafka, signal.id)
    row[FIELDS["node"].index("server")] = int(ServerStatus.COMPLETE)
    write_row(system.kafka, signal.id, row)
    code, verdict = judged(system.kafka, "--snapshot", str(snapshot))
    assert code == 1
    (difference,) = verdict["differences"]
    assert (difference["kind"], difference["id"], difference["field"]) == ("node", signal.id.hex(), "server")
    assert (difference["stored"], difference["expected"]) == ("complete", "sent_to_client")
    assert [step["name"] for step in verdict["commands"]] == ["Signal"]
