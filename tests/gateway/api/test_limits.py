"""The calls about limits: what they take, what they refuse, whose they are."""

from urllib.parse import quote

import pytest

from tests.waiting import until

_PAY = "/limits/charge%20card%2Fnow"


def test_a_limit_is_put_shown_paused_and_removed(user):
    assert user.door.get("/limits").json == []
    assert user.door.get(_PAY).status == 404
    put = user.door.put(_PAY, {"concurrency": "3", "rate": "100/min", "agingSeconds": 60, "key": "metadata.bank"})
    assert put.status == 200
    assert put.json["activity"] == "charge card/now"
    assert user.door.get("/limits").json == [put.json]
    assert user.door.get(_PAY).json == put.json
    assert {name: put.json[name] for name in ("concurrency", "rate", "burst", "key", "agingSeconds", "paused")} == {
        "concurrency": 3,
        "rate": "100/min",
        "burst": 1,
        "key": "metadata.bank",
        "agingSeconds": 60.0,
        "paused": False,
    }
    assert user.door.put(f"{_PAY}/pause").json["paused"]
    assert user.door.put(_PAY, {"rate": "5/s"}).json["paused"], "a pause outlives new bounds"
    assert not user.door.put(f"{_PAY}/resume").json["paused"]
    assert user.door.call("DELETE", _PAY).status == 200
    assert user.door.get("/limits").json == []


def test_a_name_that_ends_in_json_is_another_name(user):
    user.door.put("/limits/import", {"concurrency": 1})
    user.door.put("/limits/import.json", {"concurrency": 2})
    assert [(limit["activity"], limit["concurrency"]) for limit in user.door.get("/limits").json] == [
        ("import", 1), ("import.json", 2),
    ]  # fmt: skip
    user.door.call("DELETE", "/limits/import.json")
    assert [limit["activity"] for limit in user.door.get("/limits").json] == ["import"]


def test_nodes_that_wait_for_a_limit_are_counted(user):
    user.door.put("/limits/pay/pause")
    made = user.door.post("/workflows", {"name": "w", "subject": 1, "decider": "d"}).json
    signal = {"name": "pay", "priority": 2, "fairnessKey": "acme"}
    assert user.door.post(f"/workflows/{made['id']}/signal", signal).status == 201
    # The node asks its pool, which lies in a partition of its own, once it has started.
    (pool,) = until(lambda: user.door.get("/limits/pay").json["pools"], "it waits")
    assert (pool["key"], pool["out"], pool["waiting"], pool["nextStartAt"]) == ("", 0, [0, 1, 0, 0, 0], None)
    assert pool["oldestAskedAt"] is not None


def test_what_waits_at_a_slot_is_found_by_its_key(user, other):
    user.door.put("/limits/pay", {"concurrency": 1, "key": "metadata.bank"})
    user.door.put("/limits/pay/pause")
    nodes = {bank: user.signal(user.workflow(subject=bank), "pay", metadata={"bank": bank}) for bank in ("b-2", "b-7")}

    def found(words: str, noun: str = "activities") -> set[str]:
        return {one["id"] for one in user.door.get(f"/{noun}/search?{words}").json}

    until(lambda: found("slot=pay") == {node["id"] for node in nodes.values()}, "both wait")
    assert found("slot=pay&slot_key=b-7") == found('slot=pay&slot_key="b-7"') == {nodes["b-7"]["id"]}
    assert found(f"slot=pay&slot_key={'[' * 3_000}") == set(), "a key that nobody could read"
    assert found("slot=pay&slot_key=b-7", "workflows") == {nodes["b-7"]["workflowId"]}
    assert found("slot=pay&slot_key=7") == found("slot=other") == set()
    assert user.door.get("/activities/search/count?slot=pay").json == {"count": 2, "more": False}
    assert other.door.get("/activities/search/count?slot=pay").json == {"count": 0, "more": False}
    user.door.put("/limits/pay/resume")
    user.wait_for(nodes["b-2"]["id"], "sent_to_client")
    until(lambda: found("slot=pay") == set(), "nobody waits")


def test_a_key_is_given_as_any_json_text(user):
    user.door.put("/limits/pay", {"concurrency": 1, "key": "metadata.bank"})
    user.door.put("/limits/pay/pause")
    node = user.signal(user.workflow(), "pay", metadata={"bank": {"id": 7, "at": ["Oslo"]}})
    key = quote('{ "id": 7, "at": [ "Oslo" ] }')
    until(lambda: user.door.get(f"/activities/search/count?slot=pay&slot_key={key}").json["count"] == 1, "it waits")
    assert node["name"] == "pay"


def test_another_user_sees_none_of_it(user, other):
    user.door.put("/limits/pay", {"concurrency": 1})
    assert other.door.get("/limits").json == []
    assert other.door.get("/limits/pay").status == 404
    other.door.put("/limits/pay", {"concurrency": 2})
    assert user.door.get("/limits/pay").json["concurrency"] == 1


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        ({"concurrency": 0}, "concurrency is below 1"),
        ({"concurrency": 1.5}, "whole number"),
        ({"rate": "often"}, "no rate"),
        ({"rate": "5/s", "burst": 0}, "rate_burst is below 1"),
        ({"concurrency": 1, "key": "nonsense"}, "no path into a node"),
        ({"concurrency": 1, "aging_seconds": 0}, "aging_seconds is not above 0"),
        ({"paused": "perhaps"}, "true or false"),
        ({"concurency": 3}, "did you mean `concurrency`?"),
        ({"concurrency": 3, "max": 5}, "PUT /limits/{activity} knows no `max`"),
        ([{"concurrency": 3}], "must be a JSON object"),
    ],
)
def test_bad_bounds_are_refused_with_the_reason(user, bounds, why):
    refused = user.door.put("/limits/pay", bounds)
    assert refused.status == 400
    assert refused.json["errorClass"] == "Backbeat::InvalidParameters"
    assert why in refused.json["message"]
    assert user.door.get("/limits").json == []


@pytest.mark.parametrize("priority", [0, 6, "first"])
def test_a_priority_that_is_none_is_refused(user, priority):
    made = user.door.post("/workflows", {"name": "w", "subject": 1, "decider": "d"}).json
    refused = user.door.post(f"/workflows/{made['id']}/signal", {"name": "pay", "priority": priority})
    assert refused.status == 400
    assert "priority" in refused.json["message"]
