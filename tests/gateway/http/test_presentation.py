"""Views as JSON."""

import json

import msgspec

from backbeat.gateway.http.presentation import (
    node_json,
    status_change_json,
    tree_json,
    tree_text,
    workflow_json,
)
from backbeat.payload.nouns import time_text
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView, WorkflowView

WORKFLOW = WorkflowView(
    id=bytes(15) + b"\1",
    user_id=bytes(16),
    name="order",
    subject=b'{"order_id":5}',
    decider="D",
    created_at=1_451_606_400_007,
    updated_at=1_451_606_400_007,
    complete=False,
    paused=None,
)


def node(number, parent=None, depth=1, server=ServerStatus.READY, client=ClientStatus.READY, **more):
    return NodeView(
        id=number.to_bytes(16, "big"),
        workflow_id=WORKFLOW.id,
        parent_id=None if parent is None else parent.to_bytes(16, "big"),
        user_id=WORKFLOW.user_id,
        name=f"n{number}",
        mode=Mode.NON_BLOCKING,
        type="activity",
        client_data=b'{"zZ":1.0,"a":[]}',
        metadata=b"{}",
        subject=WORKFLOW.subject,
        decider="D",
        workflow_name="order",
        server=server,
        client=client,
        created_at=0,
        fires_at=90_000,
        attempt=1,
        complete_by=None,
        retries_remaining=1,
        retry_interval_seconds=1.0,
        parent_link_id=None,
        depth=depth,
        seq=number,
        tid="t",
        **more,
    )


def text(value):
    return msgspec.json.encode(value).decode()


def test_times():
    assert time_text(1_451_606_400_007) == "2016-01-01T00:00:00.007Z"
    assert time_text(2**62).startswith("9999-12-31")


def test_a_workflow():
    assert json.loads(text(workflow_json(WORKFLOW))) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "order",
        "subject": {"order_id": 5},
        "decider": "D",
        "userId": "00000000-0000-0000-0000-000000000000",
        "createdAt": "2016-01-01T00:00:00.007Z",
        "updatedAt": "2016-01-01T00:00:00.007Z",
        "complete": False,
        "paused": False,
    }


def test_a_node_carries_json_as_it_is():
    content = text(node_json(node(2)))
    assert '"clientData":{"zZ":1.0,"a":[]}' in content
    assert list(json.loads(content)) == [
        "id", "mode", "name", "workflowId", "parentId", "userId", "clientData", "metadata", "subject", "decider",
        "workflowName", "currentServerStatus", "currentClientStatus", "createdAt",
    ]  # fmt: skip


def test_a_tree_nests_and_shows_camel_case():
    nodes = [node(2), node(3, 2, 2, ServerStatus.RETRYING, ClientStatus.ERRORED), node(4)]
    tree = json.loads(text(tree_json(WORKFLOW, nodes)))
    assert tree["subject"] == {"orderId": 5}
    assert (tree["mode"], tree["currentServerStatus"], tree["retryingAt"]) == (None, None, None)
    first, last = tree["children"]
    assert (first["name"], last["name"], last["retryingAt"]) == ("n2", "n4", None)
    (inner,) = first["children"]
    assert (inner["retryingAt"], inner["subject"]) == ("1970-01-01T00:01:30.000Z", {"orderId": 5})


def test_a_page_of_a_tree_hangs_what_lost_its_parent_from_the_workflow():
    tree = json.loads(text(tree_json(WORKFLOW, [node(7, 2, 3), node(8, 7, 4), node(9, 1, 2)])))
    assert [child["name"] for child in tree["children"]] == ["n7", "n9"]
    assert [child["name"] for child in tree["children"][0]["children"]] == ["n8"]


def test_a_tree_as_deep_as_is_allowed():
    """Deeper than JSON encoders nest: the text is made node by node."""
    levels = Settings().depth_max
    made = text(
        tree_json(
            WORKFLOW, [node(number, number - 1 if number > 2 else None, number) for number in range(2, levels + 2)]
        )
    )
    assert made.count('"children":[{') == levels
    assert made.endswith('"children":[' + "]}" * (levels + 1))


def test_a_printed_tree():
    colors = [
        (ServerStatus.ERRORED, ClientStatus.READY, 31),
        (ServerStatus.RETRIES_EXHAUSTED, ClientStatus.ERRORED, 31),
        (ServerStatus.READY, ClientStatus.READY, 37),
        (ServerStatus.DEACTIVATED, ClientStatus.RECEIVED, 37),
        (ServerStatus.COMPLETE, ClientStatus.COMPLETE, 32),
        (ServerStatus.STARTED, ClientStatus.READY, 33),
    ]
    lines = tree_text(WORKFLOW, [node(2 + at, server=s, client=c) for at, (s, c, _) in enumerate(colors)]).split("\n")
    assert lines[:2] == ["", "00000000-0000-0000-0000-000000000001\x1b[36m|--\x1b[0morder"]
    assert lines[2].endswith("\x1b[36m   |--\x1b[0m\x1b[31mn2 - server: errored, client: ready\x1b[0m")
    assert [int(line.split("\x1b[")[3][:2]) for line in lines[2:]] == [color for *_, color in colors]


def test_a_status_change():
    change = StatusChange(True, ServerStatus.READY, ServerStatus.STARTED, 0, None)
    assert json.loads(text(status_change_json(bytes(16), change))) == {
        "nodeId": "00000000-0000-0000-0000-000000000000",
        "fromStatus": "ready",
        "toStatus": "started",
        "statusType": "current_server_status",
        "response": {},
        "createdAt": "1970-01-01T00:00:00.000Z",
    }
