"""Operations by method and path: parameters, bodies, answers and examples beyond the table of routes."""

from __future__ import annotations

from typing import Any

from backbeat.client.search import COUNT_DEFAULT
from backbeat.gateway.api.search import COUNT_MAX, PER_PAGE_MAX, STALE_HEADER
from backbeat.gateway.http.pages import LIMIT_MAX
from backbeat.gateway.http.presentation import CLIENT_WORDS, SERVER_WORDS
from backbeat.gateway.openapi.jobs import JOB_ID, JOBS
from backbeat.gateway.openapi.limits import LIMITS
from backbeat.gateway.openapi.operation_doc import HTML, PLAIN, OperationDoc, Parameter, Parameters, query
from backbeat.gateway.openapi.records import RECORDS
from backbeat.gateway.openapi.reports import LETTERS, POSITION, REPORTS
from backbeat.gateway.openapi.retention import RETENTION
from backbeat.gateway.openapi.schedules import SCHEDULES
from backbeat.gateway.openapi.schemas import STATUS_WORDS
from backbeat.gateway.openapi.types import FINGERPRINT, TEXT, TIME, UUID, list_of, ref
from backbeat.gateway.openapi.waits import MESSAGES, WAITS
from backbeat.schemas.messages.status import Bucket
from backbeat.transport.http_words import NEXT_HEADER

# --- examples --------------------------------------------------------------------------------------------------------

_USER_ID = "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11"
_WORKFLOW_ID = "5b0c6a52-9a3d-8f2b-9c47-2f6f0a1b3c4d"
_NODE_ID = "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"
_AT = "2026-01-31T12:00:00.000Z"
_SUBJECT = {"order_id": 17}

PATH_EXAMPLES = {
    "workflows": _WORKFLOW_ID,
    "activities": _NODE_ID,
    "users": _USER_ID,
    "jobs": JOB_ID,
    "dead-letters": POSITION,
}

_WORKFLOW = {
    "id": _WORKFLOW_ID,
    "name": "camera purchase",
    "subject": _SUBJECT,
    "decider": "CameraPurchase",
    "userId": _USER_ID,
    "createdAt": _AT,
    "updatedAt": _AT,
    "complete": False,
    "paused": False,
}
_NODE = {
    "id": _NODE_ID,
    "mode": "blocking",
    "name": "charge card",
    "workflowId": _WORKFLOW_ID,
    "parentId": None,
    "userId": _USER_ID,
    "clientData": {"name": "charge card", "params": [17]},
    "metadata": {"shop": "Oslo"},
    "subject": _SUBJECT,
    "decider": "CameraPurchase",
    "workflowName": "camera purchase",
    "currentServerStatus": "sent_to_client",
    "currentClientStatus": "received",
    "createdAt": _AT,
}
_CHANGE = {
    "nodeId": _NODE_ID,
    "fromStatus": "received",
    "toStatus": "errored",
    "statusType": "current_client_status",
    "response": {"error": {"message": "no such card"}},
    "createdAt": _AT,
}
_BRANCH: dict[str, Any] = {
    "id": _NODE_ID,
    "name": "charge card",
    "userId": _USER_ID,
    "subject": {"orderId": 17},
    "mode": "blocking",
    "currentServerStatus": "sent_to_client",
    "currentClientStatus": "received",
    "createdAt": _AT,
    "retryingAt": None,
    "children": [],
}
_TREE = {
    **_BRANCH,
    "id": _WORKFLOW_ID,
    "name": "camera purchase",
    "mode": None,
    "currentServerStatus": None,
    "currentClientStatus": None,
    "children": [_BRANCH],
}
_PRINT = (
    f"\n{_WORKFLOW_ID}\x1b[36m|--\x1b[0mcamera purchase"
    f"\n{_NODE_ID}\x1b[36m   |--\x1b[0m\x1b[33mcharge card - server: sent_to_client, client: received\x1b[0m"
)
_ERROR_ROW = {
    "id": _WORKFLOW_ID,
    "name": "camera purchase",
    "decider": "CameraPurchase",
    "subject": _SUBJECT,
    "user_id": _USER_ID,
    "complete": False,
    "migrated": True,
    "paused": None,
    "created_at": _AT,
    "updated_at": _AT,
}
_STATS = {
    "latency": 0.004,
    "today": {"processed": 120, "failed": 2},
    "processed": 90_210,
    "failed": 31,
    "enqueued": 4,
    "scheduled": 12,
    "retry_size": 1,
}
_SIGNAL = {"name": "charge card", "client_data": {"params": [17]}, "metadata": {"shop": "Oslo"}, "retry": 3}
_DECISIONS = {"decisions": [{"name": "reserve"}, {"name": "send mail", "mode": "fire_and_forget", "retry": 0}]}
_RESPONSE = {"response": {"jsonrpc": "2.0", "result": {"receipt": 4711}, "error": None, "id": None}}
_USER = {"id": _USER_ID, "name": "shop"}

