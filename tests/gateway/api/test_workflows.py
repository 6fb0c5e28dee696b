"""The rows of section 5 that are about workflows, on the real thing."""

import contextlib
import json
import re
import uuid
from urllib.parse import quote, urlencode

import pytest

UNKNOWN = "0b4e9b1e-57a5-8f0e-9d4b-6f1c34c0f0aa"


def names(nodes):
    return [node["name"] for node in nodes]


def test_a_workflow_is_made_once_and_keeps_its_decider(user):
    subject = uuid.uuid4().hex
    first = user.workflow(subject=subject)
    again = user.door.post("/workflows/", {"workflowType": "order", "subject": subject, "decider": "Another"})
    assert (again.status, again.json) == (201, first)
    assert first["paused"] is False
    assert user.door.get(f"/v2/workflows/{first['id']}.json").json == first


def test_subject_keys_become_snake_case_and_the_tree_shows_camel_case(user):
    workflow = user.workflow(subject={"orderId": 5, "items": [{"skuCode": 1.50}]})
    assert workflow["subject"] == {"order_id": 5, "items": [{"sku_code": 1.5}]}
    assert user.workflow(subject={"order_id": 5, "items": [{"sku_code": 1.50}]})["id"] == workflow["id"]
    tree = user.door.get(f"/workflows/{workflow['id']}/tree").json
    assert tree["subject"] == {"orderId": 5, "items": [{"skuCode": 1.5}]}


def test_a_subject_as_long_as_is_allowed_is_found_by_the_line_of_a_request(user):
    subject = "ü " * 5_000
    workflow = user.workflow(subject=subject)
    words = urlencode({"name": "order", "subject": subject, "decider": "Decider"})
    assert len(words) > 30_000
    assert user.door.get(f"/workflows?{words}").json["id"] == workflow["id"]


@pytest.mark.parametrize("subject", ["text", 0, 17, True, [1], {"a": None}, 'żółw \u2028 " \\ /'])
def test_subjects_of_any_kind_are_found_by_their_text(user, subject):
    made = user.workflow(subject=subject)
    assert made["subject"] == subject
    text = json.dumps(subject, ensure_ascii=False, separators=(",", ":"))
    for sent in {text, subject if isinstance(subject, str) else text}:
        answer = user.door.get(f"/workflows?name=order&decider=Decider&subject={quote(sent)}")
        assert (answer.status, answer.json) == (200, made)


@pytest.mark.parametrize("query", ["", "?name=order", "?name=order&subject=x", "?name=order&subject=x&decider=D"])
def test_a_workflow_that_is_not_there_is_404(user, query):
    assert user.door.get(f"/workflows{query}").error == (404, "Backbeat::NotFound")


def test_a_subject_is_the_same_however_it_is_written(user):
    texts = (b'{"a":1.50,"b":"\\u00e9"}', b'{ "a" : 1.5, "b":"\xc3\xa9" }', b'{"A":15e-1,"b":"\xc3\xa9"}')
    bodies = [b'{"name":"n","decider":"D","subject":' + text + b"}" for text in texts]
    made = {user.door.post("/workflows", body).json["id"] for body in bodies}
    assert len(made) == 1
    too_large = user.door.post("/workflows", b'{"name":"n","decider":"D","subject":1e999}')
    assert too_large.error == (400, "Backbeat::InvalidParameters")


def test_another_decider_is_another_workflow(user):
    user.workflow(subject="x")
    assert user.door.get("/workflows?name=order&subject=x&decider=Someone").status == 404


@pytest.mark.parametrize("body", [{"subject": "s", "decider": "D"}, {}, {"name": None}, {"name": " "}])
def test_a_missing_name(user, body):
    assert user.door.post("/workflows", body).error == (400, "ActiveRecord::StatementInvalid")


@pytest.mark.parametrize("subject", [None, False, "", "  ", {}, [], "\n"])
def test_empty_subjects(user, subject):
    answer = user.door.post("/workflows", {"name": "x", "subject": subject, "decider": "D"})
    assert answer.error == (400, "Backbeat::InvalidParameters")
    assert "subject" in answer.json["message"].lower()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "subject": "s"},
        {"name": True, "subject": "s", "decider": "D"},
        {"name": "x", "subject": "s", "decider": []},
    ],
)
def test_bad_workflows(user, body):
    assert user.door.post("/workflows", body).error == (400, "Backbeat::InvalidParameters")


