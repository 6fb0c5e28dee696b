"""Waits of a node: why it does not go on, in one sentence each, from the records of its partition. Pure.

`WAITS` has a row for each server status, of functions that may find something; the first that does is what holds the
node up now. A new way to wait is a kind in `schemas/messages/views`, a function here, and its place in the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from backbeat.schemas.messages.limits import limit_key
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus
from backbeat.schemas.messages.values import TimerKind
from backbeat.schemas.messages.views import Wait, WaitKind
from backbeat.streams.core.records import Node, Parent, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import CHUNKS, LIMITS, LINKS, NODES
from backbeat.streams.core.takes.reading import waits_for
from backbeat.streams.core.tree import history
from backbeat.streams.core.tree.deactivation import is_deactivated
from backbeat.streams.core.tree.progress import is_beside
from backbeat.streams.core.tree.status import (
    COMPLETE,
    DEACTIVATED,
    ERRORED,
    PAUSED,
    PENDING,
    PROCESSING_CHILDREN,
    READY,
    RETRIES_EXHAUSTED,
    RETRYING,
    SENT_TO_CLIENT,
    STARTED,
)

#: Characters of a name in a sentence.
_NAME_CHARACTERS_MAX = 120
#: Last millisecond that a time in a sentence can say.
_TIME_MAX = 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Waiting(NamedTuple):
    """A node that may wait, and where it is read from."""

    store: Store
    node: Node
    workflow: Workflow
    since: int | None  #: the time of its last status change

    def wait(self, kind: WaitKind, sentence: str, **fields: int | bytes | None) -> Wait:
        """A wait of this node, since its last status change."""
        return Wait(kind, sentence, **{"since": self.since, **fields})  # type: ignore[arg-type]  # as the struct has them


Finder = Callable[[Waiting], Wait | None]


def waits_of(store: Store, node: Node, workflow: Workflow, since: int | None = None) -> Iterator[Wait]:
    """All waits of a node that is not deactivated: what holds it up now, then what comes after it.

    `since` is the time of its last status change, where that was read before.
    """
    waiting = Waiting(store, node, workflow, changed_at(store, node) if since is None else since)
    for find in WAITS[node.server]:
        wait = find(waiting)
        if wait is not None:
            yield wait


def changed_at(store: Store, node: Node) -> int:
    """The time of a node's last status change; of its creation where it had none."""
    newest = node.history
    if not newest and node.history_chunks:
        newest = store.get(CHUNKS, (node.id, node.history_chunks - 1)) or b""
    return history.newest_at(newest) or node.created_at


# --- ways to wait ----------------------------------------------------------------------------------------------------


def _parent(waiting: Waiting) -> Wait:
    parent = None if waiting.node.parent_id is None else waiting.store.get(NODES, waiting.node.parent_id)
    if parent is None:
        return _engine(waiting)
    if parent.server in (RETRYING, RETRIES_EXHAUSTED, ERRORED):
        sentence = f"waits for its parent {_named(parent)}, which has failed"
    else:
        sentence = f"waits until the handler of its parent {_named(parent)} has returned"
    return waiting.wait(WaitKind.PARENT, sentence, subject_id=parent.id)


def _sibling(waiting: Waiting) -> Wait | None:
    """The sibling at which the walk over the parent's children stands: the first one that is blocking and open."""
    store, node = waiting.store, waiting.node
    parent: Parent | None = waiting.workflow if node.parent_id is None else store.get(NODES, node.parent_id)
    if parent is None or parent.cursor is None or node.seq <= parent.cursor_seq or is_beside(node):
        return None
    sibling = store.get(NODES, parent.cursor)
    if sibling is None or not parent.blocked or sibling.server in CLOSED:
        return None
    sentence = f"waits for {_named(sibling)} before it, which is blocking"
    return waiting.wait(WaitKind.SIBLING, sentence, subject_id=sibling.id)


