"""Schedules: made, changed, paused, due, run, caught up; whatever overlaps is skipped, queued, canceled or allowed."""

import msgspec
import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.schedules import QUEUED_MAX, RECENT_MAX, RUNNING_MAX, Overlap, RunCause, RunState
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.effects import DeadLetter, FiredEarly, Ignored
from backbeat.streams.core.schedules.schedule import schedule_view
from tests.streams.core.rig import new
from tests.streams.core.schedule_rig import HOUR, MINUTE, ScheduleRig, made, plan
from tests.streams.core.world import OTHER, USER

T0 = 1_000_000  # when the world begins


# --- made and changed ------------------------------------------------------------------------------------------------


def test_a_new_schedule_has_its_times_worked_out_from_now_on():
    rig = ScheduleRig()
    view = rig.put().reply
    schedule = rig.scheduled()
    assert view == schedule_view(schedule)
    assert (schedule.after, schedule.next_at) == (T0, None)
    assert rig.timer(schedule.id) == ("schedule", T0)
    assert rig.came(then=T0 + HOUR).dispatched == []
    assert (rig.scheduled().next_at, rig.timer(schedule.id)) == (T0 + HOUR, ("schedule", T0 + HOUR))


def test_a_run_is_a_signal_that_says_what_it_is_of():
    rig = made(node=new("report", metadata=b'{"by":"us"}'))
    happened = rig.came(T0 + HOUR)
    assert happened.dispatched == ["report"]
    node = rig.row("report")
    scheduled_at = "1970-01-01T01:16:40Z"
    schedule = {"name": "nightly", "scheduled_at": scheduled_at}
    assert msgspec.json.decode(node.metadata) == {"by": "us", "schedule": schedule}
    assert rig.workflows()[node.workflow_id].subject == f'"night of {scheduled_at}"'.encode()
    assert (node.type, node.parent_link_id) == ("decision", rig.scheduled().id)
    (run,) = rig.scheduled().running
    assert (run.node_id, run.workflow_id, run.cause) == (node.id, node.workflow_id, RunCause.DUE)


def test_without_a_placeholder_every_run_is_in_the_same_workflow():
    rig = made(subject=b"703")
    rig.end(rig.came(T0 + HOUR))
    rig.end(rig.came(T0 + 2 * HOUR))
    assert len(rig.workflows()) == 1
    assert len(rig.nodes()) == 2


def test_a_schedule_of_one_name_is_changed_and_keeps_what_it_has_done():
    rig = made()
    first = rig.scheduled().created_at
    rig.end(rig.came(T0 + HOUR))
    rig.now += 5
    rig.put(node=new("other"), interval_seconds=60.0)
    schedule = rig.scheduled()
    assert (schedule.created_at, schedule.updated_at, schedule.started) == (first, rig.now, 1)
    assert (schedule.after, schedule.next_at, schedule.timer_at) == (rig.now, None, rig.now)
    assert rig.runs() == [("ended", T0 + HOUR)]
    assert rig.came(rig.now + MINUTE).dispatched == ["other"]


def test_a_change_that_leaves_the_times_as_they_are_leaves_the_next_one_too():
    rig = made()
    before = rig.scheduled()
    rig.now = T0 + HOUR + 5  # it is overdue
    rig.put(node=new("other"))
    schedule = rig.scheduled()
    assert (schedule.after, schedule.next_at, schedule.timer_number) == (T0, T0 + HOUR, before.timer_number)
    assert rig.came(T0 + HOUR).dispatched == ["other"]


def test_a_timer_that_was_set_before_a_change_counts_no_more():
    rig = made()
    old = rig.scheduled().timer_number
    rig.put(interval_seconds=60.0)
    happened = rig.came(T0 + HOUR, number=old)
    assert happened.of(Ignored)
    assert (happened.dispatched, rig.scheduled().after) == ([], T0)


