"""Handlers of the commands of schedules."""

from __future__ import annotations

from backbeat.schemas.messages.commands import ChangeSchedule, PutSchedule, RunSchedule, ScheduleDue
from backbeat.streams.core.schedules import runs
from backbeat.streams.core.step import Handler

HANDLERS: dict[type, Handler] = {
    PutSchedule: runs.put,
    ChangeSchedule: runs.change,
    RunSchedule: runs.trigger,
    ScheduleDue: runs.due,
}
#: A run is linked to its schedule as to a waiting node.
LINK_TARGET = runs.run_ended
