"""What a call's headers ask for beyond what old clients know: whole values, repeats by the SDK's keys, waiting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backbeat.gateway.http import errors
from backbeat.transport.http_words import ASKED_HEADER, PREFER_HEADER, WAIT_SECONDS_MAX, WHOLE_HEADER

_ASKED = re.compile(r"[0-9a-f]{32}")
_WAIT = re.compile(r"\s*wait\s*=\s*(\d{1,9}(?:\.\d{1,9})?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What is asked for; nothing of it by old clients."""

    #: whether nodes and refusals are told whole, and JSON values keep their keys
    whole: bool = False
    #: what is asked under an Idempotency-Key, as the SDK knows it: 16 bytes
    asked: bytes | None = None
    #: how long a node may be waited for
    wait_seconds: float = 0.0


_NONE = Preferences()


def read_wishes(headers: Mapping[str, str]) -> Preferences:
    """What the headers ask for. 400 for what cannot be; a preference that is not known is passed over."""
    if WHOLE_HEADER not in headers and ASKED_HEADER not in headers and PREFER_HEADER not in headers:
        return _NONE
    asked = headers.get(ASKED_HEADER)
    if asked is not None and _ASKED.fullmatch(asked) is None:
        raise errors.invalid(f"{ASKED_HEADER} has 32 hexadecimal digits")
    waits = (_WAIT.fullmatch(one) for one in headers.get(PREFER_HEADER, "").split(","))
    return Preferences(
        whole=headers.get(WHOLE_HEADER) == "1",
        asked=None if asked is None else bytes.fromhex(asked),
        wait_seconds=min(WAIT_SECONDS_MAX, next((float(found[1]) for found in waits if found), 0.0)),
    )
