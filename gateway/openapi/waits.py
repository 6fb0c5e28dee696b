"""Operations of waits, of messages, and of the lists of nodes that have waits, by method and path, with examples."""

from __future__ import annotations

from backbeat.gateway.api.operations.reports import NAMES_DEFAULT, NAMES_MAX, TIMELINE_DEFAULT, TIMELINE_MAX
from backbeat.gateway.api.search import STALE_HEADER
from backbeat.gateway.api.waits import CHILDREN_DEFAULT
from backbeat.gateway.http.pages import LIMIT_MAX
from backbeat.gateway.openapi.operation_doc import OperationDoc, query
from backbeat.gateway.openapi.types import TEXT, UUID, Schema, list_of, ref
from backbeat.transport.http_words import NEXT_HEADER

_EVENT: Schema = {
    "type": "object",
    "description": "each event of the stream",
    "required": ["event", "data"],
    "properties": {"id": TEXT, "event": {"type": "string", "enum": ["change", "place", "missed"]}, "data": TEXT},
}
_AT = "2026-01-31T12:00:00.000Z"
_WAIT = {
    "kind": "backoff",
    "sentence": "waits for its next retry, 2026-01-31 12:20:00 UTC: attempt 2 of 7",
    "since": _AT,
    "until": "2026-01-31T12:20:00.000Z",
    "nodeId": None,
    "count": 0,
}
_CHILD = {
    "id": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30416",
    "parentId": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415",
    "userId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
    "name": "charge card",
    "mode": "non_blocking",
    "type": "activity",
    "currentServerStatus": "retrying",
    "currentClientStatus": "errored",
    "createdAt": _AT,
    "changedAt": _AT,
    "attempt": 1,
    "retriesRemaining": 5,
    "depth": 2,
    "hasChildren": False,
    "childrenOpen": 0,
    "error": "connection refused by bank-7:443",
    "wait": _WAIT,
}
_PAGE = (
    query(
        "limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": CHILDREN_DEFAULT}, "nodes, at most"
    ),
    query("after", UUID, "the child behind which the page begins: `X-backbeat-next` of the page before"),
    query("first", UUID, "the child with which the page begins"),
)

_LINE = {
    "id": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30416",
    "parentId": None,
    "userId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
    "name": "charge card",
    "createdAt": 1_769_860_800_000,
    "endedAt": 1_769_860_861_000,
    "spans": [
        {"kind": "client", "from": 1_769_860_800_000, "to": 1_769_860_801_000},
        {"kind": "backoff", "from": 1_769_860_801_000, "to": 1_769_860_861_000},
    ],
    "errors": [1_769_860_801_000],
    "hasChildren": False,
}

_GROUP = {
    "userId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
    "name": "charge card",
    "total": 99_980,
    "from": 1_769_860_800_000,
    "to": 1_769_860_900_000,
    "open": [999 * min(part, 99 - part) for part in range(100)],
}

WAITS: dict[str, OperationDoc] = {
    "GET /workflows/{id}/timeline": OperationDoc(
        text="How long each of the nodes at the top, or right below one, waited, was with its client, was tried again; "
        "and the critical path. From the search: it may miss the newest writes.",
        answer=ref("Timeline"),
        example={
            "at": 1_769_860_900_000,
            "nodes": [_LINE],
            "groups": [_GROUP],
            "next": None,
            "criticalPath": [_LINE],
        },
        query=(
            query("below", UUID, "the node whose children are wanted; without: those at the top"),
            query("after", UUID, "the node behind which the page begins: `next` of the page before"),
            query(
                "fold",
                {"type": "boolean", "default": False},
                "true: children of one name, from 50 on, are a group: how many of them were open when",
            ),
            query("name", TEXT, "of the nodes right `below` one those with exactly this name; they are not folded"),
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": TIMELINE_MAX, "default": TIMELINE_DEFAULT},
                "nodes, at most",
            ),
        ),
        headers=(STALE_HEADER,),
    ),
    "GET /activities/{id}/waits": OperationDoc(
        text="What holds it up now, then what comes after; empty where it waits for nothing.",
        answer=list_of(ref("Wait")),
        example=[_WAIT],
    ),
    "GET /activities/{id}/children": OperationDoc(
        text="In their order, without their data.",
        answer=list_of(ref("Child")),
        example=[_CHILD],
        query=_PAGE,
        headers=(NEXT_HEADER,),
    ),
    "GET /activities/{id}/child_counts": OperationDoc(
        text="By name and client application, those first of which there are most, each by server status. It costs the "
        "same for five and for 100,000 nodes. From the search: it may miss the newest writes.",
        answer=ref("ChildCounts"),
        example={
            "at": 1_769_860_900_000,
            "total": 99_981,
            "names": [
                {
                    "userId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
                    "name": "charge card",
                    "total": 99_980,
                    "nodes": {"complete": 99_948, "retrying": 20, "retries_exhausted": 12},
                    "firstRetryAt": 1_769_860_914_000,
                }
            ],
            "more": 1,
        },
        query=(
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": NAMES_MAX, "default": NAMES_DEFAULT},
                "names, at most",
            ),
        ),
        headers=(STALE_HEADER,),
    ),
    "GET /activities/{id}/path": OperationDoc(
        text="From the top of its workflow down.", answer=list_of(ref("Child")), example=[_CHILD]
    ),
    "GET /workflows/{id}/changes": OperationDoc(
        text="Events `change`: nodes' server statuses, from now on, or behind the one that the header `Last-Event-ID` "
        "(or `after`) names, as long as that is kept (else an event `missed`); `0` is before the oldest. After 10 "
        "minutes the stream ends: whoever connects anew with the last id misses nothing. 429: the client follows 100 "
        "workflows at this gateway already.",
        answer=_EVENT,
        example={
            "id": "703-0",
            "event": "change",
            "data": '{"id":"703-0","nodeId":"5b0c6a52-9a3d-8e71-a5d0-77c1e2f30416","name":"charge card",'
            '"status":"complete","before":"processing_children","at":"2026-01-31T12:00:00Z"}',
        },
        media_type="text/event-stream",
        query=(query("after", TEXT, "the id of a change, to go on behind it"),),
    ),
    "GET /workflows/{id}/outcome": OperationDoc(
        text="Read from the whole tree. `done` of `total` nodes are complete; `failing` are the steps in its way.",
        answer=ref("Outcome"),
        example={
            "state": "failed",
            "done": 3,
            "total": 4,
            "givenUp": False,
            "failing": [
                {
                    "id": _CHILD["id"],
                    "name": "Charge card",
                    "status": "retries_exhausted",
                    "why": "connection refused; has used up its 7 attempts: it waits until somebody retries, resolves, "
                    "shuts down or cancels it",
                }
            ],
        },
    ),
    "GET /workflows/{id}/top": OperationDoc(
        text="In their order, without their data.",
        answer=list_of(ref("Child")),
        example=[_CHILD],
        query=_PAGE,
        headers=(NEXT_HEADER,),
    ),
}

MESSAGE_SCHEMAS: dict[str, Schema] = {
    "Message": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "value": {"description": "any JSON value: the result of the node that gets it (null where it is not there)"}
        },
    }
}

MESSAGES: dict[str, OperationDoc] = {
    "POST /workflows/{id}/messages/{name}": OperationDoc(
        text="The oldest node that waits for a message of this name has it as its result. Where none waits, the "
        "workflow keeps it for the next one, up to 1,000 messages and 1 MiB. With an Idempotency-Key it counts once.",
        answer=ref("Success"),
        example={"success": True},
        body="Message",
        body_example={"value": {"by": "Grace"}},
    ),
}
