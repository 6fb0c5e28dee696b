"""Drawing of a workflow's tree: a line a node, with its status in colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree as Drawing

from backbeat.compose.cli.show.printing import ago, json_text, status_text, when
from backbeat.compose.cli.show.sanitize import one_line

if TYPE_CHECKING:
    from backbeat import Node
    from backbeat.client.views import Branch, Tree

_CLOSED = ("complete", "deactivated")


@dataclass(frozen=True, kw_only=True)
class TreeOptions:
    """Options of a tree's drawing."""

    #: Levels of nodes; None: all.
    depth: int | None = None
    #: Children of one node that are drawn; those after them are counted.
    children_max: int | None = None
    #: True: a branch in which everything is closed is one line.
    folded: bool = False
    with_ids: bool = True

    def folds(self, branch: Branch[Node], level: int) -> bool:
        """True where the nodes below this one are left out, and counted instead."""
        if not branch.children:
            return False
        if self.depth is not None and level >= self.depth:
            return True
        return self.folded and all(node.status in _CLOSED for _, node in branch.walk())


def is_closed(tree: Tree[Node]) -> bool:
    """True where the whole workflow is final: every node is complete or deactivated."""
    return all(node.status in _CLOSED for _, node in tree.walk())


def draw(tree: Tree[Node], options: TreeOptions) -> Drawing:
    """The tree, for rich to print."""
    workflow = tree.workflow
    title = Text.assemble((one_line(workflow.name), "bold"), " ", json_text(workflow.subject))
    for flag, is_set, style in (("closed", workflow.closed, "green"), ("paused", workflow.paused, "magenta")):
        if is_set:
            title.append(f"  {flag}", style=style)
    if options.with_ids:
        title.append(f"  {workflow.id}", style="dim")
    root = Drawing(title)
    names = _awaited_names(tree)
    # A stack, not recursion: trees may be deeper than Python's.
    stack: list[tuple[Drawing, Sequence[Branch[Node]], int]] = [(root, tree.children, 1)]
    while stack:
        parent, branches, level = stack.pop()
        for branch in branches[: options.children_max]:
            is_folded = options.folds(branch, level)
            child = parent.add(_line(branch, options, names, is_folded=is_folded))
            if not is_folded:
                stack.append((child, branch.children, level + 1))
        undrawn = len(branches) - len(branches[: options.children_max])
        if undrawn:
            parent.add(Text(f"… {undrawn} more", style="dim"))
    return root


def _awaited_names(tree: Tree[Node]) -> dict[str, str]:
    """The nodes whose results others wait for: id -> name."""
    awaited_ids = {node_id for _, node in tree.walk() for node_id in node.waits_for_results}
    return {node.id: node.name for _, node in tree.walk() if node.id in awaited_ids} if awaited_ids else {}


def _line(branch: Branch[Node], options: TreeOptions, names: dict[str, str], *, is_folded: bool) -> Text:
    node = branch.node
    line = Text.assemble((one_line(node.name), "default"), " ", status_text(node.status))
    for remark in _remarks(node, names):
        line.append(f" {remark}", style="dim")
    if is_folded:
        line.append(f" ({sum(1 for _ in branch.walk()) - 1} below)", style="dim")
    if options.with_ids:
        line.append(f"  {node.id}", style="dim")
    return line


def _remarks(node: Node, names: dict[str, str]) -> Iterator[str]:
    if node.client_status in ("errored", "resolved", "shutdown") and node.client_status != node.status:
        yield node.client_status
    if node.mode != "blocking":
        yield node.mode
    if node.attempt > 1:
        yield f"attempt {node.attempt}"
    if node.status == "retrying" or (node.status == "started" and node.attempt == 0):
        yield f"due {ago(node.due_at)}"
    if node.type == "wait" and node.status == "sent_to_client":
        yield "waits for it to be sent" + (f", until {when(node.complete_by)}" if node.complete_by else "")
    if node.status == "sent_to_client" and (node.fraction_done is not None or node.progress_note):
        done = "" if node.fraction_done is None else f"{node.fraction_done:.0%}"
        yield " ".join(part for part in (done, one_line(node.progress_note)) if part)
    if node.waits_for_results:
        awaited = dict.fromkeys(one_line(names.get(node_id, node_id)) for node_id in node.waits_for_results)
        yield f"waits for the result of {', '.join(awaited)}"
