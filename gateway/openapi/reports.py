"""Operations of the reports, with examples."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.api.reports import CAUSES_DEFAULT, CAUSES_MAX, STUCK_HOURS_MAX, WINDOW_SECONDS_MAX
from backbeat.gateway.api.search import STALE_HEADER
from backbeat.gateway.api.shapes.reports import STUCK_HOURS
from backbeat.gateway.openapi.operation_doc import OperationDoc, query
from backbeat.gateway.openapi.types import TIME, ref

_SCOPE = "Of all users: it is an operator's. Times in the answer are milliseconds since the epoch."
_USER_ID = "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11"
_AT = 1_769_860_800_000
_ACTIVITY = {
    "userId": _USER_ID,
    "activity": "charge card",
    "nodes": {"scheduled": 3, "sent_to_client": 12, "retrying": 1},
    "completed": 240,
    "errored": 2,
}
_SUMMARY: dict[str, Any] = {
    "at": _AT,
    "workflows": [
        {
            "userId": _USER_ID,
            "workflow": "camera purchase",
            "workflows": 1_200,
            "openWorkflows": 16,
            "nodes": {"processing_children": 16, "complete": 4_720},
        }
    ],
    "activities": [_ACTIVITY | {"completed": 0, "errored": 0}],
    "timers": [{"kind": "start", "ahead": 3, "due": 0, "firstAt": _AT + 60_000}],
    "positions": {"0": 190_211},
}
_CAUSE: dict[str, Any] = {
    "id": "00f3a9c14be27d55",
    "userId": _USER_ID,
    "activity": "charge card",
    "cause": "connection refused by bank-#",
    "sample": "connection refused by bank-7:443",
    "fixed": "connection refused by bank-",
    "nodes": {"retries_exhausted": 398, "errored": 0, "retrying": 1_204},
    "workflows": 1_530,
    "firstAt": _AT - 480_000,
    "lastAt": _AT,
    "lastHour": [0] * 10 + [12, 1_590],
}
_DAILY: dict[str, Any] = {
    "since": _AT - 86_400_000,
    "until": _AT,
    "stuckHours": STUCK_HOURS,
    "workflows": [
        {
            "userId": _USER_ID,
            "workflow": "camera purchase",
            "completed": 4_720,
            "errored": 12,
            "exhausted": 1,
            "inconsistent": {"retries_exhausted": 1},
        }
    ],
}

REPORTS: dict[str, OperationDoc] = {
    "GET /reports/summary": OperationDoc(text=_SCOPE, answer=ref("Summary"), example=_SUMMARY, headers=(STALE_HEADER,)),
    "GET /reports/activities": OperationDoc(
        text=f"{_SCOPE} It costs as much as there is at work, and may be asked every second.",
        answer=ref("Activities"),
        example={"seconds": 10, "activities": [_ACTIVITY]},
        query=(
            query(
                "seconds",
                {"type": "number", "minimum": 0, "maximum": WINDOW_SECONDS_MAX, "default": 0},
                "over how long `completed` and `errored` are counted",
            ),
        ),
        headers=(STALE_HEADER,),
    ),
    "GET /reports/causes": OperationDoc(
        text="Those that wait for a retry or for a person, by their last error without its ids, numbers and quoted "
        "words; those first that need a person. `fixed` is what a job's filter `error` can ask for.",
        answer=ref("Causes"),
        example={"at": _AT, "causes": [_CAUSE], "more": 0, "nodes": _CAUSE["nodes"]},
        query=(
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": CAUSES_MAX, "default": CAUSES_DEFAULT},
                "causes, at most",
            ),
        ),
        headers=(STALE_HEADER,),
    ),
    "GET /reports/daily": OperationDoc(
        text=_SCOPE,
        answer=ref("Daily"),
        example=_DAILY,
        query=(
            query("since", TIME, "from when on; a day before `until` where it is left out"),
            query("until", TIME, "up to when; now where it is left out"),
            query(
                "stuck_hours",
                {"type": "number", "minimum": 0, "maximum": STUCK_HOURS_MAX, "default": STUCK_HOURS},
                "after so long without news a node is inconsistent",
            ),
        ),
        headers=(STALE_HEADER,),
    ),
}
