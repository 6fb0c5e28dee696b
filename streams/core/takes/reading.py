"""The results that a node takes, read at its start and by its worker: the same at every attempt."""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.schemas.messages.activities import TakenCount, TakenResult
from backbeat.streams.core.records import Node
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import NODES, REFERENCES
from backbeat.streams.core.takes.allowance import is_allowed_failure
from backbeat.streams.core.takes.produced import failure_of, has_result, is_counted, result_of
from backbeat.streams.core.takes.records import Reference, ReferenceState
from backbeat.streams.core.traverse import RemovedError

#: Bounds of the results that go along with an activity. Its worker asks for the others.
FIRST_RESULTS_MAX = 100
FIRST_BYTES_MAX = 262_144
#: Nodes that a taker shows as those that it waits for.
_SHOWN_MAX = 5


def first_results(store: Store, taker: Node) -> tuple[tuple[TakenResult, ...], tuple[TakenCount, ...]]:
    """The first results that a node takes, so many that a command stays short; the counts of all, if there are more."""
    first: list[TakenResult] = []
    size = 0
    for count, result in enumerate(_walk(store, taker, 0, None)):
        size += 0 if result is None or result.failure_index is not None else len(result.response or b"")
        if count == FIRST_RESULTS_MAX or size > FIRST_BYTES_MAX:
            return tuple(first), _counts(store, taker)
        if result is not None:
            first.append(result)
    return tuple(first), ()


def _counts(store: Store, taker: Node) -> tuple[TakenCount, ...]:
    """The counts of the results that a node takes, by slots."""
    taken_counts: list[TakenCount] = []
    for slot in range(0 if taker.flow is None else taker.flow.taken):
        reference = _reference(store, taker, slot)
        count = TakenCount(1)
        if reference.of_children and reference.state is ReferenceState.THERE:
            flow = _node(store, reference.producer).flow
            count = TakenCount(0) if flow is None else TakenCount(flow.counted, flow.failures)
        taken_counts.append(count)
    return tuple(taken_counts)


def results(
    store: Store,
    taker: Node,
    slot: int = 0,
    after: bytes | None = None,
    *,
    results_max: int | None = None,
    failures_only: bool = False,
) -> Iterator[TakenResult | None]:
    """The results that are there, by slots, from a slot on; of it, those behind the node `after`. RemovedError.

    Null for a node on the way that is passed over, so that a reader can pause after so many nodes.
    """
    left = results_max
    for result in _walk(store, taker, slot, after):
        if result is None or (failures_only and result.failure_index is None):
            yield None
            continue
        yield result
        if left is not None:
            left -= 1
            if left == 0:
                return


def is_place(store: Store, taker: Node, slot: int, after: bytes) -> bool:
    """True for a node whose result is one of those that are taken at this slot."""
    if taker.flow is None or not 0 <= slot < taker.flow.taken:
        return False
    reference, node = _reference(store, taker, slot), store.get(NODES, after)
    if reference.of_children and reference.state is not ReferenceState.DEFAULT:
        return node is not None and node.parent_id == reference.producer
    return after == reference.producer


def _walk(store: Store, taker: Node, slot: int, after: bytes | None) -> Iterator[TakenResult | None]:
    """The results; null for a node on the way that has none."""
    taken = 0 if taker.flow is None else taker.flow.taken
    for number in range(max(slot, 0), taken):
        reference = _reference(store, taker, number)
        if reference.state is ReferenceState.DEFAULT:
            if after is None:
                yield TakenResult(number, reference.producer, reference.default, is_default=True)
        elif reference.state is ReferenceState.THERE:
            yield from _of(store, reference, number, after)
        after = None


def _of(store: Store, reference: Reference, slot: int, after: bytes | None) -> Iterator[TakenResult | None]:
    producer = _node(store, reference.producer)
    if not reference.of_children:
        if after is None:
            yield TakenResult(slot, producer.id, result_of(store, producer))
        return
    begin = None if producer.flow is None else producer.flow.counted_from
    child_id = begin if after is None else _node(store, after).next_sibling
    index = 0
    while child_id is not None:
        child = _node(store, child_id)
        result = None
        if is_counted(child):
            if is_allowed_failure(child):
                result = TakenResult(slot, child.id, failure_of(store, child), failure_index=index)
            elif has_result(store, child):
                result = TakenResult(slot, child.id, result_of(store, child))
        index += result is not None
        yield result
        child_id = child.next_sibling


def waits_for(store: Store, taker: Node) -> tuple[bytes, ...]:
    """The first nodes whose results a node waits for."""
    if taker.flow is None or not taker.flow.missing:
        return ()
    waiting: list[bytes] = []
    for slot in range(taker.flow.taken):
        reference = _reference(store, taker, slot)
        if reference.state is ReferenceState.WAITS:
            waiting.append(reference.producer)
            if len(waiting) == _SHOWN_MAX:
                break
    return tuple(waiting)


def _reference(store: Store, taker: Node, slot: int) -> Reference:
    reference = store.get(REFERENCES, (taker.id, slot))
    if reference is None:
        raise RemovedError(f"The node {taker.id.hex()} was removed while its results were read")
    return reference


def _node(store: Store, node_id: bytes) -> Node:
    node = store.get(NODES, node_id)
    if node is None:
        raise RemovedError(f"The node {node_id.hex()} was removed while its result was read")
    return node
