"""What is posted: the node, and the results that it takes, as their nodes were completed with them."""

import json

import pytest

from backbeat.gateway.webhooks.webhook import body_of
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord, TakenResult
from tests.sdk.conftest import VIEW

OTHER = "07070707-0707-0707-0707-070707070707"
RESULTS = (
    TakenResult(0, b"\x07" * 16, b'{"result":703}'),
    TakenResult(1, b"\x07" * 16, None),
    TakenResult(2, b"\x07" * 16, b"[1]", is_default=True),
)


@pytest.mark.parametrize("key", ["activity", "decision"])
def test_a_node_that_takes_results_is_posted_with_them(key):
    record = ActivityRecord(VIEW, ActivityKind.ACTIVITY, takes=3, results=RESULTS, has_more_results=True)
    assert json.loads(body_of(record, key, lambda view: {"name": view.name})) == {
        key: {"name": VIEW.name},
        "results": [
            {"slot": 0, "nodeId": OTHER, "response": {"result": 703}, "isDefault": False},
            {"slot": 1, "nodeId": OTHER, "response": None, "isDefault": False},
            {"slot": 2, "nodeId": OTHER, "response": [1], "isDefault": True},
        ],
        "hasMoreResults": True,
    }


def test_any_other_node_is_posted_as_it_always_was():
    body = body_of(ActivityRecord(VIEW, ActivityKind.ACTIVITY), "activity", lambda view: {"name": view.name})
    assert json.loads(body) == {"activity": {"name": VIEW.name}}
