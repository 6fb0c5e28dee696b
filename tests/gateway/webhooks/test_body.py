"""What is posted: the node, and the results that it takes, as their nodes were completed with them."""

import json

import pytest

from backbeat.gateway.webhooks.webhook import body_of
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord, TakenCount, TakenResult
from tests.sdk.conftest import VIEW

OTHER = "07070707-0707-0707-0707-070707070707"
RESULTS = (
    TakenResult(0, b"\x07" * 16, b'{"result":703}'),
    TakenResult(1, b"\x07" * 16, None),
    TakenResult(2, b"\x07" * 16, b"[1]", is_default=True),
    TakenResult(3, b"\x07" * 16, b'{"error":{"message":"it broke"}}', failure_index=4),
)


@pytest.mark.parametrize("key", ["activity", "decision"])
def test_a_node_that_takes_results_is_posted_with_them(key):
    counts = (TakenCount(1), TakenCount(1), TakenCount(1), TakenCount(9, 2))
    record = ActivityRecord(VIEW, ActivityKind.ACTIVITY, takes=4, results=RESULTS, has_more_results=True, counts=counts)
    node = {"nodeId": OTHER, "isDefault": False, "failureIndex": None}
    failure = {"error": {"message": "it broke"}}
    assert json.loads(body_of(record, key, lambda view: {"name": view.name})) == {
        key: {"name": VIEW.name},
        "results": [
            node | {"slot": 0, "response": {"result": 703}},
            node | {"slot": 1, "response": None},
            node | {"slot": 2, "response": [1], "isDefault": True},
            node | {"slot": 3, "response": failure, "failureIndex": 4},
        ],
        "hasMoreResults": True,
        "counts": [{"count": 1, "failures": 0}] * 3 + [{"count": 9, "failures": 2}],
    }


def test_any_other_node_is_posted_as_it_always_was():
    body = body_of(ActivityRecord(VIEW, ActivityKind.ACTIVITY), "activity", lambda view: {"name": view.name})
    assert json.loads(body) == {"activity": {"name": VIEW.name}}