# --- parameters ------------------------------------------------------------------------------------------------------

_IN_WORKFLOW = (query("workflow_id", UUID, "404 for an activity of another workflow than this"),)

_PAGE = (
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
        f"at most so many nodes; where more follow, {NEXT_HEADER} says what to give as `after`. Without: all",
    ),
    query("after", UUID, "the node that the page before ended with"),
)
_STATUSES = (
    query("currentServerStatus", TEXT, f"only nodes at this one of {', '.join(SERVER_WORDS)}"),
    query("currentClientStatus", TEXT, f"only nodes at this one of {', '.join(CLIENT_WORDS)}"),
)


_BUCKETS = ", ".join(Bucket)
_OF_NODES = (
    query("workflow_id", UUID, "a node of this workflow"),
    query("parent_id", UUID, "a node right below this one"),
    query("cause", FINGERPRINT, "a node that has failed with the cause of this id, as `/reports/causes` has it"),
    query("unchanged_since", TIME, "a node none of whose statuses has changed after that"),
)


def _filters(contained: str, example: str, *of_nodes: Parameter) -> Parameters:
    row = "node" if of_nodes else "workflow"
    return (
        *of_nodes,
        query("name", TEXT, "exactly this name"),
        query(contained, TEXT, f"contained in the compact JSON text of the {contained}", example=example),
        query("current_status", TEXT, f"a node is at this server or client status, or is {_BUCKETS}"),
        query("past_status", TEXT, "a node was once changed to this status"),
        query("status_start", TIME, "a node's status was changed then or later (ISO 8601; a date will do)"),
        query("status_end", TIME, "a node's status was changed then or before"),
        query("created_start", TIME, f"the {row} was made then or later"),
        query("created_end", TIME, f"the {row} was made then or before"),
        query("tid", TEXT, "a node was made by the command of this transaction id"),
        query("slot", TEXT, "a node waits for a slot of the limit of this activity of the caller's"),
        query("slot_key", TEXT, "and for one of this key; JSON text, or a string without its quotes"),
    )


def _search(contained: str, example: str, *of_nodes: Parameter) -> Parameters:
    return (
        *_filters(contained, example, *of_nodes),
        query(
            "per_page",
            {"type": "integer", "minimum": 0, "default": 25},
            f"at most {PER_PAGE_MAX:,}; what is no number gives an empty list",
        ),
        query("page", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "default": 1}, "1 is the first"),
        query("last_id", UUID, "only rows that are older than the one of this id"),
    )


_SEARCH_TEXT = "Filters add up; those of status changes hold for one and the same change. No parameter: an empty list."
_COUNT_TEXT = "Filters as those of the search; without any, all count."
_COUNT_BOUND = query(
    "count_max",
    {"type": "integer", "minimum": 1, "maximum": COUNT_MAX, "default": COUNT_DEFAULT},
    "counted up to this: `more` says whether there are more",
)
_NO_BODY = "It takes no body."
_ONCE = "Nothing is changed on a node that is deactivated; with `X-backbeat-whole: 1` it is a 409."

# --- calls -----------------------------------------------------------------------------------------------------------