def _results(waiting: Waiting) -> Wait | None:
    """The results that it takes and that are not there yet."""
    store, node = waiting.store, waiting.node
    count = 0 if node.flow is None else node.flow.missing
    if not count:
        return None
    producers = waits_for(store, node)
    first = store.get(NODES, producers[0]) if producers else None
    whose = "" if first is None else f" of {_named(first)}"
    if count == 1:
        sentence = f"waits for the result{whose}"
    else:
        sentence = f"waits for {count:,} results{f', the first{whose}' if whose else ''}"
    return waiting.wait(WaitKind.RESULTS, sentence, subject_id=first.id if first else None, count=count)


def _time(waiting: Waiting) -> Wait | None:
    node = waiting.node
    if node.timer_at is None or node.timer_kind != TimerKind.START:
        return None
    return waiting.wait(WaitKind.TIME, f"waits for its time, {_clock(node.timer_at)}", until=node.timer_at)


def _slot(waiting: Waiting) -> Wait | None:
    node = waiting.node
    if node.slot is None:
        return None
    limit = waiting.store.get(LIMITS, limit_key(node.user_id, node.name))
    if limit is not None and limit.paused:
        return waiting.wait(WaitKind.LIMIT_PAUSED, f"waits until the activity {_quoted(node.name)} is resumed")
    values = None if limit is None else limit.values
    if values is None or (values.concurrency is None and values.rate_count is None):
        return waiting.wait(WaitKind.SLOT, f"waits for its slot of {_quoted(node.name)}, which is not limited any more")
    bounds = [] if values.concurrency is None else [f"{values.concurrency:,} at once"]
    if values.rate_count is not None:
        bounds.append(f"{values.rate_count:,} starts in {values.rate_period_seconds:g} s")
    by_key = f", by {values.key}" if values.key else ""
    sentence = f"waits for a slot of {_quoted(node.name)}: {' and '.join(bounds)}{by_key}"
    return waiting.wait(WaitKind.SLOT, sentence)


def _workflow_paused(waiting: Waiting) -> Wait | None:
    if not waiting.workflow.paused:
        return None
    return waiting.wait(WaitKind.WORKFLOW_PAUSED, "waits until its workflow is resumed")


def _client(waiting: Waiting) -> Wait:
    node = waiting.node
    until = "" if node.complete_by is None else f", until {_clock(node.complete_by)}"
    if node.awaits is not None:
        kind, sentence = WaitKind.MESSAGE, f"waits for {_named(node)} to be sent to its workflow{until}"
    elif node.client is ClientStatus.PROCESSING or node.progress is not None:
        kind, sentence = WaitKind.WORKER, f"is with its worker{_progress(node)}{until}"
    else:
        kind, sentence = WaitKind.CLIENT, f"waits in the queue of its client until a worker takes it{until}"
    return waiting.wait(kind, sentence, until=node.complete_by)


def _progress(node: Node) -> str:
    progress = node.progress
    if progress is None:
        return ""
    parts = [] if progress.fraction is None else [f"{progress.fraction:.0%} done"]
    if progress.note:
        parts.append(f"at {_quoted(progress.note)}")
    return "".join([f", {part}" for part in parts])


def _backoff(waiting: Waiting) -> Wait:
    node = waiting.node
    attempt = _attempts_made(node) + 1
    attempts = attempt + node.retries_remaining
    sentence = f"waits for its next retry, {_clock(node.fires_at)}: attempt {attempt:,} of {attempts:,}"
    return waiting.wait(WaitKind.BACKOFF, sentence, until=node.fires_at)


def _attempts_made(node: Node) -> int:
    """Attempts of a node, without those that a worker without its activity has handed back."""
    return node.attempt - node.handed_back


def _children(waiting: Waiting) -> Wait | None:
    count = waiting.node.children_open
    if not count:
        return None
    noun = "node" if count == 1 else "nodes"
    sentence = f"waits for {count:,} {noun} below it"
    flow = waiting.node.flow
    if flow is not None and flow.failures_allowed:
        sentence += f"; {flow.failures:,} of {flow.failures_allowed:,} failures that it allows have happened"
    return waiting.wait(WaitKind.CHILDREN, sentence, count=count)


