"""Curves of a play: its samples as the report keeps them, with medians before, during and after, and the worst."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from backbeat.compose.drill.report.result import CURVES, PlayResult
from backbeat.compose.drill.watch.bounds import TIME, Sample

_DIGITS = 4
#: Figures of which less is worse.
_LESS_IS_WORSE = ("completed_per_second", "engines_answering")


def add_figures(result: PlayResult, samples: Sequence[Sample], began: float, ended: float) -> None:
    """Add curves, medians and worst values to a play's result."""
    result.times = [round(sample[TIME] - began, 2) for sample in samples]
    spans = [
        [sample for sample in samples if sample[TIME] < began],
        [sample for sample in samples if began <= sample[TIME] < ended],
        [sample for sample in samples if sample[TIME] >= ended],
    ]
    for figure in CURVES:
        values = [sample.get(figure) for sample in samples]
        result.curves[figure] = [None if value is None else _rounded(value) for value in values]
        result.medians[figure] = [_rounded(median(_values(span, figure) or [0.0])) for span in spans]
        during = _values(spans[1], figure)
        if during:
            result.worst[figure] = _rounded(min(during) if figure in _LESS_IS_WORSE else max(during))


def _values(samples: Sequence[Sample], figure: str) -> list[float]:
    return [sample[figure] for sample in samples if figure in sample]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
