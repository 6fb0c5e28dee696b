"""Heartbeat: a worker that is still at it keeps its deadline away, and learns that its attempt is over."""

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.streams.core.effects import DeadLetter, Ignored
from tests.streams.core.rig import Rig, new, running
from tests.streams.core.world import OTHER


def beat(rig: Rig, name: str = "a", attempt: int = 1, **given):
    return rig.ask(c.Heartbeat, node_id=rig[name], attempt=attempt, **given)


def test_it_renews_the_deadline():
    rig = running(new("a", client_data=b'{"timeout":5}'))
    old = rig.fired(rig["a"])
    rig.now += 4_000
    assert beat(rig).reply == Done()
    assert rig.row("a").complete_by == rig.now + 5_000
    assert rig.clock("a") == ("expiry", rig.now + 5_000)
    assert rig.do(old).of(Ignored)
    assert rig.due("a").dispatches == []
    assert rig.server("a") == ["retrying"]


def test_it_says_nothing_of_the_status():
    rig = running(new("a"))
    before = rig.said("a")
    beat(rig)
    assert rig.said("a") == before


def test_one_that_said_processing_has_no_deadline_to_miss():
    rig = running(new("a"))
    rig.say("processing", "a")
    rig.now += 1_000
    assert beat(rig).reply == Done()
    assert rig.clock("a") is None
    assert rig.row("a").complete_by > rig.now


def test_a_node_without_a_deadline_gets_none():
    rig = running(new("a", client_data=b'{"timeout":null}'))
    assert beat(rig).reply == Done()
    assert (rig.row("a").complete_by, rig.clock("a")) == (None, None)


@pytest.mark.parametrize(("what", "found"), [
    (lambda rig: rig.complete("a"), "complete"),
    (lambda rig: rig.error("a"), "retrying"),
    (lambda rig: rig.say("canceled", "a"), "deactivated"),
])  # fmt: skip
def test_an_attempt_that_is_over_is_refused(what, found):
    rig = running(new("a"))
    what(rig)
    before = rig.snapshot()
    refused = beat(rig).reply
    assert (refused.reason, refused.found, refused.wanted) == (
        Reason.INVALID_SERVER_STATUS, found, "sent_to_client",
    )  # fmt: skip
    assert rig.snapshot() == before


def test_so_is_another_attempt():
    rig = running(new("a"))
    rig.error("a")
    rig.due("a")
    assert beat(rig).reply.found == "attempt 2"
    assert beat(rig, attempt=2).reply == Done()


def test_one_that_crosses_its_own_answer_is_no_dead_letter():
    rig = running(new("a"))
    rig.complete("a")
    happened = beat(rig, reply_to=None)
    assert happened.of(Ignored)
    assert happened.replies == []
    assert not happened.of(DeadLetter)


def test_anothers_node_is_not_found():
    rig = running(new("a"))
    assert beat(rig, user_id=OTHER).reply.reason is Reason.NOT_FOUND
