"""`backbeat workflow tree --follow`: a tree that is drawn anew whenever something in it changes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backbeat.compose.cli.show.printing import emit, make_console
from backbeat.compose.cli.show.tree import TreeOptions, draw, is_closed

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import Tree

#: Bound of the share of time that is spent on reading a large tree again and again.
_SHARE_MAX = 0.2


async def follow(
    client: Client, workflow_id: str, options: TreeOptions, interval_seconds: float, *, as_json: bool
) -> None:
    """Show the tree until all of it is closed. For programs: a line of JSON for each node that changed."""
    if as_json:
        await _follow_lines(client, workflow_id, interval_seconds)
    else:
        await _follow_drawing(client, workflow_id, options, interval_seconds)


async def _follow_drawing(client: Client, workflow_id: str, options: TreeOptions, interval_seconds: float) -> None:
    from rich.live import Live

    console = make_console()
    if not console.is_terminal:
        # Nothing can be drawn over what went into a pipe: only its end is shown.
        tree = await client.tree(workflow_id)
        while not is_closed(tree):
            tree = await _next(client, workflow_id, interval_seconds)
        console.print(draw(tree, options))
        return
    # A closed branch takes one line while the workflow runs: a screen has few.
    folded = replace(options, folded=True)
    tree = await client.tree(workflow_id)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not is_closed(tree):
            live.update(draw(tree, folded), refresh=True)
            tree = await _next(client, workflow_id, interval_seconds)
    console.print(draw(tree, options))


async def _follow_lines(client: Client, workflow_id: str, interval_seconds: float) -> None:
    rows_by_id: dict[str, Any] = {}
    tree = await client.tree(workflow_id)
    while True:
        for _, node in tree.walk():
            row = _row(node)
            if rows_by_id.get(node.id) != row:
                rows_by_id[node.id] = row
                emit({"seen_at": datetime.now(UTC), **row})
        if is_closed(tree):
            return
        tree = await _next(client, workflow_id, interval_seconds)


def _row(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "status": node.status,
        "client_status": node.client_status,
        "attempt": node.attempt,
    }


async def _next(client: Client, workflow_id: str, interval_seconds: float) -> Tree[Node]:
    """The tree some time later. A Timeout, of an engine that starts or a partition that moves, only makes it later."""
    from backbeat.errors import Timeout

    while True:
        await asyncio.sleep(interval_seconds)
        begun_at = time.monotonic()
        with contextlib.suppress(Timeout):
            tree = await client.tree(workflow_id)
            await asyncio.sleep((time.monotonic() - begun_at) * (1 / _SHARE_MAX - 1))
            return tree
