"""The reports over rows made by hand, on both databases."""

from __future__ import annotations

import uuid

import pytest

from backbeat.gateway.api.shapes.reports import SCHEDULED, ActivityFigures, DailyFigures, TimerFigures
from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading import reports
from backbeat.gateway.projection.storage import facts
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import TimerKind
from tests.gateway.projection import records

S, C = ServerStatus, ClientStatus
USER, OTHER = uuid.UUID(int=7), uuid.UUID(int=8)
HOUR = 3_600_000


@pytest.fixture
def now(monkeypatch):
    at = 1_000 * HOUR
    monkeypatch.setattr(facts, "now_ms", lambda: at)
    return at


@pytest.fixture
def load(database_url):
    """Gives a function that fills the tables, and the connection to ask with."""
    engine = open_engine(parse_url(database_url))

    def fill(*given):
        with engine.begin() as connection:
            facts.build_anew(connection, "topic")
        with engine.begin() as connection:
            projector = Projector(connection)
            projector.apply([records.record(row) for row in given])
        return engine.connect()

    yield fill
    engine.dispose()


def flow(number, name="flow", user=USER):
    return records.workflow(user.bytes, name, b'{"id":%d}' % number, 5)


def node(of, number, server, client, at, *, before=(), **more):
    """A node whose newest change, to these statuses, was at some time."""
    history = records.packed(*[(status, at) for status in (*before, server, client)])
    return records.node(of, number, 6, server=server, client=client, history=history, **more)


def test_activities_are_counted_by_user_name_and_status(load, now):
    ours, theirs = flow(1), flow(1, user=OTHER)
    asked = load(
        ours,
        theirs,
        node(ours, 1, S.SENT_TO_CLIENT, C.RECEIVED, now, name="pay"),
        node(ours, 2, S.SENT_TO_CLIENT, C.RECEIVED, now, name="pay"),
        node(ours, 3, S.STARTED, C.READY, now, name="pay", timer_at=now + HOUR, timer_kind=TimerKind.START),
        node(ours, 4, S.RETRYING, C.ERRORED, now - 5_000, name="pay"),
        node(ours, 5, S.COMPLETE, C.COMPLETE, now - 9_000, name="pay"),
        node(ours, 6, S.COMPLETE, C.COMPLETE, now - 11_000, name="pay"),
        node(ours, 7, S.COMPLETE, C.COMPLETE, now - 11_000, name="done"),
        node(theirs, 1, S.RETRIES_EXHAUSTED, C.ERRORED, now - HOUR, name="pay"),
    )

    with asked, asked.begin():
        at_work = reports.activities(asked, 10, closed=False)
        all_of_it = reports.activities(asked, 0, closed=True)

    paying = {SCHEDULED: 1, "sent_to_client": 2, "retrying": 1}
    assert at_work.activities == [
        ActivityFigures(user_id=str(USER), activity="pay", nodes=paying, completed=1, errored=1),
        ActivityFigures(user_id=str(OTHER), activity="pay", nodes={"retries_exhausted": 1}, completed=0, errored=0),
    ]
    first, second = at_work.activities
    assert (first.waiting, first.running, first.retrying, first.failing, second.failing) == (1, 2, 1, 0, 1)
    assert [(activity.activity, activity.nodes.get("complete", 0)) for activity in all_of_it.activities] == [
        ("done", 1),
        ("pay", 2),
        ("pay", 0),
    ]
    assert {activity.completed for activity in all_of_it.activities} == {0}


def test_more_names_than_are_asked_one_by_one_are_counted_all_the_same(load, now, monkeypatch):
    flow_row = flow(1)
    asked = load(
        flow_row, *[node(flow_row, n, S.SENT_TO_CLIENT, C.RECEIVED, now, name=f"name {n}") for n in range(1, 8)]
    )

    with asked, asked.begin():
        by_ranges = reports.activities(asked, 10, closed=False)
        monkeypatch.setattr(reports, "_NAMES_MAX", 3)
        by_index = reports.activities(asked, 10, closed=False)

    assert len(by_index.activities) == 7
    assert by_index == by_ranges


