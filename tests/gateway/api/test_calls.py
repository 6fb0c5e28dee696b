"""What every call has: who calls, transaction ids, idempotency, errors in one shape; and the calls around the API."""

import gzip
import hashlib
import http.client
import json
import socket
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.openapi import document
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.topics import RECORD_BYTES_MAX
from backbeat.streams.kafka.registration import change_client
from tests.gateway.api.door import Door
from tests.waiting import until

OPEN = ["/users", "/health", "/heartbeat.txt", "/sidekiq_stats"]


# --- who calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", [None, "", "nope", str(uuid.UUID(int=5))])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/workflows/names"),
        ("POST", "/workflows"),
        ("GET", "/activities/1"),
        ("GET", "/v2/debug/error_workflows"),
    ],
)
def test_nobody_known_is_unauthorized(stack, client_id, method, path):
    answer = Door(stack.http_urls[0], client_id).call(method, path)
    assert (answer.status, answer.json) == (401, {"error": "Unauthorized"})


@pytest.mark.parametrize("gateway", [0, 2])
def test_a_user_is_known_from_the_moment_on_in_which_it_was_added(stack, new_user, gateway):
    for _ in range(5):
        user = new_user()
        door = user.at(stack.http_urls[gateway], token=True)
        assert door.get("/workflows/names").status == 200
        assert user.id in [row["id"] for row in door.get("/users").json]


def test_a_new_token_is_known_from_the_moment_on_in_which_it_was_given(stack, user):
    client = user.client
    with ClientRegistry(stack.bootstrap_servers) as registry:
        for number in range(5):
            token = f"token-{number}"
            client = msgspec.structs.replace(client, token_hash=hashlib.sha256(token.encode()).hexdigest())
            change_client(registry, client)
            assert Door(stack.http_urls[2], user.id, token).get("/workflows/names").status == 200


@pytest.mark.parametrize("path", OPEN)
def test_calls_for_anybody(anybody, path):
    assert anybody.get(path).status == 200


def test_tokens_for_signals_and_decisions(stack, user):
    node = user.sent()
    without, with_token = user.at(stack.http_urls[1]), user.at(stack.http_urls[1], token=True)
    workflow = f"/workflows/{node['workflowId']}"
    for path, body in (
        (f"{workflow}/signal", {"name": "x"}),
        (f"{workflow}/signal/x", {}),
        (f"/v2{workflow}/signal/x", {}),
        (f"/activities/{node['id']}/decisions", {"decisions": []}),
        (f"/v2/events/{node['id']}/decisions", {"decisions": []}),
    ):
        assert (without.post(path, body).status, with_token.post(path, body).status) == (401, 201)
        for wrong in (user.token, f"Bearer {user.token}", f"Token token={user.token}", 'Token token=""'):
            assert without.post(path, body, Authorization=wrong).status == 401
    assert without.get(workflow).status == 200
    assert without.put(f"/activities/{node['id']}/status/completed").status == 200


def test_tokens_for_every_call(stack, user, other):
    url = stack.http_urls[2]
    for path in ("/workflows/names", "/users", f"/users/{user.id}", "/sidekiq_stats"):
        assert user.at(url).get(path).status == 401
        assert Door(url, user.id, other.token).get(path).status == 401
        assert user.at(url, token=True).get(path).status == 200
    for path in ("/health", "/heartbeat.txt"):
        assert Door(url).get(path).status == 200


# --- transaction ids -------------------------------------------------------------------------------------------------


def test_every_answer_has_a_transaction_id(user, anybody):
    for answer in (
        user.door.get("/workflows/names"),
        anybody.get("/health"),
        anybody.get("/nope"),
        anybody.get("/workflows"),
    ):
        assert len(answer.tid) == 7
        int(answer.tid, 16)
    assert user.door.get("/nope", **{"X-backbeat-tid": "mine-1"}).tid == "mine-1"
    assert user.door.get("/nope", **{"X-Backbeat-Tid": "x" * 65}).tid != "x" * 65


