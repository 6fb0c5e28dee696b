"""Operations of records by method and path, with examples."""

from __future__ import annotations

from backbeat.gateway.api.record_rules import COMMANDS, QUERIES, names
from backbeat.gateway.http.routing import Access
from backbeat.gateway.openapi.operation_doc import OperationDoc
from backbeat.schemas.bodies import MEDIA_TYPE

_BODY = (
    "The body is one record in Avro's single-object encoding (C3 01, the schema's fingerprint, Avro binary; schemas "
    "and fields: docs/reference/wire.md), and so is each reply. Before a reply stands its length, 4 bytes, big-endian; "
    "the last one says so (`last`). `user_id` is the caller, whatever the record says; `reply_to` and `source` are "
    "not read."
)
_REPLIES = {"description": "replies, each preceded by its length"}
PATH_EXAMPLE = "9fbb58f20b853791"

RECORDS: dict[str, OperationDoc] = {
    "POST /commands": OperationDoc(
        text=f"{_BODY} Taken are {names(COMMANDS)}. An `Idempotency-Key`, percent-encoded, makes the command's id; the "
        "same key over Kafka is the same command. For the token, where signals do, ask "
        f"{names(kind for kind, rule in COMMANDS.items() if rule.access is Access.WRITER)}.",
        answer=_REPLIES,
        example="",
        media_type=MEDIA_TYPE,
        body_media_type=MEDIA_TYPE,
        body_required=True,
        refusals=(404, 409),
    ),
    "POST /queries": OperationDoc(
        text=f"{_BODY} Answered are {names(QUERIES)}; a `partition` of -1 asks every partition, in their order. A "
        "large tree comes as it is read; what the engine refuses after its beginning is the last reply. `deadline` is "
        "not read: a WaitNode waits as long as the header `Prefer: wait=…` says.",
        answer=_REPLIES,
        example="",
        media_type=MEDIA_TYPE,
        body_media_type=MEDIA_TYPE,
        body_required=True,
        refusals=(404,),
    ),
    "GET /schemas/{fingerprint}": OperationDoc(
        text="Of this version or an older one, with all its types inside: who meets a record of a fingerprint that it "
        "does not know reads it by this.",
        answer={"type": "object", "required": ["type", "name", "fields"]},
        example={"type": "record", "name": "NodeReply", "namespace": "backbeat", "fields": []},
        refusals=(404,),
    ),
}
