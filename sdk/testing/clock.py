"""The clock of a Backbeat in memory: it stands still until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime

from backbeat.errors import BackbeatError
from backbeat.payload.values import to_datetime


class Clock:
    """Current time of the engine, its timers, its clients and their workers."""

    def __init__(self, start: datetime | None = None) -> None:
        start = datetime.now(UTC) if start is None else start
        if start.tzinfo is None:
            raise BackbeatError(f"the start {start.isoformat()} has no time zone: datetime(…, tzinfo=UTC)")
        #: Milliseconds since the epoch.
        self.milliseconds = int(start.timestamp() * 1000)

    @property
    def now(self) -> datetime:
        """The time as a datetime in UTC."""
        return to_datetime(self.milliseconds)

    def seconds(self) -> float:
        """Seconds since the epoch."""
        return self.milliseconds / 1000

    def move(self, milliseconds: int) -> None:
        """Go forward to this time; a time that is past changes nothing."""
        self.milliseconds = max(self.milliseconds, milliseconds)
