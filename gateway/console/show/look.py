"""Look of pages as a visitor has chosen it: time zone and colours, in a cookie of this browser."""

from __future__ import annotations

from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from zoneinfo import ZoneInfo, available_timezones

import msgspec

COOKIE = "backbeat_ui_look"
COOKIE_SECONDS = 365 * 86_400
THEMES = ("system", "light", "dark")
UTC = "UTC"


class Look(msgspec.Struct, frozen=True):
    """Choices of a visitor."""

    zone: str = UTC
    theme: str = "system"

    @property
    def tzinfo(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.zone)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """IANA names of the time zones that this machine knows."""
    return frozenset({UTC, *available_timezones()})


def read_look(cookies: str) -> Look:
    """The look that a Cookie header asks for; what is not known is as usual."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return Look()
    zone, _, theme = ("" if morsel is None else morsel.value).partition("|")
    return Look(zone if zone in zones() else UTC, theme if theme in THEMES else "system")


def write_look(look: Look, *, is_secure: bool) -> str:
    """The Set-Cookie header. Without a path: that of the page, wherever a proxy has put it."""
    secure = "; Secure" if is_secure else ""
    return f"{COOKIE}={look.zone}|{look.theme}; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
