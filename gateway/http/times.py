"""Times of old clients: ISO 8601, and other forms that the original's library read.

An ambiguous text is refused, not guessed at: `01/02/2026`, a year of two digits, a zone's name that two zones have, a
time without its day.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import parser

#: Ruby writes a time as `2016-01-01 00:00:00 UTC` or `… +0000`.
_RUBY_ZONE = re.compile(r" (?=[+-]\d{4}$)")
_CHARACTERS_MAX = 64
_WORDED = re.compile(r"[\w ,:/.+-]+", re.ASCII)
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_YEAR_FIRST = re.compile(r"^(\d{4})[/-](\d{1,2})[/-](\d{1,2})(?!\d)")
#: Signed zones: read as ahead of UTC by some and as behind it by others.
_SIGNED = re.compile(r"\b(UTC|GMT)[+-]\d")
_PLACE = re.compile(r" ([A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_-]+){1,2})$")

#: Hours from UTC: zones of RFC 2822, and others whose name is unique.
_HOURS = {
    "UTC": 0,
    "GMT": 0,
    "UT": 0,
    "Z": 0,
    "WET": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "AKST": -9,
    "AKDT": -8,
    "HST": -10,
    "WEST": 1,
    "CET": 1,
    "CEST": 2,
    "EET": 2,
    "EEST": 3,
    "MSK": 3,
    "JST": 9,
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
}
_ZONES = {name: timezone(timedelta(hours=hours)) for name, hours in _HOURS.items()}
#: Defaults for the missing fields of a text: if the results differ, it lacks one that matters.
_DEFAULTS = (datetime(2000, 1, 1), datetime(2013, 11, 23))  # noqa: DTZ001 - the text's zone is added later


def to_milliseconds(text: str) -> int | None:
    """Milliseconds since the epoch, not before it; without a zone: UTC. None if the text is not a time."""
    text = _YEAR_FIRST.sub(_dashed, text.strip(), count=1)
    time = _iso(text) or _worded(text)
    if time is None:
        return None
    try:
        return max(0, round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        return None


def _dashed(date: re.Match[str]) -> str:
    return f"{date[1]}-{date[2]:0>2}-{date[3]:0>2}"


def _iso(text: str) -> datetime | None:
    if text.endswith(" UTC"):
        text = text[:-4] + "+00:00"
    try:
        return datetime.fromisoformat(_RUBY_ZONE.sub("", text))
    except ValueError:
        return None


def _worded(text: str) -> datetime | None:
    """`Sat, 28 Nov 2026 21:14:06 GMT`, `Sat Nov 28 21:14:06 2026`, `2026/11/28 21:14:06 +0000`, `… Europe/Berlin`."""
    if len(text) > _CHARACTERS_MAX or not _WORDED.fullmatch(text) or not _YEAR.search(text) or _SIGNED.search(text):
        return None
    zone = None
    zone_match = _PLACE.search(text)
    if zone_match is not None:
        try:
            zone = ZoneInfo(zone_match[1])
        except (ZoneInfoNotFoundError, ValueError):
            return None
        text = text[: zone_match.start()]
    orders = (False,) if _YEAR_FIRST.match(text) else (False, True)
    readings = {_read(text, default, day_first) for default in _DEFAULTS for day_first in orders}
    time = readings.pop()
    if readings or time is None or (zone is not None and time.tzinfo is not None):
        return None
    return time.replace(tzinfo=zone) if zone is not None else time


def _read(text: str, default: datetime, day_first: bool) -> datetime | None:  # noqa: FBT001 - read in one line above
    try:
        with warnings.catch_warnings():
            # A zone that the parser does not know is left out, with no more than a warning.
            warnings.simplefilter("error", parser.UnknownTimezoneWarning)
            time: datetime = parser.parse(text, default=default, dayfirst=day_first, tzinfos=_ZONES)
    except (ValueError, OverflowError, parser.UnknownTimezoneWarning):
        return None
    return time