_WORKFLOWS: dict[str, OperationDoc] = {
    "POST /workflows": OperationDoc(
        text="There is one workflow for a user, a name and a subject: asked again, it answers the same one.",
        status=201,
        answer=ref("Workflow"),
        example=_WORKFLOW,
        body="NewWorkflow",
        form="NewWorkflowAsForm",
        body_required=True,
        body_example={"name": "camera purchase", "subject": _SUBJECT, "decider": "CameraPurchase"},
    ),
    "GET /workflows": OperationDoc(
        text="404 as well where one of the three is missing.",
        answer=ref("Workflow"),
        example=_WORKFLOW,
        query=(
            query("name", TEXT, "the workflow's; or `workflow_type`", example="camera purchase"),
            query("workflow_type", TEXT, "taken where there is no name"),
            query(
                "subject",
                TEXT,
                "its compact JSON text; a string may be given without its quotes",
                required=True,
                example='{"order_id":17}',
            ),
            query("decider", TEXT, "the workflow's", required=True, example="CameraPurchase"),
        ),
        refusals=(404,),
    ),
    "GET /workflows/names": OperationDoc(
        text="Sorted, each once.",
        answer=list_of(TEXT),
        example=["camera purchase"],
        headers=(STALE_HEADER,),
    ),
    "GET /workflows/search": OperationDoc(
        text=f"Newest first; only workflows that have nodes. {_SEARCH_TEXT} "
        "Status filters hold for one and the same node.",
        answer=list_of(ref("Workflow")),
        example=[_WORKFLOW],
        query=_search("subject", "17"),
        headers=(STALE_HEADER,),
    ),
    "GET /workflows/search/count": OperationDoc(
        text=_COUNT_TEXT,
        answer=ref("SearchCount"),
        example={"count": 412, "more": False},
        query=(*_filters("subject", "17"), _COUNT_BOUND),
        headers=(STALE_HEADER,),
    ),
    "GET /workflows/{id}": OperationDoc(answer=ref("Workflow"), example=_WORKFLOW),
    "POST /workflows/{id}/signal": OperationDoc(
        text="A signal is a top-level node, blocking and of type decision. 400 if the workflow is complete.",
        status=201,
        answer=ref("Node"),
        example=_NODE,
        body="NewSignal",
        body_required=True,
        body_example=_SIGNAL,
    ),
    "POST /workflows/{id}/signal/{name}": OperationDoc(
        text="As the call without a name in its path; a name in the body is passed over.",
        status=201,
        answer=ref("Node"),
        example=_NODE,
        body="NewSignalOfName",
        body_example={"client_data": {"params": [17]}},
    ),
    "PUT /workflows/{id}/complete": OperationDoc(text=_NO_BODY, answer=ref("Success"), example={"success": True}),
    "PUT /workflows/{id}/pause": OperationDoc(text=_NO_BODY, answer=ref("Success"), example={"success": True}),
    "PUT /workflows/{id}/resume": OperationDoc(text=_NO_BODY, answer=ref("Success"), example={"success": True}),
    "GET /workflows/{id}/tree": OperationDoc(
        text="In a page, a node whose parent was on an earlier one stands at the top.",
        answer=ref("Tree"),
        example=_TREE,
        query=_PAGE,
        headers=(NEXT_HEADER,),
    ),
    "GET /workflows/{id}/tree/print": OperationDoc(
        answer=ref("Print"), example={"print": _PRINT}, query=_PAGE, headers=(NEXT_HEADER,)
    ),
    "GET /workflows/{id}/children": OperationDoc(
        answer=list_of(ref("Node")), example=[_NODE], query=(*_STATUSES, *_PAGE), headers=(NEXT_HEADER,)
    ),
    "GET /workflows/{id}/nodes": OperationDoc(
        text="In the order in which they were made; a page in the order of the tree.",
        answer=list_of(ref("Node")),
        example=[_NODE],
        query=(*_STATUSES, *_PAGE),
        headers=(NEXT_HEADER,),
    ),
}

