"""Commands and queries as records over HTTP: whose they are, which are taken, and what bytes that are none get."""

import time
import uuid
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbeat import Client
from backbeat.errors import InvalidParameters, Rejected, Unavailable
from backbeat.gateway.api import record_rules, records
from backbeat.gateway.http import errors
from backbeat.gateway.openapi.records import RECORDS
from backbeat.schemas import bodies
from backbeat.schemas.catalogue import HISTORY
from backbeat.schemas.catalogue import RECORDS as SCHEMAS
from backbeat.schemas.kafka.topics import RECORD_BYTES_MAX
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.replies import Done, History, Jobs, Made, Nodes, Reason, Rejection
from backbeat.schemas.messages.retention import RetentionPolicies, RetentionPolicy
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import NewNode, NewWorkflow
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.schemas.named_types import COMMANDS, QUERIES
from tests.gateway.api.conftest import PARTITIONS
from tests.gateway.api.door import Answer
from tests.schemas.examples import EXAMPLES, NODE, POLICY, REPLY_TO, SOURCE, WORKFLOW, identity

#: What engines, archivers and operators send, and nobody else.
NOT_TAKEN = {
    commands.ChangeSettings, commands.SpreadLimit, commands.AskSlot, commands.GrantSlot, commands.ReleaseSlot,
    commands.FillPool, commands.ScheduleDue, commands.RemoveWorkflow, commands.TimerFired,
    commands.OpenLink, commands.CloseLink, commands.DeliveryFailed, commands.FailNode, commands.Continue,
    commands.WorkJob,
}  # fmt: skip
NOT_ANSWERED = {queries.Flush, queries.GetDue}
TREE_NODES = 4_500
LATER = 3_600_000


def test_of_every_kind_of_record_it_is_known_whether_it_is_taken():
    assert set(record_rules.COMMANDS) == set(COMMANDS) - NOT_TAKEN
    assert set(record_rules.QUERIES) == set(QUERIES) - NOT_ANSWERED
    for kind in COMMANDS:
        assert (kind.__name__ in RECORDS["POST /commands"].text) is (kind not in NOT_TAKEN), kind
    for kind in QUERIES:
        assert (kind.__name__ in RECORDS["POST /queries"].text) is (kind not in NOT_ANSWERED), kind


async def test_what_ends_a_tree_that_has_begun_is_its_last_reply_or_breaks_it_off():
    async def read(error: Exception) -> list:
        async def pages():
            yield [WORKFLOW, Nodes((NODE,))], False
            raise error

        call = SimpleNamespace(tid="t", end=lambda: None)
        chunks = [chunk async for chunk in records._stream(call, [WORKFLOW, Nodes(())], pages())]
        return Answer(200, {"content-type": bodies.MEDIA_TYPE}, b"".join(chunks)).answers

    removed = Rejected(Reason.NOT_FOUND, "No workflow", "nothing", "a workflow")
    refused = errors.refused(removed, "workflow")
    refused.__cause__ = removed
    begun = [WORKFLOW, Nodes(()), Nodes((NODE,))]
    assert await read(refused) == [*begun, Rejection(Reason.NOT_FOUND, "No workflow", "nothing", "a workflow")]
    assert await read(errors.invalid("too much")) == [*begun, Rejection(Reason.INVALID_PARAMETERS, "too much")]
    with pytest.raises(ConnectionError, match="Kafka is away"):
        await read(errors.unavailable("Kafka is away", "Backbeat::Unavailable"))


def id_of(user) -> bytes:
    return uuid.UUID(user.id).bytes


def signal(owner: bytes, *, subject: bytes | None = None, **more):
    """A signal to a workflow of this user, as the SDK sends it; due much later."""
    new = NewWorkflow(user_id=owner, name="Sale", subject=subject or f'"{uuid.uuid4()}"'.encode(), decider="Shop")
    node = NewNode(name="Buy", user_id=owner, fires_at=int(time.time() * 1000) + LATER)
    workflow_id = ids.workflow_id(owner, new.name, new.subject)
    return commands.Signal(**{
        "id": uuid.uuid4().bytes, "user_id": owner, "workflow_id": workflow_id, "node": node, "workflow": new, **more,
    })  # fmt: skip


