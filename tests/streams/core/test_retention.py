"""Finished workflows of a client and name are removed after a time; their signals' ids are refused for a while."""

import itertools

import msgspec
import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.queries import GetDue, GetHistory, GetNode, GetRetention, GetTree, WaitNode
from backbeat.schemas.messages.replies import Done, Reason, Rejection
from backbeat.schemas.messages.retention import RetentionPolicies, RetentionPolicy
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core import queries as q
from backbeat.streams.core.effects import DeadLetter, Ignored
from backbeat.streams.core.retention.policies import POLICIES_MAX
from backbeat.streams.core.tables import ARCHIVE_QUEUE, CHUNKS, COALESCE_INDEX, LINKS, NODES, TOMBSTONES, WORKFLOWS
from tests.streams.core.rig import CAMERA, CAMERA_ID, FORGET, NON_BLOCKING, Rig, id_of, new, workflow
from tests.streams.core.world import OTHER, USER, reply_to

DAY_MS = 86_400_000


def policy(**changes):
    given = {"owner_id": USER, "name": "purchase", "keep_seconds": 86_400.0, "archive": False}
    return RetentionPolicy(**{**given, **changes})


class Kept(Rig):
    """A policy of a day, without archives, unless another one is set."""

    def retain(self, *, forget=False, **changes):
        return self.ask(c.ChangeRetention, policy=policy(**changes), forget=forget)

    def planned(self, of=CAMERA_ID):
        row = self.workflows()[of]
        return row.finished_at, row.removal_at, row.due_at

    def over(self, *, of=CAMERA):
        """The workflow's time is over."""
        return self.fire(id_of(of))

    def due(self, **given):  # type: ignore[override]  # of workflows here, not of a node
        query = GetDue(reply_to=reply_to(), deadline=0, partition=0, **given)
        return [row for store in self.stores for part in q.answer(query, store) for row in part.workflows]

    def archived(self, row, **changes):
        given = {"workflow_id": row.workflow_id, "revision": row.revision, **changes}
        return self.ask(c.RemoveWorkflow, user_id=None, **given)

    @property
    def is_empty(self):
        return not any(
            store[kind]
            for store in self.stores
            for kind in (WORKFLOWS, NODES, LINKS, CHUNKS, COALESCE_INDEX, ARCHIVE_QUEUE)
        )


def finished(*, retain=True, **given):
    """A workflow of a signal with a child, both complete."""
    changes = {name: given.pop(name) for name in ("archive", "keep_seconds", "refuse_seconds") if name in given}
    rig = Kept(**given)
    if retain:
        rig.retain(**changes)
    rig.signal("buy", id=b"1" * 16)
    rig.complete("buy", new("pay"))
    rig.complete("pay")
    return rig


# --- when ------------------------------------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_planned():
    rig = finished(retain=False)
    assert rig.planned() == (None, None, None)
    assert rig.timers() == {}


def test_a_workflow_is_removed_a_while_after_it_has_finished():
    rig = Kept()
    rig.retain()
    rig.signal("buy")
    assert rig.planned() == (None, None, None)
    rig.complete("buy", new("pay"))
    assert rig.planned() == (None, None, None)
    rig.now += 5_000
    rig.complete("pay")
    assert rig.planned() == (rig.now, rig.now + DAY_MS, None)
    rig.over()
    assert rig.is_empty


@pytest.mark.parametrize("other", [
    {"owner_id": OTHER}, {"name": "sale"}, {"name": "purchase "},
])  # fmt: skip
def test_a_policy_is_for_one_client_and_name(other):
    rig = finished(retain=False)
    rig.retain(**other)
    assert rig.planned() == (None, None, None)


def test_new_work_begins_the_time_anew():
    rig = finished()
    rig.now += 1_000
    rig.signal("again")
    assert rig.planned() == (None, None, None)
    assert (CAMERA_ID, "retention") not in rig.timers()
    rig.complete("again")
    assert rig.planned() == (rig.now, rig.now + DAY_MS, None)


@pytest.mark.parametrize("happen", [
    lambda rig: rig.workflow("complete"),
    lambda rig: rig.ask(c.CreateWorkflow, workflow=CAMERA),
    lambda rig: rig.say("deactivated", "pay"),
    lambda rig: rig.ask(c.SendMessage, workflow_id=CAMERA_ID, name="approval"),
])  # fmt: skip
def test_whatever_happens_to_a_finished_workflow_begins_its_time_anew(happen):
    rig = finished()
    rig.now += 1_000
    happen(rig)
    assert rig.planned() == (rig.now, rig.now + DAY_MS, None)