def test_the_summary_counts_workflows_and_timers(load, now):
    done, going, other = flow(1), flow(2), flow(3, "other")
    asked = load(
        done,
        going,
        other,
        node(done, 1, S.COMPLETE, C.COMPLETE, now),
        node(going, 1, S.PROCESSING_CHILDREN, C.COMPLETE, now),
        node(going, 2, S.RETRYING, C.ERRORED, now, fires_at=now - HOUR),
        node(going, 3, S.RETRYING, C.ERRORED, now, fires_at=now + HOUR),
        node(going, 4, S.SENT_TO_CLIENT, C.RECEIVED, now, complete_by=now + 2 * HOUR),
        node(going, 5, S.SENT_TO_CLIENT, C.PROCESSING, now, complete_by=now - HOUR),
        node(other, 1, S.STARTED, C.READY, now, timer_at=now + 9, timer_kind=TimerKind.START, fires_at=now + 9),
    )

    with asked, asked.begin():
        report = reports.summary(asked)

    assert [(workflow.workflow, workflow.workflows, workflow.open_workflows) for workflow in report.workflows] == [
        ("flow", 2, 1),
        ("other", 1, 1),
    ]
    assert report.workflows[0].nodes == {"sent_to_client": 2, "processing_children": 1, "complete": 1, "retrying": 2}
    assert report.timers == [
        TimerFigures(kind="start", ahead=1, due=0, first_at=now + 9),
        TimerFigures(kind="retry", ahead=1, due=1, first_at=now - HOUR),
        # A node that its client works on has no deadline any more.
        TimerFigures(kind="deadline", ahead=1, due=0, first_at=now + 2 * HOUR),
    ]


def test_a_day_is_what_changed_in_it_and_what_is_stuck_now(load, now):
    flow_row, other = flow(1), flow(2, "other", OTHER)
    old = now - 21 * HOUR
    asked = load(
        flow_row,
        other,
        node(flow_row, 1, S.COMPLETE, C.COMPLETE, now - HOUR),
        node(flow_row, 2, S.COMPLETE, C.COMPLETE, now - 25 * HOUR),
        node(flow_row, 3, S.RETRIES_EXHAUSTED, C.ERRORED, now - HOUR),
        # Stuck: nothing happened, and nothing will.
        node(flow_row, 4, S.SENT_TO_CLIENT, C.RECEIVED, old),
        node(flow_row, 5, S.RETRIES_EXHAUSTED, C.ERRORED, old),
        # Not stuck: of late, ahead, waiting for others, paused.
        node(flow_row, 6, S.SENT_TO_CLIENT, C.RECEIVED, now - 19 * HOUR),
        node(flow_row, 7, S.RETRYING, C.ERRORED, old, fires_at=now + HOUR),
        node(flow_row, 8, S.PROCESSING_CHILDREN, C.COMPLETE, old),
        node(flow_row, 9, S.PAUSED, C.READY, old),
        node(other, 1, S.RETRYING, C.ERRORED, old, fires_at=old + 100),
    )

    with asked, asked.begin():
        report = reports.daily(asked, now - 20 * HOUR, now, 20)

    assert report.workflows == [
        DailyFigures(
            user_id=str(USER),
            workflow="flow",
            completed=1,
            errored=1,
            exhausted=1,
            inconsistent={"retries_exhausted": 1, "sent_to_client": 1},
        ),
        DailyFigures(
            user_id=str(OTHER), workflow="other", completed=0, errored=0, exhausted=0, inconsistent={"retrying": 1}
        ),
    ]


def test_nothing_at_all(load, now):
    asked = load()
    with asked, asked.begin():
        assert reports.activities(asked, 10, closed=False).activities == []
        assert reports.summary(asked).workflows == []
        assert reports.daily(asked, 0, now, 20).workflows == []


def test_silent_nodes_are_counted_by_status_for_whoever_runs_them(load, now):
    ours, theirs = flow(1), flow(2, user=OTHER)
    since = now - 20 * HOUR
    asked = load(
        ours,
        theirs,
        node(ours, 1, S.SENT_TO_CLIENT, C.RECEIVED, since),
        node(ours, 2, S.SENT_TO_CLIENT, C.PROCESSING, since - HOUR, before=(S.STARTED, S.RETRYING)),
        node(ours, 3, S.PAUSED, C.READY, since - HOUR),
        node(theirs, 1, S.SENT_TO_CLIENT, C.RECEIVED, since - HOUR),
        # Of late; failed, waiting for others or closed: these have kinds of their own, or are not stuck.
        node(ours, 4, S.SENT_TO_CLIENT, C.RECEIVED, since + 1),
        *(
            node(ours, 5 + number, server, C.READY, since - HOUR)
            for number, server in enumerate((S.RETRIES_EXHAUSTED, S.RETRYING, S.READY, S.COMPLETE))
        ),
    )

    with asked, asked.begin():
        assert reports.silent(asked, None, since) == {"sent_to_client": 3, "paused": 1}
        assert reports.silent(asked, [USER.bytes], since) == {"sent_to_client": 2, "paused": 1}
        assert reports.silent(asked, [], since) == {"sent_to_client": 0, "paused": 0}