def get(kind, **fields):
    return kind(reply_to=REPLY_TO, deadline=0, **fields)


def made(user, **more) -> NodeView:
    (node,) = user.door.record(signal(id_of(user), **more)).answers
    return node


@pytest.mark.parametrize("kind", sorted(NOT_TAKEN | NOT_ANSWERED, key=lambda kind: kind.__name__))
def test_what_engines_and_operators_send_is_not_taken(user, kind):
    asked = msgspec.structs.replace(EXAMPLES[kind.__name__][2], user_id=id_of(user))
    answer = user.door.record(asked)
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert answer.json["message"].startswith(f"{kind.__name__} is none of the ")


def test_a_command_is_the_callers_whatever_it_says(user, other):
    mine, theirs = id_of(user), id_of(other)
    asked = signal(mine)
    stranger = msgspec.structs.replace(asked.workflow, user_id=theirs)
    lied = msgspec.structs.replace(
        asked, user_id=theirs, workflow=stranger, reply_to=REPLY_TO, source=SOURCE, link_open=True, tid="another"
    )
    answer = user.door.record(lied, **{"X-backbeat-tid": "mine"})
    (reply,) = answer.replies
    node = reply.answer
    assert (answer.tid, reply.tid, node.tid, node.workflow_id) == ("mine", "mine", "mine", asked.workflow_id)
    (view,) = user.door.record(get(queries.GetNode, user_id=theirs, node_id=node.id)).answers
    assert (view.id, view.server) == (node.id, ServerStatus.STARTED)
    for query in (
        get(queries.GetNode, user_id=mine, node_id=node.id),
        get(queries.GetHistory, user_id=mine, node_id=node.id),
        get(queries.WaitNode, user_id=mine, node_id=node.id),
        get(queries.GetWorkflow, user_id=mine, workflow_id=node.workflow_id),
        get(queries.GetTree, user_id=mine, workflow_id=node.workflow_id),
        commands.ChangeNode(id=identity(1), user_id=mine, node_id=node.id, status="canceled"),
        commands.ChangeWorkflow(id=identity(1), user_id=mine, workflow_id=node.workflow_id, change="pause"),
        commands.AddChildren(id=identity(1), node_id=node.id, children=(NewNode(name="n", user_id=theirs),)),
        commands.Heartbeat(id=identity(1), node_id=node.id, attempt=1),
        msgspec.structs.replace(signal(mine), workflow=None, workflow_id=node.workflow_id),
    ):
        refused = other.door.record(query)
        assert refused.error == (404, "Backbeat::NotFound"), (query, refused)
        assert refused.json["rejection"]["reason"] == "not_found"
    # A workflow's id follows from its user: the caller's workflow has another.
    refused = other.door.record(msgspec.structs.replace(signal(mine)))
    assert (refused.status, refused.json["rejection"]["reason"]) == (400, "invalid_parameters")


