"""Conversion of a record of a signals topic into a command, with its checks.

Independent of Kafka: `backbeat.testing` checks in the same way as the ingest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from backbeat.schemas.codec import decode_request, encode_command
from backbeat.schemas.errors import DecodeError, RegistryError
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import OpenLink, SendMessage, Signal
from backbeat.schemas.messages.json_text import as_response
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import Backoff, NewNode, NewWorkflow
from backbeat.schemas.requests.fields import Headers
from backbeat.schemas.requests.messages import MessageRequest
from backbeat.schemas.requests.signals import SignalRequest

#: Bytes that Kafka adds to a record's value, at most: the batch's header, the key.
_OVERHEAD_BYTES = 32_768


class Admitted(NamedTuple):
    """The record of the commands topic for a request."""

    value: bytes
    key: bytes
    route: bytes  #: the id that gives its partition


@contextmanager
def _defects_as_decode_errors() -> Iterator[None]:
    """Turn any exception of reading or checking a record into a DecodeError: it must not hold up other records."""
    try:
        yield
    except (DecodeError, RegistryError, MemoryError):
        raise
    except Exception as error:
        raise DecodeError(f"defect: {type(error).__name__}: {error}") from error


def admit_request(
    value: bytes | None,
    headers: Headers | None,
    name: str,
    *,
    by_name: Callable[[str], RegisteredClient | None],
    by_id: Callable[[bytes], RegisteredClient | None],
    place: Callable[[], tuple[str, int, int]],
) -> Admitted:
    """The command record for a record of the signals topic of the client `name`. DecodeError, with the reason.

    `place`: topic id, partition and offset of the record; its identity where the service gave no id.
    """
    client = by_name(name)
    if client is None:
        raise DecodeError(f"unknown client {name}")
    with _defects_as_decode_errors():
        request = decode_request(value, headers)
    if isinstance(request, SignalRequest):
        runner = request.client_id
        if runner is not None and by_id(runner) is None:
            raise DecodeError(f"field `client_id` names no client: {runner.hex()}")
    at = place()
    with _defects_as_decode_errors():
        command = command_of(request, client.id_bytes, command_id(request, client.id_bytes, *at))
        encoded = encode_command(command)
    if len(encoded) > topics.RECORD_BYTES_MAX - _OVERHEAD_BYTES:
        raise DecodeError(f"too large: {len(encoded)} bytes as a command")
    if isinstance(command, OpenLink):
        return Admitted(encoded, command.target_id, command.target_id)
    return Admitted(encoded, request.subject, command.workflow_id)


def command_id(
    request: SignalRequest | MessageRequest, client: bytes, topic_id: str, partition: int, offset: int
) -> bytes:
    """The command's id, from the service's id of the record, else from its place in the topic.

    A signal and a message under one id are two commands: services number each by themselves.
    """
    if request.id is None:
        return ids.command_id(topic_id.encode(), partition.to_bytes(4, "big"), offset.to_bytes(8, "big"))
    if isinstance(request, MessageRequest):
        return ids.command_id(client, b"message", request.id.encode())
    return ids.command_id(client, request.id.encode())


def command_of(
    request: SignalRequest | MessageRequest, client: bytes, identity: bytes
) -> Signal | OpenLink | SendMessage:
    """The command for a request: a SendMessage; a Signal; for one with a link, an OpenLink to the link's target."""
    if isinstance(request, MessageRequest):
        return SendMessage(
            id=identity,
            user_id=client,
            tid=request.tid or identity.hex(),
            workflow_id=ids.workflow_id(client, request.workflow, request.subject),
            name=request.message,
            payload=as_response(request.value),
        )
    workflow = NewWorkflow(user_id=client, name=request.workflow, subject=request.subject, decider=request.decider)
    workflow_id = ids.workflow_id(client, workflow.name, workflow.subject)
    node = NewNode(
        name=request.signal,
        user_id=client if request.client_id is None else request.client_id,
        mode=Mode.BLOCKING,
        type="decision",
        client_data=request.client_data,
        metadata=request.metadata,
        fires_at=request.fires_at,
        parent_link_id=request.parent_link_id,
        priority=request.priority,
        fairness_key=request.fairness_key,
    )
    retry_options: dict[str, int | float | Backoff] = {}
    if request.retry is not None:
        retry_options["retries"] = request.retry
    if request.retry_interval is not None:
        retry_options["retry_interval_seconds"] = request.retry_interval
    if request.backoff is not None:
        retry_options["backoff"] = request.backoff
    if retry_options:
        node = msgspec.structs.replace(node, **retry_options)
    tid = request.tid or identity.hex()
    signal = Signal(
        id=identity,
        user_id=client,
        tid=tid,
        workflow_id=workflow_id,
        node=node,
        workflow=workflow,
        link_open=request.parent_link_id is not None,
        coalesce_key=request.coalesce_key,
        coalesce=request.coalesce,
        beside=request.beside,
    )
    if request.parent_link_id is None:
        return signal
    return OpenLink(
        id=identity,
        user_id=client,
        tid=tid,
        target_id=request.parent_link_id,
        child_id=ids.node_id(workflow_id, identity, 0),
        signal=signal,
        strict=True,
    )
