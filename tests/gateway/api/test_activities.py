"""The rows of section 5 that are about activities, on the real thing."""

import json
import uuid

import pytest

UNKNOWN = "0b4e9b1e-57a5-8f0e-9d4b-6f1c34c0f0aa"
CLIENT = "Backbeat::InvalidClientStatusChange"
SERVER = "Backbeat::InvalidServerStatusChange"


def changes(user, node_id, path="status_changes"):
    return user.door.get(f"/activities/{node_id}/{path}").json


def test_a_node_and_its_history(user):
    node = user.sent()
    path = f"/activities/{node['id']}"
    shown = user.door.get(path).json
    assert shown == {**node, "currentServerStatus": "sent_to_client", "currentClientStatus": "received"}
    assert user.door.get(f"/v2/events/{node['id']}/").json == shown
    assert [(change["fromStatus"], change["toStatus"]) for change in changes(user, node["id"])] == [
        ("ready", "started"), ("started", "sent_to_client"), ("ready", "received"),
    ]  # fmt: skip
    assert changes(user, node["id"])[2]["statusType"] == "current_client_status"
    assert changes(user, node["id"], "errors") == []
    assert changes(user, node["id"], "response") == {}


def test_why_a_node_waits_and_what_is_below_and_above_it(user):
    node = user.sent()
    first, second, third = user.decide(node["id"], *({"name": name} for name in "abc"))
    user.say(node["id"], "deciding_complete")
    user.wait_for(first, "sent_to_client")
    waits = user.door.get(f"/activities/{second}/waits").json
    assert [(wait["kind"], wait["sentence"], wait["nodeId"]) for wait in waits] == [
        ("sibling", "waits for “a” before it, which is blocking", first)
    ]
    assert waits[0]["since"] <= user.door.get(f"/activities/{first}/waits").json[0]["until"]
    page = user.door.get(f"/activities/{node['id']}/children?limit=2")
    assert [child["id"] for child in page.json] == [first, second]
    assert [child["currentServerStatus"] for child in page.json] == ["sent_to_client", "ready"]
    assert page.json[1]["wait"] == waits[0]
    assert page.headers["x-backbeat-next"] == second
    rest = user.door.get(f"/activities/{node['id']}/children?after={second}")
    assert [child["id"] for child in rest.json] == [third]
    assert "x-backbeat-next" not in rest.headers
    assert user.door.get(f"/activities/{node['id']}/children?first={third}").json == rest.json
    top = user.door.get(f"/workflows/{node['workflowId']}/top").json
    assert [(child["id"], child["childrenOpen"]) for child in top] == [(node["id"], 3)]
    assert [above["id"] for above in user.door.get(f"/activities/{third}/path").json] == [node["id"], third]


@pytest.mark.parametrize("suffix", ["waits", "children", "path"])
def test_waits_of_nobody_and_of_another_client(user, suffix):
    assert user.door.get(f"/activities/{UNKNOWN}/{suffix}").status == 404
    assert user.door.get(f"/activities/no-id/{suffix}").status == 400


@pytest.mark.parametrize("page", ["limit=0", "limit=10001", f"after={UNKNOWN}", f"first={UNKNOWN}"])
def test_a_page_of_children_that_cannot_be(user, page):
    node = user.sent()
    assert user.door.get(f"/activities/{node['id']}/children?{page}").status == 400


def test_responses_get_snake_case_keys(user):
    node = user.sent(retry=0)
    response = {"error": {"errorClass": "Boom", "metadata": {"aB": 1}}, "someNumber": 1.50}
    assert user.say(node["id"], "errored", response).json == {"success": True}
    expected = {"error": {"error_class": "Boom", "metadata": {"aB": 1}}, "some_number": 1.5}
    assert changes(user, node["id"], "response") == expected
    (error,) = changes(user, node["id"], "errors")
    assert (error["nodeId"], error["toStatus"], error["response"]) == (node["id"], "errored", expected)


def test_args_count_as_the_response(user):
    node = user.sent()
    path = f"/activities/{node['id']}/status/completed"
    assert user.door.put(path, {"response": None, "args": {"result": [1]}}).json == {"success": True}
    assert changes(user, node["id"], "response") == {"result": [1]}


