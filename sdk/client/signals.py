"""A signal, from what a caller says to the command; and how a repeat of a command with a key is recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict

import msgspec

from backbeat.payload.values import (
    Arguments,
    Id,
    When,
    check_node,
    seconds,
    to_client_data,
    to_coalesce,
    to_id,
    to_metadata,
    to_milliseconds,
    to_priority,
    to_subject,
    to_text,
)
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, NewNode, NewWorkflow, Signal


class RunOptions(TypedDict, total=False):
    """What may be said of a signal beside workflow, subject and name, whenever it is sent."""

    #: Who decides what is to be done; the workflow's name if nothing is given. One that is there keeps its own.
    decider: str | None
    #: The handler's arguments: a list, or a mapping of keyword arguments.
    args: Arguments
    #: The whole of the client data, instead of `args`.
    client_data: Mapping[str, Any] | None
    #: Notes, for searches.
    metadata: Mapping[str, Any] | None
    #: How many times it is tried again when it fails.
    retries: int | None
    #: How long it waits before it is tried again, at first; it doubles later.
    retry_interval_seconds: float | timedelta | None
    #: How long its worker has to answer.
    timeout_seconds: float | timedelta | None
    #: The client application that runs it, if it is another than the caller.
    client: str | None
    #: Among nodes that wait for the same limit: 1 goes first, 5 last. Its children inherit it.
    priority: int | None
    #: Nodes of one priority that wait for the same limit take turns by it. Its children inherit it.
    fairness_key: str | None


class SignalOptions(RunOptions, total=False):
    """What may be said of a signal beside workflow, subject and name."""

    #: Not before this time, or this long from now.
    fires_at: When | None
    #: A repeat with the same key gives the same node; the same key with another signal is refused.
    idempotency_key: str | None
    #: A node that does not complete before this signal does.
    link: Id | None
    #: A signal of the same workflow and key that was not sent to its worker yet, and this one, become one.
    coalesce_key: str | None
    #: Which of the two remains: `replace` (the usual), the new one, at its own time; `drop`, the one that waits.
    coalesce: Literal["replace", "drop"]


#: The options of a signal, and of one that a schedule sends.
SIGNAL_WORDS = tuple(SignalOptions.__annotations__)
RUN_WORDS = tuple(RunOptions.__annotations__)


def make_workflow(user_id: bytes, name: str, subject: Any, decider: str | None) -> NewWorkflow:
    """What a workflow is found by, or made from."""
    to_text("The workflow's name", name)
    if decider is not None:
        to_text("decider", decider, may_be_empty=True)
    return NewWorkflow(user_id=user_id, name=name, subject=to_subject(subject), decider=decider or name)


def make_signal(
    *,
    user_id: bytes,
    runs_it: bytes,
    command_id: bytes,
    tid: str,
    workflow: NewWorkflow,
    name: str,
    options: SignalOptions,
    now: float,
    packed: Any = None,
    hashes_arguments: bool = True,
) -> Signal:
    """The command; `runs_it` is the id of the client application that runs the node, `now` seconds since the epoch.

    `packed` stands for the arguments where they went through a codec or a store (`backbeat.payload.payload_codec`).
    """
    retries, interval = options.get("retries"), options.get("retry_interval_seconds")
    interval = None if interval is None else seconds(interval, "retry_interval_seconds")
    check_node(name, retries, interval)
    optional: dict[str, Any] = {}
    if retries is not None:
        optional["retries"] = retries
    if interval is not None:
        optional["retry_interval_seconds"] = interval
    for word in ("fairness_key", "coalesce_key"):
        if options.get(word) is not None:
            to_text(word, options.get(word), may_be_empty=True)
    link = options.get("link")
    fires_at = options.get("fires_at")
    node = NewNode(
        name=name,
        user_id=runs_it,
        type="decision",
        client_data=to_client_data(
            name,
            options.get("args", ()),
            options.get("client_data"),
            options.get("timeout_seconds"),
            None if packed is None else lambda _, __: packed,
        ),
        metadata=to_metadata(options.get("metadata")),
        fires_at=None if fires_at is None else to_milliseconds(fires_at, now),
        parent_link_id=None if link is None else to_id(link),
        priority=to_priority(options.get("priority")),
        fairness_key=options.get("fairness_key"),
        **optional,
    )
    signal = Signal(
        id=command_id,
        user_id=user_id,
        tid=tid,
        workflow_id=ids.workflow_id(user_id, workflow.name, workflow.subject),
        node=node,
        workflow=workflow,
        coalesce_key=options.get("coalesce_key"),
        coalesce=to_coalesce(options.get("coalesce", "replace")),
    )
    if options.get("idempotency_key") is None:
        return signal
    hashed = _body_hash(signal, workflow, fires_at, hashes_arguments=hashes_arguments or packed is None)
    return msgspec.structs.replace(signal, body_hash=hashed)


def _body_hash(signal: Signal, workflow: NewWorkflow, fires_at: When | None, *, hashes_arguments: bool) -> bytes:
    """What was asked, the same for a repeat: a time that counts from now is not the moment that it comes to."""
    node = signal.node
    if isinstance(fires_at, timedelta):
        node = msgspec.structs.replace(node, fires_at=int(fires_at.total_seconds() * 1000))
    if not hashes_arguments:
        node = msgspec.structs.replace(node, client_data=b"")
    asked: tuple[Any, ...] = (node, workflow)
    if signal.coalesce_key is not None:
        asked = (*asked, signal.coalesce_key, signal.coalesce)
    return hashlib.blake2b(msgspec.msgpack.encode(asked), digest_size=16).digest()


def change_hash(command: AnyCommand) -> bytes:
    """What a command with a caller's key asks, the same for a repeat: all of it but who carries it and when."""
    asked = msgspec.structs.asdict(command)
    for name in ("id", "tid", "reply_to", "body_hash", "source"):
        del asked[name]
    return hashlib.blake2b(msgspec.msgpack.encode((type(command).__name__, asked)), digest_size=16).digest()
