"""All that a list's filter matches, as one job: its fields, or which words of the filter no job can ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backbeat.gateway.console.pages.jobs import NODE_JOBS, WORKFLOW_JOBS
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Visit

_TIMES = {name: name for name in ("made_since", "made_until")}
#: Filters of the lists, as the form of new jobs has them.
_OF_NODES = {
    **{name: name for name in ("client", "name", "status", "had", "since", "until", "workflow")},
    **_TIMES,
    "text": "metadata",
}
_OF_WORKFLOWS = {"client": "client", "name": "workflow_name", "text": "subject", **_TIMES}


class Chip(msgspec.Struct, frozen=True):
    """A filter in force, with the address of the list without it."""

    #: Word of the address.
    name: str
    noun: str
    value: str
    without: str


class Bulk(msgspec.Struct, frozen=True):
    """A job over all that a list's filter matches."""

    #: Fields of the form that counts it.
    fields: dict[str, str]
    #: What may be done: words and labels.
    actions: list[tuple[str, str]]
    #: Filters that no job of these actions has.
    obstacles: list[Chip]
    #: What the filter has to say first; empty: nothing.
    lacks: str


def node_job(visit: Visit, chips: Sequence[Chip]) -> Bulk | None:
    """A job over nodes; None: the visitor may not act."""
    # Which nodes it is about hangs on a status: without one a job of retries would take others than one that cancels.
    lacks = "" if visit.query.get("status") else "a status now"
    return _bulk(visit, chips, _OF_NODES, NODE_JOBS, lacks)


def workflow_job(visit: Visit, chips: Sequence[Chip]) -> Bulk | None:
    """A job over workflows, likewise."""
    # Whose they are says not which.
    lacks = "" if any(chip.name != "client" for chip in chips) else "one filter beside the client"
    return _bulk(visit, chips, _OF_WORKFLOWS, WORKFLOW_JOBS, lacks)


def _bulk(
    visit: Visit,
    chips: Sequence[Chip],
    names: Mapping[str, str],
    jobs: Mapping[str, tuple[str, bool]],
    lacks: str,
) -> Bulk | None:
    if not visit.may_act:
        return None
    # Of statuses a job has single ones, and no bucket of several.
    has_status = visit.query.get("status") in dict(STATUS_CHOICES)
    obstacles = [chip for chip in chips if chip.name not in names or (chip.name == "status" and not has_status)]
    fields = {names[name]: visit.query[name] for name in names if visit.query.get(name)}
    return Bulk(fields, [(word, label) for word, (label, _) in jobs.items()], obstacles, lacks)
