"""OpenAPI 3.1 document of the HTTP API, built from the table of routes.

Paths that old clients know are operations of their own, marked as deprecated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from backbeat.gateway.api.search import STALE_HEADER
from backbeat.gateway.http import transaction_id
from backbeat.gateway.http.access.authentication import CLIENT_HEADER
from backbeat.gateway.http.parameters import DEPTH_MAX, FORM_FIELDS_MAX
from backbeat.gateway.http.routing import Access, Route
from backbeat.gateway.openapi.calls import CALLS, PATH_EXAMPLES
from backbeat.gateway.openapi.operation_doc import JSON, PLAIN, OperationDoc
from backbeat.gateway.openapi.records import PATH_EXAMPLE
from backbeat.gateway.openapi.schedules import SCHEDULE_SCHEMAS
from backbeat.gateway.openapi.schemas import SCHEMAS as OTHER_SCHEMAS
from backbeat.gateway.openapi.schemas import STATUS_WORDS
from backbeat.gateway.openapi.types import FINGERPRINT, UUID, Schema, ref
from backbeat.gateway.openapi.waits import MESSAGE_SCHEMAS
from backbeat.transport.http_words import NEXT_HEADER, PERSON_HEADER, REASON_HEADER

SCHEMAS = {**OTHER_SCHEMAS, **SCHEDULE_SCHEMAS, **MESSAGE_SCHEMAS}

FORM = "application/x-www-form-urlencoded"

IDEMPOTENCY_HEADER = "Idempotency-Key"
_KEY_CHARACTERS_MAX = 255

_PARAMETER = re.compile(r"{(\w+)}")

#: Rules of every call: text by title.
NOTES: dict[str, str] = {
    "Who calls": (
        "`Client-Id: <user id>` says who calls; a user sees and changes what is its own. A gateway that was started "
        'with `--require-auth-token` also wants `Authorization: Token token="…"` for signals and decisions; with '
        "`--require-auth-token=all` for every call but `/health`, `/heartbeat.txt`, `/openapi.json` and `/docs`."
    ),
    "People": (
        f"A person (`backbeat person`) calls with `{PERSON_HEADER}: <name>` and "
        '`Authorization: Token token="…"`, always with the token; a reader reads, an operator also changes, and '
        "arguments, results and metadata are shown to those alone who may see them (403). With a `Client-Id` the call "
        "is about that user, as if it had called; without, whoever sees all users is told of all of them and changes "
        f"what is anybody's. Every change says why: `{REASON_HEADER}`, percent-encoded, 1 to 500 characters. It is in "
        "the audit before it is done, and cannot be done where it cannot be written there (503)."
    ),
    "Bodies": (
        "JSON, or a form (`a[b]=c` and `a[][b]=c` nest, numeric text counts as a number). Keys may be in camelCase or "
        "snake_case; client data and metadata pass untouched. Null and blank text are as absent, text has no NUL. What "
        "may stand in the body of a call may stand in its query as well. Unknown keys are passed over, and a body that "
        "is JSON but no object counts as empty; the calls about jobs, limits, schedules, retention, dead letters and "
        "reports refuse both, and what is said twice. "
        f"JSON may be nested {DEPTH_MAX} levels deep; a form or a query has at most {FORM_FIELDS_MAX:,} fields."
    ),
    "Paths": (
        "A trailing slash or `.json` is as none; a name at the end of a path about jobs, limits, retention or "
        "schedules keeps its `.json`. Calls about workflows and activities are under `/v2`, too, for old clients: the "
        "operations marked as deprecated. A path that does not exist is 404; one that does not know the method is 405, "
        "and the header `Allow` says which it knows. GET answers HEAD, too."
    ),
    "Repeats": (
        f"A write with an `{IDEMPOTENCY_HEADER}` can be repeated: it gets the first answer again and is done once. The "
        "same key for something else is 422."
    ),
    "Errors": (
        'Errors are {"errorClass", "message"}; 401 alone is {"error":"Unauthorized"}. Nothing is half done. After a '
        "503 with `Backbeat::Timeout` a write may still be applied: repeat it with the same key."
    ),
    "Transaction ids": (
        f"Every answer carries `{transaction_id.HEADER}`, which goes with what the call causes, to webhooks and logs."
    ),
}

_CLIENT, _TOKEN, _PERSON = "client", "token", "person"

_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.OPEN: [{}, {_CLIENT: [], _TOKEN: []}, {_PERSON: [], _TOKEN: []}],
    Access.CLIENT: [{_CLIENT: []}, {_CLIENT: [], _TOKEN: []}, {_PERSON: [], _TOKEN: []}],
    Access.WRITER: [{_CLIENT: []}, {_CLIENT: [], _TOKEN: []}, {_PERSON: [], _TOKEN: []}],
}

_TAGS = (
    "workflows",
    "activities",
    "jobs",
    "limits",
    "schedules",
    "retention",
    "archives",
    "dead-letters",
    "reports",
    "audit",
    "records",
)
_RECORD_PATHS = ("commands", "queries", "schemas")

_REFUSAL_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "TooLarge",
    422: "KeyReused",
    429: "TooManyRequests",
    503: "Unavailable",
}
_REFUSAL_TEXTS = {
    400: (
        "`Backbeat::InvalidParameters`: something is missing, malformed or over a limit; "
        "`ActiveRecord::StatementInvalid`: an id or a search value of the wrong kind; `Backbeat::UnknownStatus`; "
        "`Backbeat::WorkflowComplete`."
    ),
    401: "Client-Id is missing or unknown, or the token is missing or wrong where one is asked for.",
    403: "`Backbeat::Forbidden`: a person who calls lacks the right, or must say which user it is about.",
    404: "There is none, or it is another user's.",
    405: "The path does not know this method.",
    409: (
        "The status does not allow this: `Backbeat::InvalidClientStatusChange`, which says currentStatus and "
        "attemptedStatus, or `Backbeat::InvalidServerStatusChange`."
    ),
    413: "The body is too large, or makes a record that is.",
    422: f"The {IDEMPOTENCY_HEADER} was used for something else.",
    429: "The caller has too many calls under way; nothing was done. Call again after Retry-After, with fewer at once.",
    503: (
        "`Backbeat::Unavailable`: Kafka or the search's database is not there; `Backbeat::Timeout`: the engine did not "
        "answer in time. Ask again later."
    ),
}

_HEADERS: dict[str, dict[str, Any]] = {
    transaction_id.HEADER: {
        "required": True,
        "description": "the call's transaction id: the request's own, or 7 hexadecimal digits",
        "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
    },
    NEXT_HEADER: {
        "description": "where more follow: what to give as `after`, of dead letters as `before`",
        "schema": {"type": "string"},
    },
    STALE_HEADER: {
        "description": "on answers that may miss the newest writes: how many seconds old they may be",
        "schema": {"type": "number"},
    },
    "Retry-After": {"description": "seconds", "schema": {"type": "integer"}},
    "Allow": {"description": "the methods that the path knows", "schema": {"type": "string"}},
}

_PARAMETERS: dict[str, dict[str, Any]] = {
    "Tid": {
        "name": transaction_id.HEADER,
        "in": "header",
        "description": "The call's transaction id; one that is not 1 to 64 printable ASCII characters is passed over.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": IDEMPOTENCY_HEADER,
        "in": "header",
        "description": "Makes a repeat safe: the user's own words, for 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": _KEY_CHARACTERS_MAX},
    },
}


def build(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = CALLS[f"{route.method} {route.path}"]
        for path in (route.path, *route.old_paths):
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backbeat",
            "version": version,
            "description": "\n\n".join(f"## {title}\n\n{text}" for title, text in NOTES.items()),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in (*_TAGS, "other")],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "responses": {name: _refusal(status) for status, name in _REFUSAL_NAMES.items()},
            "securitySchemes": {
                _CLIENT: {"type": "apiKey", "in": "header", "name": CLIENT_HEADER, "description": "The user's id."},
                _PERSON: {
                    "type": "apiKey",
                    "in": "header",
                    "name": PERSON_HEADER,
                    "description": "A person's name (`backbeat person`).",
                },
                _TOKEN: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": 'Token token="…", where the gateway asks for tokens.',
                },
            },
        },
    }


def refusals(route: Route, operation: OperationDoc) -> list[int]:
    """Statuses of a call's refusals. Every call reads its query; only writes and records have a body."""
    statuses = {400, *operation.refusals}
    if route.access is not Access.PUBLIC:
        statuses |= {401, 403, 429, 503}
    if "{id}" in route.path:
        statuses.add(404)
    if route.writes or route.takes_record:
        statuses.add(413)
    if route.writes:
        statuses.add(422)
    return sorted(statuses)


