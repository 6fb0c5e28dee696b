"""Host names that the console answers to, so that a page of another site cannot reach it through a name of its own."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_LOOPBACK = "localhost"


class Hosts:
    """Loopback names, addresses in figures (no name can be made to point at those), and the names of the settings."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = frozenset(name.lower() for name in names)

    def is_ours(self, host: str | None) -> bool:
        """True for a Host header that the console answers to."""
        if not host:
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == _LOOPBACK or name.endswith(f".{_LOOPBACK}") or name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_same_origin(self, site: str | None, origin: str | None) -> bool:
        """True for a form of our own: by Sec-Fetch-Site, or by Origin where a browser sends no such header."""
        if site is not None:
            return site == "same-origin"
        return origin is not None and "://" in origin and self.is_ours(origin.partition("://")[2])

    @staticmethod
    def is_same_host(host: str | None, site: str | None, origin: str | None) -> bool:
        """True for a form from a page of this very host: an address in figures may be another site's, too."""
        if site is not None:
            return site == "same-origin"
        return origin is not None and host is not None and origin.partition("://")[2] == host.lower()


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+")


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a URL, as a browser's policy names them; None: it is no such URL."""
    parts = url.split("/", 3)
    origin = "/".join(parts[:3])
    is_plain = not any(character.isspace() or character in "\"';,<>" for character in url)
    return origin if _ORIGIN.fullmatch(origin) and is_plain else None


def is_loopback(address: str) -> bool:
    """True for an address that only this machine reaches."""
    if address == _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
