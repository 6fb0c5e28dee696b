"""A figure of the benchmark: medians of several runs, every run beside them, and costs by process."""

from collections.abc import Sequence
from statistics import median
from typing import Any

#: A figure's values by their names, as the JSON has them.
Figure = dict[str, Any]


class Costs:
    """Processor milliseconds for each unit (a node, a signal …) of several runs, by process."""

    def __init__(self, unit: str, serving: Sequence[str]) -> None:
        """`serving`: the processes whose costs are added up; those of others are shown beside."""
        self.name = f"cpu_ms_per_{unit}"
        self._serving = serving
        self._runs_by_process: dict[str, list[float]] = {}

    def add(self, cpu_seconds: dict[str, float], units: int) -> str:
        """Add a run, by its processor seconds; its costs as text."""
        for process, seconds in cpu_seconds.items():
            self._runs_by_process.setdefault(process, []).append(seconds / units * 1e3)
        costs_text = ", ".join(f"{process} {runs[-1]:.3f}" for process, runs in self._runs_by_process.items())
        return f"CPU ms {self.totals[-1]:.3f}: {costs_text}"

    @property
    def totals(self) -> list[float]:
        """The sum of each run."""
        return [sum(costs) for costs in zip(*(self._runs_by_process[name] for name in self._serving), strict=True)]

    @property
    def by_process(self) -> dict[str, float]:
        """The median of each process."""
        return {process: round(median(runs), 3) for process, runs in self._runs_by_process.items()}


def medians(*costs: Costs, **runs: tuple[Sequence[float], int]) -> Figure:
    """The figure of several runs: `runs` are the values of each and their decimals, by name."""
    runs |= {cost.name: (cost.totals, 3) for cost in costs}
    return {
        **{name: _rounded(median(values), digits) for name, (values, digits) in runs.items()},
        **{f"{cost.name}_by_process": cost.by_process for cost in costs},
        "runs": {name: [_rounded(value, digits) for value in values] for name, (values, digits) in runs.items()},
    }


def p99(values: Sequence[float]) -> float:
    """The value that one of a hundred exceeds."""
    return sorted(values)[int(len(values) * 0.99) - 1]


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) if digits else round(value)
