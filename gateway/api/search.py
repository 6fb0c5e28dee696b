"""Calls for searches: from parameters to the projection's filters (behaviour document, section 5, "Search")."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.client.search import COUNT_DEFAULT
from backbeat.gateway.http import errors
from backbeat.gateway.http.access.person import check_right
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import Parameters, find_id
from backbeat.gateway.http.presentation import error_row_json, workflow_json
from backbeat.gateway.http.times import to_milliseconds
from backbeat.gateway.people.visitor import Right
from backbeat.gateway.projection import NodeFilters, Projection, WorkflowFilters
from backbeat.gateway.projection.storage.cause import key_of_id
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX
from backbeat.schemas.messages.json_text import JsonTextError, parse

#: Header: seconds that an answer may be older than the newest writes; only on answers that may be.
STALE_HEADER = "X-backbeat-stale-seconds"
PER_PAGE_MAX = 10_000
COUNT_MAX = 100_000

_PAGE_MAX = 2**31 - 1


async def workflows(call: Call) -> Response:
    """GET /workflows/search: newest first."""
    filters = _workflow_filters(call)
    if filters is None:
        return answer([])
    projection, headers = await freshened(call)
    if call.client is None:
        views = await projection.search_workflows_of(_every_client(call, filters), filters)
    else:
        views = await projection.search_workflows(call.user_id, filters)
    return answer([workflow_json(view) for view in views], headers=headers)


async def nodes(call: Call) -> Response:
    """GET /activities/search: oldest first."""
    filters = _node_filters(call.parameters)
    if filters is None:
        return answer([])
    projection, headers = await freshened(call)
    if call.client is None:
        views = await projection.search_nodes_of(_every_client(call, filters), filters)
    else:
        views = await projection.search_nodes(call.user_id, filters)
    return answer([call.node_json(view) for view in await call.whole_nodes(views)], headers=headers)


async def count_workflows(call: Call) -> Response:
    """GET /workflows/search/count: how many match, up to a bound."""
    filters = _workflow_filters(call) or WorkflowFilters()
    return await _count(call, filters)


async def count_nodes(call: Call) -> Response:
    """GET /activities/search/count, likewise."""
    filters = _node_filters(call.parameters) or NodeFilters()
    return await _count(call, filters)


async def _count(call: Call, filters: WorkflowFilters | NodeFilters) -> Response:
    count_max = call.parameters.whole_number("count_max") if "count_max" in call.parameters else COUNT_DEFAULT
    if count_max is None:
        raise errors.invalid(f"count_max is empty; 1 is the least and {COUNT_MAX} the most")
    if not 1 <= count_max <= COUNT_MAX:
        raise errors.invalid(f"count_max is {count_max}; 1 is the least and {COUNT_MAX} the most")
    user_ids = _every_client(call, filters) if call.client is None else [call.user_id]
    projection, headers = await freshened(call)
    return answer(await projection.count(user_ids, filters, count_max), headers=headers)


def _workflow_filters(call: Call) -> WorkflowFilters | None:
    """Filters of a search for workflows; None: nothing can match, so the answer is empty.

    403: a person who may not see payloads asks for a part of them.
    """
    parameters = call.parameters
    if "slot_key" in parameters and call.person is not None:
        check_right(call.person, Right.PAYLOADS)
    values = read_filters(parameters)
    return None if values is None else WorkflowFilters(subject_contains=parameters.raw_text("subject"), **values)


def _node_filters(parameters: Parameters) -> NodeFilters | None:
    """Filters of a search for nodes; None: nothing can match, so the answer is empty."""
    values = read_filters(parameters)
    if values is None:
        return None
    return NodeFilters(
        metadata_contains=parameters.raw_text("metadata"),
        workflow_id=_id(parameters, "workflow_id"),
        parent_id=_id(parameters, "parent_id"),
        cause=_cause(parameters),
        unchanged_since_ms=_time(parameters, "unchanged_since"),
        **values,
    )


def _every_client(call: Call, filters: WorkflowFilters | NodeFilters) -> list[bytes]:
    """Ids of all clients, for a person who sees them. 400: a page by its number, of which each client has its own."""
    if filters.page > 1:
        raise errors.invalid_value("Over all client applications go on by last_id, instead of page")
    return [client.id_bytes for client in call.engine.registry.all()]


async def names(call: Call) -> Response:
    """GET /workflows/names: names of the caller's workflows, sorted, without duplicates."""
    projection, headers = await freshened(call)
    if call.client is None:
        ids = [client.id_bytes for client in call.engine.registry.all()]
        names_of = [await projection.workflow_names(user_id) for user_id in ids]
        return answer(sorted({name for names in names_of for name in names}), headers=headers)
    return answer(await projection.workflow_names(call.user_id), headers=headers)


