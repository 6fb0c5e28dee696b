"""Requests about limits; the API's description is made from these structs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from backbeat.streams.core.limits.slots import KEY_CHARACTERS_MAX, LONGER_THAN_ANY_SECONDS

#: A rate in a time of 366 days at most.
_RATE = (
    "^[1-9][0-9]{0,8}/("
    "([1-9][0-9]{0,5})?s"
    "|([1-9][0-9]{0,4}|[1-4][0-9]{5}|5[01][0-9]{4}|52[0-6][0-9]{3}|5270[0-3][0-9]|527040)?min"
    "|([1-9][0-9]{0,2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-7][0-9]|878[0-4])?h"
    "|([1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6])?d"
    ")$"
)
_KEY = "^((subject|metadata|client_data)(\\.[^.\\[\\]]+|\\[[0-9]{1,6}\\])*)?$"
_COUNT_MAX = 2**31 - 1


class NewLimit(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The bounds of an activity from now on; those left out are none."""

    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=_COUNT_MAX)] | None, Meta(description="out at once, at most")
    ] = None
    rate: Annotated[
        Annotated[str, Meta(pattern=_RATE)] | None,
        Meta(description="starts in a time, at most: 5/s, 100/min, 1000/h, 10/30s"),
    ] = None
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=_COUNT_MAX)] | None,
        Meta(description="starts that may come at once after a quiet time (1)"),
    ] = None
    key: Annotated[
        Annotated[str, Meta(pattern=_KEY, max_length=KEY_CHARACTERS_MAX)] | None,
        Meta(description="a path into the node, as metadata.bank: each value there has slots of its own"),
    ] = None
    aging_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=LONGER_THAN_ANY_SECONDS)] | None,
        Meta(description="who waits this long counts as one priority higher (300)"),
    ] = None
    paused: Annotated[bool | None, Meta(description="whether none starts until it is resumed (as it was)")] = None
