"""The results that go along with an activity, as far as a command's budget is concerned."""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.compose.verify.rules.tree import FIRE_AND_FORGET, Node, Tree

#: Bounds of the results that go along.
_RESULTS_MAX = 100
_BYTES_MAX = 262_144
#: Bytes of them that count as a node.
_BYTES_PER_NODE = 16_384
#: State of a result in whose place the default is.
_DEFAULT = 2


def cost_of_results(tree: Tree, taker: Node) -> int:
    """Part of a command's budget that the results going along with a node take."""
    results = size = 0
    for count, result in enumerate(_walk(tree, taker)):
        length = 0 if result is None else int.from_bytes(result[:4])
        if count == _RESULTS_MAX or size + length > _BYTES_MAX:
            break
        results += result is not None
        size += length
    return results + size // _BYTES_PER_NODE


def _walk(tree: Tree, taker: Node) -> Iterator[bytes | None]:
    """Digests of the results, which begin with their lengths; null: a child has none."""
    for taken in taker.takes:
        producer = tree.node(taken.producer)
        if taken.state == _DEFAULT:
            yield taken.default or b""
        elif not taken.of_children:
            yield producer.result
        elif producer.counted_from:
            for seq in producer.children[tree.node(producer.counted_from).place :]:
                child = tree.node(seq)
                yield child.result if child.mode != FIRE_AND_FORGET and child.has_result else None
