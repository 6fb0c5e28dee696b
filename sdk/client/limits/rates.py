"""Rates as people write them: `5/s`, `100/min`, `1000/h`, `10/30s`."""

from __future__ import annotations

import re
from typing import Any

from backbeat.errors import InvalidParameters
from backbeat.schemas.messages.replies import Reason

_RATE = re.compile(r"(?P<count>[1-9][0-9]{0,8})/(?P<times>[1-9][0-9]{0,5})?(?P<unit>s|min|h|d)")
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


def read_rate(text: Any) -> tuple[int, float]:
    """Count and period, in seconds, of a rate. InvalidParameters.

    >>> read_rate("100/min")
    (100, 60.0)
    """
    match = _RATE.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
    if match is None:
        given = repr(text)[:64]
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"{given} is no rate: give 5/s, 100/min, 1000/h or 10/30s", given, "N/unit"
        )
    return int(match["count"]), float(int(match["times"] or 1) * _SECONDS[match["unit"]])


def rate_text(count: int, period_seconds: float) -> str:
    """Text of a rate.

    >>> rate_text(100, 60.0)
    '100/min'
    """
    for unit, seconds in reversed(_SECONDS.items()):
        times, rest = divmod(period_seconds, seconds)
        if not rest and times >= 1:
            return f"{count}/{'' if times == 1 else int(times)}{unit}"
    return f"{count}/{period_seconds:g}s"