@pytest.mark.parametrize(("given", "word"), [
    ({"name": ""}, "name is empty"),
    ({"cron": "* * * * *"}, "a cron expression or an interval"),
    ({"interval_seconds": 0.0}, "a cron expression or an interval"),
    ({"interval_seconds": 0.5}, "interval is 0.5 s"),
    ({"interval_seconds": float("nan")}, "interval is nan s"),
    ({"offset_seconds": -1.0}, "offset is -1 s"),
    ({"catch_up_seconds": 1.0}, "catch-up window is 1 s"),
    ({"interval_seconds": 0.0, "cron": "1," * 200}, "more than 256 bytes"),
    ({"zone": "Z" * 300}, "more than 256 bytes"),
    ({"node": new("report", fires_at=5)}, "neither a link nor a time"),
    ({"node": new("report", parent_link_id=bytes(16))}, "neither a link nor a time"),
    ({"node": new("report", metadata=b"[]")}, "metadata is no JSON object"),
    ({"node": new("report", client_data=b"[]")}, "client_data is no JSON object"),
    ({"node": new("report", client_data=b'{"timeout":"soon"}')}, "with a valid timeout"),
    ({"node": new("report", retries=-1)}, "retries"),
    ({"node": new("")}, "node name is empty"),
    ({"subject": b'""'}, "A subject is"),
    ({"workflow": c.NewWorkflow(user_id=OTHER, name="a", subject=b"1", decider="D")}, "its own user"),
])  # fmt: skip
def test_what_no_run_could_be_made_from_is_refused(given, word):
    rig = ScheduleRig()
    before = rig.snapshot()
    refused = rig.put(**given).reply
    assert (refused.reason, word in refused.message) == (Reason.INVALID_PARAMETERS, True), refused
    assert rig.snapshot() == before


def test_metadata_that_has_no_room_for_what_a_run_says_is_refused():
    rig = ScheduleRig(1, Settings(payload_bytes_max=100))
    assert rig.put(node=new("report", metadata=b'{"a":"' + b"x" * 60 + b'"}')).reply.reason is Reason.LIMIT_EXCEEDED


def test_a_schedule_is_its_users():
    rig = made()
    identity = rig.scheduled().id
    for happened in (
        rig.change("pause", user_id=OTHER),
        rig.trigger(user_id=OTHER),
        rig.put(user_id=OTHER),
        rig.ask(c.PutSchedule, schedule_id=bytes(16), schedule=plan()),
    ):
        assert happened.reply.reason is Reason.NOT_FOUND
    assert ids.schedule_id(OTHER, "nightly") != identity
    assert rig.change("nap").reply.reason is Reason.INVALID_PARAMETERS


# --- due -------------------------------------------------------------------------------------------------------------


def test_a_timer_that_fires_twice_makes_one_run():
    rig = made()
    command = c.ScheduleDue(
        id=rig.new_id(),
        schedule_id=rig.scheduled().id,
        number=rig.scheduled().timer_number,
        times=(T0 + HOUR,),
        next_at=T0 + 2 * HOUR,
    )
    assert rig.do(command, now=T0 + HOUR).dispatched == ["report"]
    before = rig.snapshot()
    assert rig.do(command).of(Ignored)
    assert rig.snapshot() == before


def test_a_time_that_was_dealt_with_is_not_run_again():
    rig = made(Overlap.ALLOW)
    rig.came(T0 + HOUR)
    assert rig.came(T0 + HOUR, T0 + 2 * HOUR).dispatched == ["report"]
    assert rig.runs() == [("running", T0 + HOUR), ("running", T0 + 2 * HOUR)]


def test_what_is_later_than_the_window_is_missed_and_the_rest_is_run():
    rig = made(Overlap.QUEUE, catch_up_seconds=2.5 * 3600)
    times = [T0 + hour * HOUR for hour in range(1, 8)]
    happened = rig.came(*times, now=T0 + 7 * HOUR)
    assert len(happened.dispatched) == 1
    schedule = rig.scheduled()
    assert rig.runs() == [("missed", times[0]), ("running", times[4]), ("queued", times[5]), ("queued", times[6])]
    (missed,) = schedule.recent
    assert (missed.count, missed.last_at, schedule.missed) == (4, times[3], 4)
    assert (schedule.after, schedule.next_at) == (times[-1], times[-1] + HOUR)


def test_a_long_outage_comes_in_several_commands():
    rig = made(catch_up_seconds=600.0)
    now = T0 + 9 * HOUR
    rig.came(T0 + HOUR, T0 + 2 * HOUR, then=T0 + 3 * HOUR, now=now)
    assert rig.timer(rig.scheduled().id) == ("schedule", T0 + 3 * HOUR)
    rig.came(*(T0 + hour * HOUR for hour in range(3, 10)))
    (missed,) = rig.scheduled().recent
    assert (missed.scheduled_at, missed.last_at, missed.count) == (T0 + HOUR, T0 + 8 * HOUR, 8)
    assert rig.runs()[1:] == [("running", T0 + 9 * HOUR)]