@pytest.mark.parametrize("ask", [
    lambda rig: rig.signal("buy", id=b"1" * 16), lambda rig: rig.schedule("pay"), lambda rig: rig.restart("pay"),
])  # fmt: skip
def test_what_changes_nothing_leaves_its_time(ask):
    rig = finished()
    before = rig.planned()
    rig.now += 1_000
    ask(rig)
    assert rig.planned() == before


def test_what_nobody_waits_for_is_waited_for():
    rig = Kept()
    rig.retain()
    rig.signal("buy")
    rig.complete("buy", new("mail", FORGET))
    assert rig.server("buy", "mail") == ["complete", "sent_to_client"]
    assert rig.planned() == (None, None, None)
    rig.complete("mail")
    assert rig.planned()[0] == rig.now


def test_what_runs_below_a_deactivated_node_is_waited_for():
    rig = Kept()
    rig.retain()
    rig.signal("buy")
    rig.complete("buy", new("a", NON_BLOCKING), new("b", NON_BLOCKING))
    rig.say("deactivated", "b")
    assert rig.server("buy", "a", "b") == ["deactivated", "deactivated", "sent_to_client"]
    assert rig.planned() == (None, None, None)
    rig.complete("b")
    assert rig.planned()[0] == rig.now


def test_slices_that_are_under_way_are_waited_for():
    rig = Kept(settings=Settings(slice_nodes_max=1))
    rig.retain()
    rig.signal("buy")
    rig.complete("buy", *(new(f"n{n}", NON_BLOCKING) for n in range(4)))
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["buy"], status="canceled"))
    assert rig.planned() == (None, None, None)
    rig.drain()
    assert rig.planned()[0] == rig.now


def test_a_workflow_that_was_made_and_never_signalled_is_removed():
    rig = Kept()
    rig.retain()
    rig.ask(c.CreateWorkflow, workflow=CAMERA)
    assert rig.planned()[0] == rig.now
    rig.over()
    assert rig.is_empty


def test_a_timer_of_another_time_is_none():
    rig = finished()
    stale = rig.fired(CAMERA_ID)
    rig.now += 1_000
    rig.workflow("complete")
    assert rig.do(stale).of(Ignored)
    rig.over()
    assert rig.do(stale).of(Ignored)


def test_a_clock_that_steps_back_removes_nothing_in_the_moment_in_which_it_was_made():
    rig = finished()
    rig.fire(CAMERA_ID, now=rig.now)
    assert rig.planned() == (rig.now, rig.now + DAY_MS, None)


# --- policies --------------------------------------------------------------------------------------------------------


def test_a_policy_that_comes_later_goes_through_all_workflows():
    rig = Kept(settings=Settings(slice_nodes_max=2))
    subjects = [b"%d" % n for n in range(7)]
    for subject in subjects:
        rig.signal(f"s{subject.decode()}", of=workflow(subject))
    for subject in subjects[:5]:
        rig.complete(f"s{subject.decode()}")
    rig.signal("other", of=workflow(b"1", "sale"))
    rig.now += 9_000
    happened = rig.retain()
    assert happened.commands == 1 + 8 // 2
    planned = [rig.planned(id_of(workflow(subject))) for subject in subjects]
    assert planned == [(rig.now, rig.now + DAY_MS, None)] * 5 + [(None, None, None)] * 2


def test_another_policy_counts_from_when_it_has_finished():
    rig = finished()
    since = rig.now
    rig.now += 5_000
    rig.retain(keep_seconds=10.0)
    assert rig.planned() == (since, since + 10_000, None)
    rig.now += 2_000
    rig.retain(keep_seconds=1.0)
    assert rig.planned() == (since, rig.now, None)
    rig.retain(keep_seconds=60.0)
    assert rig.planned() == (since, since + 60_000, None)


def test_without_its_policy_a_workflow_is_kept():
    rig = finished()
    rig.retain(forget=True)
    assert rig.planned() == (None, None, None)
    assert rig.timers() == {}


def test_a_policy_that_goes_between_a_timer_and_its_slice_keeps_the_workflow():
    rig = Kept(settings=Settings(slice_nodes_max=1))
    rig.retain()
    for name in "abc":
        rig.signal(name, of=workflow(b'"%s"' % name.encode()))
        rig.complete(name)
    rig.send(c.ChangeRetention(id=rig.new_id(), policy=policy(), forget=True))
    last = max(rig.workflows())
    rig.now += 2 * DAY_MS
    rig.send(rig.fired(last))
    assert rig.planned(last) == (None, None, None)
    rig.drain()
    rig.check()
    assert len(rig.nodes()) == 3


