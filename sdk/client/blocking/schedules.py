"""`Schedules` for code without an event loop: every method of it, waiting for its answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack

from backbeat.client.schedules.schedules import OverlapWord, Schedules
from backbeat.client.schedules.views import Schedule
from backbeat.client.signals import RunOptions

if TYPE_CHECKING:
    from backbeat.client.blocking.loop import Loop


class PlainSchedules:
    """The schedules of one client application, each known by its name (`Schedules`)."""

    def __init__(self, schedules: Schedules, loop: Loop) -> None:
        self._schedules = schedules
        self._loop = loop

    def put(
        self,
        name: str,
        workflow: str,
        subject: Any,
        signal: str,
        *,
        cron: str | None = None,
        zone: str | None = None,
        every: float | timedelta | None = None,
        offset: float | timedelta | None = None,
        overlap: OverlapWord | None = None,
        catch_up: float | timedelta | None = None,
        paused: bool | None = None,
        **options: Unpack[RunOptions],
    ) -> Schedule:
        """Make a schedule, or change the one of this name (`Schedules.put`)."""
        return self._loop.run(
            self._schedules.put(
                name,
                workflow,
                subject,
                signal,
                cron=cron,
                zone=zone,
                every=every,
                offset=offset,
                overlap=overlap,
                catch_up=catch_up,
                paused=paused,
                **options,
            )
        )

    def get(self, name: str) -> Schedule:
        """A schedule: what it is, its next and its past runs. NotFound."""
        return self._loop.run(self._schedules.get(name))

    def all(self) -> list[Schedule]:
        """All of them, by name."""
        return self._loop.run(self._schedules.all())

    def pause(self, name: str, note: str = "") -> None:
        """Nothing is due until it is resumed. Runs that are under way go on, queued ones wait."""
        self._loop.run(self._schedules.pause(name, note))

    def resume(self, name: str, note: str = "") -> None:
        """Go on from now: what would have been due meanwhile is not made up for (`backfill` does that)."""
        self._loop.run(self._schedules.resume(name, note))

    def delete(self, name: str) -> None:
        """Forget it. Runs that are under way go on."""
        self._loop.run(self._schedules.delete(name))

    def trigger(self, name: str, *, overlap: OverlapWord | None = None, idempotency_key: str | None = None) -> Schedule:
        """A run now, also of a paused one. `overlap`: as the schedule has it, unless said otherwise."""
        return self._loop.run(self._schedules.trigger(name, overlap=overlap, idempotency_key=idempotency_key))

    def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        *,
        overlap: OverlapWord | None = None,
        idempotency_key: str | None = None,
    ) -> Schedule:
        """A run for each of its times from `start` to `end`, both included; 1,000 at most (`Schedules.backfill`)."""
        filling = self._schedules.backfill(name, start, end, overlap=overlap, idempotency_key=idempotency_key)
        return self._loop.run(filling)
