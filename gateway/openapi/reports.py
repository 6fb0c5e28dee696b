"""Operations of the reports and of dead letters, with examples."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.api.operations.audit import ENTRIES_DEFAULT, ENTRIES_MAX
from backbeat.gateway.api.operations.letters import ALL, LIMIT_DEFAULT, LIMIT_MAX
from backbeat.gateway.api.operations.reports import CAUSES_DEFAULT, CAUSES_MAX, STUCK_HOURS_MAX, WINDOW_SECONDS_MAX
from backbeat.gateway.api.search import STALE_HEADER
from backbeat.gateway.api.shapes.reports import FAILURE_GROUPS, FAILURE_KINDS, STUCK_HOURS
from backbeat.gateway.letters.topic import STATES, WAITING
from backbeat.gateway.openapi.operation_doc import OperationDoc, query
from backbeat.gateway.openapi.types import TEXT, TIME, list_of, ref
from backbeat.transport.http_words import NEXT_HEADER

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
_FAILURES: dict[str, Any] = {
    name: _CAUSE[name] for name in ("userId", "activity", "nodes", "workflows", "firstAt", "lastAt")
}
_KINDS = {"exhausted": 398, "errored": 0, "retrying": 1_204, "overdue": 0}
_CAUSES_LIMIT = query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": CAUSES_MAX, "default": CAUSES_DEFAULT},
    "causes or groups, at most",
)
_ONE_KIND = f"({'|'.join(FAILURE_KINDS)})"
_KIND = query(
    "kind",
    {"type": "string", "pattern": f"^{_ONE_KIND}(,{_ONE_KIND})*$"},
    f"only these, apart by commas: {', '.join(FAILURE_KINDS)}; overdue ones wait for a retry whose time has passed",
)
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

_ENTRY: dict[str, Any] = {
    "id": "9f86d081884c7d65",
    "at": "2026-01-31T12:00:00.000Z",
    "actor": "kim",
    "role": "operator",
    "way": "person",
    "address": "10.0.0.17",
    "action": "retry",
    "kind": "node",
    "subjects": ["5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"],
    "subjectName": "charge card",
    "reason": "the bank is back, INC-771",
    "outcome": "done",
    "tid": "3f2a9c1",
}
_ENGINES: dict[str, Any] = {
    "at": _AT,
    "engines": [{"instance": "engine-1", "version": "0.1.0", "since": _AT - 86_400_000, "partitions": [0]}],
    "partitions": [
        {
            "partition": 0,
            "state": "ready",
            "engine": "engine-1",
            "position": 190_211,
            "waiting": 0,
            "restored": 1.0,
            "restoreLeft": 0,
            "timersSoon": 3,
            "timersOverdue": 0,
            "overdueSince": None,
        }
    ],
}
_QUEUES: dict[str, Any] = {
    "at": _AT,
    "engines": [{"instance": "engine-1", "host": "10.0.0.7", "partitions": [0]}],
    "commands": [{"partition": 0, "engine": "engine-1", "waiting": 12, "end": 190_211}],
    "signals": [
        {
            "topic": "backbeat.signals.shop",
            "client": "shop",
            "group": "backbeat-ingest",
            "state": "STABLE",
            "waiting": 0,
        }
    ],
    "activities": [
        {"topic": "backbeat.activities.shop", "client": "shop", "group": "shop", "state": "EMPTY", "waiting": 1_207}
    ],
}

REPORTS: dict[str, OperationDoc] = {
    "GET /audit": OperationDoc(
        text="Newest first, of the newest 20,000 entries. For people alone: a client application gets 403. A person of "
        "some users sees what was done to theirs.",
        answer=list_of(ref("AuditEntry")),
        example=[_ENTRY],
        query=(
            query("by", TEXT, "what this person did"),
            query("of", TEXT, "what was done to the subject of this id, or in this workflow"),
            query("action", TEXT, "of this word: retry, cancel, pause, …"),
            query("since", TIME, "then or later (ISO 8601)"),
            query("until", TIME, "then or earlier"),
            query("before", TEXT, "older ones than the entry of this id: the last of the page before"),
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": ENTRIES_MAX, "default": ENTRIES_DEFAULT},
                "entries, at most",
            ),
        ),
    ),
    "GET /reports/engines": OperationDoc(
        text="Each partition is asked, and answers while it is restored, too; one that is silent for two seconds has "
        "no engine, or it hangs. " + _SCOPE,
        answer=ref("EngineReport"),
        example=_ENGINES,
    ),
    "GET /reports/queues": OperationDoc(
        text="Of all users: it is an operator's. Read from the brokers, and some seconds old. A group that is EMPTY "
        "has no member now: nobody takes what waits.",
        answer=ref("QueueReport"),
        example=_QUEUES,
    ),
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
        example={"at": _AT, "causes": [_CAUSE], "more": 0, "nodes": _CAUSE["nodes"], "kinds": _KINDS},
        query=(_CAUSES_LIMIT, _KIND),
        headers=(STALE_HEADER,),
    ),
    "GET /reports/failures": OperationDoc(
        text="Those that wait for a retry or for a person; those first that need a person. `kinds` counts all of them.",
        answer=ref("Failures"),
        example={"at": _AT, "by": "activity", "groups": [_FAILURES], "more": 0, "kinds": _KINDS},
        query=(
            query(
                "by",
                {"type": "string", "enum": list(FAILURE_GROUPS), "default": FAILURE_GROUPS[0]},
                "what they are grouped by; client is the user that runs them",
            ),
            _CAUSES_LIMIT,
            _KIND,
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

# --- dead letters ----------------------------------------------------------------------------------------------------

POSITION = "0@17"
_LETTER: dict[str, Any] = {
    "position": POSITION,
    "at": "2026-01-31T12:00:00.000Z",
    "state": "waiting",
    "reason": "missing field: decider",
    "topic": "backbeat.signals.shop",
    "source": "backbeat.signals.shop 0@4711",
    "timesRedriven": 0,
    "mark": None,
}
_SETTLED = {"position": POSITION, "wentTo": "backbeat.signals.shop 0@4812", "error": None}
_NEW_SETTLING = {"positions": [POSITION], "note": "the decider is named now"}

LETTERS: dict[str, OperationDoc] = {
    "GET /dead-letters": OperationDoc(
        text="Records of the caller's topics, its signals and its activities, that could not be processed: newest "
        "first, without their contents.",
        answer=list_of(ref("Letter")),
        example=[_LETTER],
        query=(
            query("state", {"type": "string", "enum": [*STATES, ALL], "default": WAITING}, "what became of them"),
            query("reason", TEXT, "contained in the reason, upper and lower case alike"),
            query("topic", TEXT, "the topic that they came from", example="backbeat.signals.shop"),
            query("since", TIME, "refused then or later (ISO 8601; a date will do)"),
            query("until", TIME, "refused before"),
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
                "letters, at most, of each partition",
            ),
            query(
                "before",
                {"type": "string", "pattern": "^([0-9]{1,9}@)?[0-9]{1,18}$"},
                f"only older ones than this position: `{NEXT_HEADER}` of the page before",
            ),
        ),
        headers=(NEXT_HEADER,),
    ),
    "GET /dead-letters/{position}": OperationDoc(
        text="The record decoded where it can be, and as it came.",
        answer=ref("WholeLetter"),
        example=_LETTER
        | {
            "key": "",
            "headers": {},
            "kind": None,
            "content": None,
            "unreadable": "missing field: decider",
            "valueBase64": "e30=",
        },
        refusals=(404,),
    ),
    "POST /dead-letters/redrive": OperationDoc(
        text="To the same topic and partition, with their key, headers and command id: one that was applied already, "
        "or is sent twice, is recognised. One that is refused again comes back as a new letter.",
        answer=list_of(ref("SettledLetter")),
        example=[_SETTLED],
        body="NewSettling",
        form="NewSettlingAsForm",
        body_required=True,
        body_example=_NEW_SETTLING,
        refusals=(404, 413),
    ),
    "POST /dead-letters/drop": OperationDoc(
        text="They are not listed any more, and stay in the topic.",
        answer=list_of(ref("SettledLetter")),
        example=[_SETTLED | {"wentTo": None}],
        body="NewSettling",
        form="NewSettlingAsForm",
        body_required=True,
        body_example=_NEW_SETTLING,
        refusals=(404, 413),
    ),
}
