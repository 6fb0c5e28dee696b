"""Handlers of the commands and timers of jobs."""

from __future__ import annotations

from backbeat.schemas.messages.commands import StartJob, StopJob, WorkJob
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.jobs import slices
from backbeat.streams.core.step import Handler

HANDLERS: dict[type, Handler] = {
    StartJob: slices.start_job,
    StopJob: slices.stop_job,
    WorkJob: slices.work_job,
}
TIMERS: dict[TimerKind, Handler] = {TimerKind.JOB: slices.forget_job}
