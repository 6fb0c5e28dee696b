"""Heartbeat: a worker that is still at it keeps its deadline away, and learns that its attempt is over."""

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.history import NodeProgress
from backbeat.schemas.messages.queries import GetWaits
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.values import Progress
from backbeat.streams.core import queries
from backbeat.streams.core.effects import DeadLetter, Ignored, StatusChanged
from tests.streams.core.rig import CAMERA_ID, Rig, new, running
from tests.streams.core.world import OTHER, reply_to


def beat(rig: Rig, name: str = "a", attempt: int = 1, **given):
    return rig.ask(c.Heartbeat, node_id=rig[name], attempt=attempt, **given)


def test_a_heartbeat_renews_the_deadline():
    rig = running(new("a", client_data=b'{"timeout":5}'))
    old = rig.fired(rig["a"])
    rig.now += 4_000
    assert beat(rig).reply == Done()
    assert rig.row("a").complete_by == rig.now + 5_000
    assert rig.clock("a") == ("expiry", rig.now + 5_000)
    assert rig.do(old).of(Ignored)
    assert rig.due("a").dispatches == []
    assert rig.server("a") == ["retrying"]


def test_a_heartbeat_changes_no_status():
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


@pytest.mark.parametrize(("end_attempt", "found"), [
    (lambda rig: rig.complete("a"), "complete"),
    (lambda rig: rig.error("a"), "retrying"),
    (lambda rig: rig.say("canceled", "a"), "deactivated"),
])  # fmt: skip
def test_an_attempt_that_is_over_is_refused(end_attempt, found):
    rig = running(new("a"))
    end_attempt(rig)
    before = rig.snapshot()
    refused = beat(rig).reply
    assert (refused.reason, refused.found, refused.wanted) == (
        Reason.INVALID_SERVER_STATUS, found, "sent_to_client",
    )  # fmt: skip
    assert rig.snapshot() == before


def test_a_heartbeat_of_another_attempt_is_refused():
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


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress_is_kept_with_its_attempt_and_told_to_followers():
    rig = running(new("a", retries=1, retry_interval_seconds=1.0))
    happened = beat(rig, progress=Progress(0.4, "page 40"))
    assert happened.of(StatusChanged) == [
        StatusChanged(CAMERA_ID, (), (NodeProgress(rig["a"], rig.now, Progress(0.4, "page 40")),))
    ]
    beat(rig)
    assert rig.row("a").progress == Progress(0.4, "page 40")
    rig.error("a", attempt=1)
    rig.due("a")
    assert rig.row("a").progress is None


@pytest.mark.parametrize(
    "progress", [Progress(-0.1), Progress(1.1), Progress(float("nan")), Progress(0.5, "x" * 2_000)]
)
def test_progress_that_is_none_is_refused_and_nothing_is_renewed(progress):
    rig = running(new("a"))
    before = rig.snapshot()
    rig.now += 1_000
    assert beat(rig, progress=progress).reply.reason in (Reason.INVALID_PARAMETERS, Reason.LIMIT_EXCEEDED)
    assert rig.snapshot() == before


@pytest.mark.parametrize(
    ("progress", "sentence"),
    [
        (Progress(0.4, "page 40"), "is with its worker, 40% done, at “page 40”, until 1970-01-03 00:16:40 UTC"),
        (Progress(0.4), "is with its worker, 40% done, until 1970-01-03 00:16:40 UTC"),
        (Progress(None, "page 40"), "is with its worker, at “page 40”, until 1970-01-03 00:16:40 UTC"),
    ],
)
def test_progress_is_said_where_it_is_asked_why_the_node_does_not_go_on(progress, sentence):
    rig = running(new("a"))
    beat(rig, progress=progress)
    (answer,) = queries.answer(GetWaits(node_id=rig["a"], reply_to=reply_to(), deadline=0), rig.store_of(rig["a"]))
    assert answer.waits[0].sentence == sentence
