"""The calls about jobs, on the real thing, by hand and as the SDK makes them."""

import uuid

import pytest

from backbeat import Client, PlainClient
from backbeat.errors import InvalidParameters, KeyReused, NotFound, Unavailable
from tests.waiting import until

UNKNOWN = "0b4e9b1e-57a5-4f0e-9d4b-6f1c34c0f0aa"


@pytest.fixture
def failed(user):
    """Nodes that are out of retries, in workflows of subjects that begin with the same."""
    mark = uuid.uuid4().hex
    nodes = [user.sent(workflow=user.workflow(subject=f"{mark} {number}"), retry=0) for number in range(5)]
    for node in nodes:
        assert user.say(node["id"], "errored", {"error": {"message": f"refused {mark}"}}).status == 200
    return mark, nodes


def ended(user, job_id):
    def look():
        job = user.door.get(f"/jobs/{job_id}").json
        return job if job["state"] == "done" else None

    return until(look, f"job {job_id} is done")


def test_a_job_from_its_dry_run_to_its_end(user, other, failed):
    mark, nodes = failed
    assert user.door.get("/jobs").json == []
    body = {"action": "retry", "error": f"refused {mark}", "currentStatus": "errored", "dry_run": True}
    answer = user.door.post("/jobs", body)
    assert (answer.status, answer.json["dryRun"], answer.json["matched"]) == (201, True, 0)
    counted = ended(user, answer.json["id"])
    assert (counted["matched"], counted["done"], counted["refused"]) == (5, 0, 0)
    assert {match["id"] for match in counted["matches"]} == {node["id"] for node in nodes}
    identity = str(uuid.uuid4())
    body |= {"id": identity, "dry_run": False, "subject": mark}
    assert user.door.post("/jobs", body).json["id"] == identity
    job = ended(user, identity)
    assert (job["matched"], job["done"], job["refused"], job["refusals"]) == (5, 5, 0, [])
    assert {name: value for name, value in job["filter"].items() if value is not None} == {
        "error": f"refused {mark}",
        "currentStatus": "errored",
        "subject": mark,
    }
    for node in nodes:
        assert user.node(node["id"])["currentServerStatus"] == "sent_to_client"
    # Again under its id: the same job, done. Another one: refused.
    assert user.door.post("/jobs", body).json == job
    assert user.door.post("/jobs", body | {"action": "resolve"}).error == (422, "Backbeat::InvalidParameters")
    assert user.door.put(f"/jobs/{identity}/stop").json == job
    assert {row["id"] for row in user.door.get("/jobs").json} == {identity, counted["id"]}
    # Nobody else's.
    assert other.door.get("/jobs").json == []
    for answer in (other.door.get(f"/jobs/{identity}"), other.door.put(f"/jobs/{identity}/stop")):
        assert answer.error == (404, "Backbeat::NotFound")
    assert other.door.post("/jobs", body).status == 422


def test_a_key_makes_a_repeat_the_same_job(user):
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"action": "retry", "all": True}
    first, second = (user.door.post("/jobs", body, **headers).json["id"] for _ in range(2))
    assert first == second
    assert user.door.post("/jobs", body).json["id"] != first


