"""Figures that the watch samples, and that bounds may name."""

from __future__ import annotations

from backbeat.compose.drill.load.payments import WAYS

#: Of the load, by its journals.
LOAD_FIGURES = (
    "completed_per_second",
    "taken_per_second",
    "failures_per_second",
    "failures_share",
    "open_payments",
    "oldest_open_seconds",
    "p50_seconds",
    "p99_seconds",
    *(f"silence_{way}_seconds" for way in WAYS),
)
#: Of metrics of all services.
METRICS_FIGURES = (
    "lag_records",
    "command_age_p99_seconds",
    "nodes_completed_per_second",
    "nodes_errored_per_second",
    "dead_letters_per_second",
    "gateway_errors_per_second",
)
FIGURES = (*LOAD_FIGURES, *METRICS_FIGURES)
#: Behind the name of a role whose services have metrics: `engines_answering`, `engine_memory_mebibytes`.
_OF_ROLES = ("s_answering", "_memory_mebibytes")


def role_of(figure: str) -> str:
    """The role that a figure is of; empty: of none."""
    return next((figure.removesuffix(suffix) for suffix in _OF_ROLES if figure.endswith(suffix)), "")


def is_figure(name: str) -> bool:
    """True where the watch samples such a figure, of the load, of metrics or of a role."""
    return name in FIGURES or bool(role_of(name))