async def error_workflows(call: Call) -> Response:
    """GET /v2/debug/error_workflows: workflows of any client with a node of the caller's at client status errored."""
    projection, headers = await freshened(call)
    views = await projection.error_workflows(call.user_id)
    return answer([error_row_json(view) for view in views], headers=headers)


async def freshened(call: Call) -> tuple[Projection, dict[str, str] | None]:
    """The projection with every write answered before; else its staleness as a header."""
    projection = call.services.projection
    stale_seconds = await projection.freshen(call.services.settings.freshen_seconds)
    return projection, {STALE_HEADER: f"{stale_seconds:.1f}"} if stale_seconds else None


def read_filters(parameters: Parameters) -> dict[str, Any] | None:
    """Filters that both searches have; None where the answer is an empty list."""
    if parameters.is_empty:
        return None
    page = _page(parameters)
    per_page = _per_page(parameters)
    if per_page == 0:
        return None
    return {
        "name": parameters.raw_text("name"),
        "current_status": parameters.raw_text("current_status"),
        "past_status": parameters.raw_text("past_status"),
        "status_start_ms": _time(parameters, "status_start"),
        "status_end_ms": _time(parameters, "status_end"),
        "created_start_ms": _time(parameters, "created_start"),
        "created_end_ms": _time(parameters, "created_end"),
        "tid": parameters.raw_text("tid"),
        **_slot(parameters),
        "per_page": per_page,
        "page": page,
        "last_id": _id(parameters, "last_id"),
    }


def _page(parameters: Parameters) -> int:
    text = parameters.raw_text("page")
    if text is None:
        return 1
    page = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0  # noqa: PLR2004 - 2**31's digits
    if not 1 <= page <= _PAGE_MAX:
        raise errors.invalid_value(f"page is {text[:20]!r}; 1 is the first")
    return page


def _per_page(parameters: Parameters) -> int:
    """Rows of a page; 0 if it is not a number: no rows."""
    text = parameters.raw_text("per_page")
    if text is None:
        return WorkflowFilters().per_page
    if text.startswith("-") and text[1:].isdigit():
        raise errors.invalid_value(f"per_page is {text[:20]}")
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:10]), PER_PAGE_MAX)


def _time(parameters: Parameters, name: str) -> int | None:
    text = parameters.raw_text(name)
    if text is None:
        return None
    milliseconds = to_milliseconds(text)
    if milliseconds is None:
        raise errors.invalid_value(f"{name} must be a time that can be read in one way, not {text[:40]!r}")
    return milliseconds


def _slot(parameters: Parameters) -> dict[str, str | None]:
    slot, key = parameters.raw_text("slot"), parameters.raw_text("slot_key")
    if key is not None and slot is None:
        raise errors.invalid_value("slot_key needs slot, the activity whose limit has the key")
    return {"slot": slot, "slot_key": None if key is None else key_text(key)}


def key_text(text: str) -> str:
    """Key of a limit as the engine writes it, compact JSON: what is no JSON, or nested too deep, is a string."""
    try:
        value = parse(text.encode(), JSON_DEPTH_MAX)
    except JsonTextError:
        value = text
    return msgspec.json.encode(value).decode()


def _cause(parameters: Parameters) -> str | None:
    text = parameters.raw_text("cause")
    if text is not None and key_of_id(text) is None:
        raise errors.invalid_value(f"cause must be the id of a cause, as /reports/causes has it, not {text[:40]!r}")
    return text


def _id(parameters: Parameters, name: str) -> bytes | None:
    text = parameters.raw_text(name)
    if text is None:
        return None
    identity = find_id(text)
    if identity is None:
        raise errors.invalid_value(f"{name} must be a UUID, not {text[:40]!r}")
    return identity
