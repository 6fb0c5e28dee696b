"""Sparkline: how a number went, as columns in a line of text."""

from __future__ import annotations

from collections.abc import Sequence

#: Height of the highest column, in the units of the drawing; a column is one wide.
HEIGHT = 16


def spark_path(numbers: Sequence[int]) -> str:
    """Outline of the columns as a path of SVG: each as high as its number is beside the largest, seen if it is any."""
    highest = max(numbers, default=0) or 1
    tops = (HEIGHT - -(-number * HEIGHT // highest) for number in numbers)
    return f"M0 {HEIGHT}{''.join(f'V{top}h1' for top in tops)}V{HEIGHT}z"
