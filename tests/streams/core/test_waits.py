"""Why a node waits: for every pair of statuses, and for every way to wait as work gets there."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.queries import GetChildren, GetNodes, GetPath, GetWaits, query_route
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import WaitKind
from backbeat.streams.core import queries as q
from backbeat.streams.core.tables import NODES
from tests.streams.core.rig import CAMERA, CAMERA_ID, NON_BLOCKING, Rig, id_of, new, running, workflow
from tests.streams.core.test_takes import begun, response, taker
from tests.streams.core.world import OTHER, USER, reply_to

S = ServerStatus


def ask(rig, kind, **given):
    query = kind(reply_to=reply_to(), deadline=0, **{"user_id": USER, **given})
    return list(q.answer(query, rig.store_of(query_route(query))))


def waits(rig, name):
    (answer,) = ask(rig, GetWaits, node_id=rig[name])
    return answer.waits


def sentences(rig, name):
    """The waits of a node, each as its kind and its sentence."""
    return [(str(wait.kind), wait.sentence) for wait in waits(rig, name)]


#: What holds a node up whose record says nothing but its statuses.
BY_STATUS = {
    S.PENDING: {WaitKind.PARENT},
    S.READY: {WaitKind.ENGINE},
    S.STARTED: {WaitKind.ENGINE},
    S.SENT_TO_CLIENT: {WaitKind.CLIENT, WaitKind.WORKER},
    S.PROCESSING_CHILDREN: {WaitKind.ENGINE},
    S.COMPLETE: set(),
    S.PAUSED: {WaitKind.ENGINE},
    S.ERRORED: {WaitKind.SERVER_ERROR},
    S.RETRYING: {WaitKind.BACKOFF},
    S.RETRIES_EXHAUSTED: {WaitKind.RETRIES_EXHAUSTED},
    S.DEACTIVATED: set(),
}


@pytest.mark.parametrize(("server", "client"), list(itertools.product(ServerStatus, ClientStatus)))
def test_every_pair_of_statuses_has_its_sentence(server, client):
    rig = running(new("a"))
    store = rig.stores[0]
    bare = msgspec.structs.replace(store.get(NODES, rig["a"]), server=server, client=client, timer_at=None)
    store[NODES][bare.id] = bare
    kinds = {wait.kind for wait in waits(rig, "a")}
    assert kinds <= BY_STATUS[server]
    assert bool(kinds) is bool(BY_STATUS[server])
    for wait in waits(rig, "a"):
        assert wait.sentence
        assert "None" not in wait.sentence
        assert wait.since is not None
    (child,) = ask(rig, GetChildren, parent_id=rig["signal"])[0].nodes
    assert child.wait == next(iter(waits(rig, "a")), None)


def test_what_is_below_a_running_node_waits_for_its_handler():
    rig = running(new("a"))
    rig.add("a", new("below"))
    assert sentences(rig, "below") == [("parent", "waits until the handler of its parent “a” has returned")]
    assert waits(rig, "below")[0].subject_id == rig["a"]
    rig.workflow("pause")
    assert [kind for kind, _ in sentences(rig, "below")] == ["parent", "workflow_paused"]


def test_a_sibling_waits_for_the_blocking_one_before_it():
    rig = running(new("a"), new("b", NON_BLOCKING), new("c"))
    for name in ("b", "c"):
        assert sentences(rig, name) == [("sibling", "waits for “a” before it, which is blocking")]
        assert waits(rig, name)[0].subject_id == rig["a"]
    rig.complete("a")
    assert sentences(rig, "b")[0][0] == "client"
    assert sentences(rig, "c")[0][0] == "client"


def test_a_taker_waits_for_the_results_that_it_takes():
    rig = begun(new("a", NON_BLOCKING), new("b", NON_BLOCKING), taker("one", 0, mode=NON_BLOCKING), taker("two", 0, 1))
    assert sentences(rig, "one") == [("results", "waits for the result of “a”")]
    assert waits(rig, "one")[0].subject_id == rig["a"]
    assert sentences(rig, "two") == [("results", "waits for 2 results, the first of “a”")]
    assert waits(rig, "two")[0].count == 2
    rig.complete("a", response=response('"paid"'))
    assert sentences(rig, "one")[0][0] == "client"
    assert sentences(rig, "two") == [("results", "waits for the result of “b”")]


def test_a_signal_waits_for_the_one_before_it():
    rig = running(new("a"))
    rig.signal("second")
    assert sentences(rig, "second") == [("sibling", "waits for “signal” before it, which is blocking")]


def test_a_node_waits_for_its_time():
    rig = running(new("a", fires_at=1_800_000_000_000))
    assert sentences(rig, "a") == [("time", "waits for its time, 2027-01-15 08:00:00 UTC")]
    assert waits(rig, "a")[0].until == 1_800_000_000_000


def limited(**values):
    rig = running()
    rig.ask(c.ChangeLimit, client_id=USER, activity="a", values=LimitValues(**values))
    rig.signal("more")
    rig.complete("more", new("a", NON_BLOCKING), new("x", NON_BLOCKING))
    return rig


def test_a_node_waits_for_a_slot_and_for_its_activity():
    rig = limited(concurrency=1, rate_count=5, rate_period_seconds=60.0, key="subject")
    assert sentences(rig, "a")[0][0] == "client"
    other = workflow(b'"Camera 703"', name="other")
    rig.signal("third", of=other)
    rig.complete("third", msgspec.structs.replace(new("a", NON_BLOCKING), metadata=b'{"second":1}'))
    (second,) = (node for node in rig.nodes().values() if node.metadata == b'{"second":1}')
    (answer,) = ask(rig, GetWaits, node_id=second.id)
    assert [(wait.kind, wait.sentence) for wait in answer.waits] == [
        ("slot", "waits for a slot of “a”: 1 at once and 5 starts in 60 s, by subject")
    ]
    rig.ask(c.ChangeLimit, client_id=USER, activity="a", paused=True)
    (answer,) = ask(rig, GetWaits, node_id=second.id)
    assert answer.waits[0].kind == "limit_paused"
    assert answer.waits[0].sentence == "waits until the activity “a” is resumed"


def test_a_node_waits_for_a_worker_and_then_with_it():
    rig = running(new("a"))
    (wait,) = waits(rig, "a")
    assert wait.kind == "client"
    assert wait.until == rig.row("a").complete_by
    assert wait.sentence == "waits in the queue of its client until a worker takes it, until 1970-01-03 00:16:40 UTC"
    rig.say("processing", "a")
    (wait,) = waits(rig, "a")
    assert wait.kind == "worker"
    assert wait.sentence.startswith("is with its worker")


def test_a_node_waits_for_its_next_retry_and_then_for_a_person():
    rig = running(new("a", retries=1))
    rig.error("a")
    (wait,) = waits(rig, "a")
    assert (wait.kind, wait.until) == ("backoff", rig.row("a").fires_at)
    assert wait.sentence.endswith(": attempt 2 of 2")
    rig.due("a")
    rig.error("a")
    assert sentences(rig, "a") == [
        (
            "retries_exhausted",
            "has used up its 2 attempts: it waits until somebody retries, resolves, shuts down or cancels it",
        )
    ]
    (child,) = ask(rig, GetChildren, parent_id=rig["signal"])[0].nodes
    assert child.error == "it broke"


def test_attempts_that_were_handed_back_are_not_counted():
    rig = running(new("a", retries=1))
    rig.say("errored", "a", attempted=False)
    rig.due("a")
    rig.error("a")
    (wait,) = waits(rig, "a")
    assert wait.sentence.endswith(": attempt 2 of 2")
    rig.due("a")
    rig.error("a")
    ((_, sentence),) = sentences(rig, "a")
    assert sentence.startswith("has used up its 2 attempts:")


@pytest.mark.parametrize(
    ("retries", "given", "beginning"),
    [(0, {}, "failed, and has no retries:"), (3, {"retriable": False}, "failed with an error that is not retried:")],
)
def test_a_node_that_failed_for_good_says_why(retries, given, beginning):
    rig = running(new("a", retries=retries))
    rig.error("a", **given)
    assert sentences(rig, "a")[0][1].startswith(beginning)


def test_a_node_waits_for_what_is_below_it_and_linked_to_it():
    rig = running(new("a"), settings=Settings(children_max=5_000))
    rig.signal("linked", of=workflow(b'"Camera 9"'), parent_link_id=rig["a"])
    rig.complete("a", *(new(f"n{number}", NON_BLOCKING) for number in range(1_200)))
    assert sentences(rig, "a") == [
        ("children", "waits for 1,200 nodes below it"),
        ("links", "waits for 1 node that is linked to it"),
    ]
    assert [wait.count for wait in waits(rig, "a")] == [1_200, 1]
    assert waits(rig, "a")[1].subject_id == rig["linked"]
    for number in range(1_200):
        rig.complete(f"n{number}") if number < 2 else None
    assert sentences(rig, "a")[0][1] == "waits for 1,198 nodes below it"


def test_a_node_of_a_paused_workflow_waits_for_its_end():
    rig = running()
    rig.workflow("pause")
    rig.signal("held")
    assert sentences(rig, "held") == [("workflow_paused", "waits until its workflow is resumed")]


def test_the_engines_own_error_waits_for_a_person():
    rig = running(new("a"))
    rig.fail("a")
    assert sentences(rig, "a") == [
        ("server_error", "met an error of the engine itself: it waits until somebody retries or cancels it")
    ]
    (child,) = ask(rig, GetChildren, parent_id=rig["signal"])[0].nodes
    assert child.error == "the engine broke"


def test_a_node_that_a_sweep_has_not_reached_waits_for_nothing():
    rig = running(*(new(f"n{n}", NON_BLOCKING) for n in range(9)), settings=Settings(slice_nodes_max=2))
    rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["signal"]))
    assert waits(rig, "n8") == ()
    children = ask(rig, GetChildren, parent_id=rig["signal"])[0].nodes
    assert {(child.server, child.wait) for child in children} == {(S.DEACTIVATED, None)}


def test_a_long_name_is_cut_and_a_time_without_bounds_is_said():
    rig = running(new("y" * 200), new("b"))
    assert sentences(rig, "b") == [("sibling", f"waits for “{'y' * 120}…” before it, which is blocking")]
    store = rig.stores[0]
    store[NODES][rig["b"]] = msgspec.structs.replace(rig.row("b"), server=S.RETRYING, fires_at=2**62)
    assert "9999-12-31" in sentences(rig, "b")[0][1]


# --- lists -----------------------------------------------------------------------------------------------------------


def names(answers):
    return [child.name for part in answers for child in part.nodes]


def test_children_come_by_the_page():
    rig = running(*(new(f"n{number}", NON_BLOCKING) for number in range(450)), settings=Settings(children_max=500))
    rig.complete("n7", new("deep"))
    parts = ask(rig, GetChildren, parent_id=rig["signal"])
    assert [len(part.nodes) for part in parts] == [50] * 9
    assert names(parts) == [f"n{number}" for number in range(450)]
    assert names(ask(rig, GetChildren, parent_id=rig["signal"], limit=2)) == ["n0", "n1"]
    assert names(ask(rig, GetChildren, parent_id=rig["signal"], limit=2, after=rig["n1"])) == ["n2", "n3"]
    assert names(ask(rig, GetChildren, parent_id=rig["signal"], limit=2, first=rig["n448"])) == ["n448", "n449"]
    assert names(ask(rig, GetChildren, parent_id=rig["signal"], after=rig["n449"])) == []
    assert names(ask(rig, GetChildren, parent_id=CAMERA_ID)) == ["signal"]
    seventh = parts[0].nodes[7]
    assert (seventh.has_children, seventh.children_open, seventh.depth) == (True, 1, 2)
    assert seventh.wait.sentence == "waits for 1 node below it"


def test_a_path_comes_from_the_top():
    rig = running(new("a"))
    rig.complete("a", new("deep"))
    assert names(ask(rig, GetPath, node_id=rig["deep"])) == ["signal", "a", "deep"]
    assert names(ask(rig, GetPath, node_id=rig["signal"])) == ["signal"]


def test_nodes_by_id_come_in_the_order_asked_for_and_without_those_that_are_not_there():
    rig = running(*(new(f"n{number}") for number in range(60)))
    node_ids = (rig["n7"], b"x" * 16, *(rig[f"n{number}"] for number in range(59)), rig["signal"])
    parts = ask(rig, GetNodes, partition=0, node_ids=node_ids)
    assert len(parts) == 2
    assert names(parts) == ["n7", *(f"n{number}" for number in range(59)), "signal"]
    (path,) = ask(rig, GetPath, node_id=rig["n7"])
    assert parts[0].nodes[0] == path.nodes[-1]
    assert names(ask(rig, GetNodes, partition=0, node_ids=())) == []


def test_errors_and_waits_of_another_clients_nodes_are_not_shown():
    rig = running(new("a", user_id=OTHER))
    rig.complete("a", new("theirs", NON_BLOCKING, retries=0), new("own", NON_BLOCKING, user_id=OTHER), user_id=OTHER)
    rig.error("theirs")
    for kind, given, shown in (
        (GetPath, {"node_id": rig["own"]}, {"signal": (False, False), "a": (False, True), "own": (False, True)}),
        (GetChildren, {"parent_id": rig["a"]}, {"theirs": (False, False), "own": (False, True)}),
        (GetNodes, {"partition": 0, "node_ids": (rig["own"], rig["theirs"])}, {"own": (False, True)}),
    ):
        (part,) = ask(rig, kind, **given, user_id=OTHER)
        views = {child.name: (bool(child.error), child.wait is not None) for child in part.nodes}
        assert views == shown
    for user_id in (USER, None):
        (path,) = ask(rig, GetPath, node_id=rig["theirs"], user_id=user_id)
        assert [child.wait is not None for child in path.nodes] == [True, True, True]
        assert path.nodes[-1].error == "it broke"


def test_what_is_not_there_or_anothers_is_not_found():
    rig = running(new("a"))
    for kind, field, own in (
        (GetWaits, "node_id", rig["a"]),
        (GetPath, "node_id", rig["a"]),
        (GetChildren, "parent_id", rig["a"]),
        (GetChildren, "parent_id", CAMERA_ID),
    ):
        assert not isinstance(ask(rig, kind, **{field: own})[0], Rejection)
        for refused in (ask(rig, kind, **{field: own}, user_id=OTHER), ask(rig, kind, **{field: b"x" * 16})):
            assert [answer.reason for answer in refused] == [Reason.NOT_FOUND]


@pytest.mark.parametrize("page", [{"after": b"x" * 16}, {"first": b"x" * 16}, {"limit": 0}, {"limit": -1}])
def test_a_page_of_children_that_cannot_be_is_refused(page):
    rig = running(new("a"))
    (refused,) = ask(rig, GetChildren, parent_id=rig["signal"], **page)
    assert refused.reason is Reason.INVALID_PARAMETERS
    assert refused.wanted


def test_a_page_does_not_go_on_after_a_node_of_another_parent():
    rig = Rig()
    rig.signal("one")
    rig.signal("elsewhere", of=msgspec.structs.replace(CAMERA, subject=b'"another"'))
    rig.complete("one", new("a"))
    for parent_id, after in ((rig["one"], rig["one"]), (CAMERA_ID, rig["a"]), (CAMERA_ID, rig["elsewhere"])):
        (refused,) = ask(rig, GetChildren, parent_id=parent_id, after=after)
        assert refused.reason is Reason.INVALID_PARAMETERS
    assert names(ask(rig, GetChildren, parent_id=id_of(CAMERA))) == ["one"]