def test_limits_schedules_and_jobs_are_the_callers(user, other):
    mine, theirs = id_of(user), id_of(other)
    common = {"id": uuid.uuid4().bytes, "user_id": theirs}
    values = LimitValues(concurrency=3)
    changed = commands.ChangeLimit(client_id=theirs, activity="pay", values=values, **common)
    assert user.door.record(changed).answers[0].limits[0].limit.client_id == mine
    plan = commands.NewSchedule(
        user_id=theirs,
        name="nightly",
        interval_seconds=3600.0,
        workflow=NewWorkflow(user_id=theirs, name="Reports", subject=b"1", decider="Reports"),
        node=NewNode(name="Report", user_id=mine),
    )
    put = commands.PutSchedule(schedule_id=ids.schedule_id(theirs, "nightly"), schedule=plan, paused=True, **common)
    (schedule,) = user.door.record(put).answers
    assert (schedule.id, schedule.plan.user_id) == (ids.schedule_id(mine, "nightly"), mine)
    parts = user.door.record(get(queries.GetSchedules, user_id=theirs, partition=queries.ALL_PARTITIONS)).answers
    assert len(parts) == PARTITIONS
    assert [view.id for part in parts for view in part.schedules] == [schedule.id]
    change = commands.ChangeSchedule(schedule_id=schedule.id, change="delete", **common)
    assert other.door.record(change).status == 404
    assert user.door.record(change).answers == [Done()]
    for number in range(PARTITIONS):
        job = commands.StartJob(partition=number, action="retry", dry_run=True, **common)
        assert [listed.user_id for listed in user.door.record(job).answers[0].jobs] == [mine]
    assert all(part == Jobs(()) for part in other.door.record(get(queries.GetJobs, partition=-1)).answers)
    (known,) = user.door.record(get(queries.GetJobs, partition=0, job_id=common["id"])).answers
    assert [listed.id for listed in known.jobs] == [common["id"]]


def test_a_policy_of_retention_is_the_callers_and_goes_to_every_partition(user, other):
    mine, theirs = id_of(user), id_of(other)
    policy = RetentionPolicy(owner_id=theirs, name="Sale", keep_seconds=86_400.0)
    changed = commands.ChangeRetention(id=identity(1), user_id=theirs, policy=policy)
    assert user.door.record(changed).answers == [Done()]
    asked = get(queries.GetRetention, user_id=theirs, partition=queries.ALL_PARTITIONS)
    own = RetentionPolicies((msgspec.structs.replace(policy, owner_id=mine),))
    assert user.door.record(asked).answers == [own] * PARTITIONS
    assert other.door.record(asked).answers == [RetentionPolicies(())] * PARTITIONS
    refused = user.door.record(
        msgspec.structs.replace(changed, policy=msgspec.structs.replace(policy, keep_seconds=0.5))
    )
    assert (refused.status, "keep_seconds is 0.5" in refused.json["message"]) == (400, True)
    assert user.door.record(msgspec.structs.replace(changed, forget=True)).answers == [Done()]
    assert user.door.record(asked).answers == [RetentionPolicies(())] * PARTITIONS


async def test_the_sdk_has_retention_and_settings_over_http(stack, user, other):
    async with (
        Client(stack.http_urls[0], user.id) as client,
        Client(stack.bootstrap_servers, user.client.name) as over_kafka,
    ):
        await client.retention.set("Sale", keep=60, archive=False)
        await over_kafka.retention.set("Order", keep=90, client=other.client.name)
        (policy,) = await client.retention.list()
        assert (policy.client, policy.workflow, policy.keep_seconds, policy.archive, policy.partitions) == (
            user.client.name, "Sale", 60.0, False, "all",
        )  # fmt: skip
        assert [policy] == await over_kafka.retention.list() == [await client.retention.get("Sale")]
        mine = {user.client.name, other.client.name}
        known = [row for row in await over_kafka.retention.list(all_clients=True) if row.client in mine]
        assert sorted((row.client, row.workflow) for row in known) == sorted(
            [(user.client.name, "Sale"), (other.client.name, "Order")]
        )
        await client.retention.remove("Sale")
        await over_kafka.retention.remove("Order", client=other.client.name)
        # What is another's, or everybody's, is not a caller's.
        with pytest.raises(InvalidParameters, match="A gateway takes no ChangeRetention"):
            await client.retention.set("Sale", keep=60, client=other.client.name)
        with pytest.raises(Unavailable, match="a client of Kafka asks it"):
            await client.retention.list(all_clients=True)
        with pytest.raises(InvalidParameters, match="A gateway takes no ChangeSettings"):
            await client.settings.set(children_max=5)

        before = await client.settings.get()
        await over_kafka.settings.set(answer_retention_seconds=90_000)
        changed = msgspec.structs.replace(before, answer_retention_seconds=90_000.0)
        try:
            assert await client.settings.list() == await over_kafka.settings.list() == [changed] * PARTITIONS
        finally:
            await over_kafka.settings.set(answer_retention_seconds=before.answer_retention_seconds)
        assert await client.settings.get() == before