def test_a_form_makes_a_workflow_and_a_signal(user):
    made = user.door.form("/workflows", [("name", "form"), ("subject[orderId]", "5"), ("decider", "D")])
    assert (made.status, made.json["subject"]) == (201, {"order_id": "5"})
    signal = user.door.form(
        f"/workflows/{made.json['id']}/signal",
        [("name", "s"), ("options[client_data][aB]", "1"), ("retry", "2"), ("retry_interval", "1.5")],
    )
    assert (signal.status, signal.json["clientData"]) == (201, {"aB": "1"})


def test_a_signal(user):
    workflow = user.workflow()
    node = user.signal(workflow, name="start", clientData={"zZ": 1, "aA": [2.0]}, metadata={"k": None})
    assert node == {
        "id": node["id"],
        "mode": "blocking",
        "name": "start",
        "workflowId": workflow["id"],
        "parentId": None,
        "userId": user.id,
        "clientData": {"zZ": 1, "aA": [2.0]},
        "metadata": {"k": None},
        "subject": workflow["subject"],
        "decider": "Decider",
        "workflowName": "order",
        "currentServerStatus": "ready",
        "currentClientStatus": "ready",
        "createdAt": node["createdAt"],
    }
    assert list(node["clientData"]) == ["zZ", "aA"]


def test_the_name_in_the_path_wins(user):
    workflow = user.workflow()
    answer = user.door.post(f"/workflows/{workflow['id']}/signal/six%20seven", {"name": "other", "mode": "nonsense"})
    assert (answer.status, answer.json["name"], answer.json["mode"]) == (201, "six seven", "blocking")
    assert user.door.post(f"/v2/workflows/{workflow['id']}/signal/bare").json["name"] == "bare"


def test_options_count_where_there_are_some(user):
    workflow = user.workflow()
    both = {"options": {"clientData": {"a": 1}}, "client_data": {"b": 2}, "metadata": {"c": 3}}
    node = user.signal(workflow, **both)
    assert (node["clientData"], node["metadata"]) == ({"a": 1}, {})


def test_a_complete_workflow_takes_no_signal(user):
    workflow = user.workflow()
    path = f"/workflows/{workflow['id']}"
    assert user.door.put(f"{path}/complete").json == {"success": True}
    assert user.door.get(path).json["complete"] is True
    for answer in (user.door.post(f"{path}/signal", {"name": "x"}), user.door.post(f"{path}/signal/x")):
        assert answer.error == (400, "Backbeat::WorkflowComplete")
        assert answer.json["message"] == "Backbeat::WorkflowComplete"


def test_pause_and_resume(user):
    workflow = user.workflow()
    path = f"/workflows/{workflow['id']}"
    assert user.door.put(f"{path}/pause", b"").json == {"success": True}
    assert user.door.get(path).json["paused"] is True
    node = user.signal(workflow)
    user.wait_for(node["id"], "paused")
    assert user.door.put(f"{path}/resume", {}).json == {"success": True}
    assert user.door.get(path).json["paused"] is False
    user.wait_for(node["id"], "sent_to_client")


@pytest.fixture
def grown(user):
    """A workflow with two signals; the first has two children, one of them with a child."""
    workflow = user.workflow()
    first = user.sent(workflow=workflow, name="first")
    user.signal(workflow, name="second")
    parent, _ = user.decide(first["id"], {"name": "one"}, {"name": "two", "mode": "non_blocking"})
    user.say(first["id"], "completed")
    user.wait_for(parent, "sent_to_client")
    user.decide(parent, {"name": "deep"})
    return workflow["id"]