# --- idempotency -----------------------------------------------------------------------------------------------------


def test_a_repeat_with_a_key_is_done_once(user, other):
    workflow = user.workflow()
    path, key = f"/workflows/{workflow['id']}/signal", {"Idempotency-Key": "a-1"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: user.door.post(path, {"name": "once"}, **key), range(16)))
    assert {(answer.status, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert user.door.post(f"/v2{path}", {"name": "once"}, **key).text == answers[0].text
    assert len(user.door.get(f"/workflows/{workflow['id']}/nodes").json) == 1
    # Another body, another call, another user.
    assert user.door.post(path, {"name": "twice"}, **key).error == (422, "Backbeat::InvalidParameters")
    assert user.door.put(f"/workflows/{workflow['id']}/pause", **key).status == 422
    assert (
        other.door.post("/workflows", {"name": "x", "subject": workflow["subject"], "decider": "D"}, **key).status
        == 201
    )


def test_refusals_are_repeated_too(user):
    node = user.sent()
    path, key = f"/activities/{node['id']}/status", {"Idempotency-Key": "k"}
    refused = user.door.put(f"{path}/resolved", **key)
    user.say(node["id"], "completed")
    assert refused.status == 409
    again = user.door.put(f"{path}/resolved", **key)
    assert (again.status, again.text) == (refused.status, refused.text)


def test_decisions_with_a_key(user):
    node = user.sent()
    made = [
        user.door.post(
            f"/activities/{node['id']}/decisions", {"decisions": [{"name": "x"}]}, **{"Idempotency-Key": "d"}
        ).json
        for _ in range(2)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_keys_that_are_none(user, key):
    answer = user.door.post("/workflows", {}, **{"Idempotency-Key": key})
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert user.door.get("/workflows/names", **{"Idempotency-Key": key}).status == 200


# --- errors ----------------------------------------------------------------------------------------------------------


def test_unknown_paths_and_methods(user):
    assert user.door.get("/nope").error == (404, "Backbeat::NotFound")
    assert user.door.get("/v2/activities/1").error == (404, "Backbeat::NotFound")
    answer = user.door.call("DELETE", "/workflows")
    assert answer.error == (405, "Backbeat::MethodNotAllowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "body", [b"{bad", b'{"a":', b"\xff", b'{"name": "\\ud800"}', b'{"a":' * 300 + b"1" + b"}" * 300]
)
def test_malformed_json(user, body):
    assert user.door.post("/workflows", body).error == (400, "Backbeat::InvalidParameters")


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/mixed"])
def test_a_form_in_parts_is_refused_and_told_what_to_send(user, kind):
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nshop\r\n--x--\r\n'
    answer = user.door.post("/workflows", body, **{"Content-Type": kind})
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert answer.json["message"].endswith("is not taken: send JSON, or a form as application/x-www-form-urlencoded")


def test_a_body_that_is_too_large(user):
    large = json.dumps({"name": "x" * 13_000_000}).encode()
    assert user.door.post("/workflows", large).error == (413, "Backbeat::LimitExceeded")
    # It fits as a body, and is too much for one record.
    node = user.sent()
    child = {"name": "x", "client_data": {"a": "x" * 209_650}}
    body = json.dumps({"decisions": [child] * 10}).encode()
    assert len(body) < RECORD_BYTES_MAX
    answer = user.door.post(f"/activities/{node['id']}/decisions", body)
    assert answer.error == (413, "Backbeat::LimitExceeded")
    assert "record" in answer.json["message"]
    assert len(user.door.get(f"/workflows/{node['workflowId']}/nodes").json) == 1


def test_a_payload_that_is_too_large(user):
    answer = user.door.post(
        f"/workflows/{user.workflow()['id']}/signal", {"name": "x", "client_data": {"a": "x" * 300_000}}
    )
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert "payload_bytes_max" in answer.json["message"]


def test_a_bad_query(user):
    assert user.door.get("/workflows?name=%ff").error == (400, "Backbeat::InvalidParameters")
    assert user.door.get("/workflows?" + "a=1&" * 3000).status in (400, 404)


def test_a_body_in_chunks(user):
    address = urllib.parse.urlsplit(user.door.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    body = json.dumps({"name": "order", "subject": "chunks", "decider": "D"}).encode()
    headers = {"Client-Id": user.id, "Content-Type": "application/json"}
    connection.request("POST", "/workflows", iter([body[:7], body[7:]]), headers, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()


@pytest.mark.parametrize(
    "request_text",
    [
        b"BLAH BLAH BLAH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    ],
)
def test_a_request_that_is_no_http_is_400(user, request_text):
    status, headers, body = talk(user, request_text)
    assert status == 400
    assert json.loads(body)["errorClass"] == "Backbeat::InvalidParameters"
    assert "x-backbeat-tid" in headers


@pytest.mark.parametrize("head", [b"\xff\xfe", b"\xc5\xbc"])
def test_headers_that_are_no_ascii(user, head):
    for name in (b"Client-Id", b"Authorization", b"X-backbeat-tid", b"Idempotency-Key", b"Content-Type", b"Expect"):
        own = b"" if name == b"Client-Id" else b"Client-Id: " + user.id.encode() + b"\r\n"
        head_lines = b"Host: x\r\n" + own + name + b": " + head + b"\r\nContent-Length: 2\r\n\r\n"
        assert talk(user, b"POST /workflows HTTP/1.1\r\n" + head_lines + b"{}")[0] in (400, 401)


def test_a_client_that_waits_to_be_told_to_go_on(user):
    address = urllib.parse.urlsplit(user.door.url)
    body = json.dumps({"name": "order", "subject": "expected", "decider": "D"}).encode()
    lines = f"Host: x\r\nClient-Id: {user.id}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(b"POST /workflows HTTP/1.1\r\n" + lines.encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 Created\r\n")


def test_compressed_bodies(user):
    def send(text):
        return user.door.post("/workflows", gzip.compress(text), **{"Content-Encoding": "gzip"})

    assert send(b'{"name":"order","subject":"gzip","decider":"D"}').status == 201
    assert send(b"[" + b" " * 50_000_000 + b"]").error == (413, "Backbeat::LimitExceeded")
    answer = user.door.post("/workflows", b"nonsense", **{"Content-Encoding": "gzip"})
    assert answer.error == (400, "Backbeat::InvalidParameters")


def talk(user, request_text):
    """What comes to bytes that no library would send: status, headers, body."""
    address = urllib.parse.urlsplit(user.door.url)
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(request_text)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()


# --- around ----------------------------------------------------------------------------------------------------------


def test_users(user, other, anybody):
    users = anybody.get("/users").json
    assert {"id": user.id, "name": user.client.name} in users
    assert [row["name"] for row in users] == sorted(row["name"] for row in users)
    assert all(set(row) == {"id", "name"} for row in users)
    assert anybody.get(f"/users/{other.id}").json == {"id": other.id, "name": other.client.name}
    assert anybody.get(f"/users/{uuid.UUID(int=5)}").error == (404, "Backbeat::NotFound")
    assert anybody.get("/users/1").error == (400, "ActiveRecord::StatementInvalid")


def test_health_and_figures(anybody):
    health = anybody.get("/health").json
    assert set(health) == {"sha", "time", "status"}
    until(lambda: anybody.get("/health").json["status"] == "OK", "all is well")
    stats = anybody.get("/sidekiq_stats").json
    assert set(stats) == {"latency", "today", "processed", "failed", "enqueued", "scheduled", "retry_size"}
    assert set(stats["today"]) == {"processed", "failed"}


def test_figures_count(user, anybody):
    before = anybody.get("/sidekiq_stats").json
    node = user.sent()
    user.say(node["id"], "errored")
    user.door.get("/workflows/search?name=x")
    after = anybody.get("/sidekiq_stats").json
    assert (after["failed"], after["retry_size"]) == (before["failed"] + 1, before["retry_size"] + 1)
    assert after["today"]["failed"] == before["today"]["failed"] + 1


def test_a_file_takes_a_gateway_out_of_rotation(stack, anybody):
    assert anybody.get("/heartbeat.txt").text == "We have a pulse."
    mark = stack.data_dir / "gateway-1" / "out-of-rotation"
    mark.touch()
    try:
        answer = anybody.get("/heartbeat.txt")
        assert (answer.status, answer.text) == (503, "It's dead, Jim.")
    finally:
        mark.unlink()
    assert anybody.get("/heartbeat.txt").status == 200


# --- search, as far as the door goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/workflows/search", "/activities/search", "/v2/events/search"])
def test_searches_refuse_what_cannot_be(user, path):
    assert user.door.get(path).json == []
    assert user.door.get(f"{path}?anything=x").status == 200
    assert user.door.get(f"{path}?per_page=many&name=x").json == []
    for bad in (
        "page=0",
        "page=-1",
        "page=x",
        "last_id=x",
        "status_start=soon",
        "status_end=",
        "per_page=-1",
        "name[a]=b",
    ):
        assert user.door.get(f"{path}?{bad}").error == (400, "ActiveRecord::StatementInvalid"), bad


def test_a_search_sees_what_was_answered_before(user):
    for number in range(5):
        node = user.signal(name=f"signal-{number}", metadata={"place": f"p-{number}"})
        answer = user.door.get(f"/activities/search?name=signal-{number}&metadata=p-{number}")
        assert "x-backbeat-stale-seconds" not in answer.headers
        assert [row["id"] for row in answer.json] == [node["id"]]
        subject = user.door.get(f"/workflows/search?subject={node['subject']}").json
        assert [row["id"] for row in subject] == [node["workflowId"]]


def test_a_search_by_where_nodes_come_from_and_a_count(user):
    node = user.sent()
    decided = user.door.post(f"/activities/{node['id']}/decisions", {"decisions": [{"name": "a"}, {"name": "b"}]})
    below = f"parent_id={node['id']}"

    def ids(words: str) -> list[str]:
        return [one["id"] for one in user.door.get(f"/activities/search?{words}").json]

    def count(words: str, noun: str = "activities") -> dict[str, object]:
        return user.door.get(f"/{noun}/search/count?{words}").json

    children = sorted(decided.json)
    assert sorted(ids(below)) == children
    assert sorted(ids(f"tid={decided.tid}")) == children
    assert sorted(ids(f"workflow_id={node['workflowId']}")) == sorted([node["id"], *children])
    assert ids(f"{below}&name=a&current_status=open") == [decided.json[0]]
    assert ids(f"{below}&current_status=failing") == []
    assert ids(f"{below}&created_end=2020-01-01") == []
    assert sorted(ids(f"{below}&created_start=2020-01-01")) == children
    assert sorted(ids(f"{below}&unchanged_since=2100-01-01")) == children
    assert ids(f"{below}&unchanged_since=2020-01-01") == []
    assert count("unchanged_since=2100-01-01&current_status=open") == {"count": 2, "more": False}
    assert count("unchanged_since=2020-01-01") == {"count": 0, "more": False}
    assert count(below) == {"count": 2, "more": False}
    assert count(f"{below}&count_max=1") == {"count": 1, "more": True}
    assert count("") == {"count": 3, "more": False}
    (workflow,) = user.door.get(f"/workflows/search?tid={decided.tid}").json
    assert workflow["id"] == node["workflowId"]
    assert count(f"tid={decided.tid}", "workflows") == {"count": 1, "more": False}
    for bad in ("count_max=0", "count_max=100001", "page=2", "parent=x"):
        assert user.door.get(f"/activities/search/count?{bad}").status == 400, bad
    for bad in ("parent_id=x", "workflow_id=1", "created_start=soon", "unchanged_since=soon", "slot_key=1"):
        assert user.door.get(f"/activities/search?{bad}").status == 400, bad


def test_a_search_by_cause(user, other):
    user.sent()
    nodes = [user.sent(name="Pay", retry=0)["id"] for _ in range(4)]
    for number, node in enumerate(nodes):
        message = f"550 mailbox {number} unknown" if number == 3 else f"refused by bank-{number}"
        assert user.say(node, "errored", {"message": message}).status == 200
        user.wait_for(node, "retries_exhausted")
    causes = {cause["cause"]: cause["id"] for cause in user.door.get("/reports/causes").json["causes"]}
    refused, unknown = causes["refused by bank-#"], causes["# mailbox # unknown"]

    def ids(words: str) -> set[str]:
        return {row["id"] for row in user.door.get(f"/activities/search?{words}").json}

    assert ids(f"cause={refused}") == set(nodes[:3])
    assert ids(f"cause={unknown}") == {nodes[3]}
    assert ids(f"cause={refused}&current_status=failing&name=Pay") == set(nodes[:3])
    assert ids(f"cause={refused}&current_status=retrying") == ids(f"cause={refused}&name=Other") == set()
    assert user.door.get(f"/activities/search/count?cause={refused}").json == {"count": 3, "more": False}
    assert other.door.get(f"/activities/search?cause={refused}").json == []
    assert user.door.get("/activities/search?cause=0000000000000000").json == []
    assert user.door.get("/activities/search?cause=bank").status == 400

    # The same nodes by what else they have in common.
    def report(words: str) -> dict[str, object]:
        return user.door.get(f"/reports/failures?{words}").json

    (activity,) = report("")["groups"]
    assert (activity["activity"], activity["userId"]) == ("Pay", user.id)
    assert activity["nodes"] == {"retries_exhausted": 4, "errored": 0, "retrying": 0}
    workflows = report("by=workflow&kind=exhausted,overdue")
    assert {row["workflowId"] for row in workflows["groups"]} == {user.node(node)["workflowId"] for node in nodes}
    assert report("by=client&limit=1")["groups"][0].keys() == activity.keys() - {"activity"}
    nothing = report("kind=retrying")
    assert (nothing["groups"], nothing["kinds"]["exhausted"]) == ([], 4)
    assert user.door.get("/reports/causes?kind=retrying").json["causes"] == []
    assert other.door.get("/reports/failures").json["groups"] == []
    for bad in ("by=colour", "kind=odd", "limit=0"):
        assert user.door.get(f"/reports/failures?{bad}").status == 400, bad


def test_names(user, other):
    for name in ("b", "a", "c", "a"):
        user.workflow(name=name)
    assert user.door.get("/workflows/names").json == ["a", "b", "c"]
    assert other.door.get("/v2/workflows/names").json == []


def test_error_workflows(user, other):
    node = user.sent()
    (theirs,) = user.decide(node["id"], {"name": "theirs", "client_id": other.id})
    user.say(node["id"], "completed")
    other.wait_for(theirs, "sent_to_client")
    assert other.door.get("/v2/debug/error_workflows").json == []
    other.say(theirs, "errored")
    (row,) = other.door.get("/v2/debug/error_workflows").json
    assert (row["id"], row["user_id"], row["migrated"], row["paused"]) == (node["workflowId"], user.id, True, None)
    assert set(row) == {
        "id", "name", "decider", "subject", "user_id", "complete", "migrated", "paused", "created_at", "updated_at",
    }  # fmt: skip
    assert user.door.get("/v2/debug/error_workflows").json == []


# --- the description -------------------------------------------------------------------------------------------------


def test_anybody_may_read_the_description_and_its_page(stack):
    described = document.build(ROUTES, "test")["paths"]
    for url in (stack.http_urls[0], stack.http_urls[2]):
        answer = Door(url).get("/openapi.json")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json["paths"] == described
        for path in ("/docs", "/docs/"):
            page = Door(url).get(path)
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "POST" in page.text