def test_a_runner_that_nobody_is_is_refused(user):
    node = made(user)
    nobody = NewNode(name="n", user_id=identity(9))
    for asked in (
        signal(id_of(user), node=nobody),
        commands.AddChildren(id=identity(1), node_id=node.id, children=(nobody,)),
        commands.ChangeNode(id=identity(1), node_id=node.id, status="completed", children=(nobody,)),
    ):
        answer = user.door.record(asked)
        assert (answer.status, "No user has the id" in answer.json["message"]) == (400, True)


def test_what_asks_for_tokens_follows_from_the_kind_of_command(stack, user):
    without, known = user.at(stack.http_urls[1]), user.at(stack.http_urls[1], token=True)
    asked = signal(id_of(user))
    assert without.record(asked).status == 401
    (node,) = known.record(asked).answers
    for record, status in (
        (commands.AddChildren(id=identity(1), node_id=node.id, children=()), 401),
        (commands.ChangeLimit(id=identity(1), client_id=identity(1), activity="pay", paused=True), 401),
        (commands.StartJob(id=identity(1), partition=0, action="retry"), 401),
        (commands.StopJob(id=identity(1), partition=0, job_id=identity(1)), 401),
        (commands.ChangeRetention(id=identity(1), policy=POLICY), 401),
        (commands.RunSchedule(id=identity(1), schedule_id=identity(1)), 401),
        (get(queries.GetNode, node_id=node.id), 200),
        (commands.ChangeNode(id=identity(1), node_id=node.id, status="canceled"), 200),
    ):
        assert without.record(record).status == status, record
    assert user.at(stack.http_urls[2]).record(get(queries.GetNode, node_id=node.id)).status == 401


def test_a_repeat_is_done_once_and_a_key_is_its_callers(user, other):
    key = {"Idempotency-Key": "an%20order"}
    asked = signal(id_of(user), body_hash=identity(7))
    (first,) = user.door.record(asked, **key).answers
    assert user.door.record(msgspec.structs.replace(asked, id=identity(3)), **key).answers == [first]
    assert first.id == ids.node_id(asked.workflow_id, ids.command_id(id_of(user), b"an order"), 0)
    again = user.door.record(msgspec.structs.replace(asked, body_hash=identity(8)), **key)
    assert (again.status, again.json["rejection"]["reason"]) == (422, "key_reused")
    # Another's id for a command, which it could know, is not taken from a record.
    stolen = msgspec.structs.replace(signal(id_of(other)), id=ids.command_id(id_of(user), b"next"))
    (node,) = other.door.record(stolen).answers
    assert node.id != ids.node_id(stolen.workflow_id, stolen.id, 0)
    (second,) = user.door.record(asked, **{"Idempotency-Key": "next"}).answers
    assert second.id == ids.node_id(asked.workflow_id, ids.command_id(id_of(user), b"next"), 0)


def test_what_is_asked_under_a_key_is_told_by_the_record_where_it_has_no_hash(user):
    key = {"Idempotency-Key": "k"}
    asked = signal(id_of(user))
    (first,) = user.door.record(asked, **key).answers
    assert user.door.record(msgspec.structs.replace(asked, id=identity(3), tid="later"), **key).answers == [first]
    assert user.door.record(msgspec.structs.replace(asked, coalesce_key="c"), **key).status == 422


