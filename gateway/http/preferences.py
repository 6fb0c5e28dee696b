"""What a call's headers ask for beyond what old clients know: whole values, waiting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backbeat.transport.http_words import PREFER_HEADER, WAIT_SECONDS_MAX, WHOLE_HEADER

_WAIT = re.compile(r"\s*wait\s*=\s*(\d{1,9}(?:\.\d{1,9})?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What is asked for; nothing of it by old clients."""

    #: whether nodes and refusals are told whole, and JSON values keep their keys
    whole: bool = False
    #: how long a node may be waited for
    wait_seconds: float = 0.0


_NONE = Preferences()


def read_wishes(headers: Mapping[str, str]) -> Preferences:
    """What the headers ask for; a preference that is not known is passed over."""
    if WHOLE_HEADER not in headers and PREFER_HEADER not in headers:
        return _NONE
    waits = (_WAIT.fullmatch(one) for one in headers.get(PREFER_HEADER, "").split(","))
    return Preferences(
        whole=headers.get(WHOLE_HEADER) == "1",
        wait_seconds=min(WAIT_SECONDS_MAX, next((float(found[1]) for found in waits if found), 0.0)),
    )
