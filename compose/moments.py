"""Times and lengths of time on the command line: `2026-11-24T10:00:00Z`, `30s`, `5m`, `20h`, `1d12h`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_LENGTH = re.compile(rf"(?:{_PART.pattern})+")


class Length(click.ParamType):
    """A length of time, given to the command as a timedelta."""

    name = "length"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | None:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        found = read_length(value)
        if found is None:
            self.fail(f"{value!r} is no length of time; give for example 30s, 5m, 20h or 1d12h", param, ctx)
        return found


class Moment(click.ParamType):
    """A moment in the past: in ISO 8601 (UTC where it names no zone), or how long ago."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        """Read it."""
        found = _read(self, value, param, ctx)
        return datetime.now(UTC) - found if isinstance(found, timedelta) else found


class Due(click.ParamType):
    """A moment to come: in ISO 8601 (UTC where it names no zone), or how long from now.

    A length is left a length: a signal that is repeated with its idempotency key says the same then.
    """

    name = "time"

    def convert(
        self, value: str | datetime | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta | None:
        """Read it."""
        return _read(self, value, param, ctx)


def _read(
    kind: click.ParamType,
    value: str | datetime | timedelta,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> datetime | timedelta:
    found = value if isinstance(value, datetime | timedelta) else read_length(value)
    if found is None:
        found = _read_iso(str(value))
    if found is None:
        kind.fail(
            f"{value!r} is no time; give ISO 8601 (2026-11-24T10:00:00Z), or how far away it is (20h, 1d)", param, ctx
        )
    if isinstance(found, datetime) and found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found


def _read_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def read_length(text: str) -> timedelta | None:
    """A length of time; None where the text is none."""
    if not _LENGTH.fullmatch(text):
        return None
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        return None
