"""Operations of limits by method and path, with examples."""

from __future__ import annotations

from backbeat.gateway.openapi.operation_doc import OperationDoc
from backbeat.gateway.openapi.types import list_of, ref

_LIMIT = {
    "clientId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
    "activity": "charge card",
    "concurrency": 3,
    "rate": "100/min",
    "burst": 1,
    "key": "",
    "agingSeconds": 300.0,
    "paused": False,
    "revision": 1,
    "pools": [
        {
            "key": "",
            "out": 3,
            "waiting": [0, 0, 17, 0, 0],
            "oldestAskedAt": "2026-01-31T12:00:00.000Z",
            "nextStartAt": None,
        }
    ],
    "more": False,
}
_NO_BODY = "It takes no body."
_WITHOUT_BODY = OperationDoc(text=_NO_BODY, answer=ref("Limit"), example=_LIMIT)

LIMITS: dict[str, OperationDoc] = {
    "GET /limits": OperationDoc(text="By activity.", answer=list_of(ref("Limit")), example=[_LIMIT]),
    "GET /limits/{activity}": OperationDoc(answer=ref("Limit"), example=_LIMIT, refusals=(404,)),
    "PUT /limits/{activity}": OperationDoc(
        text="Answered when every partition goes by it. What is not said is no bound; without any, and not paused, the "
        "limit is removed.",
        answer=ref("Limit"),
        example=_LIMIT,
        body="NewLimit",
        body_example={"concurrency": 3, "rate": "100/min"},
    ),
    "DELETE /limits/{activity}": _WITHOUT_BODY,
    "PUT /limits/{activity}/pause": _WITHOUT_BODY,
    "PUT /limits/{activity}/resume": _WITHOUT_BODY,
}
