"""Who makes schedules in a run, changes them, runs them by hand, and deletes them. All of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.schedules import Overlap

from .plan import ALICE, Plan
from .virtual import BEGIN_MS

#: What the nodes of runs are called: loud ones, and behind all others, so that nobody waits for them.
SCHEDULED = "loud-99"
_HOUR_MS = 3_600_000
_OFTEN = 0.3
_TIMES: tuple[dict[str, Any], ...] = (
    {"interval_seconds": 2.0},
    {"interval_seconds": 60.0, "offset_seconds": 7.0},
    {"cron": "*/15 * * * *", "zone": "Europe/Berlin"},
    {"cron": "30 2 * * *", "zone": "America/New_York"},
    {"cron": "0 0 * * *", "zone": "Mars/Olympus"},
)


class Planner:
    """Commands about two schedules."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(f"schedules {plan.seed}")

    def next(self, new_id: Callable[[], bytes]) -> c.AnyCommand | None:
        """The next command; None: nothing this time."""
        chance = self._chance
        if chance.random() >= _OFTEN:
            return None
        name = chance.choice("ab")
        carried: dict[str, Any] = {"id": new_id(), "tid": "planner", "schedule_id": ids.schedule_id(ALICE, name)}
        word = chance.choice(("put", "put", "put", "pause", "resume", "trigger", "backfill", "delete"))
        match word:
            case "put":
                return c.PutSchedule(**carried, schedule=self._schedule(ALICE, name))
            case "trigger":
                return c.RunSchedule(**carried, overlap=chance.choice((None, *Overlap)))
            case "backfill":
                times = tuple(BEGIN_MS + number * _HOUR_MS for number in range(chance.choice((1, 3, 12))))
                return c.RunSchedule(**carried, times=times)
            case _:
                return c.ChangeSchedule(**carried, change=word)

    def _schedule(self, user_id: bytes, name: str) -> c.NewSchedule:
        chance = self._chance
        subject = chance.choice((b'"{scheduled_at}"', b'"always the same"'))
        return c.NewSchedule(
            user_id=user_id,
            name=name,
            workflow=c.NewWorkflow(user_id=user_id, name="scheduled", subject=subject, decider="D"),
            node=self._plan.new_node(f"{SCHEDULED}-{name}", type="decision"),
            overlap=chance.choice(tuple(Overlap)),
            catch_up_seconds=chance.choice((10.0, 3_600.0, 604_800.0)),
            **chance.choice(_TIMES),
        )
