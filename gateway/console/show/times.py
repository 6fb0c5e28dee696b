"""Times and lengths of time as pages show them: in UTC, with the distance from now beside them."""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from markupsafe import Markup

from backbeat.payload.nouns import time_text

#: Time zone in which times are shown: that of the visitor whose page is being made.
ZONE: ContextVar[tzinfo] = ContextVar("ZONE", default=UTC)

_DAY_SECONDS = 86_400
_UNITS = ((_DAY_SECONDS, "d"), (3_600, "h"), (60, "min"))


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def length(milliseconds: float) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `5 min 2 s`, `0.4 s`."""
    seconds = abs(milliseconds) / 1_000
    if seconds < 10:  # noqa: PLR2004 - tenths matter below
        return f"{seconds:.1f} s"
    whole = int(seconds)
    parts = []
    for size, unit in _UNITS:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count:,} {unit}")
    if whole or not parts:
        parts.append(f"{whole} s")
    return " ".join(parts[:2])


def distance(milliseconds: int) -> str:
    """`in 5 min 2 s`, `3 h 1 min ago`."""
    ahead = milliseconds - now_ms()
    return f"in {length(ahead)}" if ahead > 0 else f"{length(ahead)} ago"


def local(milliseconds: int, zone: str) -> str:
    """A time in another time zone: `Sat 2026-11-28 02:30 CET`. UTC where this machine does not know the zone."""
    try:
        info: tzinfo = ZoneInfo(zone)
    except (LookupError, ValueError, OSError):
        info = UTC
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, info):%a %Y-%m-%d %H:%M %Z}"
    except (OverflowError, ValueError, OSError):
        # The last hours of the calendar.
        return f"{time_text(milliseconds)[:16].replace('T', ' ')} UTC"


def clock(milliseconds: int) -> str:
    """`13:48:02` today, else `2026-11-28 13:48:02`, in the visitor's time zone."""
    zone = ZONE.get()
    return _clock(milliseconds // 1_000, zone, datetime.now(zone).date())


@lru_cache(maxsize=4096)
def _clock(seconds: int, zone: tzinfo, today: date) -> str:
    try:
        at = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError, OSError):
        # The last hours of the calendar.
        return time_text(seconds * 1_000)[:19].replace("T", " ")
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"


def moment(milliseconds: int | None) -> Markup:
    """A `<time>`: the clock, and the distance as its title. Empty without a time."""
    if milliseconds is None:
        return Markup()
    # Digits and the marks between them, where nothing is to be escaped: a page may have a thousand times.
    utc = time_text(milliseconds)
    title = utc[:-1].replace("T", " ")
    return Markup(f'<time datetime="{utc}" title="{title} UTC">{clock(milliseconds)}</time>')  # noqa: S704 - see above


def ago(milliseconds: int | None) -> Markup:
    """A `<time>` with the clock and the distance beside it."""
    if milliseconds is None:
        return Markup()
    return Markup('{} <span class="quiet">{}</span>').format(moment(milliseconds), distance(milliseconds))
