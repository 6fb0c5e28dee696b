"""Transaction id of a call: the request's own or a new one, passed on with its effects, and logged."""

from __future__ import annotations

import random
import re

from backbeat.streams.observe import logs

HEADER = "X-backbeat-tid"

#: Transaction id of the current call.
current = logs.tid

_OWN = re.compile(r"[!-~]{1,64}")


def choose(requested: str | None) -> str:
    """The request's own transaction id if it is valid (1 to 64 printable characters), else a new one."""
    if requested is not None and _OWN.fullmatch(requested):
        return requested
    return f"{random.getrandbits(28):07x}"
