"""Point reads: workflow, node, tree, history."""

import msgspec
import pytest

from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.queries import (
    Flush,
    GetHistory,
    GetNode,
    GetSettings,
    GetTree,
    GetWorkflow,
    WaitNode,
    query_route,
)
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core import queries as q
from tests.streams.core.rig import CAMERA, CAMERA_ID, NON_BLOCKING, Rig, new, running
from tests.streams.core.world import OTHER, USER, reply_to


def ask(rig, kind, **given):
    query = kind(reply_to=reply_to(), deadline=0, **{"user_id": USER, **given})
    return list(q.answer(query, rig.store_of(query_route(query))))


def test_a_workflow_and_a_node():
    rig = running(new("a"))
    (view,) = ask(rig, GetWorkflow, workflow_id=CAMERA_ID)
    assert isinstance(view, WorkflowView)
    (node,) = ask(rig, GetNode, node_id=rig["a"])
    assert isinstance(node, NodeView)
    assert (node.name, node.workflow_name, node.server.name) == ("a", "purchase", "SENT_TO_CLIENT")


@pytest.mark.parametrize(("kind", "field"), [
    (GetWorkflow, "workflow_id"), (GetTree, "workflow_id"), (GetNode, "node_id"), (GetHistory, "node_id"),
    (WaitNode, "node_id"),
])  # fmt: skip
def test_what_is_anothers_is_not_found(kind, field):
    rig = running(new("a"))
    mine = CAMERA_ID if field == "workflow_id" else rig["a"]
    assert not isinstance(ask(rig, kind, **{field: mine})[0], Rejection)
    assert not isinstance(ask(rig, kind, **{field: mine}, user_id=None)[0], Rejection)
    for refused in (ask(rig, kind, **{field: mine}, user_id=OTHER), ask(rig, kind, **{field: b"x" * 16})):
        assert [answer.reason for answer in refused] == [Reason.NOT_FOUND]


def test_a_tree_comes_parents_first_in_parts():
    rig = running(new("a", NON_BLOCKING), new("b", NON_BLOCKING), settings=Settings(children_max=500))
    rig.complete("a", *(new(f"x{n}", NON_BLOCKING) for n in range(450)))
    rig.signal("two")
    first, *parts = ask(rig, GetTree, workflow_id=CAMERA_ID)
    assert isinstance(first, WorkflowView)
    assert [len(part.nodes) for part in parts] == [50] * 9 + [4]
    names = [node.name for part in parts for node in part.nodes]
    assert names == ["signal", "a", *(f"x{n}" for n in range(450)), "b", "two"]
    (_, top) = ask(rig, GetTree, workflow_id=CAMERA_ID, top_level_only=True)
    assert [node.name for node in top.nodes] == ["signal", "two"]


def test_a_tree_is_read_page_by_page():
    rig = running(new("a", NON_BLOCKING), new("b", NON_BLOCKING))
    rig.complete("a", new("a1", NON_BLOCKING), new("a2", NON_BLOCKING))
    rig.complete("a2", new("deep"))
    rig.signal("two")
    whole = [node.id for node in ask(rig, GetTree, workflow_id=CAMERA_ID)[1].nodes]
    for limit in range(1, len(whole) + 2):
        read, after = [], None
        while True:
            _, page = ask(rig, GetTree, workflow_id=CAMERA_ID, limit=limit, after=after)
            assert len(page.nodes) <= limit
            if not page.nodes:
                break
            read += [node.id for node in page.nodes]
            after = read[-1]
        assert read == whole


def test_the_top_is_read_page_by_page():
    rig = running(new("a"))
    rig.signal("two")
    for after in (rig["signal"], rig["a"]):
        _, page = ask(rig, GetTree, workflow_id=CAMERA_ID, top_level_only=True, limit=5, after=after)
        assert [node.name for node in page.nodes] == ["two"]


@pytest.mark.parametrize("page", [{"after": b"x" * 16}, {"limit": 0}, {"limit": -1}])
def test_a_page_that_cannot_be_is_refused(page):
    rig = running(new("a"))
    (refused,) = ask(rig, GetTree, workflow_id=CAMERA_ID, **page)
    assert refused.reason is Reason.INVALID_PARAMETERS
    assert refused.wanted


def test_a_page_does_not_go_on_after_a_node_of_another_workflow():
    rig = running(new("a"))
    rig.signal("elsewhere", of=msgspec.structs.replace(CAMERA, subject=b'"another"'))
    (refused,) = ask(rig, GetTree, workflow_id=CAMERA_ID, after=rig["elsewhere"])
    assert refused.reason is Reason.INVALID_PARAMETERS


def test_a_tree_of_large_nodes_comes_in_small_parts():
    rig = Rig()
    large = b'{"a":"' + b"x" * 200_000 + b'"}'
    rig.signal("one", metadata=large)
    rig.signal("two", metadata=large)
    rig.signal("three")
    assert [len(part.nodes) for part in ask(rig, GetTree, workflow_id=CAMERA_ID)[1:]] == [1, 2]


def test_a_history_comes_whole():
    rig = running(new("a", retries=50, retry_interval_seconds=0.0))
    for _ in range(20):
        rig.error("a", response=b'{"error":"%s"}' % (b"x" * 200))
        rig.due("a")
    parts = ask(rig, GetHistory, node_id=rig["a"])
    assert len(parts) > 1
    statuses = [change.to_status for part in parts for change in part.changes]
    assert [status.name.lower() for status in statuses] == [entry[2] for entry in rig.history(rig["a"])]


def test_a_wait_is_over_when_the_node_is_final():
    rig = running(new("a"), new("b"))
    store = rig.stores[0]
    assert not q.is_final(store, rig["a"])
    assert not q.is_final(store, b"x" * 16)
    rig.complete("a")
    rig.say("canceled", "b")
    assert q.is_final(store, rig["a"])
    assert q.is_final(store, rig["b"])
    view, changes = ask(rig, WaitNode, node_id=rig["a"])
    assert (view.server.name, len(changes.changes)) == ("COMPLETE", 8)


def test_a_node_that_a_sweep_has_not_reached_reads_as_deactivated():
    from backbeat.schemas.messages import commands as c

    rig = running(*(new(f"n{n}", NON_BLOCKING) for n in range(9)), settings=Settings(slice_nodes_max=2))
    rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["signal"]))
    (view,) = ask(rig, GetNode, node_id=rig["n8"])
    assert view.server.name == "DEACTIVATED"
    assert q.is_final(rig.stores[0], rig["n8"])
    tree = ask(rig, GetTree, workflow_id=CAMERA_ID)[1]
    assert [node.server.name for node in tree.nodes] == ["PROCESSING_CHILDREN", *["DEACTIVATED"] * 9]


def test_a_flush_is_not_answered_here():
    query = Flush(reply_to=reply_to(), deadline=0, partition=0)
    assert query_route(query) == bytes(4)
    with pytest.raises(AssertionError):
        list(q.answer(query, Rig().stores[0]))


def test_the_settings_of_a_partition():
    settings = Settings(depth_max=3)
    rig = Rig(settings=settings)
    assert list(q.answer(GetSettings(reply_to=reply_to(), deadline=0, partition=0), rig.stores[0])) == [settings]