def test_a_misspelled_filter_or_dry_run_starts_nothing(user):
    nodes = [user.sent() for _ in range(2)]
    body = {"action": "cancel", "current_status": "sent_to_client"}
    for wrong, meant in (
        ({"nmae": "Charge card"}, "name"),
        ({"dryrun": True}, "dry_run"),
        ({"dryRum": None}, "dry_run"),
    ):
        refused = user.door.post("/jobs", body | wrong)
        assert refused.error == (400, "Backbeat::InvalidParameters")
        assert f"did you mean `{meant}`?" in refused.json["message"]
    assert user.door.get("/jobs").json == []
    assert all(user.node(node["id"])["currentServerStatus"] == "sent_to_client" for node in nodes)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "action is missing"),
        ({"action": "explode", "all": True}, "There is no job 'explode'"),
        ({"action": "cancel", "all": True}, "cancel needs a current_status"),
        ({"action": "retry", "current_status": "tired"}, "there is no status 'tired'"),
        ({"action": "pause", "name": "x"}, "pause is about workflows"),
        ({"action": "retry", "created_start": "yesterday"}, "created_start must be a time that can be read in one way"),
        ({"action": "retry", "all": True, "dry_run": "perhaps"}, "dry_run must be true or false"),
        ({"action": "retry"}, "Nothing says which nodes or workflows: give a filter, or `all`"),
        ({"action": "retry", "dry_run": True}, "give a filter, or `all`"),
        ({"action": "resume", "client_id": UNKNOWN, "name": None, "all": False}, "give a filter, or `all`"),
        ({"action": "retry", "all": True, "error": "refused"}, "`all` and `error` contradict each other"),
    ],
)
def test_a_job_with_a_wrong_body_is_refused(user, body, says):
    answer = user.door.post("/jobs", body)
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert says in answer.json["message"]


def test_ids_that_are_none(user):
    assert user.door.get("/jobs/seven").status == 400
    assert user.door.post("/jobs", {"action": "retry", "all": True, "id": "seven"}).status == 400
    assert user.door.get(f"/jobs/{UNKNOWN}").json["message"] == f"There is no job {UNKNOWN}"
    assert user.door.put(f"/jobs/{UNKNOWN}/stop").status == 404


def test_tokens_are_asked_for_where_every_call_asks(stack, user):
    tokens = stack.http_urls[2]
    assert user.at(tokens).post("/jobs", {"action": "retry"}).status == 401
    body = {"action": "retry", "all": True, "dry_run": True}
    assert user.at(tokens, token=True).post("/jobs", body).status == 201


async def test_the_sdk_over_http(stack, user, failed):
    mark, nodes = failed
    async with Client(stack.http_urls[0], user.id) as client:
        job = await client.jobs.start("resolve", response={"by": "ann"}, subject=mark, name="start")
        ended(user, job.id)
        job = await client.jobs.get(job.id)
        assert (job.state, job.matched, job.done, job.response) == ("done", 5, 5, {"by": "ann"})
        assert {match.id for match in job.matches} == {node["id"] for node in nodes}
        assert [listed.id for listed in await client.jobs.list()] == [job.id]
        assert (await client.jobs.stop(job.id)).ended_at == job.ended_at
        with pytest.raises(KeyReused):
            await client.jobs.start("retry", job_id=job.id, all=True)
        ended(user, (await client.jobs.start("retry", all=True, dry_run=True)).id)
        with pytest.raises(InvalidParameters, match="give a filter, or `all`"):
            await client.jobs.start("retry")
        with pytest.raises(NotFound, match=f"There is no job {UNKNOWN}"):
            await client.jobs.get(UNKNOWN)
        # A gateway lets nobody touch others' nodes.
        with pytest.raises(InvalidParameters, match="A gateway takes no StartJob"):
            await client.jobs.start("retry", all_clients=True, all=True)
        with pytest.raises(Unavailable, match="a client of Kafka asks it"):
            await client.jobs.list(all_clients=True)
    # The same job as Kafka has it.
    async with Client(stack.bootstrap_servers, user.client.name) as client:
        over_kafka = await client.jobs.get(job.id)
    for name in ("filters", "matched", "done", "state", "response", "started_at", "ended_at", "action"):
        assert getattr(over_kafka, name) == getattr(job, name)
    assert {match.id for match in over_kafka.matches} == {match.id for match in job.matches}


def test_a_workflow_is_paused_by_the_plain_client(stack, user):
    mark = uuid.uuid4().hex
    workflow = user.workflow(subject=mark)
    with PlainClient(stack.http_urls[0], user.id) as client:
        ended(user, client.jobs.start("pause", workflow_id=workflow["id"]).id)
    assert user.door.get(f"/workflows/{workflow['id']}").json["paused"] is True