def test_tree_children_and_nodes(user, grown):
    path = f"/workflows/{grown}"
    tree = user.door.get(f"{path}/tree").json
    first, second = tree["children"]
    assert (first["name"], names(first["children"]), second["name"]) == ("first", ["one", "two"], "second")
    assert names(first["children"][0]["children"]) == ["deep"]
    assert first["children"][1]["mode"] == "non_blocking"
    printed = user.door.get(f"{path}/tree/print").json["print"]
    lines = re.sub("\x1b\\[\\d*m", "", printed).split("\n")[1:]
    assert [line[36:].split(" - ")[0] for line in lines] == [
        "|--order",
        "   |--first",
        "      |--one",
        "         |--deep",
        "      |--two",
        "   |--second",
    ]
    assert names(user.door.get(f"{path}/children").json) == ["first", "second"]
    assert names(user.door.get(f"{path}/nodes").json) == ["first", "second", "one", "two", "deep"]


def test_nodes_are_filtered_by_status(user, grown):
    path = f"/workflows/{grown}"
    assert names(user.door.get(f"{path}/nodes?currentClientStatus=pending").json) == ["deep"]
    assert names(user.door.get(f"{path}/children?current_server_status=processing_children").json) == ["first"]
    assert user.door.get(f"{path}/nodes?currentServerStatus=nonsense").json == []
    both = "currentServerStatus=pending&currentClientStatus=ready"
    assert user.door.get(f"{path}/nodes?{both}").json == []


