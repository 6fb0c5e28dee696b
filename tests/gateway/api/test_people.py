"""People who call the API: their tokens, their rights on every route, what is about all users, and the audit of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import pytest
from click.testing import CliRunner

from backbeat import Client
from backbeat.compose.cli.program import backbeat
from backbeat.errors import InvalidParameters, Unauthorized
from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.http.routing import Access, Route
from backbeat.gateway.people.audit import Audit, Entry
from backbeat.gateway.people.visitor import DEVELOPER, Right
from backbeat.schemas.kafka.topics import AUDIT, console_topics, ensure_client_topics
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import NewNode
from backbeat.transport.base import NOBODY
from tests.empty_kafka import delete_topics
from tests.gateway.api.conftest import PARTITIONS
from tests.gateway.api.door import Door
from tests.waiting import until

PEOPLE = {
    "oper": ["--role", "operator", "--payloads"],
    "blind": ["--role", "operator"],
    "reader": ["--role", "reader"],
    "seer": ["--role", "reader", "--payloads"],
}


def command(stack, *words: str) -> str:
    result = CliRunner().invoke(backbeat, [*words, "--bootstrap-servers", stack.bootstrap_servers])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def add_person(stack, name: str, *words: str) -> str:
    return json.loads(command(stack, "person", "add", name, *words, "--json"))["token"]


@pytest.fixture(scope="module")
def tokens(stack) -> dict[str, str]:
    return {name: add_person(stack, name, *words) for name, words in PEOPLE.items()}


class PersonDoor(Door):
    """A gateway, called by a person."""

    def __init__(self, url: str, name: str, token: str, *, client_id: str | None = None, reason: str = "") -> None:
        super().__init__(url, client_id, token)
        self._headers["Person"] = name
        if reason:
            self._headers["X-backbeat-reason"] = quote(reason)


@pytest.fixture
def person(stack, tokens):
    def come(name: str, *, client_id: str | None = None, reason: str = "a test") -> PersonDoor:
        return PersonDoor(stack.http_urls[2], name, tokens[name], client_id=client_id, reason=reason)

    return come


def entries(stack) -> list[Entry]:
    """The audit, newest first."""
    audit = Audit(stack.bootstrap_servers)
    with audit.follower:
        assert audit.follower.catch_up(60)
    return audit.newest(1_000, visitor=DEVELOPER)


def exhausted(user) -> str:
    """A node that needs a person."""
    node = user.sent(retry=0)
    assert user.say(node["id"], "errored", {"message": "no"}).status == 200
    user.wait_for(node["id"], "retries_exhausted")
    return node["id"]


# --- who it is -------------------------------------------------------------------------------------------------------


def test_a_person_needs_the_own_token_whatever_the_gateway_asks_of_others(stack, tokens, user):
    for url in stack.http_urls:
        assert PersonDoor(url, "reader", tokens["reader"]).get("/jobs").status == 200
        for name, token in (("reader", tokens["oper"]), ("reader", ""), ("nobody", tokens["reader"]), ("", "")):
            assert PersonDoor(url, name, token).get("/jobs").status == 401, name
        # A client's token is no person's, and the other way round.
        assert PersonDoor(url, user.client.name, user.token).get("/jobs").status == 401
    assert Door(stack.http_urls[2], user.id, tokens["oper"]).get("/jobs").status == 401


def test_a_token_that_was_rotated_or_removed_lets_nobody_in(stack):
    token = add_person(stack, "passing", "--role", "reader")
    url = stack.http_urls[0]
    assert PersonDoor(url, "passing", token).get("/jobs").status == 200
    command(stack, "person", "rotate", "passing", "--json")
    until(lambda: PersonDoor(url, "passing", token).get("/jobs").status == 401, "the old token is not taken")
    command(stack, "person", "remove", "passing", "--yes")


# --- what a person may -----------------------------------------------------------------------------------------------


def path_of(route: Route, node: str, workflow: str) -> str:
    path = route.path.replace("{id}", node if route.path.startswith("/activities") else workflow)
    for name, value in (("position", "0@0"), ("status", "resolved"), ("fingerprint", "0" * 16)):
        path = path.replace(f"{{{name}}}", value)
    for name in ("name", "activity", "workflow"):
        path = path.replace(f"{{{name}}}", "nothing")
    return path


def may(name: str, right: Right | None) -> bool:
    words = PEOPLE[name]
    return (
        right is Right.READ
        or (right is Right.ACT and "operator" in words)
        or (right is Right.PAYLOADS and "--payloads" in words)
    )


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_may_what_the_table_says_and_no_more(person, user, name):
    node = exhausted(user)
    workflow = user.node(node)["workflowId"]
    about, of_all = person(name, client_id=user.id), person(name)
    for route in ROUTES:
        # A stream does not end, and what is changed is changed by tests of its own.
        if route.access is Access.PUBLIC or route.path.endswith("/changes"):
            continue
        assert route.person is not None, route.path
        path = path_of(route, node, workflow)
        # What cannot be read is refused behind the door, and changes nothing.
        body = None if route.method == "GET" else b"{"
        if may(name, route.person):
            assert about.call(route.method, path, body).status != 403, (route.method, path)
            status = of_all.call(route.method, path, body).status
            assert (status == 403) is not route.for_all, (route.method, path, status)
        else:
            for door in (about, of_all):
                assert door.call(route.method, path, body).error == (403, "Backbeat::Forbidden"), (route.method, path)
    assert user.node(node)["currentServerStatus"] == "retries_exhausted"


def test_a_person_of_one_user_says_so_and_sees_no_other(stack, user, other):
    token = add_person(stack, "clerk", "--role", "operator", "--payloads", "--client", user.client.name)
    url = stack.http_urls[0]
    node, others = exhausted(user), exhausted(other)
    own = PersonDoor(url, "clerk", token, client_id=user.id, reason="mine")
    until(lambda: own.get("/jobs").status == 200, "the person is known")
    assert own.get(f"/activities/{node}").status == 200
    assert own.get(f"/activities/{others}").status == 404
    assert own.put(f"/activities/{others}/restart").status == 404
    assert PersonDoor(url, "clerk", token).get("/jobs").status == 403
    assert PersonDoor(url, "clerk", token, client_id=other.id).get("/jobs").status == 403
    assert own.put(f"/activities/{node}/restart").status == 200
    command(stack, "person", "remove", "clerk", "--yes")


def test_without_the_right_to_payloads_a_job_cannot_read_metadata_letter_by_letter(person, user):
    exhausted(user)
    job = {"action": "retry", "metadata": "secret", "dry_run": True}
    assert person("blind").post("/jobs", job).error == (403, "Backbeat::Forbidden")
    assert person("oper").post("/jobs", job).status == 201
    started = commands.StartJob(id=b"j" * 16, user_id=None, reply_to=NOBODY, partition=0, action="retry",
                                filter=commands.JobFilter(metadata="secret"), dry_run=True)  # fmt: skip
    assert person("blind").record(started).error == (403, "Backbeat::Forbidden")
    tree = queries.GetTree(
        reply_to=NOBODY, deadline=0, workflow_id=bytes.fromhex(user.workflow()["id"].replace("-", ""))
    )
    assert person("blind").record(tree).error == (403, "Backbeat::Forbidden")
    assert person("oper").record(tree).status == 200


# --- changes and their audit -----------------------------------------------------------------------------------------


def test_a_change_says_why_and_is_in_the_audit_with_what_came_of_it(stack, person, user):
    node = exhausted(user)
    for reason in ("", "x" * 501):
        answer = person("oper", reason=reason).put(f"/activities/{node}/restart")
        assert (answer.status, "X-backbeat-reason" in answer.json["message"]) == (400, True)
    assert user.node(node)["currentServerStatus"] == "retries_exhausted"
    assert person("oper", reason="bank is back, „INC-771“").put(f"/activities/{node}/restart").status == 200
    user.wait_for(node, "sent_to_client")
    assert person("oper", reason="too early").put(f"/activities/{node}/status/resolved").status == 409
    refused, done = (entry for entry in entries(stack) if entry.subject_id == node)
    assert (done.actor, done.way, done.reason, done.outcome) == ("oper", "http", "bank is back, „INC-771“", "done")
    assert done.action == "PUT /activities/{id}/restart"
    assert (refused.reason, refused.outcome.split(":")[0]) == ("too early", "refused")
    rows = person("reader").get(f"/audit?of={node}").json
    assert [(row["reason"], row["subjects"]) for row in rows] == [("too early", [node]), (done.reason, [node])]
    assert person("reader").get(f"/audit?of={node}&by=nobody").json == []
    newest, oldest = rows
    for words, matches in (
        (f"before={newest['id']}", [oldest]),
        (f"before={oldest['id']}", []),
        ("before=unknown", []),
        (f"until={oldest['at']}", [oldest] if oldest["at"] < newest["at"] else rows),
        ("since=2999-01-01", []),
        (f"action={quote('PUT /activities/{id}/restart')}&by=oper", [oldest]),
        ("limit=1", [newest]),
    ):
        assert person("reader").get(f"/audit?of={node}&{words}").json == matches, words
    workflow_id = user.node(node)["workflowId"]
    assert person("reader").get(f"/audit?of={workflow_id}").json == []
    Audit(stack.bootstrap_servers).put(msgspec.structs.replace(done, id="of the console", workflow_id=workflow_id))
    (row,) = person("reader").get(f"/audit?of={workflow_id}").json
    assert row["subjects"] == [node]
    assert user.door.get("/audit").error == (403, "Backbeat::Forbidden")


def test_nothing_is_done_that_cannot_be_written_down(stack, person, user):
    node = exhausted(user)
    delete_topics(stack.bootstrap_servers, AUDIT)
    try:
        answer = person("oper").put(f"/activities/{node}/restart")
        assert answer.error == (503, "Backbeat::Unavailable")
        assert "Nothing was done" in answer.json["message"]
        assert user.node(node)["currentServerStatus"] == "retries_exhausted"
    finally:
        ensure_client_topics(stack.bootstrap_servers, console_topics())
    until(lambda: person("oper").put(f"/activities/{node}/restart").status == 200, "it can be written down again")


# --- about all users -------------------------------------------------------------------------------------------------


def test_what_is_about_all_users_is_about_all(person, user, other):
    nodes = {exhausted(user), exhausted(other)}
    oper = person("oper", reason="for all")
    until(
        lambda: {row["id"] for row in oper.get("/activities/search?per_page=500").json} >= nodes,
        "nodes of both client applications are in the search",
    )
    page = oper.get("/activities/search?per_page=1").json
    older = oper.get(f"/activities/search?per_page=1&last_id={page[0]['id']}").json
    assert page[0]["id"] != older[0]["id"]
    assert oper.get("/activities/search?per_page=1&page=2").status == 400
    owners = {cause["userId"] for cause in oper.get("/reports/causes?limit=1000").json["causes"]}
    assert {user.id, other.id} <= owners

    job = oper.post("/jobs", {"action": "retry", "error": "no", "note": "all of them"}).json
    assert (job["note"], job["actor"]) == ("all of them", "oper")
    for node in nodes:
        until(
            lambda node=node: oper.get(f"/activities/{node}").json["currentServerStatus"] == "sent_to_client", "again"
        )
    assert job["id"] in {row["id"] for row in oper.get("/jobs").json}
    assert job["id"] not in {row["id"] for row in user.door.get("/jobs").json}

    for owner in (user, other):
        limited = person("oper", client_id=owner.id, reason="slower").put("/limits/start", {"concurrency": 5})
        assert (limited.status, limited.json["clientId"]) == (200, owner.id)
    limits = [row for row in oper.get("/limits").json if row["activity"] == "start"]
    assert {user.id, other.id} <= {row["clientId"] for row in limits}


def test_retention_over_http(person, user, other):
    policy = {"keep_seconds": 86_400}
    assert user.door.get("/retention").json == []
    put = user.door.put("/retention/Camera%20sale", policy).json
    assert put == user.door.get("/retention/Camera%20sale").json
    assert (put["keepSeconds"], put["archive"], put["partitions"]) == (86_400.0, True, PARTITIONS)
    assert other.door.get("/retention/Camera%20sale").status == 404
    assert other.door.call("DELETE", "/retention/Camera%20sale").status == 404
    assert user.id in {row["clientId"] for row in person("reader").get("/retention").json}
    for body in ({}, {"keep_seconds": 0}, {"keep_seconds": "x"}, {**policy, "archive": "odd"}, {**policy, "days": 1},
                 {**policy, "refuse_seconds": 0.5}, {"keep_seconds": 2**31}):  # fmt: skip
        assert user.door.put("/retention/Camera%20sale", body).status == 400, body
    assert user.door.call("DELETE", "/retention/Camera%20sale").json == {"success": True}
    assert user.door.get("/retention").json == []
    assert user.door.call("DELETE", "/retention/Camera%20sale").status == 404
    assert user.door.get("/archives").status == 404


def test_engines_tell_of_themselves(stack, anybody, user):
    report = anybody.get("/reports/engines").json
    assert [row["partition"] for row in report["partitions"]] == list(range(PARTITIONS))
    assert {row["state"] for row in report["partitions"]} == {"ready"}
    (engine,) = report["engines"]
    assert (engine["partitions"], engine["version"] != "") == (list(range(PARTITIONS)), True)
    rows = [json.loads(line) for line in command(stack, "engines", "--json").splitlines()]
    assert [(row["partition"], row["state"], row["engine"]) for row in rows] == [
        (number, "ready", engine["instance"]) for number in range(PARTITIONS)
    ]
    assert engine["instance"] in command(stack, "engines")
    assert Door(stack.http_urls[2]).get("/reports/engines").status == 401
    assert user.at(stack.http_urls[2], token=True).get("/reports/engines").status == 200


# --- by the SDK ------------------------------------------------------------------------------------------------------


async def test_a_person_by_the_sdk(stack, tokens, user, other):
    nodes = [exhausted(user), exhausted(other)]
    fields: dict[str, Any] = {"person": "oper", "token": tokens["oper"], "timeout": 60}
    async with Client(stack.http_urls[2], **fields, reason="by the SDK") as client:
        for node in nodes:
            assert (await client.node(node)).status == "retries_exhausted"
            assert (await client.waits(node))[0].kind
        job = await client.jobs.start("retry", error="no", note="the SDK")
        assert (job.actor, job.note) == ("oper", "the SDK")
        await client.retention.set("Camera sale", keep=3_600, client=user.client.name)
        policies = await client.retention.list(all_clients=True)
        assert user.client.name in {policy.client for policy in policies}
        await client.retention.remove("Camera sale", client=user.client.name)
        assert [engine.state for engine in await client.engines()] == ["ready"] * PARTITIONS
        ids = {node.id async for node in client.search_nodes(limit=500)}
        assert set(nodes) <= ids
        with pytest.raises(InvalidParameters, match="one client application"):
            await client.signal("Sale", "A", "Buy")
    async with Client(stack.http_urls[2], user.id, **fields, reason="as one") as client:
        node = await client.signal("Sale", "A", "Buy")
        assert (await client.status(node.id)) in {"sent_to_client", "started"}
    async with Client(stack.http_urls[2], **fields) as client:
        with pytest.raises(InvalidParameters, match="X-backbeat-reason"):
            await client.retry(nodes[0])
    async with Client(stack.http_urls[2], person="reader", token=tokens["reader"], reason="x") as client:
        with pytest.raises(Unauthorized, match="operator"):
            await client.retry(nodes[0])
    made = {entry.subject_name for entry in entries(stack) if entry.reason == "by the SDK"}
    assert any(name.startswith("StartJob action retry") for name in made), made
    assert any(name.startswith("ChangeRetention") for name in made), made


def test_a_record_for_all_is_taken_of_a_person_alone(person, user):
    policy = RetentionPolicy(owner_id=user.client.id_bytes, name="of a record", keep_seconds=60.0)
    record = commands.ChangeRetention(id=b"r" * 16, reply_to=NOBODY, policy=policy)
    assert person("oper").record(record).status == 200
    assert [row["workflow"] for row in user.door.get("/retention").json] == ["of a record"]
    assert person("oper").record(msgspec.structs.replace(record, forget=True)).status == 200
    assert user.door.get("/retention").json == []
    signal = commands.Heartbeat(id=b"h" * 16, reply_to=NOBODY, node_id=b"n" * 16, attempt=0)
    assert person("oper").record(signal).error == (403, "Backbeat::Forbidden")
    child = NewNode(name="child", user_id=b"nobody's id, 16b")
    changed = commands.ChangeNode(
        id=b"c" * 16, reply_to=NOBODY, node_id=b"n" * 16, status="completed", children=(child,)
    )
    refused = person("oper").record(changed)
    assert (refused.status, "No user has the id" in refused.json["message"]) == (400, True)


@pytest.mark.parametrize(
    "reason", ["%ff%ED%A0%80", "%E2%80%AE<img src=x onerror=alert(1)>", "%0d%0aSet-Cookie: x", "a%00b"]
)
def test_a_reason_that_means_no_good_is_kept_as_text(stack, tokens, user, reason):
    node = exhausted(user)
    door = PersonDoor(stack.http_urls[0], "oper", tokens["oper"])
    assert door.call("PUT", f"/activities/{node}/restart", headers={"X-backbeat-reason": reason}).status == 200
    (row,) = door.get(f"/audit?of={node}").json
    assert (row["reason"], row["outcome"]) == (unquote(reason).strip(), "done")


@pytest.mark.parametrize(
    ("name", "gateway"), [("..", 0), ("\xff\xfe", 1), ("x" * 5_000, 2), ("oper,oper", 0), ("<b>", 1), ("%00", 2)]
)
def test_a_name_that_is_none_is_nobodys(stack, tokens, name, gateway):
    # Each gateway counts wrong tries by itself.
    assert PersonDoor(stack.http_urls[gateway], name, tokens["oper"]).get("/jobs").status == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/archives?under=../..", 404),
        ("/archives/content?name=x", 404),
        ("/audit?limit=0", 400),
        ("/audit?limit=20001", 400),
        ("/audit?since=soon", 400),
        ("/audit?whose=kim", 400),
        ("/audit?of=%3Cimg%3E", 200),
        ("/retention?x=1", 400),
        ("/reports/engines?x=1", 400),
    ],
)
def test_a_wrong_question_about_the_audit_is_refused(person, path, status):
    assert person("oper").get(path).status == status


def test_wrong_tries_are_counted(stack, tokens, user):
    """The last one: that gateway takes no wrong name from this address for a minute."""
    url = stack.http_urls[1]

    until(lambda: PersonDoor(url, "oper", "wrong").get("/jobs").status == 429, "further tries are refused")
    refused = PersonDoor(url, "nobody", "wrong").get("/jobs")
    assert (refused.status, refused.json["errorClass"]) == (429, "Backbeat::TooManyRequests")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert PersonDoor(url, "oper", tokens["oper"]).get("/jobs").status == 200, "a stranger locks nobody out"
    assert user.at(url).get("/jobs").status == 200, "client applications are asked for no person"
