"""Message requests: what a service publishes for a workflow that waits, checked, and as it stands in Avro."""

from __future__ import annotations

import msgspec

from backbeat.schemas.requests import fields
from backbeat.schemas.requests.fields import Headers


class MessageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service's message, checked: what came as text is here as the engine has it."""

    workflow: str
    subject: bytes  #: JSON text, compact UTF-8 (`subject_text`)
    message: str
    value: bytes = b"null"  #: JSON text
    id: str | None = None  #: what a repeat is known by; null: the record's place in its topic
    tid: str | None = None  #: transaction id of the header `backbeat-tid`; null: made from the command's id


class MessageRequestRecord(msgspec.Struct, frozen=True):
    """The door for services, on `backbeat.signals.<client>`: a message for a node of a workflow that waits for one.

    The topic's name says whose workflow it is. JSON is text.
    """

    workflow: str  #: name of the workflow, which has been signalled before
    subject: str  #: what the workflow is done for, as in its SignalRequest
    message: str  #: name of the message; the node that has waited longest for one of this name gets it
    value: str = "null"  #: JSON as text: the result of the node that gets it
    #: what the record is known by: a second one of this client with the same id is no second message; null: the header
    #: `backbeat-id`, else the record's place in the topic
    id: str | None = None


def from_record(record: MessageRequestRecord, headers: Headers | None) -> MessageRequest:
    """A message request from Avro."""
    header_id, tid = fields.read_headers(headers)
    return MessageRequest(
        workflow=fields.word("workflow", record.workflow),
        subject=fields.subject(fields.parsed("subject", record.subject.encode())),
        message=fields.word("message", record.message),
        value=fields.json_value("value", record.value.strip().encode()),
        id=record.id or header_id,
        tid=tid,
    )


def to_record(request: MessageRequest) -> MessageRequestRecord:
    """A message request as it stands in Avro. Its `tid` travels in a header."""
    return MessageRequestRecord(
        workflow=request.workflow,
        subject=request.subject.decode(),
        message=request.message,
        value=request.value.decode(),
        id=request.id,
    )
