"""New nodes, from the parameters of a signal or a decision (behaviour document, section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from backbeat.gateway import engine_calls
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.error_text import ERROR_BYTES_MAX, cut_error
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.payloads import INLINE_BYTES_MAX, PAYLOAD_BYTES_MAX
from backbeat.payload.values import id_text
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import MODE_WORDS, Mode
from backbeat.schemas.messages.values import (
    COALESCE_WORDS,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Backoff,
    Coalesce,
    NewNode,
    make_backoff,
)

_NODE = NewNode(name="", user_id=b"")


def new_node(call: Call, parameters: Parameters, name: str, *, signal: bool = False) -> NewNode:
    """A new node. A signal is blocking and a decision, whatever the parameters."""
    options = parameters.nested("options")
    if options is None:
        options = parameters
    retries = parameters.whole_number("retry")
    interval = parameters.number("retry_interval")
    if interval is not None and not call.preferences.whole:
        # The original keeps whole seconds.
        interval = float(int(interval))
    return NewNode(
        name=name,
        user_id=_runner(call, parameters),
        mode=Mode.BLOCKING if signal else _mode(parameters),
        type="decision" if signal else parameters.text("legacy_type") or parameters.text("type") or _NODE.type,
        client_data=options.untouched_object("client_data") or _NODE.client_data,
        metadata=options.untouched("metadata") or _NODE.metadata,
        fires_at=parameters.time("fires_at"),
        parent_link_id=options.uuid("parent_link_id"),
        retry_interval_seconds=_NODE.retry_interval_seconds if interval is None else interval,
        retries=_NODE.retries if retries is None else retries,
        backoff=backoff_of(parameters),
        priority=priority_of(parameters),
        fairness_key=parameters.text("fairness_key"),
    )


def backoff_of(parameters: Parameters) -> Backoff | None:
    """Growth of the waits between retries; None where nothing is said of it: as the original's."""
    numbers = (parameters.number(name) for name in ("retry_factor", "retry_longest", "retry_jitter"))
    try:
        return make_backoff(*numbers)
    except ValueError as error:
        raise errors.invalid(str(error)) from error


def priority_of(parameters: Parameters) -> int | None:
    """Priority of a node, 1 to 5; None: that of its parent, or of any node."""
    priority = parameters.whole_number("priority")
    if priority is not None and not PRIORITY_FIRST <= priority <= PRIORITY_LAST:
        raise errors.invalid(f"priority is {priority}; {PRIORITY_FIRST} goes first and {PRIORITY_LAST} last")
    return priority


def coalesce(parameters: Parameters) -> Coalesce:
    """Coalescing of two signals with one coalesce_key; default: the newer one replaces."""
    word = parameters.text("coalesce")
    coalescing = Coalesce.REPLACE if word is None else COALESCE_WORDS.get(word)
    if coalescing is None:
        raise errors.invalid(f"coalesce cannot be {word!r:.64}; it is one of {', '.join(COALESCE_WORDS)}")
    return coalescing


def _mode(parameters: Parameters) -> Mode:
    word = parameters.text("mode")
    if word is None:
        return Mode.BLOCKING
    mode = MODE_WORDS.get(word)
    if mode is None:
        raise errors.invalid(f"There is no mode {word[:64]!r}; there are {', '.join(MODE_WORDS)}")
    return mode


def _runner(call: Call, parameters: Parameters) -> bytes:
    """User that runs the node; default: the caller."""
    runner = parameters.uuid("client_id")
    if runner is None:
        return call.user_id
    check_runner(call, runner)
    return runner


def check_runner(call: Call, runner: bytes) -> None:
    """Refuse a node's runner that is no user: no client would run it."""
    if runner != call.user_id and call.engine.client(runner) is None:
        raise errors.invalid(f"No user has the id {id_text(runner)} (client_id)")


async def store_large(call: Call, nodes: tuple[NewNode, ...]) -> tuple[NewNode, ...]:
    """Nodes with large client data stored elsewhere. 413, 503.

    Only for clients that are served by webhook, whose deliverer restores it: a worker reads records.
    """
    if sum(len(node.client_data) for node in nodes) <= INLINE_BYTES_MAX:
        return nodes
    largest = max(len(node.client_data) for node in nodes)
    if not all(_is_posted_to(call, node.user_id) for node in nodes) or largest > PAYLOAD_BYTES_MAX:
        # The engine refuses what is too large.
        return nodes
    texts = await call.store(*(node.client_data for node in nodes))
    return tuple(
        node if node.client_data is text else msgspec.structs.replace(node, client_data=text)
        for node, text in zip(nodes, texts, strict=True)
    )


def _is_posted_to(call: Call, user_id: bytes) -> bool:
    client = call.engine.client(user_id)
    return client is not None and client.delivery == "webhook"


async def fit_response(call: Call, text: bytes, *, is_error: bool) -> bytes:
    """A response for the engine: an error is cut, any other stored elsewhere if it is too large. 503."""
    if len(text) <= ERROR_BYTES_MAX:
        return text
    if is_error:
        try:
            return await asyncio.to_thread(cut_error, text)
        except (msgspec.DecodeError, RecursionError):
            # The engine refuses it with the reason.
            return text
    if len(text) > PAYLOAD_BYTES_MAX or not _is_posted_to(call, call.user_id):
        return text
    (reference,) = await call.store(text)
    return reference


async def check_links(call: Call, nodes: Iterable[NewNode]) -> None:
    """Refuse links to unknown nodes. Any client's node may be a target, also a closed one."""
    targets = {node.parent_link_id for node in nodes if node.parent_link_id is not None}
    if targets:
        await asyncio.gather(*(_check_link(call, target) for target in targets))


async def _check_link(call: Call, target: bytes) -> None:
    unknown = errors.invalid(f"No node has the id {id_text(target)} (parent_link_id)")
    if not ids.is_ours(target):
        raise unknown
    try:
        await engine_calls.get_node(call, target, anybodys=True)
    except errors.Refusal as refusal:
        if refusal.status == 404:  # noqa: PLR2004 - the status that every client knows
            raise unknown from refusal
        raise