def test_a_node_that_did_nothing_yet_has_no_response(user):
    (child,) = user.decide(user.sent()["id"], {"name": "child"})
    assert changes(user, child) == []
    assert changes(user, child, "response") is None


@pytest.mark.parametrize("word", ["deciding", "processing"])
@pytest.mark.parametrize("body", [None, b"", {}, {"response": None}, [1]])
def test_both_words_for_processing_and_all_forms_of_nothing(user, word, body):
    node = user.sent()
    assert user.door.put(f"/activities/{node['id']}/status/{word}", body).json == {"success": True}
    assert user.node(node["id"])["currentClientStatus"] == "processing"


def test_a_whole_life(user):
    node = user.sent()
    (child,) = user.decide(node["id"], {"name": "child", "clientData": {"x": 1}, "retry": 0})
    user.say(node["id"], "deciding_complete")
    user.wait_for(child, "sent_to_client")
    user.say(child, "errored", {"error": "no"})
    assert user.node(child)["currentServerStatus"] == "retries_exhausted"
    assert user.say(child, "resolved").json == {"success": True}
    user.wait_for(node["id"], "complete")
    again = user.say(node["id"], "completed")
    assert again.error == (409, SERVER)
    assert "from complete to processing_children" in again.json["message"]


def test_a_change_that_the_client_status_does_not_allow(user):
    node = user.sent()
    answer = user.say(node["id"], "resolved")
    assert (answer.status, answer.json) == (
        409,
        {
            "errorClass": CLIENT,
            "message": "Cannot transition current_client_status from received to resolved",
            "currentStatus": "received",
            "attemptedStatus": "resolved",
        },
    )
    answer = user.door.put(f"/activities/{node['id']}/restart")
    assert (answer.error, answer.json["attemptedStatus"]) == ((409, CLIENT), "ready")


@pytest.mark.parametrize("end", ["resolved", "shutdown"])
def test_nothing_comes_after_resolved_or_shutdown(user, end):
    node = user.sent(retry=0)
    user.say(node["id"], "errored")
    user.say(node["id"], end)
    for status in ("completed", "errored", "resolved", "shutdown", "processing"):
        assert user.say(node["id"], status).status == 409


def test_unknown_statuses(user):
    node = user.sent()
    answer = user.say(node["id"], "nonsense")
    assert (answer.error, answer.json["message"]) == (
        (400, "Backbeat::UnknownStatus"),
        "Unknown status change nonsense",
    )
    assert user.say(UNKNOWN, "nonsense").error == (404, "Backbeat::NotFound")


def test_a_deactivated_node_is_told_in_vain(user):
    node = user.sent()
    assert user.say(node["id"], "canceled").json == {"success": True}
    for status in ("completed", "errored", "deactivated"):
        assert user.say(node["id"], status).json == {"success": True}
    path = f"/activities/{node['id']}"
    assert user.door.put(f"{path}/restart").json == {"success": True}
    assert user.door.put(f"{path}/reset").json == {"success": True}
    assert user.door.put(f"{path}/schedule").text == "null"
    assert user.say(node["id"], "nonsense").status == 400
    assert user.node(node["id"])["currentServerStatus"] == "deactivated"


def test_restart_reset_and_schedule(user):
    node = user.sent()
    user.say(node["id"], "errored")
    tree = user.door.get(f"/workflows/{node['workflowId']}/tree").json
    assert tree["children"][0]["retryingAt"] is not None
    path = f"/activities/{node['id']}"
    assert user.door.put(f"{path}/restart", b"").json == {"success": True}
    user.wait_for(node["id"], "sent_to_client")
    (child,) = user.decide(node["id"], {"name": "child"})
    assert user.door.put(f"{path}/schedule").text == "true"
    assert user.door.put(f"{path}/reset").json == {"success": True}
    assert user.node(child)["currentServerStatus"] == "deactivated"