def _operation(route: Route, path: str, doc: OperationDoc) -> dict[str, Any]:
    old = path != route.path
    operation: dict[str, Any] = {
        "operationId": _operation_id(route) + ("_v2" if old else ""),
        "summary": route.summary,
        "tags": [_tag(route)],
        "security": _SECURITY[route.access],
        "parameters": list(_parameters(route, doc)),
        "responses": _responses(route, doc),
    }
    if doc.text:
        operation["description"] = doc.text
    if doc.body is not None:
        operation["requestBody"] = _body(doc.body, doc)
    elif doc.body_media_type is not None:
        operation["requestBody"] = {"required": doc.body_required, "content": {doc.body_media_type: {"schema": {}}}}
    if old:
        operation["deprecated"] = True
    return operation


def _operation_id(route: Route) -> str:
    """Operation id: `post_workflows_id_signal_name`."""
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])


_SUBJECTS = {"workflows": "a workflow", "activities": "an activity", "users": "a user", "jobs": "a job"}


def _tag(route: Route) -> str:
    first = route.path.split("/")[1]
    if first in _RECORD_PATHS:
        return "records"
    return first if first in _TAGS else "other"


def _parameters(route: Route, doc: OperationDoc) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, **_path_parameter(route, name)}
    yield from doc.query
    if route.writes:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
    yield {"$ref": "#/components/parameters/Tid"}


