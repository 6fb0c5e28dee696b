"""Signals: their options, the command made from them, and the hash by which a repeat under a key is recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from backbeat.activities.retry import RetryOptions, child_rule
from backbeat.payload.values import (
    Arguments,
    Id,
    When,
    to_client_data,
    to_coalesce,
    to_flag,
    to_id,
    to_metadata,
    to_milliseconds,
    to_priority,
    to_subject,
    to_text,
)
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.values import Backoff, FollowUp, NewNode, NewWorkflow

if TYPE_CHECKING:
    from backbeat.activities.definition import Followed


class RunOptions(RetryOptions, total=False):
    """Options of a signal, whenever it is sent."""

    #: The workflow's decider, by default its name. A workflow that is there keeps its own.
    decider: str | None
    #: The handler's arguments: a list, or a mapping of keyword arguments.
    args: Arguments
    #: The whole of the client data, instead of `args`.
    client_data: Mapping[str, Any] | None
    #: Notes, for searches.
    metadata: Mapping[str, Any] | None
    #: Time that its worker has to answer, in seconds; by default the engine's setting.
    timeout: float | timedelta | None
    #: The client application that runs it, if it is another than the caller.
    client: str | None
    #: Among nodes that wait for the same limit: 1 goes first, 5 last. Its children inherit it.
    priority: int | None
    #: Nodes of one priority that wait for the same limit take turns by it. Its children inherit it.
    fairness_key: str | None


class SignalOptions(RunOptions, total=False):
    """Options of a signal that is sent now."""

    #: Activities that handle its failure, and run when it is canceled (`backbeat.activities.ActivityOptions`).
    on_failure: Followed | None
    on_cancel: Followed | None
    #: Earliest start: an aware datetime, or a timedelta from now.
    at: When | None
    #: A repeat with the same key gives the same node; the same key with another signal is refused.
    idempotency_key: str | None
    #: A node that does not complete before this signal does.
    link: Id | None
    #: A signal of the same workflow and key that was not sent to its worker yet, and this one, become one.
    coalesce_key: str | None
    #: The one that remains: `replace` (the usual), the new one, at its own time; `drop`, the one that waits.
    coalesce: Literal["replace", "drop"]
    #: Start at once, beside the signals that wait their turn in the workflow, and in nobody's way.
    beside: bool


#: The options of a signal, and of one that a schedule sends.
SIGNAL_WORDS = tuple(SignalOptions.__annotations__)
#: Fields that came after keys, and what they are where nothing is said: a repeat by an older client has the same hash.
_LATER: dict[str, tuple[Any, ...]] = {
    "backoff": (None, Backoff()),
    "takes": ((),),
    "failures_allowed": (0,),
    "attempt_of": (None,),
    "retry_after_seconds": (None,),
    "attempted": (True,),
    "returns": (None,),
    "awaits": (None,),
    "follow_ups": ((),),
    "gives_up": (False,),
    "compensate": (False,),
}
RUN_WORDS = tuple(RunOptions.__annotations__)


def make_workflow(user_id: bytes, name: str, subject: Any, decider: str | None) -> NewWorkflow:
    """A workflow as commands name it: found by these, or made from them."""
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
    follow_ups: tuple[FollowUp, ...] = (),
) -> Signal:
    """The command; `runs_it` is the id of the client application that runs the node, `now` seconds since the epoch.

    `packed` stands for the arguments where they went through a codec or a store (`backbeat.payload.payload_codec`).
    """
    to_text("A name", name)
    for word in ("fairness_key", "coalesce_key"):
        if options.get(word) is not None:
            to_text(word, options.get(word), may_be_empty=True)
    link, at = options.get("link"), options.get("at")
    node = NewNode(
        name=name,
        user_id=runs_it,
        type="decision",
        client_data=to_client_data(
            name,
            options.get("args", ()),
            options.get("client_data"),
            options.get("timeout"),
            None if packed is None else lambda _, __: packed,
        ),
        metadata=to_metadata(options.get("metadata")),
        fires_at=None if at is None else to_milliseconds(at, now),
        parent_link_id=None if link is None else to_id(link, "link"),
        priority=to_priority(options.get("priority")),
        fairness_key=options.get("fairness_key"),
        follow_ups=follow_ups,
        **child_rule(options).fields,
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
        beside=to_flag("beside", options.get("beside")),
    )
    if options.get("idempotency_key") is None:
        return signal
    hashed = _body_hash(signal, workflow, at, hashes_arguments=hashes_arguments or packed is None)
    return msgspec.structs.replace(signal, body_hash=hashed)


def _body_hash(signal: Signal, workflow: NewWorkflow, at: When | None, *, hashes_arguments: bool) -> bytes:
    """Hash of the request, the same for a repeat: a time that counts from now is not the moment that it comes to."""
    node = signal.node
    if isinstance(at, timedelta):
        node = msgspec.structs.replace(node, fires_at=int(at.total_seconds() * 1000))
    if not hashes_arguments:
        follow_ups = tuple(msgspec.structs.replace(follow_up, client_data=b"") for follow_up in node.follow_ups)
        node = msgspec.structs.replace(node, client_data=b"", follow_ups=follow_ups)
    fields = _as_sent_before(node)
    request: tuple[Any, ...] = (fields, workflow)
    if signal.coalesce_key is not None:
        request = (*request, signal.coalesce_key, signal.coalesce)
    if signal.beside:
        request = (*request, "beside")
    return hashlib.blake2b(msgspec.msgpack.encode(request), digest_size=16).digest()


def _as_sent_before(struct: msgspec.Struct) -> dict[str, Any]:
    """Fields of a command or node, without those that clients of before do not know and that say nothing here."""
    fields = msgspec.structs.asdict(struct)
    return {name: value for name, value in fields.items() if name not in _LATER or value not in _LATER[name]}


def change_hash(command: AnyCommand) -> bytes:
    """Hash of a command with a caller's key, the same for a repeat: of all its fields but who carries it and when."""
    fields = _as_sent_before(command)
    for name in ("id", "tid", "reply_to", "body_hash", "source"):
        del fields[name]
    return hashlib.blake2b(msgspec.msgpack.encode((type(command).__name__, fields)), digest_size=16).digest()
