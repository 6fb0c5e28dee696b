"""Filters of jobs: in words, as the fields of a form, and from one."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Visit
from backbeat.payload.nouns import time_text
from backbeat.payload.values import id_text
from backbeat.schemas.messages.jobs import Job, JobFilter

_TEXTS = ("name", "workflow_name", "subject", "metadata", "error")
_LABELS = {
    "name": "named",
    "workflow_name": "in workflows named",
    "subject": "whose subject contains",
    "metadata": "whose metadata contains",
    "error": "whose last error contains",
}
_TIMES = {
    "changed since": "status_start",
    "changed until": "status_end",
    "made since": "created_start",
    "made until": "created_end",
}


def in_words(visit: Visit, job: Job) -> list[tuple[str, str]]:
    """A job's filter in words, and whose nodes it is over: pairs of what is asked and of what."""
    job_filter = job.filter
    client_id = job_filter.client_id or job.user_id
    words = [] if client_id is None else [("of", visit.client_name(client_id))]
    words += [(_LABELS[name], value) for name in _TEXTS if (value := getattr(job_filter, name)) is not None]
    if job_filter.workflow_id is not None:
        words.append(("of workflow", id_text(job_filter.workflow_id)))
    statuses = dict(STATUS_CHOICES)
    for noun, status in (("at", job_filter.current_status), ("had status", job_filter.past_status)):
        if status is not None:
            words.append((noun, statuses.get(status, status)))
    words += [(noun, time_text(at)) for noun, name in _TIMES.items() if (at := getattr(job_filter, name)) is not None]
    return words


def fields_of(visit: Visit, job: Job) -> dict[str, str]:
    """Fields that count the same nodes for another action; none where the form of new jobs has not all of them."""
    filters = msgspec.structs.asdict(job.filter)
    texts = {name: text for name in _TEXTS if (text := filters.pop(name)) is not None}
    client_id, status = filters.pop("client_id") or job.user_id, filters.pop("current_status")
    if any(value is not None for value in filters.values()) or not (texts or status):
        return {}
    client = {} if client_id is None else {"client": visit.client_name(client_id)}
    cause = visit.query.get("cause", "")
    return {**texts, **client, **({"status": status} if status else {}), **({"cause": cause} if cause else {})}


def filter_of_form(visit: Visit) -> JobFilter:
    """The filter that a form says. PageError 400: it says none, or one that is not the visitor's."""
    texts: dict[str, Any] = {name: visit.form[name] for name in _TEXTS if visit.form.get(name)}
    if "metadata" in texts:
        visit.refuse_metadata()
    status = visit.form.get("status") or None
    if not texts and status is None:
        raise PageError(400, "Nothing says which nodes", "Give one filter at least.")
    client = visit.form.get("client")
    client_id = None
    if client:
        client_id = visit.client_id(client)
        if client_id is None:
            raise PageError(400, "There is no such client", f"Nobody that you may see is called {client[:60]!r}.")
    elif visit.who.clients is not None:
        own = visit.clients()
        if len(own) != 1:
            raise PageError(400, "Nodes of which client?", "Choose one of yours.")
        client_id = own[0].id_bytes
    return JobFilter(client_id=client_id, current_status=status, **texts)
