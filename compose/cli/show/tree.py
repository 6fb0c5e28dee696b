"""A workflow's tree as it is drawn: a line a node, with its status in colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree as Drawing

from backbeat.compose.cli.show.printing import ago, json_text, status_text
from backbeat.compose.cli.show.sanitize import one_line

if TYPE_CHECKING:
    from backbeat import Node
    from backbeat.client.views import Branch, Tree

_CLOSED = ("complete", "deactivated")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How much of a tree is drawn."""

    #: Levels of nodes; None: all.
    depth: int | None = None
    #: Children of one node; what comes after them is counted.
    children_max: int | None = None
    #: A branch in which everything is closed is one line.
    folded: bool = False
    with_ids: bool = True

    def folds(self, branch: Branch[Node], level: int) -> bool:
        """Whether what is below a node is left out, and counted instead."""
        if not branch.children:
            return False
        if self.depth is not None and level >= self.depth:
            return True
        return self.folded and all(node.status in _CLOSED for _, node in branch.walk())


def is_closed(tree: Tree[Node]) -> bool:
    """Whether nothing in the workflow will go on by itself or by anybody: every node is complete or deactivated."""
    return all(node.status in _CLOSED for _, node in tree.walk())


def draw(tree: Tree[Node], drawn: Drawn) -> Drawing:
    """The tree, for rich to print."""
    workflow = tree.workflow
    title = Text.assemble((one_line(workflow.name), "bold"), " ", json_text(workflow.subject))
    for flag, is_set, style in (("closed", workflow.closed, "green"), ("paused", workflow.paused, "magenta")):
        if is_set:
            title.append(f"  {flag}", style=style)
    if drawn.with_ids:
        title.append(f"  {workflow.id}", style="dim")
    root = Drawing(title)
    # A stack, not recursion: trees may be deeper than Python's.
    rest: list[tuple[Drawing, Sequence[Branch[Node]], int]] = [(root, tree.children, 1)]
    while rest:
        place, branches, level = rest.pop()
        for branch in branches[: drawn.children_max]:
            shut = drawn.folds(branch, level)
            below = place.add(_line(branch, drawn, shut=shut))
            if not shut:
                rest.append((below, branch.children, level + 1))
        left = len(branches) - len(branches[: drawn.children_max])
        if left:
            place.add(Text(f"… {left} more", style="dim"))
    return root


def _line(branch: Branch[Node], drawn: Drawn, *, shut: bool) -> Text:
    node = branch.node
    line = Text.assemble((one_line(node.name), "default"), " ", status_text(node.status))
    for word in _remarks(node):
        line.append(f" {word}", style="dim")
    if shut:
        line.append(f" ({sum(1 for _ in branch.walk()) - 1} below)", style="dim")
    if drawn.with_ids:
        line.append(f"  {node.id}", style="dim")
    return line


def _remarks(node: Node) -> Iterator[str]:
    if node.client_status in ("errored", "resolved", "shutdown") and node.client_status != node.status:
        yield node.client_status
    if node.mode != "blocking":
        yield node.mode
    if node.attempt > 1:
        yield f"attempt {node.attempt}"
    if node.status == "retrying" or (node.status == "started" and node.attempt == 0):
        yield f"due {ago(node.due_at)}"
