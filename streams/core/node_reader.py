"""Nodes as a step has them, for who only reads."""

from __future__ import annotations

from .records import Node
from .store import Store


class NodeReader:
    """Nodes as a step has them, without copies of those that it does not change."""

    __slots__ = ("_nodes", "_store")

    def __init__(self, nodes: dict[bytes, Node], store: Store) -> None:
        self._nodes = nodes
        self._store = store

    def get_node(self, node_id: bytes) -> Node | None:
        """A node, not to be changed."""
        return self._nodes.get(node_id) or self._store.get_node(node_id)
