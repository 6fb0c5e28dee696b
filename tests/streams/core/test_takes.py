"""Results as arguments: whose a node may take, when it starts, what it gets, and what becomes of it otherwise."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, status
from backbeat.schemas.messages.activities import TakenCount, TakenResult
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.queries import GetNode, GetResults, GetWaits
from backbeat.schemas.messages.replies import Done, Reason, Results
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Take
from backbeat.streams.core import effects as e
from backbeat.streams.core import queries
from backbeat.streams.core.tables import REFERENCES
from backbeat.streams.core.takes import position, reading
from tests.streams.core.rig import BLOCKING, CAMERA, CAMERA_ID, FORGET, NON_BLOCKING, Rig, flag, new, running, workflow
from tests.streams.core.world import USER, Happened, reply_to


def response(value: str) -> bytes:
    return b'{"jsonrpc":"2.0","result":' + value.encode() + b',"error":null,"id":null}'


def made(rig: Rig, place: int = 0, *, ahead: int = 1, of: bytes = CAMERA_ID) -> bytes:
    """The id that a child at this place of the next command will have. `ahead`: of which of the next ones."""
    command_id = ids.command_id(b"test", (rig._ids + ahead).to_bytes(8, "big"))
    return ids.node_id(of, command_id, place)


def begun(*children: Any, **given_: Any) -> Rig:
    """A workflow whose signal is completed with children; a callable is given the rig, to name those before it."""
    rig = Rig(**given_)
    rig.signal("signal")
    rig.complete("signal", *(child(rig) if callable(child) else child for child in children))
    return rig


def taker(name: str, *places: int, mode: status.Mode = BLOCKING, **given_: Any) -> Any:
    """A node that takes the results of earlier ones of its command, by their places."""
    return lambda rig: new(name, mode, takes=tuple(Take(made(rig, place), **given_) for place in places))


def results(happened: Happened, name: str) -> list[TakenResult]:
    (dispatch,) = [effect for effect in happened.of(e.Dispatch) if effect.node.name == name]
    return list(dispatch.results)


def asked(rig: Rig, name: str, **given_: Any) -> list[Any]:
    query = GetResults(node_id=rig[name], reply_to=reply_to(), deadline=0, **given_)
    return list(queries.answer(query, rig.store_of(rig[name])))


# --- when it starts, and with what -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [BLOCKING, NON_BLOCKING, FORGET])
def test_a_taker_starts_once_its_results_are_there_whatever_its_mode(mode):
    rig = begun(new("price", NON_BLOCKING), new("stock", NON_BLOCKING), taker("charge", 0, 1, mode=mode))
    assert rig.both("charge") == ("ready", "ready")
    assert rig.complete("stock", response=response("3")).dispatched == []
    happened = rig.complete("price", response=response("703"))
    assert happened.dispatched == ["charge"]
    assert results(happened, "charge") == [
        TakenResult(0, rig["price"], response("703")),
        TakenResult(1, rig["stock"], response("3")),
    ]


def test_a_producer_is_done_with_everything_below_it():
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0))
    rig.complete("price", new("part"), response=response("703"))
    assert rig.server("charge") == ["ready"]
    assert rig.complete("part").dispatched == ["charge"]


def test_a_taker_waits_for_its_turn_too():
    rig = begun(new("price", NON_BLOCKING), new("reserve"), taker("charge", 0, mode=NON_BLOCKING))
    assert rig.complete("price").dispatched == []
    assert rig.complete("reserve").dispatched == ["charge"]


def test_later_siblings_wait_for_a_blocking_taker_that_waits():
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0), new("ship"))
    assert rig.server("ship") == ["ready"]
    assert rig.complete("price").dispatched == ["charge"]
    assert rig.complete("charge").dispatched == ["ship"]


def test_what_goes_along_is_the_same_at_every_attempt():
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0))
    first = results(rig.complete("price", response=response("703")), "charge")
    rig.error("charge")
    rig.say("canceled", "price")  # the producer is deactivated meanwhile: its result stays
    assert results(rig.due("charge"), "charge") == first


def test_a_result_that_is_there_already_is_taken_at_once():
    rig = running(new("price", NON_BLOCKING), new("order"))
    rig.complete("price", response=response("703"))
    happened = rig.complete("order", new("charge", takes=(Take(rig["price"]),)))
    assert results(happened, "charge") == [TakenResult(0, rig["price"], response("703"))]


def test_a_large_result_is_found_where_it_was_put_away():
    large = response('"' + "x" * 5_000 + '"')
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0))
    assert results(rig.complete("price", response=large), "charge") == [TakenResult(0, rig["price"], large)]


def test_a_signal_takes_the_result_of_an_earlier_signal():
    rig = running(new("price"))
    rig.signal("next", takes=(Take(rig["signal"]),))
    happened = rig.complete("price")
    assert results(happened, "next") == [TakenResult(0, rig["signal"], None)]


def test_a_resolved_producer_gives_what_the_operator_said():
    rig = begun(new("price", NON_BLOCKING, retries=0), taker("charge", 0))
    rig.error("price")
    assert rig.server("price", "charge") == ["retries_exhausted", "ready"]
    happened = rig.say("resolved", "price", response=response("5"))
    assert results(happened, "charge") == [TakenResult(0, rig["price"], response("5"))]


def test_the_results_of_a_groups_members_come_in_their_order():
    rig = begun(flag("group", NON_BLOCKING), taker("publish", 0, of_children=True, mode=NON_BLOCKING), new("last"))
    rig.add("last")
    rig = Rig()
    rig.signal("signal")
    group = made(rig)
    rig.add("signal", flag("group"), new("publish", takes=(Take(group, of_children=True),)))
    rig.add("group", *(new(f"page {n}", NON_BLOCKING) for n in range(3)))
    rig.complete("signal")
    rig.complete("page 2", response=response("2"))
    rig.complete("page 0", response=response("0"))
    happened = rig.complete("page 1", response=response("1"))
    assert [row.response for row in results(happened, "publish")] == [response(str(n)) for n in range(3)]
    assert {row.slot for row in results(happened, "publish")} == {0}


def test_a_node_returns_the_result_of_a_child():
    rig = Rig()
    rig.signal("signal")
    rig.complete("signal", new("first"), new("total"), returns=made(rig, 1))
    rig.signal("next", takes=(Take(rig["signal"]),))
    rig.complete("first")
    happened = rig.complete("total", response=response("1406"))
    assert results(happened, "next") == [TakenResult(0, rig["signal"], response("1406"))]
    assert rig.history(rig["signal"])[-1][-1] == response("1406")


@pytest.mark.parametrize("end", ["canceled", "shutdown"])
def test_a_node_has_no_result_where_the_child_that_it_returns_has_none(end):
    rig = Rig()
    rig.signal("signal")
    rig.complete("signal", new("total", retries=0), returns=made(rig), response=response("null"))
    rig.signal("gone", takes=(Take(rig["signal"]),))
    rig.signal("default", takes=(Take(rig["signal"], default=b"0"),))
    rig.error("total")
    happened = rig.say(end, "total")
    assert rig.server("signal", "gone") == ["complete", "deactivated"]
    assert results(happened, "default") == [TakenResult(0, rig["signal"], b"0", is_default=True)]


def test_only_a_child_that_is_waited_for_is_returned():
    rig = Rig()
    rig.signal("signal")
    before = rig.snapshot()
    for child, place in ((new("mail", FORGET), 0), (new("other"), 1)):
        rejection = rig.complete("signal", child, returns=made(rig, place)).reply
        assert rejection.reason is Reason.INVALID_PARAMETERS
        assert "which is no child that it waits for" in rejection.message
    assert rig.snapshot() == before


# --- a producer without a result -------------------------------------------------------------------------------------


def test_retries_exhausted_leave_the_taker_waiting_and_it_says_for_whom():
    rig = begun(new("price", NON_BLOCKING, retries=0), taker("charge", 0))
    rig.error("price")
    query = GetNode(node_id=rig["charge"], reply_to=reply_to(), deadline=0)
    (view,) = queries.answer(query, rig.store_of(rig["charge"]))
    assert view.waits_for_results == (rig["price"],)
    rig.say("canceled", "charge")
    (view,) = queries.answer(query, rig.store_of(rig["charge"]))
    assert view.waits_for_results == ()


def test_a_taker_of_many_shows_the_last_that_is_missing():
    rig = running(new("price", NON_BLOCKING), new("stock", NON_BLOCKING), new("order"))
    rig.complete("price")
    takes = (*(Take(rig["price"]),) * 300, Take(rig["stock"]))
    rig.complete("order", new("charge", takes=takes))
    query = GetNode(node_id=rig["charge"], reply_to=reply_to(), deadline=0)
    (view,) = queries.answer(query, rig.store_of(rig["charge"]))
    assert view.waits_for_results == (rig["stock"],)


@pytest.mark.parametrize("word", ["canceled", "shutdown"])
def test_without_a_result_the_taker_is_deactivated_with_it_and_what_takes_of_it(word):
    rig = begun(new("price", NON_BLOCKING, retries=0), taker("charge", 0), taker("mail", 1), new("last"))
    rig.error("price")
    happened = rig.say(word, "price")
    assert rig.server("charge", "mail") == ["deactivated"] * 2
    assert happened.dispatched == ["last"]


def test_a_reset_above_deactivates_the_takers_elsewhere():
    rig = begun(new("order", NON_BLOCKING), new("bill"))
    rig.complete("order", new("price"))
    rig.complete("bill", new("charge", takes=(Take(rig["price"]),)))
    rig.reset("order")
    assert rig.server("charge", "bill", "order", "signal") == [
        "deactivated",
        "complete",
        "processing_children",
        "processing_children",
    ]


def test_a_default_stands_for_a_result_that_will_not_be():
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0, default=b"0"))
    assert results(rig.say("canceled", "price"), "charge") == [TakenResult(0, rig["price"], b"0", is_default=True)]


def test_a_group_of_which_a_member_failed_has_no_results():
    rig = Rig()
    rig.signal("signal")
    group = made(rig)
    takes = (Take(group, of_children=True),)
    rig.add("signal", flag("group"), new("publish", NON_BLOCKING, takes=takes), new("join", takes=(Take(group),)))
    rig.add("group", new("page 0", NON_BLOCKING), new("page 1", NON_BLOCKING))
    rig.complete("signal")
    rig.complete("page 0")
    happened = rig.say("canceled", "page 1")
    assert rig.server("publish") == ["deactivated"]
    assert happened.dispatched == ["join"]


# --- failures that a group allows ------------------------------------------------------------------------------------


def group_of(count: int, *, allowed: int, **given_: Any) -> Rig:
    """A running group of so many members, whose results a node takes. A retry is given to each."""
    rig = Rig(**given_)
    rig.signal("signal")
    taken = (Take(made(rig), of_children=True),)
    rig.add("signal", flag("group", failures_allowed=allowed), new("publish", takes=taken))
    rig.add("group", *(new(f"page {n}", NON_BLOCKING, retries=1) for n in range(count)))
    rig.complete("signal")
    return rig


def failed(rig: Rig, name: str, text: str = "it broke") -> Happened:
    return rig.say("errored", name, response=b'{"error":{"message":"%s"}}' % text.encode(), retriable=False)


def test_looking_for_failures_among_many_is_done_in_parts(monkeypatch):
    monkeypatch.setattr(queries, "_PART_ITEMS", 10)
    rig = group_of(35, allowed=1)
    failed(rig, "page 30")
    for number in range(35):
        if number != 30:
            rig.complete(f"page {number}", response=response(str(number)))
    parts = asked(rig, "publish", failures_only=True)
    assert [len(part.results) for part in parts] == [0, 0, 0, 1]
    assert [len(part.results) for part in asked(rig, "publish", results_max=25)] == [10, 10, 5]


def test_failures_that_a_group_allows_count_as_done_and_its_taker_is_told_which():
    rig = group_of(4, allowed=2)
    assert rig.say("errored", "page 1", response=b'{"error":"again"}').dispatched == []
    assert rig.server("page 1") == ["retrying"], "an attempt that failed is tried again first"
    rig.due("page 1")
    assert failed(rig, "page 1").of(e.Notify)[0].node.server is status.ServerStatus.DEACTIVATED
    failed(rig, "page 3", "x" * 1_000)
    assert rig.server("page 1", "page 3", "group") == ["deactivated", "deactivated", "processing_children"]
    rig.complete("page 0", response=response("0"))
    happened = rig.complete("page 2", response=response("2"))
    assert results(happened, "publish") == [
        TakenResult(0, rig["page 0"], response("0")),
        TakenResult(0, rig["page 1"], b'{"error":{"message":"it broke"}}', failure_index=1),
        TakenResult(0, rig["page 2"], response("2")),
        TakenResult(0, rig["page 3"], b'{"error":{"message":"%s"}}' % (b"x" * 300), failure_index=3),
    ]
    assert list(asked(rig, "publish", failures_only=True)[0].results) == results(happened, "publish")[1::2]


def test_failures_beyond_what_is_allowed_wait_for_somebody():
    rig = group_of(3, allowed=1)
    failed(rig, "page 0")
    failed(rig, "page 1")
    rig.complete("page 2", response=response("2"))
    assert rig.server("page 0", "page 1", "group") == ["deactivated", "retries_exhausted", "processing_children"]
    (wait,) = queries.answer(
        GetWaits(node_id=rig["group"], reply_to=reply_to(), deadline=0), rig.store_of(rig["group"])
    )
    assert wait.waits[0].sentence == "waits for 1 node below it; 1 of 1 failures that it allows have happened"
    happened = rig.say("resolved", "page 1", response=response("1"))
    assert [row.failure_index for row in results(happened, "publish")] == [0, None, None]


def test_a_canceled_member_is_no_failure_that_a_group_allows():
    rig = group_of(2, allowed=2)
    rig.complete("page 0")
    rig.say("canceled", "page 1")
    assert rig.server("group", "publish") == ["complete", "deactivated"]


def test_a_blocking_member_that_fails_lets_the_next_one_start():
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", flag("group", failures_allowed=1))
    rig.add("group", new("first", BLOCKING), new("second", BLOCKING))
    rig.complete("signal")
    assert failed(rig, "first").dispatched == ["second"]
    rig.complete("second")
    assert rig.server("signal") == ["complete"]
    (workflow,) = rig.workflows().values()
    assert workflow.detached_open == 0, "retention waits for nothing of it"


def test_what_is_below_a_failure_that_is_allowed_is_deactivated():
    rig = group_of(1, allowed=1)
    rig.add("page 0", new("part"))
    failed(rig, "page 0")
    assert rig.server("part", "group") == ["deactivated", "complete"]


@pytest.mark.parametrize("slice_nodes_max", [1, 7, 250])
def test_failures_are_allowed_exactly_and_counted_in_slices(slice_nodes_max):
    rig = group_of(60, allowed=20, settings=Settings(slice_nodes_max=slice_nodes_max))
    for number in range(0, 60, 3):
        failed(rig, f"page {number}")
    for number in range(60):
        if number % 3:
            happened = rig.complete(f"page {number}", response=response(str(number)))
    rows = results(happened, "publish")
    assert [row.failure_index for row in rows] == [None if n % 3 else n for n in range(60)]
    assert rig.row("group").flow.counted == 60


def test_a_failure_that_is_allowed_costs_the_same_in_a_group_of_whatever_size():
    reads = []
    for count in (10, 200):
        rig = group_of(count, allowed=5)
        store = rig.store_of(rig["group"])
        keys, get = [], store.get
        store.get = lambda table, key, keys=keys, get=get: keys.append(key) or get(table, key)
        failed(rig, "page 3")
        reads.append(len(keys))
    assert reads[0] == reads[1]


def test_members_that_are_refused_fail_the_attempt_that_adds_them():
    rig = Rig(settings=Settings(children_max=2))
    rig.signal("signal")
    rig.add("signal", flag("group"), attempt=1)
    own = {"attempt": 1, "attempt_of": rig["signal"]}
    assert rig.add("group", new("page 0", NON_BLOCKING), **own).reply.ids
    assert rig.add("group", *(new(f"page {n}", NON_BLOCKING) for n in range(1, 4)), **own).reply.reason.value
    assert rig.both("signal") == ("retrying", "errored")
    assert b"children_max is 2" in rig.history(rig["signal"])[-2][4]
    assert rig.add("group", new("late", NON_BLOCKING), **own).reply == Done(changed=False)
    other = workflow(b'"another"')
    rig.signal("other", of=other)
    for runner in (rig["other"], b"n" * 16):
        refused_ = rig.add("group", new("stray"), attempt=1, attempt_of=runner).reply
        assert refused_.reason is Reason.NOT_FOUND
    assert rig.server("other") == ["sent_to_client"]


def test_a_reset_of_the_group_counts_its_failures_anew():
    rig = group_of(2, allowed=1)
    failed(rig, "page 0")
    rig.reset("group")
    rig.add("group", new("page 2", NON_BLOCKING), new("page 3", NON_BLOCKING))
    failed(rig, "page 2")
    assert rig.server("page 2") == ["deactivated"]
    happened = rig.complete("page 3", response=response("3"))
    (dispatch,) = [effect for effect in happened.of(e.Dispatch) if effect.node.name == "publish"]
    assert [(result.node_id, result.failure_index) for result in dispatch.results] == [
        (rig["page 2"], 0),
        (rig["page 3"], None),
    ]


def test_failures_allowed_are_none_or_more():
    rig = Rig()
    rig.signal("signal")
    assert rig.add("signal", flag("group", failures_allowed=-1)).reply.reason is Reason.INVALID_PARAMETERS


def test_children_of_an_attempt_that_failed_count_for_nothing():
    rig = begun(new("order", NON_BLOCKING), lambda rig: new("publish", takes=(Take(made(rig), of_children=True),)))
    rig.add("order", new("old", NON_BLOCKING))
    rig.error("order")
    rig.due("order")
    rig.complete("order", new("page 0", NON_BLOCKING), new("page 1", NON_BLOCKING))
    rig.complete("page 1", response=response("1"))
    happened = rig.complete("page 0", response=response("0"))
    pages = [TakenResult(0, rig[f"page {n}"], response(str(n))) for n in range(2)]
    assert rig.server("old", "publish") == ["deactivated", "sent_to_client"]
    assert results(happened, "publish") == pages
    rig.reset("order")  # the results stay, for those that come later, too
    rig.signal("late", takes=(Take(rig["order"], of_children=True),))
    assert [row for part in asked(rig, "late") for row in part.results] == pages


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(rig: Rig, happened: Happened) -> str:
    rejection = happened.reply
    assert rejection.reason is Reason.INVALID_PARAMETERS, rejection
    return rejection.message


def test_what_comes_later_or_is_above_has_no_result_for_a_node_and_both_paths_are_told():
    rig = running(new("order", NON_BLOCKING), new("bill"))
    rig.complete("bill", new("charge"))
    before = rig.snapshot()
    message = refused(rig, rig.add("order", new("x", takes=(Take(rig["charge"]),))))
    assert message.startswith("'signal' > 'order' > 'x' takes the result of 'signal' > 'bill' > 'charge' (")
    assert "which comes after it" in message
    assert "which is above it" in refused(rig, rig.add("order", new("x", takes=(Take(rig["signal"]),))))
    assert "which is the node itself" in refused(rig, rig.add("order", new("x", takes=(Take(made(rig)),))))
    assert "which is no node of its workflow" in refused(rig, rig.add("order", new("x", takes=(Take(b"x" * 16),))))
    later = (new("x", takes=(Take(made(rig, 1)),)), new("y"))
    assert "which is no node of its workflow" in refused(rig, rig.add("order", *later))
    assert rig.snapshot() == before


def test_a_node_of_another_workflow_has_no_result_for_a_node():
    rig = running(new("order"))
    other = c.NewWorkflow(user_id=USER, name="other", subject=CAMERA.subject, decider="Decider")
    rig.signal("elsewhere", of=other)
    assert "no node of its workflow" in refused(rig, rig.add("order", new("x", takes=(Take(rig["elsewhere"]),))))


def test_a_producer_too_far_below_is_refused(monkeypatch):
    monkeypatch.setattr(position, "LEVELS_MAX", 2)
    rig = running(new("order", NON_BLOCKING), new("bill"))
    rig.complete("order", new("a"))
    rig.complete("a", new("b"))
    assert "more than 2 levels below" in refused(rig, rig.add("bill", new("x", takes=(Take(rig["b"]),))))
    assert rig.add("bill", new("x", takes=(Take(rig["a"]),))).reply.ids


def test_ways_that_a_command_has_gone_are_not_gone_again(monkeypatch):
    rig = running(new("order", NON_BLOCKING), new("bill"))
    rig.complete("order", new("level 0"))
    for level in range(20):
        rig.complete(f"level {level}", new(f"level {level + 1}"))
    read, stored = [], position._stored
    monkeypatch.setattr(position, "_stored", lambda step, node_id: read.append(node_id) or stored(step, node_id))
    takes = (Take(rig["level 20"]), Take(rig["level 19"]))
    assert rig.add("bill", *(new(f"x{n}", takes=takes) for n in range(9))).reply.ids
    assert len(read) < 30


def test_a_schedules_signal_takes_nothing():
    rig = running(new("price"))
    plan = c.NewSchedule(
        user_id=USER,
        name="nightly",
        interval_seconds=60.0,
        workflow=CAMERA,
        node=new("run", takes=(Take(rig["price"]),)),
    )
    schedule_id = ids.schedule_id(USER, "nightly")
    assert "takes results" in refused(rig, rig.ask(c.PutSchedule, schedule_id=schedule_id, schedule=plan))


def test_a_default_is_json_and_the_results_of_one_command_have_a_bound():
    rig = running(new("price", NON_BLOCKING), new("order"), settings=Settings(children_max=3))
    bad = new("x", takes=(Take(rig["price"], default=b"{"),))
    assert "default is no JSON" in refused(rig, rig.add("order", bad))
    many = (new("x", takes=(Take(rig["price"]),) * 2),) * 2
    assert rig.add("order", *many).reply.reason is Reason.LIMIT_EXCEEDED


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_nodes_max", [1, 7, 250])
def test_one_result_to_many_and_many_to_one_go_in_slices(slice_nodes_max):
    count = 60
    rig = Rig(settings=Settings(slice_nodes_max=slice_nodes_max))
    rig.signal("signal")
    price = made(rig)
    rig.add("signal", new("price", NON_BLOCKING))
    charges = [new(f"charge {n}", NON_BLOCKING, takes=(Take(price),)) for n in range(count)]
    rig.complete("signal", *charges)
    happened = rig.complete("price", response=response("1"))
    assert sorted(happened.dispatched) == sorted(f"charge {n}" for n in range(count))
    assert happened.dispatched == [f"charge {n}" for n in range(count)], "in the order in which they were added"
    assert happened.commands >= count / slice_nodes_max


@pytest.mark.parametrize(("takes", "size", "commands"), [(20, 1, 70), (1, 200_000, 20)])
def test_what_goes_along_counts_in_a_commands_budget(takes, size, commands):
    large = response('"' + "x" * size + '"')
    rig = running(new("price", NON_BLOCKING), new("order"), settings=Settings(slice_nodes_max=15))
    rig.complete("order", *(new(f"charge {n}", NON_BLOCKING, takes=(Take(rig["price"]),) * takes) for n in range(40)))
    happened = rig.complete("price", response=large)
    assert happened.dispatched == [f"charge {n}" for n in range(40)]
    assert happened.commands >= commands


def test_results_beyond_what_goes_along_are_read_in_parts(monkeypatch):
    monkeypatch.setattr(reading, "FIRST_RESULTS_MAX", 5)
    rig = Rig()
    rig.signal("signal")
    group = made(rig)
    rig.add("signal", flag("group"), new("price"), new("publish", takes=(Take(group, of_children=True), Take(group))))
    rig.add("group", *(new(f"page {n}", NON_BLOCKING) for n in range(12)))
    rig.complete("signal")
    for n in range(12):
        rig.complete(f"page {n}", response=response(str(n)))
    happened = rig.complete("price")
    (dispatch,) = happened.of(e.Dispatch)
    assert len(dispatch.results) == 5
    assert dispatch.counts == (TakenCount(12), TakenCount(1))
    assert dispatch.record().has_more_results
    last = dispatch.results[-1]
    parts = asked(rig, "publish", slot=last.slot, after=last.node_id)
    assert all(isinstance(part, Results) for part in parts)
    rows = [*dispatch.results, *(row for part in parts for row in part.results)]
    assert [row.response for row in rows] == [response(str(n)) for n in range(12)] + [None]
    assert [row.slot for row in rows] == [0] * 12 + [1]
    assert rows == [row for part in asked(rig, "publish") for row in part.results]
    pages = [asked(rig, "publish", slot=0, after=after, results_max=4)[0].results for after in (None, rows[3].node_id)]
    assert pages == [tuple(rows[:4]), tuple(rows[4:8])]
    (rejection,) = asked(rig, "publish", slot=0, results_max=0)
    assert rejection.reason is Reason.INVALID_PARAMETERS
    (rejection,) = asked(rig, "publish", slot=0, after=rig["price"])
    assert rejection.reason is Reason.INVALID_PARAMETERS


def test_nodes_without_references_have_no_record_for_them():
    rig = running(new("a"), new("b"))
    rig.complete("a")
    assert not [key for store in rig.stores for key in store[REFERENCES]]
    assert all(node.flow is None for node in rig.nodes().values())


def test_a_removal_takes_the_references_along():
    rig = begun(new("price", NON_BLOCKING), taker("charge", 0, 0))
    policy = RetentionPolicy(owner_id=USER, name="purchase", keep_seconds=1.0, archive=False, refuse_seconds=1.0)
    rig.tell(c.ChangeRetention, policy=policy)
    rig.complete("price")
    assert not [kind for _, kind in rig.timers() if kind == "retention"], "a taker is open"
    rig.complete("charge")
    rig.now += 2_000
    rig.fire(CAMERA_ID)
    assert not rig.nodes()
    assert not [key for store in rig.stores for key in store[REFERENCES]]


# --- nothing ever stands still ---------------------------------------------------------------------------------------


class Builder:
    """A tree that grows while it is worked on, with references wherever they are allowed."""

    def __init__(self, seed: int, slice_nodes_max: int) -> None:
        self.chance = random.Random(seed)
        self.rig = Rig(settings=Settings(slice_nodes_max=slice_nodes_max))
        self.count = 0
        self.takers = 0
        for _ in range(3):
            self.rig.signal(self.name())

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def work(self) -> None:
        """Do one thing of those that are with their client; a failure for good is resolved, retried or canceled."""
        nodes = list(self.rig.nodes().values())
        running_ = [node for node in nodes if self.rig.statuses(node.id)[0] == "sent_to_client"]
        stuck = [node for node in nodes if self.rig.statuses(node.id)[0] == "retries_exhausted"]
        node = self.chance.choice(running_ or stuck)
        if node not in running_:
            self.rig.say(self.chance.choice(["resolved", "shutdown", "canceled"]), node.name)
        elif self.chance.random() < 0.15:
            self.rig.say("errored", node.name, response=response("1"), retriable=False)
        elif self.count < 60:
            self.complete(node.name, self.chance.choice([0, 1, 2, 4]))
        else:
            self.rig.complete(node.name)

    def complete(self, name: str, count: int) -> None:
        """Complete a node with children; those whose references are refused are left out."""
        known = [node.id for node in self.rig.nodes().values()]
        for _ in range(count):
            chosen = [self.chance.choice(known) for _ in range(self.chance.choice([0, 1, 1, 3]))]
            takes = tuple(
                Take(producer, self.chance.random() < 0.3, self.chance.choice([None, b"1"])) for producer in chosen
            )
            mode = self.chance.choice([BLOCKING, NON_BLOCKING, NON_BLOCKING, FORGET])
            child = made(self.rig)
            answer = self.rig.add(name, new(self.name(), mode, takes=takes)).reply
            if getattr(answer, "ids", None):
                known.append(child)
                self.takers += bool(takes)
        self.rig.complete(name)


@given(seed=st.integers(0, 2**32), slice_nodes_max=st.sampled_from([1, 3, 250]))
def test_no_tree_with_references_stands_still_with_work_left(seed, slice_nodes_max):
    builder = Builder(seed, slice_nodes_max)
    while any(
        builder.rig.statuses(node.id)[0] not in ("complete", "deactivated") for node in builder.rig.nodes().values()
    ):
        at_work = ("sent_to_client", "retries_exhausted")
        open_nodes = [node for node in builder.rig.nodes().values() if builder.rig.statuses(node.id)[0] in at_work]
        assert open_nodes, "nothing is at work, and not all is closed"
        builder.work()