def test_decisions_in_all_their_forms(user):
    node = user.sent()
    path = f"/activities/{node['id']}/decisions"
    made = user.decide(
        node["id"],
        {
            "name": "camel",
            "legacyType": "decision",
            "clientData": {"aB": 1},
            "retryInterval": 5,
            "firesAt": "2030-01-01",
        },
        {"name": "flag", "type": "flag"},
        {"name": "options", "options": {"client_data": {"c": 1}, "metadata": {"dE": 1}}, "mode": "fire_and_forget"},
    )
    nodes = [user.node(node_id) for node_id in made]
    assert [row["name"] for row in nodes] == ["camel", "flag", "options"]
    assert (nodes[0]["clientData"], nodes[2]["clientData"], nodes[2]["metadata"]) == ({"aB": 1}, {"c": 1}, {"dE": 1})
    assert (nodes[0]["mode"], nodes[2]["mode"]) == ("blocking", "fire_and_forget")
    assert user.door.post(path, {"args": {"decisions": [{"name": "x"}]}}).status == 201
    assert user.door.post(path, {"decisions": []}).json == []
    form = user.door.form(path, [("decisions[][name]", "a"), ("decisions[][retry]", "1"), ("decisions[][name]", "b")])
    assert (form.status, len(form.json)) == (201, 2)
    names = [row["name"] for row in user.door.get(f"/workflows/{node['workflowId']}/nodes").json]
    assert names == ["start", "camel", "flag", "options", "x", "a", "b"]


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"name": ""},
        {"name": True},
        {"name": ["x"]},
        {"name": "x", "mode": "nonsense"},
        {"name": "x", "retry": -1},
        {"name": "x", "retry": "many"},
        {"name": "x", "retry": 1.5},
        {"name": "x", "retry_interval": -1},
        {"name": "x", "fires_at": "soon"},
        {"name": "x", "fires_at": 1_451_606_400},
        {"name": "x", "client_data": []},
        {"name": "x", "client_data": "text"},
        {"name": "x", "client_data": {"timeout": "long"}},
        {"name": "x", "options": 5},
        {"name": "x", "client_id": str(uuid.UUID(int=7))},
        {"name": "x", "parent_link_id": str(uuid.UUID(int=7))},
        {"name": "x", "parent_link_id": UNKNOWN},
        {"name": "x" * 2000},
        5,
        None,
        "x",
    ],
)
def test_a_bad_decision_keeps_none(user, bad):
    node = user.sent()
    answer = user.door.post(f"/activities/{node['id']}/decisions", {"decisions": [{"name": "good"}, bad]})
    assert answer.error == (400, "Backbeat::InvalidParameters"), answer
    assert len(user.door.get(f"/workflows/{node['workflowId']}/nodes").json) == 1


@pytest.mark.parametrize("metadata", ["order 7", 7, [1, 2], 1.50, True])
def test_metadata_and_names_of_any_kind(user, metadata):
    """As the original takes them: a number as a name is its text."""
    node = user.signal(user.workflow(name=7), name=5, metadata=metadata)
    assert (node["name"], node["workflowName"], node["metadata"]) == ("5", "7", metadata)
    matches = user.door.get("/activities/search?name=5").json
    assert [(match["id"], match["metadata"]) for match in matches] == [(node["id"], metadata)]


def test_a_fraction_of_a_second_is_dropped_from_an_interval(user):
    """The original keeps whole seconds: half a second is none, not half a minute at the last retry."""
    node = user.sent(retry=1, retry_interval=0.5)
    assert user.say(node["id"], "errored", {"error": "no"}).status == 200
    user.wait_for(node["id"], "sent_to_client")
    whole = user.door.get(f"/activities/{node['id']}", **{"X-backbeat-whole": "1"}).json
    assert (whole["retryInterval"], whole["attempt"]) == (0.0, 2)


@pytest.mark.parametrize("body", [{}, {"decisions": None}, {"decisions": {}}, {"decisions": "x"}, {"args": {}}, None])
def test_no_decisions(user, body):
    answer = user.door.post(f"/activities/{user.sent()['id']}/decisions", body)
    assert answer.error == (400, "Backbeat::InvalidParameters")


