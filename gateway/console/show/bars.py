"""Line of bars: numbers as eight heights of a letter."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def bars(numbers: Sequence[int]) -> str:
    """A letter a number, as high as it is beside the largest."""
    highest = max(numbers, default=0)
    return "".join(_BARS[number * (len(_BARS) - 1) // highest] if highest else _BARS[0] for number in numbers)
