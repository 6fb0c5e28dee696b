"""Schedules on a virtual clock: through the changes of daylight saving time, through outages, and all that is asked."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from backbeat import Worker, activity, current
from backbeat.errors import InvalidParameters, KeyReused, LimitExceeded, NotFound
from backbeat.schemas.messages.bounds import Settings
from backbeat.testing import Backbeat, PlainBackbeat

HOUR = timedelta(hours=1)
EACH = "run of {scheduled_at}"


@activity("Report", retries=0)
def report(word="done"):
    return word


@activity("Fails", retries=0)
def fails():
    raise ValueError("no")


def worker():
    return Worker(activities=[report, fails])


def begin(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


async def put(backbeat, name="nightly", subject=EACH, signal="Report", **given):
    return await backbeat.client().schedules.put(name, "Reports", subject, signal, **given)


def ran(backbeat, zone="UTC"):
    """When each run was scheduled, on the wall of the zone, in the order in which they were sent."""
    times = [run.metadata["schedule"]["scheduled_at"] for run in backbeat.sent()]
    return [datetime.fromisoformat(at).astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for at in times]


# --- daylight saving time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("zone", "eve", "expected"), [
    ("Europe/Berlin", "2026-03-28T00:00", ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]),
    ("Europe/Berlin", "2026-10-24T00:00", ["10-24 02:30 +0200", "10-25 02:30 +0200", "10-26 02:30 +0100"]),
    ("America/New_York", "2026-03-07T00:00", ["03-07 02:30 -0500", "03-08 03:00 -0400", "03-09 02:30 -0400"]),
    ("America/New_York", "2026-10-31T00:00", ["10-31 02:30 -0400", "11-01 02:30 -0500", "11-02 02:30 -0500"]),
])  # fmt: skip
async def test_half_past_two_is_once_a_day_through_every_change(zone, eve, expected):
    async with Backbeat(worker(), start=begin(eve, zone)) as backbeat:
        await put(backbeat, cron="30 2 * * *", zone=zone)
        await backbeat.advance(to=begin(eve, zone) + timedelta(days=2, hours=12))
        assert ran(backbeat, zone) == expected
        # Each at its time, not when somebody looked.
        for sent, at in zip(backbeat.sent(), expected, strict=True):
            assert sent.created_at.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z") == at


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("eve", ["2026-03-08T00:00", "2026-03-29T00:00", "2026-10-25T00:00", "2026-11-01T00:00"])
async def test_every_quarter_of_an_hour_is_one_through_every_change(zone, eve):
    start = begin(eve, zone)
    async with Backbeat(worker(), start=start) as backbeat:
        await put(backbeat, cron="*/15 * * * *", zone=zone)
        await backbeat.advance(hours=6)
        apart = [sent.created_at - start for sent in backbeat.sent()]
        assert apart == [timedelta(minutes=15 * number) for number in range(1, 25)]


# --- outages ---------------------------------------------------------------------------------------------------------


async def after_an_outage(slice_nodes_max=250, **given):
    """Four days of a run every quarter of an hour, of which the engine is away for three."""
    settings = Settings(slice_nodes_max=slice_nodes_max)
    backbeat = Backbeat(worker(), start=begin("2026-03-28T00:00"), settings=settings)
    await put(backbeat, cron="*/15 * * * *", zone="Europe/Berlin", **given)
    await backbeat.advance(hours=12)
    await backbeat.advance(days=3, outage=True)
    await backbeat.advance(hours=12)
    return backbeat, await backbeat.client().schedules.get("nightly")


@pytest.mark.parametrize("slice_nodes_max", [7, 250])
async def test_an_outage_of_three_days_with_a_window_of_an_hour(slice_nodes_max):
    backbeat, schedule = await after_an_outage(slice_nodes_max, overlap="queue", catch_up=HOUR)
    sent = backbeat.sent()
    assert len(sent) == 48 + 5 + 48  # both ends of the hour are in the window
    assert (schedule.started, schedule.missed, schedule.skipped) == (101, 3 * 96 - 5, 0)
    assert schedule.queued == schedule.running == []
    assert len(set(ran(backbeat))) == len(sent)
    assert ran(backbeat) == sorted(ran(backbeat))
    late = [run.created_at - begin("2026-03-31T12:00") for run in sent[48:53]]
    assert late == [timedelta(0)] * 5


@pytest.mark.parametrize("slice_nodes_max", [7, 250])
async def test_an_outage_of_three_days_with_a_window_of_a_week(slice_nodes_max):
    backbeat, schedule = await after_an_outage(slice_nodes_max, overlap="queue", catch_up=timedelta(days=7))
    assert (schedule.started, schedule.missed, schedule.skipped) == (4 * 96, 0, 0)
    assert ran(backbeat) == sorted(set(ran(backbeat)))
    assert len(ran(backbeat)) == 4 * 96


async def test_after_an_outage_a_schedule_that_skips_runs_once_for_all_that_meet():
    backbeat, schedule = await after_an_outage(1_000, catch_up=timedelta(days=7))
    # The oldest runs; while it does, the rest of what came with it is due.
    assert ran(backbeat)[47:50] == ["03-28 12:00 +0000", "03-28 12:15 +0000", "03-31 12:15 +0000"]
    assert (schedule.started, schedule.skipped, schedule.missed) == (48 + 1 + 48, 287, 0)


async def test_after_an_outage_a_schedule_that_cancels_runs_the_newest():
    backbeat, schedule = await after_an_outage(1_000, overlap="cancel", catch_up=timedelta(days=7))
    assert ran(backbeat)[47:50] == ["03-28 12:00 +0000", "03-31 12:00 +0000", "03-31 12:15 +0000"]
    assert (schedule.started, schedule.skipped, schedule.missed) == (48 + 1 + 48, 287, 0)


# --- what is asked ---------------------------------------------------------------------------------------------------


async def test_it_is_found_listed_changed_and_deleted():
    async with Backbeat(worker(), clients=["other"], start=begin("2026-01-01T00:00")) as backbeat:
        schedules = backbeat.client().schedules
        await put(backbeat, "b", every=HOUR, offset=60, args=["x"], retries=2, metadata={"a": 1})
        await put(backbeat, "a", cron="0 9 * * 1-5", zone="Asia/Tokyo", paused=True, overlap="allow")
        a, b = await schedules.list()
        assert (a.name, a.cron, a.zone, a.every, a.paused, a.next_run) == (
            "a",
            "0 9 * * 1-5",
            "Asia/Tokyo",
            None,
            True,
            None,
        )
        assert (b.cron, b.every, b.offset, b.retries, b.metadata) == (None, HOUR, timedelta(seconds=60), 2, {"a": 1})
        assert b.client_data == {"name": "Report", "params": ["x"]}
        assert [at.isoformat() for at in b.next_runs(2)] == ["2026-01-01T00:01:00+00:00", "2026-01-01T01:01:00+00:00"]
        assert (b.workflow, b.subject, b.decider, b.signal) == ("Reports", EACH, "Reports", "Report")
        changed = await put(backbeat, "b", every=timedelta(minutes=1))
        assert (changed.id, changed.created_at, changed.every) == (b.id, b.created_at, timedelta(minutes=1))
        assert await backbeat.client("other").schedules.list() == []
        await schedules.delete("b")
        with pytest.raises(NotFound):
            await schedules.get("b")
        assert [row.name for row in await schedules.list()] == ["a"]


async def test_pause_resume_trigger_and_backfill():
    start = begin("2026-01-01T00:00")
    async with Backbeat(worker(), start=start) as backbeat:
        schedules = backbeat.client().schedules
        await put(backbeat, every=HOUR)
        await schedules.pause("nightly", "the bank is closed")
        await backbeat.advance(hours=5)
        assert (backbeat.sent(), (await schedules.get("nightly")).note) == ([], "the bank is closed")
        await schedules.resume("nightly")
        await backbeat.advance(hours=1)
        assert ran(backbeat) == ["01-01 06:00 +0000"]
        triggered = await schedules.trigger("nightly")
        assert [run.cause for run in triggered.running] == ["trigger"]
        await backbeat.run()
        filled = await schedules.backfill("nightly", start + HOUR, start + 3 * HOUR)
        assert (len(filled.running), filled.queued_count, [run.state for run in filled.queued]) == (
            1,
            2,
            ["queued"] * 2,
        )
        await backbeat.run()
        nightly = await schedules.get("nightly")
        assert [run.cause for run in nightly.past] == ["due", "trigger", *["backfill"] * 3]
        assert ran(backbeat)[2:] == ["01-01 01:00 +0000", "01-01 02:00 +0000", "01-01 03:00 +0000"]
        assert {run.state for run in nightly.past} == {"ended"}
        node = await backbeat.client().node(nightly.past[-1].node_id)
        assert (node.status, node.workflow_id) == ("complete", nightly.past[-1].workflow_id)


async def test_a_trigger_with_a_key_runs_once():
    async with Backbeat(worker()) as backbeat:
        schedules = backbeat.client().schedules
        await put(backbeat, every=HOUR)
        for _ in range(2):
            await schedules.trigger("nightly", idempotency_key="by hand")
        assert (await schedules.get("nightly")).started == 1
        with pytest.raises(KeyReused):
            await schedules.trigger("nightly", overlap="allow", idempotency_key="by hand")


@pytest.mark.parametrize(("given", "word"), [
    ({"cron": "61 * * * *"}, "Bad minute"),
    ({"cron": "* * * *"}, "five fields"),
    ({"cron": "* * * * *", "zone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"every": 0.1}, "at least 1 s"),
    ({"cron": "* * * * *", "every": 60}, "or an interval"),
    ({"every": 60, "overlap": "sometimes"}, "no overlap 'sometimes'"),
    ({"every": 60, "name": ""}, "The schedule's name is 1 to"),
    ({"every": 60, "catch_up": 1}, "catch-up window"),
])  # fmt: skip
async def test_what_cannot_be_a_schedule_is_refused_where_it_is_said(given, word):
    backbeat = Backbeat(worker())
    with pytest.raises(InvalidParameters, match=word):
        await put(backbeat, **given)
    assert await backbeat.client().schedules.list() == []


async def test_a_backfill_is_of_times_that_there_are_and_not_too_many():
    backbeat = Backbeat(worker())
    schedules = backbeat.client().schedules
    await put(backbeat, every=HOUR)
    start = begin("2026-01-01T00:00")
    with pytest.raises(LimitExceeded, match="more than 1000"):
        await schedules.backfill("nightly", start, start + 1000 * HOUR)
    with pytest.raises(InvalidParameters, match="never due"):
        await schedules.backfill("nightly", start + HOUR / 2, start + HOUR / 2)
    with pytest.raises(InvalidParameters, match="without a time zone"):
        await schedules.backfill("nightly", datetime(2026, 1, 1), start)  # noqa: DTZ001 - that is what is wrong
    with pytest.raises(NotFound):
        await schedules.backfill("none", start, start + HOUR)


async def test_a_run_that_fails_holds_the_schedule_until_it_is_mended():
    async with Backbeat(worker(), start=begin("2026-01-01T00:00")) as backbeat:
        await put(backbeat, signal="Fails", every=HOUR, retries=0)
        await backbeat.advance(hours=3)
        schedules = backbeat.client().schedules
        nightly = await schedules.get("nightly")
        assert (len(nightly.running), nightly.skipped) == (1, 2)
        await backbeat.client().resolve(nightly.running[0].node_id)
        await backbeat.advance(hours=1)
        assert (await schedules.get("nightly")).started == 2


async def test_a_handler_sees_what_it_is_a_run_of():
    seen = []

    @activity("Look")
    def look():
        seen.append(current().node.metadata["schedule"])

    async with Backbeat(Worker(activities=[look]), start=begin("2026-01-01T00:00")) as backbeat:
        await put(backbeat, signal="Look", cron="30 2 * * *", zone="Europe/Berlin")
        await backbeat.advance(days=1)
    assert seen == [{"name": "nightly", "scheduled_at": "2026-01-01T01:30:00Z"}]


async def test_time_is_not_skipped_for_a_schedule_alone():
    async with Backbeat(worker(), skip_time=True) as backbeat:
        await put(backbeat, every=HOUR)
        await backbeat.run()
        assert backbeat.sent() == []
        assert backbeat.next_due is not None


def test_the_plain_one_does_the_same():
    with PlainBackbeat(worker(), start=begin("2026-01-01T00:00")) as backbeat:
        schedules = backbeat.client().schedules
        schedules.put("hourly", "Reports", EACH, "Report", every=3600)
        backbeat.advance(hours=2)
        assert len(backbeat.sent("Report")) == 2
        schedules.pause("hourly")
        assert schedules.get("hourly").paused
        schedules.resume("hourly")
        assert schedules.trigger("hourly").running[0].cause == "trigger"
        backbeat.run()
        at = datetime(2026, 1, 1, 1, tzinfo=UTC)
        assert schedules.backfill("hourly", at, at).running[0].scheduled_at == at
        assert [row.name for row in schedules.list()] == ["hourly"]
        schedules.delete("hourly")
        assert schedules.list() == []