@pytest.mark.parametrize(("changes", "reason"), [
    ({"keep_seconds": 0.5}, Reason.INVALID_PARAMETERS),
    ({"keep_seconds": float("nan")}, Reason.INVALID_PARAMETERS),
    ({"keep_seconds": float("inf")}, Reason.INVALID_PARAMETERS),
    ({"refuse_seconds": 0.0}, Reason.INVALID_PARAMETERS),
    ({"name": ""}, Reason.INVALID_PARAMETERS),
    ({"name": "n" * 1_025}, Reason.INVALID_PARAMETERS),
])  # fmt: skip
def test_a_policy_that_cannot_be_is_refused(changes, reason):
    rig = Kept()
    before = rig.snapshot()
    assert rig.retain(**changes).reply.reason is reason
    assert rig.snapshot() == before


def test_there_are_so_many_policies_and_no_more():
    rig = Kept()
    for n in range(POLICIES_MAX):
        assert rig.retain(name=f"n{n}").reply == Done()
    assert rig.retain().reply.reason is Reason.LIMIT_EXCEEDED
    assert rig.retain(name="n7", keep_seconds=5.0).reply == Done()
    assert rig.retain(name="n8", forget=True).reply == Done()
    assert rig.retain().reply == Done()


def test_policies_go_to_every_partition_and_can_be_asked_for():
    rig = Kept(4)
    assert rig.retain().replies == [Done()] * 4
    for store in rig.stores:
        query = GetRetention(reply_to=reply_to(), deadline=0, partition=0)
        assert list(q.answer(query, store)) == [RetentionPolicies((policy(),))]
        own, others = (msgspec.structs.replace(query, user_id=user_id) for user_id in (USER, OTHER))
        assert list(q.answer(own, store)) == [RetentionPolicies((policy(),))]
        assert list(q.answer(others, store)) == [RetentionPolicies(())]


# --- with an archive -------------------------------------------------------------------------------------------------


def test_a_workflow_waits_until_it_is_archived():
    rig = finished(archive=True)
    assert rig.due() == []
    rig.over()
    (row,) = rig.due()
    assert (row.workflow_id, row.owner_id, row.name, row.due_at) == (CAMERA_ID, USER, "purchase", rig.now)
    assert rig.server("buy", "pay") == ["complete", "complete"]
    assert rig.archived(row).reply == Done()
    assert rig.is_empty
    assert rig.archived(row).reply == Done(changed=False)


def test_what_has_moved_on_since_it_was_read_is_not_removed():
    rig = finished(archive=True)
    rig.over()
    (row,) = rig.due()
    rig.signal("again")
    assert rig.due() == []
    assert rig.archived(row).reply == Done(changed=False)
    rig.complete("again")
    rig.over()
    (later,) = rig.due()
    assert rig.archived(row).reply == Done(changed=False)
    assert rig.archived(later).reply == Done(changed=True)


def test_those_that_wait_come_oldest_first_a_page_at_a_time():
    rig = Kept()
    rig.retain(archive=True)
    for n in (3, 1, 2):
        rig.signal(f"s{n}", of=workflow(b"%d" % n))
        rig.complete(f"s{n}")
        rig.now += 1_000
    for n in (3, 1, 2):
        rig.over(of=workflow(b"%d" % n))
    rows = rig.due()
    assert [row.workflow_id for row in rows] == [id_of(workflow(b"%d" % n)) for n in (3, 1, 2)]
    read = []
    while page := rig.due(limit=1, **({} if not read else _behind(read[-1]))):
        read += page
    assert read == rows


def _behind(row):
    return {"after_due_at": row.due_at, "after_id": row.workflow_id}


def test_one_that_waits_follows_its_policy():
    rig = finished(archive=True)
    rig.over()
    rig.retain(archive=True)
    (row,) = rig.due()
    rig.retain(archive=False)
    assert rig.due() == []
    assert rig.archived(row).reply == Done(changed=False)
    rig.over()
    assert rig.is_empty
    rig = finished(archive=True)
    rig.over()
    rig.retain(forget=True)
    assert (rig.due(), rig.planned()) == ([], (None, None, None))


# --- how -------------------------------------------------------------------------------------------------------------