def test_a_schedule_whose_times_cannot_be_worked_out_says_why_and_can_be_mended():
    rig = ScheduleRig()
    rig.put(cron="0 0 * * *", zone="Mars/Olympus", interval_seconds=0.0)
    schedule = rig.scheduled()
    rig.tell(c.ScheduleDue, schedule_id=schedule.id, number=schedule.timer_number, problem="there is no such zone")
    schedule = rig.scheduled()
    assert (schedule.problem, schedule.next_at, schedule.timer_at) == ("there is no such zone", None, None)
    rig.put(cron="0 0 * * *", zone="Mars/Olympus", interval_seconds=0.0)  # the machines know it by now
    assert (rig.scheduled().problem, rig.timer(schedule.id)) == ("", ("schedule", rig.now))


def test_a_time_that_has_not_come_is_no_run_whatever_the_senders_clock_says():
    rig = made(Overlap.ALLOW)
    due = rig.scheduled().timer_at
    assert rig.came(T0 + HOUR, now=T0 + HOUR - 1).effects == [FiredEarly(due)]
    assert rig.came(T0 + HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR, now=T0 + HOUR).dispatched == ["report"]
    assert (rig.scheduled().next_at, rig.scheduled().timer_at) == (T0 + 2 * HOUR, T0 + 2 * HOUR)
    assert rig.came(T0 + 2 * HOUR).dispatched == ["report"]


def test_a_schedule_that_has_no_further_time_stays_and_says_so():
    rig = made()
    schedule = rig.scheduled()
    happened = rig.tell(
        c.ScheduleDue, schedule_id=schedule.id, number=schedule.timer_number, times=(T0 + HOUR,), now=T0 + HOUR
    )
    assert happened.dispatched == ["report"]
    assert (rig.scheduled().next_at, rig.timer(schedule.id)) == (None, None)


def test_a_run_that_is_refused_has_ended():
    rig = made(subject=b"703", overlap=Overlap.SKIP)
    rig.end(rig.came(T0 + HOUR))
    workflow = next(iter(rig.workflows().values()))
    rig.ask(c.ChangeWorkflow, workflow_id=workflow.id, change="complete")
    assert len(rig.came(T0 + 2 * HOUR).of(DeadLetter)) == 1
    assert rig.runs() == [("ended", T0 + HOUR), ("ended", T0 + 2 * HOUR)]


@pytest.mark.parametrize("how", ["complete", "canceled", "deactivated"])
def test_however_a_run_ends_the_next_one_can_begin(how):
    rig = made(subject=b"703")
    rig.came(T0 + HOUR)
    node_id = rig.scheduled().running[0].node_id
    if how == "deactivated":
        rig.signal("younger", of=c.NewWorkflow(user_id=USER, name="reports", subject=b"703", decider="Decider"))
        rig.say("deactivated", "younger")
    else:
        rig.ask(c.ChangeNode, node_id=node_id, status="completed" if how == "complete" else how)
    assert rig.runs() == [("ended", T0 + HOUR)]


def test_a_run_whose_retries_are_exhausted_runs_until_it_is_mended():
    rig = made(node=new("report", retries=0))
    rig.came(T0 + HOUR)
    rig.error("report")
    assert rig.came(T0 + 2 * HOUR).dispatched == []
    rig.say("resolved", "report")
    assert rig.came(T0 + 3 * HOUR).dispatched == ["report"]
    assert rig.runs() == [("skipped", T0 + 2 * HOUR), ("ended", T0 + HOUR), ("running", T0 + 3 * HOUR)]


# --- what overlaps ---------------------------------------------------------------------------------------------------


def test_skip_leaves_out_what_is_due_meanwhile():
    rig = made(Overlap.SKIP)
    first = rig.came(T0 + HOUR)
    assert rig.came(T0 + 2 * HOUR).dispatched == rig.came(T0 + 3 * HOUR).dispatched == []
    rig.end(first)
    assert rig.came(T0 + 4 * HOUR).dispatched == ["report"]
    assert rig.runs() == [("skipped", T0 + 2 * HOUR), ("ended", T0 + HOUR), ("running", T0 + 4 * HOUR)]
    assert (rig.scheduled().skipped, rig.scheduled().recent[0].count) == (2, 2)