@pytest.mark.parametrize("field", ["client_id", "parent_link_id"])
def test_ids_of_the_wrong_kind(user, field):
    answer = user.door.post(f"/activities/{user.sent()['id']}/decisions", {"decisions": [{"name": "x", field: "nope"}]})
    assert answer.error == (400, "ActiveRecord::StatementInvalid")


def test_more_children_than_allowed_are_refused(user):
    node = user.sent()
    body = {"decisions": [{"name": "x"}] * 1001}
    answer = user.door.post(f"/activities/{node['id']}/decisions", body)
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert "children_max" in answer.json["message"]


def test_children_of_a_complete_parent(user):
    node = user.sent()
    user.say(node["id"], "completed")
    user.wait_for(node["id"], "complete")
    answer = user.door.post(f"/activities/{node['id']}/decisions", {"decisions": [{"name": "late"}]})
    assert answer.error == (409, SERVER)


def test_another_users_node(user, other):
    node = user.sent()
    (theirs,) = user.decide(node["id"], {"name": "theirs", "clientId": other.id})
    assert user.door.get(f"/activities/{theirs}").status == 404
    assert other.node(theirs)["userId"] == other.id
    assert other.door.get(f"/workflows/{node['workflowId']}").status == 404
    assert [row["id"] for row in user.door.get(f"/workflows/{node['workflowId']}/nodes").json] == [node["id"], theirs]
    user.say(node["id"], "completed")
    other.wait_for(theirs, "sent_to_client")
    (deeper,) = other.decide(theirs, {"name": "deeper"})
    assert other.node(deeper)["userId"] == other.id


def test_links(user, other):
    target = other.sent()
    linked = user.signal(name="linked", options={"parentLinkId": target["id"]})
    other.say(target["id"], "completed")
    user.wait_for(linked["id"], "sent_to_client")
    assert other.node(target["id"])["currentServerStatus"] == "processing_children"
    user.say(linked["id"], "completed")
    other.wait_for(target["id"], "complete")
    # A target that is closed already is accepted, and nothing waits.
    late = user.signal(name="late", parent_link_id=target["id"])
    user.wait_for(late["id"], "sent_to_client")


def test_workflow_id_restricts_an_activity_call(user):
    node, elsewhere = user.sent(), user.workflow()["id"]
    path = f"/activities/{node['id']}"
    for call in ("", "/errors", "/status_changes", "/response"):
        assert user.door.get(f"{path}{call}?workflow_id={node['workflowId']}").status == 200
        assert user.door.get(f"{path}{call}?workflowId={elsewhere}").status == 404
    assert user.door.put(f"{path}/status/completed?workflow_id={elsewhere}").status == 404
    assert user.door.put(f"{path}/restart?workflow_id=x").error == (400, "ActiveRecord::StatementInvalid")
    assert user.node(node["id"])["currentClientStatus"] == "received"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/errors"), ("GET", "/status_changes"), ("GET", "/response"), ("PUT", "/status/completed"),
        ("POST", "/decisions"), ("PUT", "/restart"), ("PUT", "/reset"), ("PUT", "/schedule"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_anothers_is_404(user, other, method, path):
    node = user.signal()["id"]
    body = {"decisions": []} if path == "/decisions" else None
    for unknown in (node, UNKNOWN, str(uuid.UUID(int=5))):
        assert other.door.call(method, f"/activities/{unknown}{path}", body).error == (404, "Backbeat::NotFound")
    assert other.door.call(method, f"/activities/1{path}").error == (400, "ActiveRecord::StatementInvalid")


def test_client_data_passes_to_the_byte_order_of_its_keys(user):
    text = '{"zZ":1.50,"aA":{"b-c":null,"Upper Case":[]},"big":123456789012345678901234567890,"u":"żółw"}'
    body = f'{{"name":"x","client_data":{text},"metadata":{text}}}'.encode()
    node = user.door.post(f"/workflows/{user.workflow()['id']}/signal", body)
    for answer in (node, user.door.get(f"/activities/{node.json['id']}")):
        assert f'"clientData":{text},"metadata":{text}' in answer.text
        json.loads(answer.text)
