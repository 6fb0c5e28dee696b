"""Preferences of a call, from headers that old clients do not send: full values, waiting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backbeat.transport.http_words import PREFER_HEADER, WAIT_SECONDS_MAX, WHOLE_HEADER

_WAIT = re.compile(r"\s*wait\s*=\s*(\d{1,9}(?:\.\d{1,9})?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """Preferences; defaults for old clients."""

    #: True for all fields of nodes and rejections, and for JSON values with their keys unchanged.
    whole: bool = False
    #: Longest wait for a node.
    wait_seconds: float = 0.0


_NONE = Preferences()


def read_preferences(headers: Mapping[str, str]) -> Preferences:
    """Preferences of a call; unknown ones are ignored."""
    if WHOLE_HEADER not in headers and PREFER_HEADER not in headers:
        return _NONE
    matches = (_WAIT.fullmatch(item) for item in headers.get(PREFER_HEADER, "").split(","))
    return Preferences(
        whole=headers.get(WHOLE_HEADER) == "1",
        wait_seconds=min(WAIT_SECONDS_MAX, next((float(match[1]) for match in matches if match), 0.0)),
    )
