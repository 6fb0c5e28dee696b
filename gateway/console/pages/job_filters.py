"""Filters of jobs: in words, as the fields of a form, and from one."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http.parameters import find_id
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


#: Times by their fields in a form, which are those of the lists.
_FORM_TIMES = {
    "since": "status_start",
    "until": "status_end",
    "made_since": "created_start",
    "made_until": "created_end",
}


def fields_of(visit: Visit, job: Job) -> dict[str, str]:
    """Fields that count the same nodes again, or for another action; none for a job over everything."""
    job_filter = job.filter
    fields = {name: text for name in _TEXTS if (text := getattr(job_filter, name)) is not None}
    statuses = {"status": job_filter.current_status, "had": job_filter.past_status}
    fields |= {name: status for name, status in statuses.items() if status}
    for name, of_filter in _FORM_TIMES.items():
        at = getattr(job_filter, of_filter)
        if at is not None:
            fields[name] = time_text(at)
    if job_filter.workflow_id is not None:
        fields["workflow"] = id_text(job_filter.workflow_id)
    if not fields:
        return {}
    client_id, cause = job_filter.client_id or job.user_id, visit.query.get("cause", "")
    client = {} if client_id is None else {"client": visit.client_name(client_id)}
    return {**fields, **client, **({"cause": cause} if cause else {})}


def filter_of_form(visit: Visit) -> JobFilter:
    """The filter that a form says. PageError 400: it says none, or one that is not the visitor's."""
    form = visit.form
    filters: dict[str, Any] = {name: form[name] for name in _TEXTS if form.get(name)}
    if "metadata" in filters:
        visit.refuse_metadata()
    if form.get("workflow"):
        filters["workflow_id"] = find_id(form["workflow"])
        if filters["workflow_id"] is None:
            raise PageError(400, "There is no such workflow", f"{form['workflow'][:40]!r} is no id.")
    for name, of_filter in (("status", "current_status"), ("had", "past_status")):
        if form.get(name):
            filters[of_filter] = form[name]
    for name, of_filter in _FORM_TIMES.items():
        at = visit.time_of(form, name)
        if at is not None:
            filters[of_filter] = at
    if not filters:
        raise PageError(400, "Nothing says which nodes", "Give one filter at least.")
    return JobFilter(client_id=_client_id(visit), **filters)


def _client_id(visit: Visit) -> bytes | None:
    """Client whose nodes a form means; None: all. PageError 400."""
    client = visit.form.get("client")
    if client:
        client_id = visit.client_id(client)
        if client_id is None:
            raise PageError(400, "There is no such client", f"Nobody that you may see is called {client[:60]!r}.")
        return client_id
    if visit.who.clients is None:
        return None
    own = visit.clients()
    if len(own) != 1:
        raise PageError(400, "Nodes of which client?", "Choose one of yours.")
    return own[0].id_bytes