def forest(**given):
    """A workflow of two signals with some levels, a long history and links; finished."""
    rig = Kept(**given)
    rig.retain()
    rig.signal("elsewhere", of=workflow(b'"another"', "sale"))
    rig.signal("one", parent_link_id=rig["elsewhere"])
    rig.complete("one", new("a", NON_BLOCKING), new("b", NON_BLOCKING, retries=50, retry_interval_seconds=0.0))
    rig.complete("a", new("a1"), new("a2"))
    rig.complete("a1", new("deep"))
    rig.complete("deep")
    rig.complete("a2")
    for _ in range(20):
        rig.error("b", response=b'{"error":"%s"}' % (b"x" * 300))
        rig.fire(rig["b"])
    rig.complete("b")
    rig.signal("two")
    rig.complete("two")
    assert rig.row("b").history_chunks > 1
    return rig


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3, 250])
def test_a_removal_leaves_nothing_but_what_is_refused(slice_nodes_max):
    rig = forest(settings=Settings(slice_nodes_max=slice_nodes_max))
    signals = [rig["one"], rig["two"]]
    happened = rig.over()
    assert happened.commands > 12 / slice_nodes_max
    assert [node.name for node in rig.nodes().values()] == ["elsewhere"]
    assert not any(store[CHUNKS] for store in rig.stores)
    assert sorted(identity for store in rig.stores for identity in store[TOMBSTONES]) == sorted(signals)
    assert {kind for _, kind in rig.timers()} == {"refusal", "expiry"}
    for node_id in signals:
        rig.fire(node_id)
    assert not any(store[TOMBSTONES] for store in rig.stores)


def test_no_slice_works_on_more_than_the_setting_says():
    rig = Kept(settings=Settings(slice_nodes_max=10))
    rig.retain()
    rig.signal("buy")
    rig.complete("buy", *(new(f"n{n}", NON_BLOCKING) for n in range(100)))
    for n in range(100):
        rig.complete(f"n{n}")
    happened = rig.send(rig.fired(CAMERA_ID), rig.now + DAY_MS)
    counts = [len(rig.stores[0][NODES])]
    while rig.deliver(happened):
        counts.append(len(rig.stores[0][NODES]))
    assert counts[-1] == 0
    assert all(before - after <= 10 for before, after in itertools.pairwise(counts))


@pytest.mark.parametrize("delivered", range(12))
def test_between_the_slices_nothing_of_it_is_found_and_the_subject_begins_again(delivered):
    rig = forest(settings=Settings(slice_nodes_max=1))
    old = {node.name: node.id for node in rig.nodes().values()}
    happened = rig.send(rig.fired(CAMERA_ID), rig.now + DAY_MS)
    for _ in range(delivered):
        rig.deliver(happened)
    for name in ("one", "a", "deep", "b", "two"):
        for kind in (GetNode, GetHistory, WaitNode):
            query = kind(reply_to=reply_to(), deadline=0, node_id=old[name])
            assert [type(part) for part in q.answer(query, rig.store_of(old[name]))] == [Rejection]
        refused = rig.send(c.RestartNode(id=rig.new_id(), node_id=old[name], reply_to=reply_to()))
        assert [answer.reason for answer in refused.replies] == [Reason.NOT_FOUND]
    tree = GetTree(reply_to=reply_to(), deadline=0, workflow_id=CAMERA_ID)
    assert isinstance(next(q.answer(tree, rig.store_of(CAMERA_ID))), Rejection)
    again = c.Signal(
        id=rig.new_id(), workflow_id=CAMERA_ID, workflow=CAMERA, node=new("again", type="decision"), reply_to=reply_to()
    )
    began = rig.send(again)
    assert isinstance(began.reply, NodeView)
    assert began.dispatched == ["again"]
    page = msgspec.structs.replace(tree, after=old["two"])
    assert isinstance(next(q.answer(page, rig.store_of(CAMERA_ID))), Rejection)
    rig.drain(happened)
    rig.check()
    assert sorted(node.name for node in rig.nodes().values()) == ["again", "elsewhere"]
    assert rig.row("again").seq == 1
    rig.complete("again")
    rig.over()
    assert [node.name for node in rig.nodes().values()] == ["elsewhere"]


def test_the_next_one_is_not_removed_by_what_is_late_of_the_first():
    rig = finished(archive=True)
    timer = rig.fired(CAMERA_ID)
    rig.over()
    (row,) = rig.due()
    rig.archived(row)
    rig.signal("again")
    rig.complete("again")
    rig.now += 2 * DAY_MS
    assert rig.do(timer).of(Ignored)
    rig.over()
    assert rig.archived(row).reply == Done(changed=False)
    assert rig.server("again") == ["complete"]


# --- afterwards ------------------------------------------------------------------------------------------------------


def removed(**given):
    rig = finished(**given)
    rig.over()
    assert rig.is_empty
    return rig


