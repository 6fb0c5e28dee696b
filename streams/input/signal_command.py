"""What becomes of a service's signal: it is checked, and is a command or is refused. The ingest asks on Kafka.

Nothing here knows where the record came from, so `backbeat.testing` checks in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from backbeat.schemas.codec import decode_signal, encode_command
from backbeat.schemas.errors import DecodeError, RegistryError
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import OpenLink, Signal
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import NewNode, NewWorkflow
from backbeat.schemas.signals import Headers, SignalRequest

#: What Kafka adds to a record's value at most: its batch's header, its key.
_OVERHEAD_BYTES = 32_768


class Admitted(NamedTuple):
    """A signal as the record of the commands topic that it becomes."""

    value: bytes
    key: bytes
    route: bytes  #: the id that says its partition


@contextmanager
def _one_records_fault() -> Iterator[None]:
    """Whatever reading or checking a record raises is said of that record: it must not hold up the others."""
    try:
        yield
    except (DecodeError, RegistryError, MemoryError):
        raise
    except Exception as error:
        raise DecodeError(f"defect: {type(error).__name__}: {error}") from error


def admit_signal(
    value: bytes | None,
    headers: Headers | None,
    name: str,
    *,
    by_name: Callable[[str], RegisteredClient | None],
    by_id: Callable[[bytes], RegisteredClient | None],
    place: Callable[[], tuple[str, int, int]],
) -> Admitted:
    """A record of the signals topic of the client `name` as a command. DecodeError says why it cannot be one.

    `place` is where the record lies, (topic id, partition, offset): what it is known by if the service gave no id.
    """
    client = by_name(name)
    if client is None:
        raise DecodeError(f"unknown client {name}")
    with _one_records_fault():
        request = decode_signal(value, headers)
    runner = request.client_id
    if runner is not None and by_id(runner) is None:
        raise DecodeError(f"field `client_id` names no client: {runner.hex()}")
    at = place()
    with _one_records_fault():
        command = command_of(request, client.id_bytes, command_id(request, client.id_bytes, *at))
        encoded = encode_command(command)
    if len(encoded) > topics.RECORD_BYTES_MAX - _OVERHEAD_BYTES:
        raise DecodeError(f"too large: {len(encoded)} bytes as a command")
    route = command.workflow_id if isinstance(command, Signal) else command.target_id
    return Admitted(encoded, request.subject if isinstance(command, Signal) else route, route)


def command_id(request: SignalRequest, client: bytes, topic_id: str, partition: int, offset: int) -> bytes:
    """The command's id: what the service calls the record, else the record's place in its topic."""
    if request.id is not None:
        return ids.command_id(client, request.id.encode())
    return ids.command_id(topic_id.encode(), partition.to_bytes(4, "big"), offset.to_bytes(8, "big"))


def command_of(request: SignalRequest, client: bytes, identity: bytes) -> Signal | OpenLink:
    """The command that a service's signal becomes; with a link it goes through the link's target."""
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
    given: dict[str, int | float] = {}
    if request.retry is not None:
        given["retries"] = request.retry
    if request.retry_interval is not None:
        given["retry_interval_seconds"] = request.retry_interval
    if given:
        node = msgspec.structs.replace(node, **given)
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
