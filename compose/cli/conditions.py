"""Conditions of `--where`: the nodes, or workflows, that a job changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from backbeat.client.words import hint
from backbeat.compose.cli.durations import Moment
from backbeat.compose.cli.filters import STATUSES

#: Keys before the `=`: their filters (`backbeat.client.jobs.jobs.JobOptions`) and meanings.
_FILTERS = {
    "name": ("name", "the node's whole name"),
    "status": ("current_status", "a status that it has now"),
    "past-status": ("past_status", "a status that it once had"),
    "since": ("status_start", "a status changed since: a time, or how long ago"),
    "until": ("status_end", "a status changed before"),
    "error": ("error", "stands in what its last error says"),
    "metadata": ("metadata", "stands in the metadata, as compact JSON"),
    "workflow": ("workflow_name", "the workflow's whole name"),
    "workflow-id": ("workflow_id", "the workflow's id"),
    "subject": ("subject", "stands in the workflow's subject, as compact JSON"),
    "client": ("client", "the client application that runs it, or owns it; with --all-clients"),
    "created-since": ("created_start", "made since: a time, or how long ago"),
    "created-until": ("created_end", "made before"),
}
KEYS = {key: meaning for key, (_, meaning) in _FILTERS.items()}
_KEYS_BY_FILTER = {name: key for key, (name, _) in _FILTERS.items()}
_READ: dict[str, Callable[[str], Any]] = {
    "workflow-id": click.UUID,
    **dict.fromkeys(("since", "until", "created-since", "created-until"), Moment()),
}


def read_conditions(texts: Sequence[str]) -> dict[str, Any]:
    """The conditions of `--where KEY=VALUE …`, as `Jobs.start` takes them."""
    filters: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        key = key.strip().replace("_", "-")
        if not separator:
            raise click.UsageError(f"--where {text!r}: give KEY=VALUE, with one of {', '.join(KEYS)}")
        if key not in _FILTERS:
            raise click.UsageError(f"--where {text!r}: there is no {key!r}: {hint(key, KEYS)}")
        name, _ = _FILTERS[key]
        if name in filters:
            raise click.UsageError(f"--where: {key!r} is given twice; all conditions must hold on one node")
        if key in ("status", "past-status") and value not in STATUSES:
            raise click.UsageError(f"--where: there is no status {value!r}; there are: {', '.join(STATUSES)}")
        filters[name] = _READ[key](value) if key in _READ else value
    return filters


def conditions_text(filters: dict[str, Any]) -> str:
    """A job's filters as the command line has them."""
    return " ".join(f"{_KEYS_BY_FILTER.get(name, name)}={value}" for name, value in filters.items())
