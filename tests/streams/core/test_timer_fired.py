"""TimerFired, DeliveryFailed, FailNode: what the engine's own parts say."""

import json

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import FiredEarly, Ignored, Notify
from backbeat.streams.state.timers import Timers
from tests.streams.core.rig import Rig, new, running
from tests.streams.core.world import TIMER_NUMBERS


def test_a_started_node_starts_at_its_time():
    rig = running(new("a", fires_at=1_005_000))
    assert rig.clock("a") == ("start", 1_005_000)
    happened = rig.due("a")
    assert (happened.dispatched, rig.now) == (["a"], 1_005_000)
    assert rig.clock("a") == ("expiry", 1_005_000 + 172_800_000)


@pytest.mark.parametrize("late", [0, 86_400_000])
def test_at_its_time_or_late_it_starts(late):
    rig = running(new("a", fires_at=1_005_000))
    assert rig.due("a", 1_005_000 + late).dispatched == ["a"]


def test_a_timer_that_fires_early_stands_until_its_time():
    rig = running(new("a", fires_at=1_005_000))
    before = rig.snapshot()
    for early in (4_999, 1):
        (fired,) = rig.due("a", 1_005_000 - early).effects
        assert fired == FiredEarly(1_005_000)
        assert rig.snapshot() == before
    assert rig.due("a").dispatched == ["a"]


def test_a_timer_that_fired_early_is_sent_again():
    """The list of timers takes what was sent for done, until it is set again."""
    timers = Timers(lambda *_: ())
    rig = running(new("a", fires_at=1_005_000))
    subject, number = rig["a"], rig.row("a").timer_number
    (store,) = [candidate for candidate in rig.stores if candidate.timers]
    store.set_timer, store.clear_timer = timers.set, timers.clear
    timers.set(1_005_000, subject, TimerKind.START, number)
    assert [fired.number for fired in timers.due(1_005_000)] == [number]
    assert list(timers.due(1_005_000)) == []
    rig.send(rig.timer_fired(subject, TimerKind.START, number), 1_004_000)
    assert [fired.number for fired in timers.due(1_005_000)] == [number]


@pytest.mark.parametrize("kind", ["retry", "expiry"])
def test_neither_a_retry_nor_an_expiry_comes_early(kind):
    rig = running(new("a", retries=1, retry_interval_seconds=5.0, client_data=b'{"timeout":5}'))
    if kind == "retry":
        rig.error("a")
    name, due = rig.clock("a")
    assert name == kind
    assert rig.due("a", due - 1).effects == [FiredEarly(due)]
    assert rig.due("a", due).effects
    assert rig.both("a") != ("sent_to_client", "received") or kind == "retry"


def test_broker_time_never_steps_back_for_the_core():
    rig = running(new("a"), new("b"))
    rig.complete("a", now=2_000_000)
    rig.complete("b", now=1_500_000)
    assert [entry[3] for entry in rig.history(rig["b"])][-1] == 2_000_000


def test_timers_that_do_not_stand_change_nothing():
    rig = running(new("a"))
    rig.error("a")
    kind, number = TIMER_NUMBERS["retry"], rig.row("a").timer_number
    stale = [
        (kind, number - 1),
        (kind, number + 1),
        (TIMER_NUMBERS["start"], number),
        (TIMER_NUMBERS["expiry"], number),
    ]
    before = rig.snapshot()
    for wrong_kind, wrong in stale:
        assert rig.do(rig.timer_fired(rig["a"], wrong_kind, wrong)).of(Ignored)
    assert rig.do(rig.timer_fired(b"x" * 16, kind, number)).of(Ignored)
    assert rig.snapshot() == before
    right = rig.timer_fired(rig["a"], kind, number)
    assert rig.do(right, rig.row("a").fires_at).dispatched == ["a"]
    before = rig.snapshot()
    assert rig.do(right).of(Ignored)
    assert rig.snapshot() == before


