"""Signals with a coalesce_key: one of those that still wait takes the place of another, or stands for it."""

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import Coalesce
from backbeat.streams.core.effects import Ignored
from backbeat.streams.core.tables import COALESCE_INDEX, STORED_REPLIES
from tests.streams.core.rig import CAMERA, CAMERA_ID, Rig, id_of, new, workflow
from tests.streams.core.world import TimerKind

DROP, REPLACE = Coalesce.DROP, Coalesce.REPLACE


class Keyed(Rig):
    """Signals that have the key `index` where no other is named."""

    def coalesced(self, name, how=REPLACE, key="index", *, of=CAMERA, **given):
        carried = {field: given.pop(field) for field in ("id", "now", "body_hash", "user_id") if field in given}
        return self.ask(
            c.Signal,
            workflow_id=id_of(of),
            workflow=of,
            node=new(name, type="decision", **given),
            coalesce_key=key,
            coalesce=how,
            **carried,
        )

    @property
    def waiting(self):
        return {key: row.node_id for store in self.stores for (_, key), row in store[COALESCE_INDEX].items()}


def held(**given):
    """What comes waits for the signal `first`, which is with its client."""
    rig = Keyed(**given)
    rig.signal("first")
    return rig


def test_a_signal_takes_the_place_of_one_that_waits_for_its_turn():
    rig = held()
    rig.coalesced("one")
    rig.signal("other")
    happened = rig.coalesced("two")
    assert happened.reply.id == rig["two"]
    assert rig.server("first", "one", "other", "two") == ["sent_to_client", "deactivated", "ready", "ready"]
    assert rig.last("one") == ["server ready deactivated"]
    assert rig.waiting == {"index": rig["two"]}
    assert rig.complete("first").dispatched == ["other"]
    assert rig.complete("other").dispatched == ["two"]


def test_a_time_ahead_debounces():
    rig = Keyed()
    for n in range(3):
        rig.now += 2_000
        happened = rig.coalesced(f"n{n}", fires_at=rig.now + 5_000)
        assert happened.dispatched == []
    assert rig.server("n0", "n1", "n2") == ["deactivated", "deactivated", "started"]
    assert rig.clock("n0") is None
    assert rig.clock("n2") == ("start", rig.now + 5_000)
    assert rig.due("n2").dispatched == ["n2"]
    assert rig.waiting == {}


def test_a_signal_that_is_with_its_client_waits_no_more():
    rig = Keyed()
    assert rig.coalesced("one").dispatched == ["one"]
    assert rig.waiting == {}
    rig.coalesced("two", DROP)
    rig.coalesced("three", DROP)
    assert rig.server("one", "two") == ["sent_to_client", "ready"]
    assert len(rig.nodes()) == 2


def test_a_dropped_signal_is_answered_with_the_one_that_waits():
    rig = held()
    first = rig.coalesced("one", DROP, fires_at=2_000_000).reply
    happened = rig.coalesced("two", DROP, fires_at=1_500_000)
    assert happened.reply == first
    assert happened.of(Ignored)
    assert rig.row("one").fires_at == 2_000_000
    assert len(rig.nodes()) == 2


@pytest.mark.parametrize("how", [REPLACE, DROP])
@pytest.mark.parametrize("body_hash", [None, b"x"])
def test_a_repeat_changes_nothing_whatever_has_become_of_it(how, body_hash):
    rig = held()
    rig.coalesced("one", how)
    first = rig.coalesced("two", how, id=b"2" * 16, body_hash=body_hash).reply
    rig.coalesced("three", how)
    rig.complete("first")
    before = rig.snapshot()
    again = rig.coalesced("two", how, id=b"2" * 16, body_hash=body_hash).reply
    assert again.id == first.id
    assert rig.snapshot() == before


def test_that_a_signal_was_dropped_is_forgotten_in_the_end():
    rig = held()
    rig.coalesced("one", DROP)
    rig.coalesced("two", DROP, id=b"2" * 16)
    assert rig.timers()[b"2" * 16, "answer"][0] == rig.now + 86_400_000
    rig.fire(b"2" * 16)
    assert not rig.stores[0][STORED_REPLIES]


