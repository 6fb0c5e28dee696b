"""Operations of retention and archives, with examples."""

from __future__ import annotations

from typing import Any

from backbeat.gateway.api.operations.retention import ENTRIES_DEFAULT, ENTRIES_MAX, NODES_DEFAULT, NODES_MAX
from backbeat.gateway.openapi.operation_doc import OperationDoc, query
from backbeat.gateway.openapi.types import TEXT, UUID, list_of, ref
from backbeat.transport.http_words import NEXT_HEADER

_POLICY: dict[str, Any] = {
    "clientId": "4c5c9f4e-0a7c-4bb0-9a64-6f1d5c0e7a11",
    "client": "shop",
    "workflow": "Camera sale",
    "keepSeconds": 2_592_000.0,
    "archive": True,
    "refuseSeconds": 604_800.0,
    "partitions": 8,
}
_FOLDER = "shop/Camera sale/2026-01-31"
_ARCHIVE = f"{_FOLDER}/5b0c6a52-9a3d-8f2b-9c47-2f6f0a1b3c4d-1769860800000.jsonl.gz"

RETENTION: dict[str, OperationDoc] = {
    "GET /retention": OperationDoc(
        text="By client application and workflow. Workflows without a policy are kept for ever.",
        answer=list_of(ref("Policy")),
        example=[_POLICY],
    ),
    "GET /retention/{workflow}": OperationDoc(answer=ref("Policy"), example=_POLICY, refusals=(404,)),
    "PUT /retention/{workflow}": OperationDoc(
        text="Answered when every partition goes by it. It counts for workflows that are there already.",
        answer=ref("Policy"),
        example=_POLICY,
        body="NewRetention",
        body_required=True,
        body_example={"keep_seconds": 2_592_000},
    ),
    "DELETE /retention/{workflow}": OperationDoc(
        text="Those that wait to be archived are kept, too. It takes no body.",
        answer=ref("Success"),
        example={"success": True},
        refusals=(404,),
    ),
    "GET /archives": OperationDoc(
        text="Archives lie in folders by client application, workflows' name and the day on which the workflow was "
        "made. 404 where this gateway writes none (`--archive-to`).",
        answer=list_of(ref("ArchiveEntry")),
        example=[{"name": f"{_FOLDER}/", "label": "2026-01-31", "isFolder": True}],
        query=(
            query("under", TEXT, "a folder; without: the top", example=_FOLDER),
            query("after", TEXT, f"only those behind this one: `{NEXT_HEADER}` of the page before"),
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": ENTRIES_MAX, "default": ENTRIES_DEFAULT},
                "entries, at most",
            ),
        ),
        headers=(NEXT_HEADER,),
        refusals=(404,),
    ),
    "GET /archives/content": OperationDoc(
        text="Workflow, nodes and status changes with all fields that they had, parents before children.",
        answer=ref("ArchivedWorkflow"),
        example={"client": "shop", "workflow": {"name": "Camera sale"}, "total": 1, "nodes": []},
        query=(
            query("name", TEXT, "the archive's, as `GET /archives` has it", example=_ARCHIVE),
            query("after", UUID, f"only nodes behind this one: `{NEXT_HEADER}` of the page before"),
            query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": NODES_MAX, "default": NODES_DEFAULT},
                "nodes, at most",
            ),
        ),
        headers=(NEXT_HEADER,),
        refusals=(404,),
    ),
}