_ACTIVITIES: dict[str, OperationDoc] = {
    "GET /activities/search": OperationDoc(
        text=f"Oldest first. {_SEARCH_TEXT}",
        answer=list_of(ref("Node")),
        example=[_NODE],
        query=_search("metadata", "Oslo", *_OF_NODES),
        headers=(STALE_HEADER,),
    ),
    "GET /activities/search/count": OperationDoc(
        text=_COUNT_TEXT,
        answer=ref("SearchCount"),
        example={"count": 10_000, "more": True},
        query=(*_filters("metadata", "Oslo", *_OF_NODES), _COUNT_BOUND),
        headers=(STALE_HEADER,),
    ),
    "GET /activities/{id}": OperationDoc(answer=ref("Node"), example=_NODE, query=_IN_WORKFLOW),
    "GET /activities/{id}/errors": OperationDoc(
        answer=list_of(ref("StatusChange")), example=[_CHANGE], query=_IN_WORKFLOW
    ),
    "GET /activities/{id}/status_changes": OperationDoc(
        text="Oldest first.", answer=list_of(ref("StatusChange")), example=[_CHANGE], query=_IN_WORKFLOW
    ),
    "GET /activities/{id}/response": OperationDoc(
        text="Any JSON value, as it was said; {} of a change without one, null before any change.",
        answer={"description": "any JSON value"},
        example=_RESPONSE["response"],
        query=_IN_WORKFLOW,
    ),
    "PUT /activities/{id}/status/{status}": OperationDoc(
        text=f"{', '.join(STATUS_WORDS)}: deciding is the same as processing, deciding_complete as completed. "
        f"409 for a change that the status does not allow. {_ONCE}",
        answer=ref("Success"),
        example={"success": True},
        query=_IN_WORKFLOW,
        body="NewStatus",
        body_example=_RESPONSE,
        refusals=(409,),
    ),
    "POST /activities/{id}/decisions": OperationDoc(
        text="All or none. 409 where the activity is complete.",
        status=201,
        answer=list_of(UUID),
        example=[_NODE_ID],
        query=_IN_WORKFLOW,
        body="NewDecisions",
        form="NewDecisionsAsForm",
        body_required=True,
        body_example=_DECISIONS,
        refusals=(409,),
    ),
    "PUT /activities/{id}/restart": OperationDoc(
        text=f"{_NO_BODY} A retry that waits is dropped. 409 where the client status cannot become ready. {_ONCE}",
        answer=ref("Success"),
        example={"success": True},
        query=_IN_WORKFLOW,
        refusals=(409,),
    ),
    "PUT /activities/{id}/reset": OperationDoc(
        text=f"{_NO_BODY} {_ONCE}", answer=ref("Success"), example={"success": True}, query=_IN_WORKFLOW
    ),
    "PUT /activities/{id}/schedule": OperationDoc(
        text=_NO_BODY,
        answer={"type": ["boolean", "null"], "enum": [True, None], "description": "null for a deactivated node"},
        example=True,
        query=_IN_WORKFLOW,
    ),
}

_OTHERS: dict[str, OperationDoc] = {
    "GET /users": OperationDoc(text="Sorted by name.", answer=list_of(ref("User")), example=[_USER]),
    "GET /users/{id}": OperationDoc(answer=ref("User"), example=_USER),
    "GET /v2/debug/error_workflows": OperationDoc(
        text="Anybody's workflows, if a node of theirs that the caller runs is errored.",
        answer=list_of(ref("ErrorRow")),
        example=[_ERROR_ROW],
        headers=(STALE_HEADER,),
    ),
    "GET /health": OperationDoc(
        text="Always 200: the gateway itself is there.",
        answer=ref("Health"),
        example={"sha": "0.1.0", "time": _AT, "status": "OK"},
    ),
    "GET /heartbeat.txt": OperationDoc(
        text="503 while the gateway stops, or where an operator takes it out of rotation.",
        answer=TEXT,
        example="We have a pulse.",
        media_type=PLAIN,
    ),
    "GET /sidekiq_stats": OperationDoc(answer=ref("Stats"), example=_STATS),
    "GET /openapi.json": OperationDoc(
        answer={"type": "object", "required": ["openapi", "info", "paths"]},
        example={"openapi": "3.1.0", "info": {"title": "Backbeat", "version": "0.1.0"}, "paths": {}},
    ),
    "GET /docs": OperationDoc(answer=TEXT, example="<!doctype html>", media_type=HTML),
}

CALLS: dict[str, OperationDoc] = {
    **_WORKFLOWS,
    **_ACTIVITIES,
    **JOBS,
    **LETTERS,
    **LIMITS,
    **SCHEDULES,
    **_OTHERS,
    **WAITS,
    **MESSAGES,
    **REPORTS,
    **RECORDS,
    **RETENTION,
}