def test_queue_starts_one_after_the_other_in_order():
    rig = made(Overlap.QUEUE)
    happened = rig.came(T0 + HOUR)
    for hour in (2, 3):
        assert rig.came(T0 + hour * HOUR).dispatched == []
    started = []
    while happened.dispatched:
        started.append(rig.scheduled().running[0].scheduled_at)
        happened = rig.end(happened)
    assert started == [T0 + HOUR, T0 + 2 * HOUR, T0 + 3 * HOUR]
    assert rig.runs() == [("ended", at) for at in started]


def test_cancel_starts_the_newest_and_cancels_what_runs():
    rig = made(Overlap.CANCEL)
    rig.came(T0 + HOUR)
    old = rig.scheduled().running[0].node_id
    assert rig.came(T0 + 2 * HOUR).dispatched == ["report"]
    assert rig.statuses(old)[0] == "deactivated"
    assert rig.runs() == [("canceled", T0 + HOUR), ("running", T0 + 2 * HOUR)]
    rig.came(*(T0 + hour * HOUR for hour in (3, 4, 5)))
    assert rig.runs()[1:] == [("skipped", T0 + 3 * HOUR), ("canceled", T0 + 2 * HOUR), ("running", T0 + 5 * HOUR)]


def test_cancel_in_one_workflow_lets_the_new_one_begin():
    rig = made(Overlap.CANCEL, subject=b"703")
    rig.came(T0 + HOUR)
    assert len(rig.came(T0 + 2 * HOUR).dispatches) == 1
    assert sorted(rig.statuses(node)[0] for node in rig.nodes()) == ["deactivated", "sent_to_client"]


def test_allow_runs_side_by_side():
    rig = made(Overlap.ALLOW)
    first, second = rig.came(T0 + HOUR), rig.came(T0 + 2 * HOUR)
    assert (first.dispatched, second.dispatched) == (["report"], ["report"])
    rig.end(second)
    assert rig.runs() == [("ended", T0 + 2 * HOUR), ("running", T0 + HOUR)]


def test_every_list_is_bounded():
    rig = made(Overlap.ALLOW)
    for number in range(RUNNING_MAX + 2):
        rig.came(T0 + HOUR + number * 1000, then=T0 + HOUR + (number + 1) * 1000)
    assert (len(rig.scheduled().running), rig.scheduled().skipped) == (RUNNING_MAX, 2)

    rig = made(Overlap.QUEUE)
    rig.trigger(*range(T0, T0 + 999))
    rig.trigger(*range(T0 + 999, T0 + 1100))
    schedule = rig.scheduled()
    assert (len(schedule.queued), schedule.skipped) == (QUEUED_MAX, 1100 - 1 - QUEUED_MAX)
    assert len(schedule_view(schedule).queued) == 20

    rig = made()
    for hour in range(1, RECENT_MAX + 5):
        rig.end(rig.came(T0 + hour * HOUR))
    assert [run.scheduled_at for run in rig.scheduled().recent] == [T0 + h * HOUR for h in range(5, RECENT_MAX + 5)]


# --- pause, trigger, backfill, delete --------------------------------------------------------------------------------


def test_nothing_is_due_while_it_is_paused_and_then_it_goes_on_from_then():
    rig = made()
    number = rig.scheduled().timer_number
    assert rig.change("pause", note="the bank is closed").reply == Done()
    assert (rig.scheduled().note, rig.scheduled().next_at) == ("the bank is closed", None)
    assert rig.timer(rig.scheduled().id) is None
    assert rig.came(T0 + HOUR, number=number).of(Ignored)
    assert rig.change("pause").reply == Done(changed=False)
    rig.now = T0 + 10 * HOUR + 1
    assert rig.change("resume").reply == Done()
    assert rig.change("resume").reply == Done(changed=False)
    assert (rig.scheduled().after, rig.timer(rig.scheduled().id)) == (rig.now, ("schedule", rig.now))
    assert rig.runs() == []


def test_a_pause_holds_what_is_queued():
    rig = made(Overlap.QUEUE)
    first = rig.came(T0 + HOUR)
    rig.came(T0 + 2 * HOUR)
    rig.change("pause")
    assert rig.end(first).dispatched == []
    assert rig.change("resume").dispatched == ["report"]