def test_another_key_or_workflow_or_none_is_another_matter():
    rig = held()
    other = workflow(b'"Camera 704"')
    rig.coalesced("one")
    rig.coalesced("two", key="mail")
    rig.signal("three")
    rig.signal("elsewhere", of=other)
    rig.coalesced("four", of=other)
    assert rig.server("one", "two", "three", "four") == ["ready"] * 4


def test_a_paused_workflow_coalesces_what_it_holds():
    rig = Keyed()
    rig.ask(c.CreateWorkflow, workflow=CAMERA)
    rig.workflow("pause")
    rig.coalesced("one")
    assert rig.server("one") == ["paused"]
    rig.coalesced("two")
    assert rig.server("one", "two") == ["deactivated", "paused"]
    assert rig.workflow("resume").dispatched == ["two"]


def test_what_waited_below_or_over_a_link_is_told():
    rig = held(partitions=4)
    target = workflow(b'"another subject"')
    rig.signal("target", of=target)
    rig.coalesced("one", parent_link_id=rig["target"])
    rig.add("one", new("below"))
    assert rig.row("target").links_open == 1
    rig.coalesced("two")
    assert rig.server("one", "below") == ["deactivated", "deactivated"]
    assert rig.row("target").links_open == 0


def test_a_dropped_signal_holds_nothing_over_its_link():
    rig = held(partitions=4)
    rig.signal("target", of=workflow(b'"another subject"'))
    rig.coalesced("one", DROP)
    rig.coalesced("two", DROP, parent_link_id=rig["target"])
    assert rig.row("target").links_open == 0


@pytest.mark.parametrize("word", ["canceled", "fail"])
def test_one_that_is_over_or_failed_before_it_was_sent_waits_no_more(word):
    rig = held()
    rig.coalesced("one")
    rig.fail("one") if word == "fail" else rig.say("canceled", "one")
    rig.coalesced("two", DROP)
    assert rig.server("two") == ["ready"]
    if word == "fail":
        rig.restart("one")
        assert rig.waiting == {"index": rig["two"]}
        rig.say("canceled", "one")
        assert rig.waiting == {"index": rig["two"]}


def test_one_below_the_mark_of_deactivate_previous_waits_no_more():
    rig = held(settings=Settings(slice_nodes_max=1))
    for name in "abc":
        rig.signal(name)
    rig.coalesced("one")
    rig.signal("last")
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["last"], status="deactivated"))
    dropped = c.Signal(id=rig.new_id(), workflow_id=CAMERA_ID, node=new("two"), coalesce_key="index", coalesce=DROP)
    rig.drain(rig.send(dropped))
    rig.check()
    assert rig.server("one", "two") == ["deactivated", "ready"]


@pytest.mark.parametrize(("key", "reason"), [
    ("", Reason.INVALID_PARAMETERS), ("k" * 1_025, Reason.LIMIT_EXCEEDED),
])  # fmt: skip
def test_a_key_is_a_text_of_some_length(key, reason):
    rig = held()
    before = rig.snapshot()
    assert rig.coalesced("one", key=key).reply.reason is reason
    assert rig.snapshot() == before


def test_a_complete_workflow_takes_none():
    rig = held()
    rig.coalesced("one")
    rig.workflow("complete")
    assert rig.coalesced("two", DROP).reply.reason is Reason.WORKFLOW_COMPLETE


def test_the_key_is_not_kept_longer_than_the_signal_waits():
    rig = Keyed()
    for n in range(20):
        rig.coalesced(f"n{n}", key=f"k{n}", fires_at=rig.now + 1_000)
    assert len(rig.waiting) == 20
    for n in range(20):
        rig.say("canceled", f"n{n}")
    assert rig.waiting == {}
    assert all(kind != TimerKind.START for _, _, kind in rig.stores[0].timers)
