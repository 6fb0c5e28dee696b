"""Requests in JSON, as services publish them: signals, and messages for workflows that wait for one."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX
from backbeat.schemas.messages.json_text import JsonTextError, check_depth
from backbeat.schemas.requests import fields
from backbeat.schemas.requests.fields import Headers
from backbeat.schemas.requests.messages import MessageRequest
from backbeat.schemas.requests.signals import SignalRequest

_ABSENT = msgspec.Raw()


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    client_data: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    parent_link_id: str | None = None


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request as it stands in JSON. An explicit null is as absent."""

    subject: Any = None
    decider: str | None = None
    signal: str | None = None
    workflow: str | None = None
    workflow_type: str | None = None  #: as `workflow`: the words of the HTTP API
    name: str | None = None  #: as `workflow`
    id: str | None = None
    client_data: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    options: _Options | None = None
    fires_at: int | str | None = None
    retry: int | None = None
    retry_interval: float | None = None
    client_id: str | None = None
    parent_link_id: str | None = None
    priority: int | None = None
    fairness_key: str | None = None
    coalesce_key: str | None = None
    coalesce: str | None = None
    retry_factor: float | None = None
    retry_longest: float | None = None
    retry_jitter: float | None = None
    beside: bool | None = None
    mode: str | None = None
    message: str | None = None  #: a document with it is a message
    value: msgspec.Raw = _ABSENT


#: Fields of a message.
_OF_MESSAGES = frozenset(("subject", "workflow", "workflow_type", "name", "id", "message", "value"))

_documents = msgspec.json.Decoder(_Document)
#: Levels of a document around what a service puts into it: itself, and its options.
_DOCUMENT_LEVELS = 2


def from_json(value: bytes, headers: Headers | None) -> SignalRequest | MessageRequest:
    """A signal, or with the field `message` a message, from a JSON document. DecodeError."""
    try:
        check_depth(value, JSON_DEPTH_MAX + _DOCUMENT_LEVELS)
        document = _documents.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, JsonTextError) as error:
        raise DecodeError(f"no signal request in JSON: {error}") from error
    return _signal(document, headers) if document.message is None else _message(document, document.message, headers)


def _message(document: _Document, name: str, headers: Headers | None) -> MessageRequest:
    for field in document.__struct_fields__:
        if field not in _OF_MESSAGES and not _is_absent(getattr(document, field)):
            raise DecodeError(f"field `{field}` is a signal's, and field `message` makes it a message: publish two")
    header_id, tid = fields.read_headers(headers)
    return MessageRequest(
        workflow=_workflow(document),
        subject=fields.subject(document.subject),
        message=fields.word("message", name),
        value=fields.json_value("value", bytes(document.value)),
        id=document.id or header_id,
        tid=tid,
    )


def _signal(document: _Document, headers: Headers | None) -> SignalRequest:
    if not _is_absent(document.value):
        raise DecodeError("field `value` is a message's: missing field `message`")
    if document.mode not in (None, "blocking"):
        raise DecodeError(f"field `mode` is {document.mode}, and a signal is always blocking")
    options: _Options | _Document = document.options if document.options is not None else document
    header_id, tid = fields.read_headers(headers)
    return SignalRequest(
        workflow=_workflow(document),
        subject=fields.subject(document.subject),
        decider=fields.word("decider", document.decider),
        signal=fields.word("signal", document.signal),
        id=document.id or header_id,
        tid=tid,
        client_data=fields.json_object("client_data", bytes(options.client_data)),
        metadata=fields.json_object("metadata", bytes(options.metadata)),
        fires_at=fields.time_milliseconds(document.fires_at),
        retry=fields.count("retry", document.retry),
        retry_interval=fields.retry_interval(document.retry_interval),
        backoff=fields.backoff(document.retry_factor, document.retry_longest, document.retry_jitter),
        client_id=fields.uuid_bytes("client_id", document.client_id),
        parent_link_id=fields.uuid_bytes("parent_link_id", options.parent_link_id),
        priority=fields.priority(document.priority),
        fairness_key=document.fairness_key,
        coalesce_key=fields.coalesce_key(document.coalesce_key),
        beside=bool(document.beside),
        coalesce=fields.coalesce_word(document.coalesce),
    )


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, msgspec.Raw) and bytes(value) in (b"", b"null"))


def _workflow(document: _Document) -> str:
    return fields.word("workflow", document.workflow or document.name or document.workflow_type)
