"""Nodes to be made, from what a signal or a decision says (behaviour document, section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from backbeat.gateway import engine_calls
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.presentation import id_text
from backbeat.gateway.payloads import INLINE_BYTES_MAX, PAYLOAD_BYTES_MAX
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import COALESCE_WORDS, Coalesce, NewNode
from backbeat.schemas.messages.status import MODE_WORDS, Mode
from backbeat.schemas.messages.values import PRIORITY_FIRST, PRIORITY_LAST

_NODE = NewNode(name="", user_id=b"")


def new_node(call: Call, said: Parameters, name: str, *, signal: bool = False) -> NewNode:
    """A node as it is asked for. A signal is blocking and a decision, whatever is said."""
    options = said.nested("options")
    if options is None:
        options = said
    retries = said.whole_number("retry")
    interval = said.number("retry_interval")
    if interval is not None and not call.wishes.whole:
        # The original keeps whole seconds.
        interval = float(int(interval))
    return NewNode(
        name=name,
        user_id=_runner(call, said),
        mode=Mode.BLOCKING if signal else _mode(said),
        type="decision" if signal else said.text("legacy_type") or said.text("type") or _NODE.type,
        client_data=options.untouched_object("client_data") or _NODE.client_data,
        metadata=options.untouched("metadata") or _NODE.metadata,
        fires_at=said.time("fires_at"),
        parent_link_id=options.uuid("parent_link_id"),
        retry_interval_seconds=_NODE.retry_interval_seconds if interval is None else interval,
        retries=_NODE.retries if retries is None else retries,
        priority=_priority(said),
        fairness_key=said.text("fairness_key"),
    )


def _priority(said: Parameters) -> int | None:
    priority = said.whole_number("priority")
    if priority is not None and not PRIORITY_FIRST <= priority <= PRIORITY_LAST:
        raise errors.invalid(f"priority is {priority}; {PRIORITY_FIRST} goes first and {PRIORITY_LAST} last")
    return priority


def coalesce(said: Parameters) -> Coalesce:
    """Which of two signals of one coalesce_key remains."""
    word = said.text("coalesce")
    how = Coalesce.REPLACE if word is None else COALESCE_WORDS.get(word)
    if how is None:
        raise errors.invalid(f"coalesce cannot be {word!r:.64}; it is one of {', '.join(COALESCE_WORDS)}")
    return how


def _mode(said: Parameters) -> Mode:
    word = said.text("mode")
    if word is None:
        return Mode.BLOCKING
    mode = MODE_WORDS.get(word)
    if mode is None:
        raise errors.invalid(f"There is no mode {word[:64]!r}; there are {', '.join(MODE_WORDS)}")
    return mode


def _runner(call: Call, said: Parameters) -> bytes:
    """The user that runs the node: the caller if no other is named."""
    runner = said.uuid("client_id")
    if runner is None or runner == call.user_id:
        return call.user_id
    if call.engine.client(runner) is None:
        raise errors.invalid(f"No user has the id {id_text(runner)} (client_id)")
    return runner


async def keep_large(call: Call, nodes: tuple[NewNode, ...]) -> tuple[NewNode, ...]:
    """The nodes of a call as they go to the engine: client data that is too large is kept elsewhere. 413, 503.

    Only for clients that are served by webhook, which get it whole again: a worker reads records.
    """
    if sum(len(node.client_data) for node in nodes) <= INLINE_BYTES_MAX:
        return nodes
    largest = max(len(node.client_data) for node in nodes)
    if not all(_is_posted_to(call, node.user_id) for node in nodes) or largest > PAYLOAD_BYTES_MAX:
        # The engine says what is too large.
        return nodes
    texts = await call.keep(*(node.client_data for node in nodes))
    return tuple(
        node if node.client_data is text else msgspec.structs.replace(node, client_data=text)
        for node, text in zip(nodes, texts, strict=True)
    )


def _is_posted_to(call: Call, user_id: bytes) -> bool:
    client = call.engine.client(user_id)
    return client is not None and client.delivery == "webhook"


async def check_links(call: Call, nodes: Iterable[NewNode]) -> None:
    """Refuse links to nodes that there are not. Anybody's node may be a target, also one that is closed."""
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