def test_a_life_in_records(user):
    node = made(user)
    child = NewNode(name="Send", user_id=id_of(user))
    user.door.put(f"/activities/{node.id.hex()}/restart")
    assert user.door.record(commands.RestartNode(id=identity(1), node_id=node.id)).error[0] == 409
    (refused,) = [user.door.record(commands.ChangeNode(id=identity(1), node_id=node.id, status="completed"))]
    assert refused.json["rejection"]["reason"] == "invalid_client_status"
    (added,) = user.door.record(commands.AddChildren(id=identity(1), node_id=node.id, children=(child, child))).answers
    assert isinstance(added, Made)
    (workflow, *parts) = user.door.record(get(queries.GetTree, workflow_id=node.workflow_id)).answers
    assert isinstance(workflow, WorkflowView)
    assert [row.id for part in parts for row in part.nodes] == [node.id, *added.ids]
    assert user.door.record(commands.ResetNode(id=identity(1), node_id=node.id)).answers == [Done()]
    assert user.door.record(commands.ScheduleNode(id=identity(1), node_id=node.id)).answers == [Done()]
    cancel = commands.ChangeNode(id=identity(1), node_id=node.id, status="canceled")
    assert user.door.record(cancel).answers == [Done()]
    (view, *history) = user.door.record(get(queries.WaitNode, node_id=node.id), Prefer="wait=30").answers
    assert (view.server, [type(part) for part in history]) == (ServerStatus.DEACTIVATED, [History])
    (flow,) = user.door.record(commands.CreateWorkflow(id=identity(1), workflow=signal(id_of(user)).workflow)).answers
    assert isinstance(flow, WorkflowView)


def test_a_wait_lasts_as_long_as_its_header_says_whatever_clocks_show(user):
    node = made(user)
    for deadline in (0, 1, 2**60):
        asked = queries.WaitNode(reply_to=REPLY_TO, deadline=deadline, node_id=node.id)
        (view, *_) = user.door.record(asked, Prefer="wait=0.05").answers
        assert view.server is ServerStatus.STARTED


def test_a_large_tree_comes_by_the_page_and_in_its_order(user):
    node = made(user)
    children = []
    for number in range(0, TREE_NODES, 500):
        some = tuple(NewNode(name=f"n{number + index}", user_id=id_of(user)) for index in range(500))
        (added,) = user.door.record(commands.AddChildren(id=identity(1), node_id=node.id, children=some)).answers
        children += added.ids
    asked = get(queries.GetTree, workflow_id=node.workflow_id)

    def read(**more) -> list[bytes]:
        (workflow, *parts) = user.door.record(msgspec.structs.replace(asked, **more)).answers
        assert isinstance(workflow, WorkflowView)
        assert all(isinstance(part, Nodes) for part in parts)
        return [row.id for part in parts for row in part.nodes]

    assert read() == [node.id, *children]
    assert read(limit=4_200) == [node.id, *children[:4_199]]
    assert read(limit=4_000, after=children[999]) == children[1_000:]
    assert read(limit=3) == [node.id, *children[:2]]
    assert user.door.record(msgspec.structs.replace(asked, limit=0)).error == (400, "Backbeat::InvalidParameters")


def test_client_data_of_megabytes_is_kept_elsewhere_for_who_is_served_by_webhook(new_user):
    user = new_user(activity_endpoint="http://127.0.0.1:9/a", decision_endpoint="http://127.0.0.1:9/d")
    text = msgspec.json.encode({"params": ["x" * 2_000_000]})
    asked = signal(id_of(user))
    node = msgspec.structs.replace(asked.node, client_data=text)
    (view,) = user.door.record(msgspec.structs.replace(asked, node=node)).answers
    assert view.client_data == text
    for query in (
        get(queries.GetNode, node_id=view.id),
        get(queries.GetTree, workflow_id=view.workflow_id),
    ):
        answer = user.door.record(query).answers[-1]
        assert (answer if isinstance(answer, NodeView) else answer.nodes[0]).client_data == text


