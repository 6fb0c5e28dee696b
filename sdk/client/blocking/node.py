"""A node with blocking calls, and the calls of a blocking client that give such nodes."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from backbeat.client.blocking.calls import Blocking, blocking, made_from
from backbeat.client.blocking.loop import Loop
from backbeat.client.node import Node
from backbeat.client.views import NodeValue, Tree

P = ParamSpec("P")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=Any)
else:
    V = TypeVar("V")


def blocking_node(
    call: Callable[Concatenate[Any, P], Coroutine[Any, Any, Node]],
) -> Callable[Concatenate[Any, P], PlainNode]:
    """A call that waits for a node."""

    def give(loop: Loop, answer: Coroutine[Any, Any, Node]) -> PlainNode:
        return PlainNode(loop.run(answer), loop)

    returns = inspect.signature(call).return_annotation.replace("Node", "PlainNode")
    method: Callable[Concatenate[Any, P], PlainNode] = made_from(call, give, returns)
    return method


def blocking_tree(
    call: Callable[Concatenate[Any, P], Coroutine[Any, Any, Tree[Node]]],
) -> Callable[Concatenate[Any, P], Tree[PlainNode]]:
    """A call that waits for a tree."""

    def give(loop: Loop, answer: Coroutine[Any, Any, Tree[Node]]) -> Tree[PlainNode]:
        tree = loop.run(answer)
        return Tree(tree.workflow, [PlainNode(node, loop) for _, node in tree.walk()])

    method: Callable[Concatenate[Any, P], Tree[PlainNode]] = made_from(call, give, "Tree[PlainNode]")
    return method


def blocking_nodes(
    call: Callable[Concatenate[Any, P], AsyncIterator[Node]],
) -> Callable[Concatenate[Any, P], Iterator[PlainNode]]:
    """A call that gives an iterator of nodes, which waits for each."""

    def give(loop: Loop, rows: AsyncIterator[Node]) -> Iterator[PlainNode]:
        return (PlainNode(node, loop) for node in loop.iterate(rows))

    method: Callable[Concatenate[Any, P], Iterator[PlainNode]] = made_from(call, give, "Iterator[PlainNode]")
    return method


class PlainNode(Blocking, NodeValue, Generic[V]):
    """A node, and what can be asked of it. It does not change by itself: `refresh` gives a newer one.

    `PlainNode[int]` is one whose handler returns an int: what is signalled by its function.

    >>> from backbeat.testing import PlainBackbeat
    >>> with PlainBackbeat() as backbeat:
    ...     node = backbeat.client().signal("Camera sale", "Camera 703", "Approve")
    ...     node.answer(result="by Ann")
    ...     print(node.name, node.result())
    Approve by Ann
    """

    def __init__(self, node: Node, loop: Loop) -> None:
        Blocking.__init__(self, node, loop)
        NodeValue.__init__(self, node.view)

    if TYPE_CHECKING:
        # What is generic in its class loses its type on the way through a function.
        def refresh(self) -> PlainNode[V]: ...  # noqa: D102 - below
        def result(self, timeout: float | None = None) -> V: ...  # noqa: D102 - below
    else:
        refresh = blocking_node(Node.refresh)
        result = blocking(Node.result)
    history = blocking(Node.history)
    waits = blocking(Node.waits)
    children = blocking(Node.children)
    path = blocking(Node.path)
    tree = blocking_tree(Node.tree)
    answer = blocking(Node.answer)
    retry = blocking(Node.retry)
    reset = blocking(Node.reset)
    cancel = blocking(Node.cancel)
    resolve = blocking(Node.resolve)
    shutdown = blocking(Node.shutdown)
    deactivate_previous = blocking(Node.deactivate_previous)
