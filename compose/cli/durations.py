"""Times and lengths of time on the command line: `2026-11-24T10:00:00Z`, `30s`, `5m`, `20h`, `1d12h`."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

#: Longer than anybody waits, and than what systems can count: 366 days.
SECONDS_MAX = 31_622_400.0

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_LENGTH = re.compile(rf"(?:{_PART.pattern})+")


class Number(click.FloatRange):
    """A number within bounds. click's own lets "nan" through, which is in no range, and "inf" where none is named."""

    def __init__(self, min: float, max: float = SECONDS_MAX, *, min_open: bool = False) -> None:  # noqa: A002 - click's words
        super().__init__(min=min, max=max, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of an option's text."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class Length(click.ParamType):
    """A length of time, given to the command as a timedelta."""

    name = "length"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | None:
        """The length of an option's text."""
        if isinstance(value, timedelta):
            return value
        length = read_length(value)
        if length is None:
            self.fail(f"{value!r} is no length of time; give for example 30s, 5m, 20h or 1d12h", param, ctx)
        return length


class Moment(click.ParamType):
    """A moment in the past: in ISO 8601 (UTC where it names no zone), or a length of time ago."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """The moment of an option's text."""
        time = _read(self, value, param, ctx)
        try:
            return datetime.now(UTC) - time if isinstance(time, timedelta) else time
        except OverflowError:
            self.fail(f"{value!r} ago there was no calendar", param, ctx)


class Due(click.ParamType):
    """A moment to come: in ISO 8601 (UTC where it names no zone), or a length of time from now.

    A length is left a length: a signal that is repeated with its idempotency key is the same then.
    """

    name = "time"

    def convert(
        self, value: str | datetime | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta | None:
        """The moment, or the length of time, of an option's text."""
        return _read(self, value, param, ctx)


def _read(
    kind: click.ParamType,
    value: str | datetime | timedelta,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> datetime | timedelta:
    time = value if isinstance(value, datetime | timedelta) else read_length(value)
    if time is None:
        time = _read_iso(str(value))
    if time is None:
        kind.fail(
            f"{value!r} is no time; give ISO 8601 (2026-11-24T10:00:00Z), or how far away it is (20h, 1d)", param, ctx
        )
    if isinstance(time, datetime):
        try:
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except OverflowError:
            kind.fail(f"{value!r} is in no year from 1 to 9999 in UTC", param, ctx)
    return time


def _read_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch, as records and the gateway have them."""
    return round(at.timestamp() * 1000)


def iso(at_milliseconds: int) -> str:
    """Milliseconds since the epoch in ISO 8601, UTC."""
    return datetime.fromtimestamp(at_milliseconds / 1000, UTC).isoformat()


def read_length(text: str) -> timedelta | None:
    """A length of time; None where the text is none."""
    if not _LENGTH.fullmatch(text):
        return None
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        return None