def _links(waiting: Waiting) -> Wait | None:
    node = waiting.node
    if not node.links_open:
        return None
    link = None if node.links_first is None else waiting.store.get(LINKS, (node.id, node.links_first))
    is_only = node.links_open == 1 and link is not None and link.open
    noun = "node that is" if node.links_open == 1 else "nodes that are"
    return waiting.wait(
        WaitKind.LINKS,
        f"waits for {node.links_open:,} {noun} linked to it",
        subject_id=node.links_first if is_only else None,
        count=node.links_open,
    )


def _handler(waiting: Waiting) -> Wait | None:
    """The activity that handles its failure."""
    node = waiting.node
    handler_id = None if node.follow_ups is None else node.follow_ups.handler
    handler = None if handler_id is None else waiting.store.get(NODES, handler_id)
    if handler is None or handler.server in CLOSED or is_deactivated(waiting.store, handler, waiting.workflow):
        return None
    if handler.server in (RETRIES_EXHAUSTED, ERRORED):
        return None
    return waiting.wait(
        WaitKind.CHILDREN,
        f"has failed, and waits for {_named(handler)}, which handles it",
        subject_id=handler.id,
        count=1,
    )


def _retries_exhausted(waiting: Waiting) -> Wait:
    node = waiting.node
    if node.retries_remaining > 0:
        reason = "failed with an error that is not retried"
    elif (attempts := _attempts_made(node)) > 1:
        reason = f"has used up its {attempts:,} attempts"
    else:
        reason = "failed, and has no retries"
    sentence = f"{reason}: it waits until somebody retries, resolves, shuts down or cancels it"
    return waiting.wait(WaitKind.RETRIES_EXHAUSTED, sentence)


def _server_error(waiting: Waiting) -> Wait:
    sentence = "met an error of the engine itself: it waits until somebody retries or cancels it"
    return waiting.wait(WaitKind.SERVER_ERROR, sentence)


def _engine(waiting: Waiting) -> Wait:
    return waiting.wait(WaitKind.ENGINE, "waits for nothing but its turn at the engine")


def _first_of(*finders: Finder) -> Finder:
    """Finder of the first of several waits."""

    def find(waiting: Waiting) -> Wait | None:
        return next((wait for finder in finders if (wait := finder(waiting)) is not None), None)

    return find


def _links_beside(waiting: Waiting) -> Wait | None:
    """The links of a node that waits for children first."""
    return _links(waiting) if waiting.node.children_open else None


#: By server status: finders in order. Of a node that is open the first always finds something.
WAITS: dict[ServerStatus, tuple[Finder, ...]] = {
    PENDING: (_parent, _results, _workflow_paused),
    READY: (_first_of(_sibling, _results, _engine), _workflow_paused),
    STARTED: (_first_of(_time, _slot, _engine), _workflow_paused),
    SENT_TO_CLIENT: (_client,),
    PROCESSING_CHILDREN: (_first_of(_children, _links, _engine), _links_beside),
    COMPLETE: (),
    PAUSED: (_first_of(_workflow_paused, _engine),),
    ERRORED: (_server_error,),
    RETRYING: (_backoff, _workflow_paused),
    RETRIES_EXHAUSTED: (_first_of(_handler, _retries_exhausted),),
    DEACTIVATED: (),
}


# --- words -----------------------------------------------------------------------------------------------------------


def _named(node: Node) -> str:
    return _quoted(node.name)


def _quoted(name: str) -> str:
    return f"“{name if len(name) <= _NAME_CHARACTERS_MAX else name[:_NAME_CHARACTERS_MAX] + '…'}”"


def _clock(milliseconds: int) -> str:
    at = _EPOCH + timedelta(milliseconds=min(max(milliseconds, 0), _TIME_MAX))
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
