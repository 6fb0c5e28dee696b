"""The demo's output: trees that grow and settle, and the checks. Plain lines where there is no terminal."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from rich.tree import Tree as Drawing

from backbeat.client.views import Branch, Tree

#: Siblings of one name beyond this are drawn as one line.
_ALIKE_MAX = 6
_BAR_CHARACTERS = 24
_PLAIN_WIDTH = 110
#: Without a terminal a tree that is still growing is drawn no more often than this.
_PLAIN_SECONDS = 5.0

_STYLES = {
    "complete": "green",
    "processing_children": "blue",
    "sent_to_client": "yellow",
    "scheduled": "cyan",
    "started": "cyan",
    "retrying": "red",
    "retries_exhausted": "bold red",
    "errored": "bold red",
}
#: Order in which statuses are drawn: complete nodes first.
_ORDER = ["complete", "processing_children", "sent_to_client", "retrying", "scheduled", "started", "ready", "pending"]


class Screen:
    """The demo's output."""

    def __init__(self, *, plain: bool) -> None:
        self.console = Console(highlight=False)
        self._plain = plain or not self.console.is_terminal
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH)
        self._live: Live | None = None
        self._drawn_at = 0.0

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def title(self, number: int, text: str) -> None:
        """Print the head of a case."""
        self.console.print()
        self.console.print(Text(f"{number}. {text}", style="bold"))

    def check(self, text: str, *, passed: bool) -> None:
        """Print a check and its result."""
        mark, style = ("✓", "green") if passed else ("✗", "bold red")
        self.console.print(Text.assemble("   ", (mark, style), " ", text), soft_wrap=True)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let `draw` redraw in place while this lasts."""
        self._drawn_at = time.monotonic()
        if self._plain:
            yield
            return
        with Live(console=self.console, auto_refresh=False, vertical_overflow="crop") as self._live:
            yield
        self._live = None

    def draw(self, heading: str, trees: Iterable[Tree[Any]], *, last: bool = False) -> None:
        """Draw workflows of one kind in their current state."""
        if self._plain and not last and time.monotonic() - self._drawn_at < _PLAIN_SECONDS:
            return
        self._drawn_at = time.monotonic()
        drawing = Drawing(Text(heading, style="bold"), guide_style="dim")
        _add(drawing, [branch for tree in trees for branch in tree.children])
        if self._live is not None:
            self._live.update(Group(drawing), refresh=True)
        else:
            self.console.print(drawing)


def _add(drawing: Drawing, branches: list[Branch[Any]]) -> None:
    """Draw siblings: each on its own line, or all of one name on one."""
    by_name: dict[str, list[Branch[Any]]] = {}
    for branch in branches:
        by_name.setdefault(branch.node.name, []).append(branch)
    for name, alike in by_name.items():
        if len(alike) > _ALIKE_MAX:
            line = drawing.add(_summary_line(name, Counter(_status(branch) for branch in alike)))
            _add(line, [child for branch in alike for child in branch.children])
            continue
        for branch in alike:
            status = _status(branch)
            attempt = f"  (attempt {branch.node.attempt})" if branch.node.attempt > 1 else ""
            text = Text.assemble(
                ("● ", _style(status)), name, "  ", (status.replace("_", " "), _style(status)), attempt
            )
            _add(drawing.add(text), branch.children)


def _summary_line(name: str, counts: Counter[str]) -> Text:
    total = counts.total()
    statuses = sorted(counts, key=lambda status: _ORDER.index(status) if status in _ORDER else len(_ORDER))
    complete_characters = round(_BAR_CHARACTERS * counts["complete"] / total)
    text = Text.assemble(("● ", _style(statuses[-1])), f"{name} × {total:,}  ")  # noqa: RUF001 - it is one
    text.append("█" * complete_characters, "green")
    text.append("░" * (_BAR_CHARACTERS - complete_characters), "dim")
    for place, status in enumerate(statuses):
        text.append(" · " if place else "  ", "dim")
        text.append(f"{counts[status]:,} {status.replace('_', ' ')}", _style(status))
    return text


def _status(branch: Branch[Any]) -> str:
    """The node's status; one that is started and waits for its time is `scheduled`."""
    status: str = branch.node.status
    return "scheduled" if status == "started" and branch.node.due_at > datetime.now(UTC) else status


def _style(status: str) -> str:
    return _STYLES.get(status, "dim")