def test_nodes_by_the_page(user, grown):
    path = f"/workflows/{grown}"
    whole = ["first", "one", "deep", "two", "second"]
    seen, after = [], ""
    while True:
        answer = user.door.get(f"{path}/nodes?limit=2{after}")
        seen += names(answer.json)
        if "x-backbeat-next" not in answer.headers:
            break
        assert answer.headers["x-backbeat-next"] == answer.json[-1]["id"]
        after = f"&after={answer.headers['x-backbeat-next']}"
    assert seen == whole
    first = user.door.get(f"{path}/children?limit=1")
    assert names(first.json) == ["first"]
    rest = user.door.get(f"{path}/children?after={first.json[0]['id']}")
    assert names(rest.json) == ["second"]
    assert names(user.door.get(f"{path}/tree?limit=1").json["children"]) == ["first"]
    assert names(user.door.get(f"{path}/nodes?limit=1&currentClientStatus=pending").json) == ["deep"]
    for bad in ("limit=0", "limit=x", "limit=99999", f"after={UNKNOWN}", "after=x"):
        assert user.door.get(f"{path}/nodes?{bad}").status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/tree"), ("GET", "/tree/print"), ("GET", "/children"), ("GET", "/nodes"),
        ("POST", "/signal/x"), ("PUT", "/complete"), ("PUT", "/pause"), ("PUT", "/resume"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_anothers_is_404(user, other, method, path):
    workflow = user.workflow()["id"]
    assert other.door.call(method, f"/workflows/{workflow}{path}").error == (404, "Backbeat::NotFound")
    assert other.door.call(method, f"/workflows/{UNKNOWN}{path}").error == (404, "Backbeat::NotFound")
    assert other.door.call(method, f"/workflows/{uuid.UUID(int=5)}{path}").error == (404, "Backbeat::NotFound")
    assert other.door.call(method, f"/workflows/nope{path}").error == (400, "ActiveRecord::StatementInvalid")


# --- signals that become one -----------------------------------------------------------------------------------------


def test_signals_with_a_key_become_one(user):
    workflow_id = user.workflow()["id"]

    def signal(name, **fields):
        return user.door.post(f"/workflows/{workflow_id}/signal/{name}", fields)

    signal("first")
    waiting = signal("one", coalesceKey="index")
    assert signal("two", coalesce_key="index", coalesce="drop").json["id"] == waiting.json["id"]
    signal("three", coalesce_key="index")
    nodes = user.door.get(f"/workflows/{workflow_id}/nodes").json
    assert [(node["name"], node["currentServerStatus"]) for node in nodes[1:]] == [
        ("one", "deactivated"),
        ("three", "ready"),
    ]
    assert signal("four", coalesce_key="index", coalesce="keep").error == (400, "Backbeat::InvalidParameters")


def test_a_signal_beside_the_others_does_not_wait_its_turn(user):
    workflow_id = user.workflow()["id"]
    for name, fields in (("first", {}), ("queued", {"beside": False}), ("urgent", {"beside": True})):
        assert user.door.post(f"/workflows/{workflow_id}/signal/{name}", fields).status == 201
    nodes = user.door.get(f"/workflows/{workflow_id}/nodes").json
    assert [(node["name"], node["mode"], node["currentServerStatus"]) for node in nodes] == [
        ("first", "blocking", "sent_to_client"),
        ("queued", "blocking", "ready"),
        ("urgent", "non_blocking", "sent_to_client"),
    ]
    assert user.door.post(f"/workflows/{workflow_id}/signal/x", {"beside": "soon"}).status == 400


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_message_is_kept_by_its_workflow_and_counts_once(user, other):
    workflow_id = user.workflow()["id"]
    path = f"/workflows/{workflow_id}/messages/an%20approval"
    key = {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(2):
        assert user.door.call("POST", path, {"value": {"isLarge": True}}, key).json == {"success": True}
    assert user.door.call("POST", path, {"value": 1}, key).status == 422
    assert user.door.post(path, {"valeu": 1}).status == 400
    assert user.door.post(path).json == {"success": True}
    assert other.door.post(path).error == (404, "Backbeat::NotFound")
    assert user.door.call("PUT", f"/workflows/{workflow_id}/complete").status == 200
    assert user.door.post(path, {"value": 1}).status == 400


# --- changes as they come --------------------------------------------------------------------------------------------


def events(user, workflow_id, count, **headers):
    """The first events of a stream: id, name and data."""
    received = []
    with contextlib.closing(user.door.lines(f"/workflows/{workflow_id}/changes", headers)) as lines:
        for line in lines:
            word, _, text = line.partition(": ")
            if word == "id":
                received.append([text])
            elif word in {"event", "data"} and (received or text == "missed"):
                received[-1].append(text if word == "event" else json.loads(text))
                if word == "data" and len(received) == count:
                    return received
    raise AssertionError(f"it ended after {received}")


def test_changes_come_as_events_and_whoever_was_away_goes_on_where_it_was(user):
    workflow_id = user.workflow()["id"]
    user.door.post(f"/workflows/{workflow_id}/signal/first")
    begun = events(user, workflow_id, 2, **{"Last-Event-ID": "0"})
    assert [(name, data["name"], data["status"]) for _, name, data in begun] == [
        ("change", "first", "started"),
        ("change", "first", "sent_to_client"),
    ]
    user.door.post(f"/workflows/{workflow_id}/signal/urgent", {"beside": True})
    again = events(user, workflow_id, 3, **{"Last-Event-ID": begun[0][0]})
    assert [(data["name"], data["status"]) for _, _, data in again] == [
        ("first", "sent_to_client"),
        ("urgent", "started"),
        ("urgent", "sent_to_client"),
    ]


def test_a_follower_of_anothers_workflow_or_of_no_place_is_refused(user, other):
    path = f"/workflows/{user.workflow()['id']}/changes"
    assert other.door.get(path).error == (404, "Backbeat::NotFound")
    assert user.door.get(f"{path}?after=soon").error == (400, "Backbeat::InvalidParameters")
    assert user.door.get(f"{path}?behind=0").status == 400


# --- a signal that tells its workflow --------------------------------------------------------------------------------


def test_a_new_client_tells_the_workflow_with_its_signal(user):
    workflow = {"name": "order", "subject": {"orderId": 7}, "decider": "D"}
    whole = {"X-backbeat-whole": "1"}
    made = user.door.call("POST", "/workflows", workflow, whole).json
    other = user.workflow()["id"]
    for _ in range(2):
        node = user.door.call("POST", f"/workflows/{made['id']}/signal/buy", {"workflow": workflow}, whole).json
        assert (node["workflowId"], node["subject"]) == (made["id"], {"orderId": 7})
    refused = user.door.call("POST", f"/workflows/{other}/signal/buy", {"workflow": workflow}, whole)
    assert refused.error == (400, "Backbeat::InvalidParameters")
    assert user.door.post(f"/workflows/{other}/signal/buy", {"workflow": workflow}).status == 201
