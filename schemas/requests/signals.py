"""Signal requests: what a service publishes to signal a workflow, checked, and as it stands in Avro."""

from __future__ import annotations

import uuid

import msgspec

from backbeat.schemas.marks import Time
from backbeat.schemas.messages.values import Backoff, Coalesce
from backbeat.schemas.requests import fields
from backbeat.schemas.requests.fields import Headers


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service's signal, checked: what came as text is here as the engine has it."""

    workflow: str
    subject: bytes  #: JSON text, compact UTF-8 (`subject_text`)
    decider: str
    signal: str
    id: str | None = None  #: what a repeat is known by; null: the record's place in its topic
    tid: str | None = None  #: transaction id of the header `backbeat-tid`; null: made from the command's id
    client_data: bytes = b"{}"  #: JSON object
    metadata: bytes = b"{}"  #: JSON object
    fires_at: int | None = None  #: milliseconds since the epoch
    retry: int | None = None  #: null: the engine's default
    retry_interval: float | None = None  #: seconds; null: the engine's default
    backoff: Backoff | None = None  #: how the waits grow from there; null: as the original's
    client_id: bytes | None = None  #: who runs it; null: whose topic it is
    parent_link_id: bytes | None = None
    priority: int | None = None  #: among those that wait for the same limit: 1 goes first, 5 last; null: 3
    fairness_key: str | None = None  #: those of one priority take turns by it
    coalesce_key: str | None = None  #: null: it stands for itself
    coalesce: Coalesce = Coalesce.REPLACE
    beside: bool = False  #: whether it starts at once, beside the workflow's other signals


class SignalRequestRecord(msgspec.Struct, frozen=True):
    """The door for services, on `backbeat.signals.<client>`: find or create a workflow and signal it.

    The topic's name says whose it is. Ids and JSON are text.
    """

    workflow: str  #: name of the workflow
    #: what the workflow is done for: any JSON value as text, so a string has its quotes. Not null, false, blank text,
    #: {} or []
    subject: str
    decider: str  #: the client's word for who decides
    signal: str  #: name of the signal
    #: what the record is known by: a second one of this client with the same id makes no second node; null: the header
    #: `backbeat-id`, else the record's place in the topic
    id: str | None = None
    client_data: str = "{}"  #: JSON object as text, for whoever runs the signal
    metadata: str = "{}"  #: JSON object as text
    fires_at: Time | None = None  #: not to be started before this time, in milliseconds since the epoch; null: at once
    retry: int | None = None  #: how many times it is tried again after an error, 0 or more; null: 6
    #: seconds, 0 or more; null: 1200. Until the first retry where one of the three below is given; else it is
    #: multiplied by 2^max(0, 6 - retries that are left)
    retry_interval: float | None = None
    #: UUID, as text, of the client application that runs the signal; null: the one whose topic it is
    client_id: str | None = None
    #: UUID, as text, of a running node, in any workflow, that can't complete before this signal does; null: none
    parent_link_id: str | None = None
    priority: int | None = None  #: among nodes that wait for the same limit: 1 goes first, 5 last; null: 3
    fairness_key: str | None = None  #: nodes of one priority that wait for the same limit take turns by it; null: none
    #: a signal of the same workflow with the same key that was not sent to its client yet, and this one, become one;
    #: null: it stands for itself
    coalesce_key: str | None = None
    coalesce: Coalesce = Coalesce.REPLACE  #: with a coalesce_key: which of the two remains
    retry_factor: float | None = None  #: how many times as long as the one before each wait is, 1 or more; null: 2
    retry_longest: float | None = None  #: seconds; no wait is longer, before jitter; null: 3600
    retry_jitter: float | None = None  #: share of a wait by which it is longer or shorter, 0 to 1; null: 0.2
    #: whether it starts at once, beside those that wait their turn, and is in nobody's way; else signals take turns
    beside: bool = False


def from_record(record: SignalRequestRecord, headers: Headers | None) -> SignalRequest:
    """A signal request from Avro."""
    header_id, tid = fields.read_headers(headers)
    subject = fields.parsed("subject", record.subject.encode())
    return SignalRequest(
        workflow=fields.word("workflow", record.workflow),
        subject=fields.subject(subject),
        decider=fields.word("decider", record.decider),
        signal=fields.word("signal", record.signal),
        id=record.id or header_id,
        tid=tid,
        client_data=fields.json_object("client_data", record.client_data.strip().encode()),
        metadata=fields.json_object("metadata", record.metadata.strip().encode()),
        fires_at=fields.time_milliseconds(record.fires_at),
        retry=fields.count("retry", record.retry),
        retry_interval=fields.retry_interval(record.retry_interval),
        backoff=fields.backoff(record.retry_factor, record.retry_longest, record.retry_jitter),
        client_id=fields.uuid_bytes("client_id", record.client_id),
        parent_link_id=fields.uuid_bytes("parent_link_id", record.parent_link_id),
        priority=fields.priority(record.priority),
        fairness_key=record.fairness_key,
        coalesce_key=fields.coalesce_key(record.coalesce_key),
        beside=record.beside,
        coalesce=record.coalesce,
    )


def to_record(request: SignalRequest) -> SignalRequestRecord:
    """A signal request as it stands in Avro. Its `tid` travels in a header."""
    return SignalRequestRecord(
        workflow=request.workflow,
        subject=request.subject.decode(),
        decider=request.decider,
        signal=request.signal,
        id=request.id,
        client_data=request.client_data.decode(),
        metadata=request.metadata.decode(),
        fires_at=request.fires_at,
        retry=request.retry,
        retry_interval=request.retry_interval,
        retry_factor=None if request.backoff is None else request.backoff.factor,
        retry_longest=None if request.backoff is None else request.backoff.longest_seconds,
        retry_jitter=None if request.backoff is None else request.backoff.jitter,
        client_id=None if request.client_id is None else str(uuid.UUID(bytes=request.client_id)),
        parent_link_id=None if request.parent_link_id is None else str(uuid.UUID(bytes=request.parent_link_id)),
        priority=request.priority,
        fairness_key=request.fairness_key,
        coalesce_key=request.coalesce_key,
        beside=request.beside,
        coalesce=request.coalesce,
    )
