"""Searches, from what a query says to the projection's filters (behaviour document, section 5, "Search")."""

from __future__ import annotations

from typing import Any

from aiohttp.web import Response

from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import Parameters, find_id
from backbeat.gateway.http.presentation import error_row_json, workflow_json
from backbeat.gateway.http.times import to_milliseconds
from backbeat.gateway.projection import NodeFilters, Projection, WorkflowFilters

#: How many seconds older than the newest writes an answer may be; only on answers that may.
STALE_HEADER = "X-backbeat-stale-seconds"
PER_PAGE_MAX = 10_000

_PAGE_MAX = 2**31 - 1


async def workflows(call: Call) -> Response:
    """GET /workflows/search: newest first."""
    said = call.parameters
    values = read_filters(said)
    if values is None:
        return answer([])
    filters = WorkflowFilters(subject_contains=said.raw_text("subject"), **values)
    projection, headers = await freshened(call)
    found = await projection.search_workflows(call.user_id, filters)
    return answer([workflow_json(view) for view in found], headers=headers)


async def nodes(call: Call) -> Response:
    """GET /activities/search: oldest first."""
    said = call.parameters
    values = read_filters(said)
    if values is None:
        return answer([])
    filters = NodeFilters(metadata_contains=said.raw_text("metadata"), **values)
    projection, headers = await freshened(call)
    found = await projection.search_nodes(call.user_id, filters)
    return answer([call.node_json(view) for view in await call.whole_nodes(found)], headers=headers)


async def names(call: Call) -> Response:
    """GET /workflows/names: of the caller's workflows, sorted, once each."""
    projection, headers = await freshened(call)
    return answer(await projection.workflow_names(call.user_id), headers=headers)


async def error_workflows(call: Call) -> Response:
    """GET /v2/debug/error_workflows: workflows, anybody's, with a node of the caller's at client status errored."""
    projection, headers = await freshened(call)
    found = await projection.error_workflows(call.user_id)
    return answer([error_row_json(view) for view in found], headers=headers)


async def freshened(call: Call) -> tuple[Projection, dict[str, str] | None]:
    """The projection with every write that was answered before; else how stale it may be, as a header."""
    projection = call.parts.projection
    stale_seconds = await projection.freshen(call.parts.settings.freshen_seconds)
    return projection, {STALE_HEADER: f"{stale_seconds:.1f}"} if stale_seconds else None


def read_filters(said: Parameters) -> dict[str, Any] | None:
    """What both searches know; None where the answer is an empty list without looking."""
    if said.is_empty:
        return None
    page = _page(said)
    per_page = _per_page(said)
    if per_page == 0:
        return None
    return {
        "name": said.raw_text("name"),
        "current_status": said.raw_text("current_status"),
        "past_status": said.raw_text("past_status"),
        "status_start_ms": _time(said, "status_start"),
        "status_end_ms": _time(said, "status_end"),
        "per_page": per_page,
        "page": page,
        "last_id": _last_id(said),
    }


def _page(said: Parameters) -> int:
    text = said.raw_text("page")
    if text is None:
        return 1
    page = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0  # noqa: PLR2004 - 2**31's digits
    if not 1 <= page <= _PAGE_MAX:
        raise errors.invalid_value(f"page is {text[:20]!r}; 1 is the first")
    return page


def _per_page(said: Parameters) -> int:
    """How many rows a page has; 0: none, since it is no number."""
    text = said.raw_text("per_page")
    if text is None:
        return WorkflowFilters().per_page
    if text.startswith("-") and text[1:].isdigit():
        raise errors.invalid_value(f"per_page is {text[:20]}")
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:10]), PER_PAGE_MAX)


def _time(said: Parameters, name: str) -> int | None:
    text = said.raw_text(name)
    if text is None:
        return None
    found = to_milliseconds(text)
    if found is None:
        raise errors.invalid_value(f"{name} must be a time that can be read in one way, not {text[:40]!r}")
    return found


def _last_id(said: Parameters) -> bytes | None:
    text = said.raw_text("last_id")
    if text is None:
        return None
    found = find_id(text)
    if found is None:
        raise errors.invalid_value(f"last_id must be a UUID, not {text[:40]!r}")
    return found
