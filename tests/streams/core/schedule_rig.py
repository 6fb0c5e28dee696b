"""Schedules in a world of partitions: made, due, run; and what came of them, in few words."""

from __future__ import annotations

from typing import Any

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.schedules import Overlap
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.core.tables import SCHEDULES
from tests.streams.core.rig import Rig, new
from tests.streams.core.world import USER, Happened

MINUTE = 60_000
HOUR = 60 * MINUTE
SUBJECT = b'"night of {scheduled_at}"'


def plan(name: str = "nightly", *, subject: bytes = SUBJECT, node: c.NewNode | None = None, **given: Any):
    """An hourly schedule of `report`."""
    return c.NewSchedule(
        **{
            "user_id": USER,
            "name": name,
            "interval_seconds": 3600.0,
            "workflow": c.NewWorkflow(user_id=USER, name="reports", subject=subject, decider="Decider"),
            "node": node or new("report"),
            **given,
        }
    )


class ScheduleRig(Rig):
    """A world with schedules."""

    def put(self, schedule: c.NewSchedule | None = None, **given: Any) -> Happened:
        """Make or change a schedule."""
        carried = {key: given.pop(key) for key in ("id", "user_id", "paused", "now", "body_hash") if key in given}
        schedule = schedule or plan(**given)
        identity = ids.schedule_id(schedule.user_id, schedule.name)
        return self.ask(c.PutSchedule, schedule_id=identity, schedule=schedule, **carried)

    def scheduled(self, name: str = "nightly") -> Schedule:
        identity = ids.schedule_id(USER, name)
        schedule = self.store_of(identity).get(SCHEDULES, identity)
        assert schedule is not None, name
        return schedule

    def change(self, change: str, name: str = "nightly", **given: Any) -> Happened:
        return self.ask(c.ChangeSchedule, schedule_id=ids.schedule_id(USER, name), change=change, **given)

    def trigger(self, *times: int, name: str = "nightly", **given: Any) -> Happened:
        return self.ask(c.RunSchedule, schedule_id=ids.schedule_id(USER, name), times=times, **given)

    def came(
        self, *times: int, then: int | None = None, name: str = "nightly", number: int | None = None, **given: Any
    ) -> Happened:
        """The schedule's timer is due, and these times have come; by default an hour is the next."""
        schedule = self.scheduled(name)
        if times and "now" not in given:
            given["now"] = max(self.now, times[-1])
        if then is None:
            then = (times[-1] if times else schedule.after) + HOUR
        return self.tell(
            c.ScheduleDue,
            schedule_id=schedule.id,
            number=schedule.timer_number if number is None else number,
            times=times,
            next_at=then,
            **given,
        )

    def end(self, happened: Happened) -> Happened:
        """The runs that something started are completed."""
        ends = Happened()
        for node_id, _ in happened.dispatches:
            done = self.ask(c.ChangeNode, node_id=node_id, status="completed")
            ends.effects += done.effects
        return ends

    def runs(self, name: str = "nightly") -> list[tuple[str, int]]:
        """What became of each run, oldest first, and for when it was."""
        schedule = self.scheduled(name)
        every = [*schedule.recent, *schedule.running, *schedule.queued]
        return [(run.state.name.lower(), run.scheduled_at) for run in every]


def made(overlap: Overlap = Overlap.SKIP, **given: Any) -> ScheduleRig:
    """A schedule that knows its next time."""
    rig = ScheduleRig(partitions=4)
    rig.put(overlap=overlap, **given)
    rig.came()
    return rig
