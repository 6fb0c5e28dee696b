"""Operations and schemas of schedules, with examples."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.openapi.operation_doc import OperationDoc, query
from backbeat.gateway.openapi.schemas import BACKOFF_PROPERTIES, NODE_PROPERTIES, SUBJECT, WORD
from backbeat.gateway.openapi.types import (
    TEXT,
    TIME,
    Schema,
    list_of,
    ref,
    request_property,
)
from backbeat.schemas.messages.schedules import (
    BACKFILL_MAX,
    CATCH_UP_SECONDS,
    CATCH_UP_SECONDS_MIN,
    INTERVAL_SECONDS_MIN,
    OVERLAP_WORDS,
    SECONDS_MAX,
)

# --- examples --------------------------------------------------------------------------------------------------------

_USER_ID = "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11"
_WORKFLOW_ID = "5b0c6a52-9a3d-8f2b-9c47-2f6f0a1b3c4d"
_NODE_ID = "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"
_RUN: dict[str, Any] = {
    "scheduledAt": "2026-01-31T01:30:00.000Z",
    "cause": "due",
    "state": "ended",
    "at": "2026-01-31T01:31:12.500Z",
    "startedAt": "2026-01-31T01:30:00.021Z",
    "workflowId": _WORKFLOW_ID,
    "nodeId": _NODE_ID,
    "count": 1,
    "lastAt": None,
}
_REQUEST = {
    "workflow": "Reports",
    "subject": "night of {scheduled_at}",
    "signal": "Make report",
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
    "client_data": {"name": "Make report", "params": ["all shops"]},
}
_SCHEDULE: dict[str, Any] = {
    "id": "9a8b7c6d-5e4f-8a3b-9c2d-1e0f9a8b7c6d",
    "name": "nightly report",
    "userId": _USER_ID,
    "workflow": "Reports",
    "subject": "night of {scheduled_at}",
    "decider": "Reports",
    "signal": "Make report",
    "clientId": _USER_ID,
    "clientData": {"name": "Make report", "params": ["all shops"]},
    "metadata": {},
    "retries": 6,
    "backoff": 1200.0,
    "priority": None,
    "fairnessKey": None,
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
    "interval": None,
    "offset": 0.0,
    "overlap": "skip",
    "catchUp": CATCH_UP_SECONDS,
    "paused": False,
    "note": "",
    "problem": "",
    "createdAt": "2026-01-30T12:00:00.000Z",
    "updatedAt": "2026-01-30T12:00:00.000Z",
    "after": "2026-01-31T01:30:00.000Z",
    "nextAt": "2026-02-01T01:30:00.000Z",
    "nextRuns": ["2026-02-01T01:30:00.000Z", "2026-02-02T01:30:00.000Z"],
    "started": 1,
    "skipped": 0,
    "missed": 0,
    "running": [],
    "queued": [],
    "queuedCount": 0,
    "past": [_RUN],
}

# --- schemas ---------------------------------------------------------------------------------------------------------

_OVERLAP: Schema = {"type": "string", "enum": list(OVERLAP_WORDS)}


def _seconds(least: float, description: str) -> Schema:
    # Text in a form: a part of the numbers that are accepted.
    text = "^[1-9][0-9]{1,7}$"
    return request_property(
        {"type": ["number", "string"], "minimum": least, "maximum": SECONDS_MAX, "pattern": text}, description
    )


_NEW: Schema = {
    "type": "object",
    "required": ["workflow", "subject", "signal"],
    "oneOf": [{"required": ["cron"]}, {"required": ["interval"]}],
    "additionalProperties": False,
    "properties": {
        "workflow": {**WORD, "description": "the name of the workflows that are signalled, found or made"},
        "subject": {
            **SUBJECT,
            "description": f"{SUBJECT['description']}. In it, {{scheduled_at}} stands for the run's time",
        },
        "signal": {**WORD, "description": "the name of the signal"},
        "decider": request_property(WORD, "of workflows that are new (the workflow's name)"),
        "cron": request_property(
            {"type": "string", "pattern": "^[0-9A-Za-z*,/#-]+( +[0-9A-Za-z*,/#-]+){4}$", "maxLength": 256},
            "five fields: minute, hour, day of month, month, day of week",
        ),
        "zone": request_property(
            {"type": "string", "pattern": "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "maxLength": 64},
            "the IANA name of the time zone that the fields are read in (UTC)",
        ),
        "interval": _seconds(INTERVAL_SECONDS_MIN, "seconds from one run to the next, instead of a cron expression"),
        "offset": _seconds(0, "intervals are counted from so many seconds after the epoch (0)"),
        "overlap": request_property(
            _OVERLAP, "what is done with a run that is due while an earlier one has not ended (skip)"
        ),
        "catch_up": _seconds(
            CATCH_UP_SECONDS_MIN, f"a run that is later than so many seconds is missed ({CATCH_UP_SECONDS:,.0f})"
        ),
        "metadata": request_property({"type": "object"}, "kept with each run's signal, which adds what run it is"),
        "paused": request_property({"type": "boolean"}, "whether it is paused; without a word it stays as it is"),
        "client": request_property(WORD, "name or id of the client application that runs it (the caller)"),
        "retries": NODE_PROPERTIES["retry"],
        "backoff": {
            **NODE_PROPERTIES["retry_interval"],
            "description": "seconds until the first retry (1200)",
        },
        **BACKOFF_PROPERTIES,
        **{name: NODE_PROPERTIES[name] for name in ("client_data", "priority", "fairness_key")},
    },
}

_RANGE: dict[str, Schema] = {
    "start": {**TIME, "description": "the first time that may be run"},
    "end": {**TIME, "description": "the last one"},
    "overlap": request_property(_OVERLAP, "queue, unless said otherwise"),
}

SCHEDULE_SCHEMAS: dict[str, Schema] = {
    "NewSchedule": _NEW,
    "NewScheduleAsForm": {
        **_NEW,
        "properties": {
            **_NEW["properties"],
            "subject": {**WORD, "description": "text; or an object, as subject[shop]=17"},
        },
    },
    "Trigger": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"overlap": request_property(_OVERLAP, "as the schedule has it, unless said otherwise")},
    },
    "Backfill": {
        "type": "object",
        "oneOf": [
            {"required": ["start", "end"], "properties": {"times": False}},
            {"required": ["times"], "properties": {"start": False, "end": False}},
        ],
        "additionalProperties": False,
        "properties": {
            **_RANGE,
            "times": {**list_of(TIME), "minItems": 1, "description": "instead: the times, one by one"},
        },
    },
    "BackfillAsForm": {
        "type": "object",
        "required": ["start", "end"],
        "additionalProperties": False,
        "properties": _RANGE,
    },
}

# --- calls -----------------------------------------------------------------------------------------------------------

_NO_BODY = "It takes no body."
_NOTE = (query("note", TEXT, "why; kept with the schedule"),)

SCHEDULES: dict[str, OperationDoc] = {
    "GET /schedules": OperationDoc(text="Sorted by name.", answer=list_of(ref("Schedule")), example=[_SCHEDULE]),
    "PUT /schedules/{name}": OperationDoc(
        text=(
            "At each of its times the workflow is signalled. Said again, it is changed, and keeps what it has done. "
            "Either `cron` or `interval` says when. Its signals take what a signal takes, without time and link, "
            "by the SDK's words: `retries`, `backoff`, `client`."
        ),
        answer=ref("Schedule"),
        example=_SCHEDULE,
        body="NewSchedule",
        form="NewScheduleAsForm",
        body_required=True,
        body_example=_REQUEST,
    ),
    "GET /schedules/{name}": OperationDoc(answer=ref("Schedule"), example=_SCHEDULE, refusals=(404,)),
    "DELETE /schedules/{name}": OperationDoc(
        text=_NO_BODY, answer=ref("Success"), example={"success": True}, refusals=(404,)
    ),
    "PUT /schedules/{name}/pause": OperationDoc(
        text=f"{_NO_BODY} What runs goes on, what is queued waits.",
        query=_NOTE,
        answer=ref("Success"),
        example={"success": True},
        refusals=(404,),
    ),
    "PUT /schedules/{name}/resume": OperationDoc(
        text=f"{_NO_BODY} What would have been due while it was paused is not made up for.",
        query=_NOTE,
        answer=ref("Success"),
        example={"success": True},
        refusals=(404,),
    ),
    "POST /schedules/{name}/trigger": OperationDoc(
        text="Also of a paused schedule.",
        answer=ref("Schedule"),
        example=_SCHEDULE,
        body="Trigger",
        body_example={"overlap": "allow"},
        refusals=(404,),
    ),
    "POST /schedules/{name}/backfill": OperationDoc(
        text=(
            f"A run for each of its times from `start` to `end`, both included, whether it was run before or not; "
            f"{BACKFILL_MAX:,} at most. 400 where there is none."
        ),
        answer=ref("Schedule"),
        example=_SCHEDULE,
        body="Backfill",
        form="BackfillAsForm",
        body_required=True,
        body_example={"start": "2026-01-29T00:00:00Z", "end": "2026-01-31T00:00:00Z"},
        refusals=(404,),
    ),
}
