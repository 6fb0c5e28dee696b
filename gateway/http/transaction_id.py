"""The transaction id of a call: the request's own or a new one, sent on with all that comes of it, and logged."""

from __future__ import annotations

import random
import re

from backbeat.streams.observe import logs

HEADER = "X-backbeat-tid"

#: The transaction id of the call that is being answered.
current = logs.tid

_OWN = re.compile(r"[!-~]{1,64}")


def choose(own: str | None) -> str:
    """The request's own transaction id if it can be one (1 to 64 printable characters), else a new one."""
    if own is not None and _OWN.fullmatch(own):
        return own
    return f"{random.getrandbits(28):07x}"
