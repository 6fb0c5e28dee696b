"""What a client asks of schedules: the commands and queries behind `schedules`."""

from __future__ import annotations

from typing import Any, cast

from backbeat.client.schedules.schedules import Schedules, unreadable
from backbeat.client.schedules.views import Schedule
from backbeat.client.signals import RunOptions, SignalOptions
from backbeat.client.workflows import WorkflowCalls
from backbeat.payload.values import to_text
from backbeat.streams.core import commands, ids, queries
from backbeat.streams.core.commands import NewSchedule
from backbeat.streams.engine.cron import RecurrenceError, times_after


class ScheduleCalls(WorkflowCalls):
    """The calls about schedules."""

    @property
    def schedules(self) -> Schedules:
        """Workflows that are signalled at times: `await client.schedules.put("nightly", …)`."""
        return Schedules(self)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def schedule_plan(
        self, name: str, workflow: str, subject: Any, signal: str, options: RunOptions, **given: Any
    ) -> NewSchedule:
        """A schedule as it is asked for. InvalidParameters, also for what no time can be worked out from."""
        to_text("The schedule's name", name)
        # The signal of a run that would be made now: what it is made of is the schedule's.
        made = await self.signal_command(workflow, subject, signal, cast("SignalOptions", options))
        assert made.workflow is not None, "a signal by name says which workflow"
        said = {key: value for key, value in given.items() if value is not None}
        plan = NewSchedule(user_id=self._connected(), name=name, workflow=made.workflow, node=made.node, **said)
        try:
            times_after(plan, int(self._transport.now() * 1000))
        except RecurrenceError as error:
            raise unreadable(error) from error
        return plan

    async def schedule_command(
        self, kind: type[commands.AnyCommand], name: str, key: str | None = None, **fields: Any
    ) -> Any:
        """Send a command about a schedule, and give its answer."""
        command = kind(schedule_id=self._schedule_id(name), **fields, **self._common())  # type: ignore[call-arg]  # of one that has it
        return await self._command(command, f"schedule {name!r}", key)

    async def schedule_by_name(self, name: str) -> Schedule:
        """A schedule as it is now."""
        query = queries.GetSchedule(schedule_id=self._schedule_id(name), **self._asked())
        answers = await self._ask(query, f"schedule {name!r}")
        return Schedule(answers[0])

    async def all_schedules(self) -> list[Schedule]:
        """All of this client application."""
        parts = await self._ask(queries.GetSchedules(partition=queries.ALL_PARTITIONS, **self._asked()), "schedules")
        found = [Schedule(view) for part in parts for view in part.schedules]
        return sorted(found, key=lambda schedule: schedule.name)

    def _schedule_id(self, name: str) -> bytes:
        return ids.schedule_id(self._connected(), to_text("The schedule's name", name))