# --- what is no record -----------------------------------------------------------------------------------------------

_SENT = [bodies.write(EXAMPLES[kind.__name__][2]) for kind in (*COMMANDS, *QUERIES)]
_DAMAGED = st.builds(
    lambda text, at, junk: text[: at % len(text)] + junk + text[at % len(text) + len(junk) :],
    st.sampled_from(_SENT),
    st.integers(0, 2**16),
    st.binary(min_size=1, max_size=8),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=64) | _DAMAGED | st.sampled_from(_SENT).map(lambda text: text[:-1]))
def test_bytes_that_are_no_record_are_told_so(user, body):
    for path in ("/commands", "/queries"):
        answer = user.door.call("POST", path, body, {"Content-Type": bodies.MEDIA_TYPE})
        # What was damaged may still be a command or query of nobody's.
        assert answer.status in (200, 400, 404, 409), answer
        assert answer.status == 200 or answer.json["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no record"),
        (b"{}", "no record"),
        (b"\xc3\x01abcdefgh", "does not know the schema with the fingerprint 6162636465666768"),
        (b"\x00\x00\x00\x00\x01", "Confluent"),
        (bodies.write(EXAMPLES["GetNode"][2]), "a GetNode where a command was expected"),
        (bodies.write(EXAMPLES["Signal"][2]) + b"\0", "1 byte"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(user, body, message):
    answer = user.door.record(body)
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert message in answer.json["message"]


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_type_is_told_which_it_should_be(user, kind):
    answer = user.door.record(signal(id_of(user)), **{"Content-Type": kind})
    assert (answer.status, bodies.MEDIA_TYPE in answer.json["message"]) == (400, True)


def test_a_body_that_is_too_large_is_refused(user):
    assert user.door.record(b"x" * (13 * 1024 * 1024)).error == (413, "Backbeat::LimitExceeded")
    asked = signal(id_of(user))
    data = msgspec.json.encode({"params": "x" * RECORD_BYTES_MAX})
    node = msgspec.structs.replace(asked.node, client_data=data)
    assert user.door.record(msgspec.structs.replace(asked, node=node)).error == (413, "Backbeat::LimitExceeded")
    node = msgspec.structs.replace(asked.node, client_data=data[:400_000] + b'"}')
    refused = user.door.record(msgspec.structs.replace(asked, node=node))
    assert (refused.status, refused.json["rejection"]["reason"]) == (400, "limit_exceeded")


@pytest.mark.parametrize("partition", [-2, PARTITIONS, 2**31 - 1, -(2**31)])
def test_a_partition_that_is_none_is_refused(user, partition):
    for asked in (
        get(queries.GetJobs, partition=partition),
        commands.StopJob(id=identity(1), partition=partition, job_id=identity(1)),
    ):
        answer = user.door.record(asked)
        assert (
            answer.json["message"] == f"There is no partition {partition}: commands have {PARTITIONS}, counted from 0"
        )
    assert user.door.record(commands.StartJob(id=identity(1), partition=-1, action="retry")).status == 400


def test_a_schema_is_found_by_its_fingerprint(user, anybody):
    for record in SCHEMAS.values():
        assert user.door.get(f"/schemas/{record.fingerprint.hex()}").json == record.schema
    older = next(path for path in HISTORY.glob("*.avsc") if bytes.fromhex(path.stem) not in
                 {record.fingerprint for record in SCHEMAS.values()})  # fmt: skip
    assert user.door.get(f"/schemas/{older.stem}").json == msgspec.json.decode(older.read_bytes())
    for unknown in ("0" * 16, "nonsense"):
        assert user.door.get(f"/schemas/{unknown}").error == (404, "Backbeat::NotFound")


def test_users_say_how_many_partitions_there_are(anybody):
    assert anybody.get("/users").headers["x-backbeat-partitions"] == str(PARTITIONS)
