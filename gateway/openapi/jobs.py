"""Operations of jobs, with examples."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.openapi.operation_doc import OperationDoc
from backbeat.gateway.openapi.types import list_of, ref

JOB_ID = "0f6b1a52-1f0d-4f6e-8c53-6d1f0f7d2a10"
_AT = "2026-01-31T12:00:00.000Z"
_JOB: dict[str, Any] = {
    "id": JOB_ID,
    "action": "retry",
    "filter": {
        "name": "charge card",
        "workflowName": None,
        "workflowId": None,
        "clientId": None,
        "subject": None,
        "metadata": None,
        "error": "connection refused",
        "currentStatus": "retries_exhausted",
        "pastStatus": None,
        "statusStart": None,
        "statusEnd": None,
        "createdStart": None,
        "createdEnd": None,
    },
    "response": None,
    "dryRun": False,
    "state": "running",
    "startedAt": _AT,
    "endedAt": None,
    "examined": 120_400,
    "matched": 310,
    "done": 309,
    "refused": 1,
    "matches": [
        {"id": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415", "name": "charge card", "workflowName": "camera purchase"}
    ],
    "refusals": [],
    "note": "the bank is back, INC-771",
    "actor": "kim",
}
_NEW = {"action": "retry", "name": "charge card", "error": "connection refused"}

JOBS: dict[str, OperationDoc] = {
    "POST /jobs": OperationDoc(
        text="The engine does it, in the background: GET the job to see how far it is. What was made after it began is "
        "left alone. Under an id that there is it is the same job, which goes on; another one under that id is 422.",
        status=201,
        answer=ref("Job"),
        example=_JOB,
        body="NewJob",
        body_required=True,
        body_example=_NEW,
    ),
    "GET /jobs": OperationDoc(
        text="Newest first; those that ended within the last 7 days, too.", answer=list_of(ref("Job")), example=[_JOB]
    ),
    "GET /jobs/{id}": OperationDoc(answer=ref("Job"), example=_JOB),
    "PUT /jobs/{id}/stop": OperationDoc(
        text="It takes no body. What is done stays.", answer=ref("Job"), example=_JOB | {"state": "stopped"}
    ),
}