def test_an_expired_node_gets_a_client_error():
    rig = running(new("a", retries=1, client_data=b'{"timeout":5}'))
    assert rig.due("a").of(Notify) == []
    assert rig.both("a") == ("retrying", "errored")
    rig.due("a")
    (notification,) = rig.due("a").of(Notify)
    text = "Client did not respond within the specified 'complete_by' time"
    assert (notification.message, json.loads(notification.error)) == ("Client Error", {"message": text})
    errors = [entry for entry in rig.history(rig["a"]) if entry[2] == "errored"]
    assert [json.loads(entry[4]) for entry in errors] == [{"error": text}] * 2


def test_a_node_that_was_answered_does_not_expire():
    rig = running(new("a"), new("b"))
    command = rig.fired(rig["a"])
    rig.say("processing", "a")
    assert rig.do(command).of(Ignored)
    rig.complete("a")
    assert rig.do(command).of(Ignored)
    assert rig.both("a") == ("complete", "complete")


# --- DeliveryFailed --------------------------------------------------------------------------------------------------

FAILED = b'{"error":{"message":"HTTP request for activity failed"}}'


def undelivered(rig, name, attempt=1):
    return rig.tell(c.DeliveryFailed, node_id=rig[name], attempt=attempt, response=FAILED)


def test_a_failed_delivery_is_a_client_error():
    rig = running(new("a", retries=1))
    undelivered(rig, "a")
    assert rig.both("a") == ("retrying", "errored")
    assert rig.history(rig["a"])[-2][4] == FAILED
    rig.due("a")
    (notification,) = undelivered(rig, "a", 2).of(Notify)
    assert json.loads(notification.error) == {"message": "HTTP request for activity failed"}


def test_a_request_that_breaks_while_its_client_works_is_a_client_error():
    """A client that works inside the request is gone with it; one that answers nothing more would hold its node."""
    rig = running(new("a", retries=1))
    rig.say("processing", "a")
    undelivered(rig, "a")
    assert rig.both("a") == ("retrying", "errored")


def test_unless_the_client_has_answered_meanwhile():
    rig = running(new("a"), new("b", fires_at=9_000_000))
    assert undelivered(rig, "a", 0).of(Ignored)
    rig.complete("a", new("x"))
    assert undelivered(rig, "a").of(Ignored)
    assert undelivered(rig, "b", 0).of(Ignored)
    rig.say("canceled", "a")
    assert undelivered(rig, "a").of(Ignored)
    assert rig.tell(c.DeliveryFailed, node_id=b"x" * 16, attempt=1, response=FAILED).of(Ignored)


# --- FailNode --------------------------------------------------------------------------------------------------------


def test_a_server_error_is_kept_and_told():
    rig = running(new("a"))
    (notification,) = rig.fail("a", 'the "engine" broke').of(Notify)
    assert (notification.name, notification.message) == ("a", "Server Error")
    assert json.loads(notification.error) == {"message": 'the "engine" broke'}
    which, before, to, _, response = rig.history(rig["a"])[-1]
    assert (which, before, to) == ("server", "sent_to_client", "errored")
    assert json.loads(response) == {"error": {"message": 'the "engine" broke'}}
    assert rig.clock("a") is None
    assert rig.fail("a").of(Notify)
    assert rig.last("a") == ["server errored errored"]


@pytest.mark.parametrize(
    "state", ["pending", "ready", "started", "paused", "processing_children", "retrying", "exhausted"]
)
def test_it_can_hit_in_any_state_but_the_final_ones(state):
    rig = Rig()
    rig.signal("signal")
    rig.add("signal", *([new("first")] if state == "ready" else []),
            new("a", retries=int(state == "retrying"), fires_at=9_000_000 if state == "started" else None))  # fmt: skip
    if state == "paused":
        rig.workflow("pause")
    if state != "pending":
        rig.complete("signal")
    if state in ("retrying", "exhausted"):
        rig.error("a")
    if state == "processing_children":
        rig.complete("a", new("x"))
    assert rig.fail("a").of(Notify)
    assert rig.server("a") == ["errored"]
    assert rig.clock("a") is None


def test_a_node_that_is_over_is_left_alone():
    rig = running(new("a"), new("b"))
    rig.complete("a")
    rig.say("canceled", "b")
    for name in "ab":
        assert rig.fail(name).of(Ignored)
    assert rig.tell(c.FailNode, node_id=b"x" * 16, message="m").of(Ignored)