def test_one_may_be_made_paused_and_put_again_as_it_is():
    rig = ScheduleRig()
    rig.put(paused=True)
    assert (rig.scheduled().paused, rig.timer(rig.scheduled().id)) == (True, None)
    rig.put(interval_seconds=60.0)
    assert (rig.scheduled().paused, rig.timer(rig.scheduled().id)) == (True, None)
    rig.change("pause", note="no")
    rig.put(paused=False)
    assert (rig.timer(rig.scheduled().id), rig.scheduled().note) == (("schedule", rig.now), "")


def test_a_trigger_runs_now_and_minds_what_runs():
    rig = made(Overlap.SKIP)
    rig.now += 123
    first = rig.trigger()
    assert first.dispatched == ["report"]
    (run,) = first.reply.running
    assert (run.scheduled_at, run.cause) == (rig.now, RunCause.TRIGGER)
    assert rig.trigger().reply.recent[-1].state is RunState.SKIPPED
    rig.now += 1  # else it would be the same subject, and wait for the first one there
    assert rig.trigger(overlap=Overlap.ALLOW).dispatched == ["report"]
    assert rig.scheduled().next_at == T0 + HOUR


def test_a_paused_schedule_can_be_triggered():
    rig = made()
    rig.change("pause")
    assert rig.trigger().dispatched == ["report"]


def test_a_backfill_runs_one_after_the_other():
    rig = made(Overlap.SKIP)
    times = [T0 - 3 * HOUR + hour * HOUR + 10**8 for hour in range(3)]
    happened = rig.trigger(*times)
    started = []
    while happened.dispatched:
        started.append(rig.scheduled().running[0].scheduled_at)
        happened = rig.end(happened)
    assert started == times
    assert {run.cause for run in rig.scheduled().recent} == {RunCause.BACKFILL}


def test_a_time_may_be_filled_in_again():
    rig = made()
    for _ in range(2):
        rig.end(rig.came(T0 + HOUR) if not rig.scheduled().started else rig.trigger(T0 + HOUR))
    assert rig.runs() == [("ended", T0 + HOUR)] * 2
    assert len(rig.nodes()) == 2


@pytest.mark.parametrize("times", [(2, 1), (1, 1), (-1, 5), (2**60,), tuple(range(1, 1002))])
def test_a_backfill_has_ascending_times_and_not_too_many(times):
    rig = made()
    before = rig.snapshot()
    assert rig.trigger(*times).reply.reason in (Reason.INVALID_PARAMETERS, Reason.LIMIT_EXCEEDED)
    assert rig.snapshot() == before


def test_a_deleted_schedule_is_gone_and_its_run_goes_on():
    rig = made()
    first = rig.came(T0 + HOUR)
    identity, number = rig.scheduled().id, rig.scheduled().timer_number
    assert rig.change("delete").reply == Done()
    assert rig.change("delete").reply.reason is Reason.NOT_FOUND
    assert rig.timer(identity) is None
    assert rig.tell(c.ScheduleDue, schedule_id=identity, number=number, times=(T0 + 2 * HOUR,)).of(Ignored)
    rig.end(first)
    assert rig.server("report") == ["complete"]


def test_a_namesake_of_a_deleted_one_makes_runs_of_its_own():
    rig = ScheduleRig(partitions=4)
    again = rig.new_id()  # even where the very same command comes again
    rig.put(id=again)
    rig.came()
    rig.end(rig.came(T0 + HOUR))
    rig.change("delete")
    rig.put(id=again)
    rig.came()
    assert rig.trigger(T0 + HOUR).dispatched == ["report"]
    assert len(rig.nodes()) == 2


def test_with_a_key_a_repeat_is_answered_as_the_first_was():
    rig = made()
    asked = {"id": rig.new_id(), "body_hash": b"trigger"}
    first = rig.trigger(**asked)
    before = rig.snapshot()
    again = rig.trigger(**asked)
    assert (again.reply, again.dispatched) == (first.reply, [])
    assert rig.snapshot() == before


def test_a_link_to_a_schedule_is_nobodys_to_make():
    rig = made()
    identity = rig.scheduled().id
    refused = rig.signal("other", parent_link_id=identity).reply
    assert refused.reason is Reason.INVALID_PARAMETERS
    rig.signal("mine")
    rig.complete("mine", new("child", parent_link_id=identity))
    rig.complete("child")
    assert rig.runs() == []


def test_the_timer_is_one_of_its_kind():
    rig = made()
    assert {kind for store in rig.stores for (_, _, kind) in store.timers} == {TimerKind.SCHEDULE}