def test_a_late_repeat_of_a_signal_makes_nothing():
    rig = removed()
    before = rig.snapshot()
    refused = rig.signal("buy", id=b"1" * 16).reply
    assert (refused.reason, refused.found) == (Reason.NOT_FOUND, "a workflow that was removed")
    unheard = rig.signal("buy", id=b"1" * 16, reply_to=None)
    assert unheard.of(Ignored)
    assert not unheard.of(DeadLetter)
    assert rig.snapshot() == before


def test_a_late_repeat_with_a_link_holds_nothing():
    rig = Kept(4)
    rig.retain()
    rig.signal("target", of=workflow(b'"another"', "sale"))
    given = {"id": b"1" * 16, "parent_link_id": rig["target"]}
    rig.signal("buy", **given)
    rig.complete("buy")
    rig.over()
    for more in ({}, {"reply_to": None}):
        rig.signal("buy", **given, **more)
        assert rig.row("target").links_open == 0


def test_its_id_is_forgotten_in_the_end():
    rig = removed(refuse_seconds=60.0)
    (node_id,) = rig.stores[0][TOMBSTONES]
    timer = rig.fired(node_id)
    assert rig.timers()[node_id, "refusal"] == (rig.now + 60_000, 0)
    rig.fire(node_id)
    assert rig.stores[0].meta.removed == 0
    assert rig.do(timer).of(Ignored)
    assert rig.signal("buy", id=b"1" * 16).dispatched == ["buy"]


def test_a_caller_s_key_is_answered_as_long_as_it_is_kept():
    rig = Kept()
    rig.retain(keep_seconds=5.0)
    first = rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply
    rig.complete("buy")
    rig.over()
    assert rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply == first
    rig.fire(b"1" * 16)
    assert rig.signal("buy", id=b"1" * 16, body_hash=b"x").reply.reason is Reason.NOT_FOUND


def test_a_link_to_a_removed_node_is_one_to_a_closed_node():
    rig = finished(partitions=4)
    target = rig["buy"]
    rig.over()
    other = workflow(b'"another"', "sale")
    assert rig.signal("late", of=other, parent_link_id=target).dispatched == ["late"]
    rig.complete("late", new("child", parent_link_id=target))
    assert rig.complete("child").replies == [Done()]
    assert rig.server("late") == ["complete"]
    strict = c.OpenLink(id=rig.new_id(), target_id=target, child_id=rig["late"], strict=True)
    assert [effect.rejection.found for effect in rig.do(strict).of(DeadLetter)] == ["a node that is closed"]


def test_what_is_late_of_a_removed_node_is_ignored():
    rig = finished()
    pay = rig["pay"]
    rig.over()
    given = {"node_id": pay, "attempt": 1}
    for late in (
        c.ChangeNode(id=rig.new_id(), status="completed", **given),
        c.AddChildren(id=rig.new_id(), children=(new("x"),), **given),
        c.Heartbeat(id=rig.new_id(), **given),
        c.DeliveryFailed(id=rig.new_id(), response=b"{}", **given),
        c.CloseLink(id=rig.new_id(), target_id=pay, child_id=pay),
        c.OpenLink(id=rig.new_id(), target_id=pay, child_id=pay),
        c.FailNode(id=rig.new_id(), node_id=pay, message="m"),
    ):
        happened = rig.do(late)
        assert [type(effect) for effect in happened.effects] == [Ignored], late
    asked = rig.ask(c.ChangeNode, status="completed", **given)
    assert asked.reply.reason is Reason.NOT_FOUND
    assert rig.is_empty


def test_a_result_of_an_unknown_node_is_an_operators_affair_where_nothing_is_removed():
    rig = Rig()
    late = c.ChangeNode(id=rig.new_id(), node_id=b"x" * 16, status="completed", attempt=1)
    assert [effect.rejection.reason for effect in rig.do(late).of(DeadLetter)] == [Reason.NOT_FOUND]


def test_a_wait_for_what_is_removed_is_refused():
    rig = finished()
    buy = rig["buy"]
    rig.over()
    assert not q.is_final(rig.stores[0], buy)


def test_a_late_result_of_a_node_that_a_cancel_has_not_reached_yet():
    rig = Kept(settings=Settings(slice_nodes_max=1))
    rig.retain()
    rig.signal("buy")
    rig.complete("buy", new("pay"), *(new(f"n{n}", FORGET) for n in range(4)))
    rig.complete("pay")
    rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["buy"]))
    assert rig.row("n3").server.name == "SENT_TO_CLIENT"
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["n3"], status="completed", attempt=1))
    rig.drain()
    rig.check()
    assert rig.planned()[0] == rig.now