def _path_parameter(route: Route, name: str) -> dict[str, Any]:
    match name:
        case "id":
            collection = route.path.split("/")[1]
            return {"schema": UUID, "description": f"of {_SUBJECTS[collection]}", "example": PATH_EXAMPLES[collection]}
        case "fingerprint":
            return {"schema": FINGERPRINT, "example": PATH_EXAMPLE}
        case "position":
            return {
                "schema": {"type": "string", "pattern": "^[0-9]{1,9}@[0-9]{1,18}$"},
                "example": PATH_EXAMPLES["dead-letters"],
            }
        case "status":
            return {"schema": {"type": "string", "enum": list(STATUS_WORDS)}, "example": "completed"}
        case "name" if _tag(route) == "schedules":
            text = "of a schedule; or its id, where it is there already"
            return {"schema": {"type": "string", "pattern": "\\S"}, "description": text, "example": "nightly report"}
        case _:
            return {"schema": {"type": "string", "pattern": "\\S"}, "example": "charge card"}


def _body(name: str, doc: OperationDoc) -> dict[str, Any]:
    as_form = doc.form or name
    nested = [key for key, value in SCHEMAS[as_form].get("properties", {}).items() if "object" in _kinds(value)]
    form: dict[str, Any] = {"schema": ref(as_form)}
    if nested:
        form["encoding"] = {key: {"style": "deepObject", "explode": True} for key in nested}
    return {
        "required": doc.body_required,
        "content": {JSON: {"schema": ref(name), "example": doc.body_example}, FORM: form},
    }


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _responses(route: Route, doc: OperationDoc) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(doc.status): {
            "description": route.summary,
            "headers": {name: _header(name) for name in (transaction_id.HEADER, *doc.headers)},
            "content": {doc.media_type: {"schema": doc.answer, "example": doc.example}},
        }
    }
    for status in refusals(route, doc):
        responses[str(status)] = {"$ref": f"#/components/responses/{_REFUSAL_NAMES[status]}"}
    if doc.media_type == PLAIN:
        responses["503"] = {
            "description": "Callers should be sent elsewhere.",
            "headers": {transaction_id.HEADER: _header(transaction_id.HEADER)},
            "content": {PLAIN: {"schema": doc.answer, "example": "It's dead, Jim."}},
        }
    return responses


def _refusal(status: int) -> dict[str, Any]:
    headers = {405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}.get(status, ())
    schema = ref("Unauthorized" if status == 401 else "Error")  # noqa: PLR2004 - the status that every client knows
    return {
        "description": _REFUSAL_TEXTS[status],
        "headers": {name: _header(name) for name in (transaction_id.HEADER, *headers)},
        "content": {JSON: {"schema": schema}},
    }


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
