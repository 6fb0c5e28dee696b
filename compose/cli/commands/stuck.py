"""`backbeat stuck`: nodes that do not go on, why, since when, and when they are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.batch import CONCURRENCY
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.filters import Filters, find_nodes
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.show.printing import ago, emit, json_text, note, print_table, when
from backbeat.compose.cli.show.rows import error_of, node_row

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import StatusChange

KINDS = ("exhausted", "errored", "retrying", "overdue", "inconsistent")
#: Due nodes are done within moments; an engine that starts, or a partition that moves, takes some more.
_GRACE = timedelta(minutes=2)
#: Bound of the nodes of one status that are looked at: more of them are no list that anybody reads.
_LOOKED_AT_MAX = 10_000
#: Reasons of nodes that others hold up: their cause is another node, which is in the list itself.
_HELD_UP = {
    "pending": "waits for its parent's worker to complete",
    "ready": "waits for an earlier sibling",
    "processing_children": "waits for what is below it, or linked to it",
}


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A node that does not go on."""

    kind: str
    node: Node
    since: datetime
    reason: str
    next_retry_at: datetime | None


Judge = Callable[["Node", list["StatusChange"]], Stuck | None]


@click.command(
    epilog="""\b
Examples:
  backbeat stuck
  backbeat stuck --kind exhausted --name "Charge card" --json | backbeat node retry -
  backbeat stuck --for 4h --waiting
  backbeat stuck --kind exhausted --kind overdue --exit-code     # for a monitor: 1 where there is any
"""
)
@connected
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Only these: retries exhausted; failed in the engine; waiting for a retry; due but not done; without any "
    "change for long.  [default: all]",
)
@click.option("--name", metavar="NAME", help="Only nodes of this name.")
@click.option(
    "--for",
    "for_",
    type=Length(),
    default="20h",
    show_default=True,
    metavar="LENGTH",
    help="What has not changed for so long is inconsistent.",
)
@click.option("--waiting", is_flag=True, help="Inconsistent ones that only wait for others, too.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Of each kind.")
@click.option("--exit-code", "with_exit_code", is_flag=True, help="End with exit code 1 where there is any.")
@json_option
def stuck(
    connection: Connection,
    kinds: tuple[str, ...],
    name: str | None,
    for_: timedelta,
    limit: int,
    *,
    waiting: bool,
    with_exit_code: bool,
    as_json: bool,
) -> None:
    """List what does not go on: why, since when, and when it is tried again. With --json: a line for each.

    What waits for a time on purpose is not stuck, and neither is what has a worker that still may answer.
    """

    async def run(client: Client) -> list[Stuck]:
        stuck_nodes: list[Stuck] = []
        for kind in kinds or KINDS:
            nodes_of_kind = [stuck_node async for stuck_node in _find(client, kind, name, for_, limit, waiting=waiting)]
            if len(nodes_of_kind) == limit:
                note(f"The first {limit} that are {kind}; for more: --limit")
            stuck_nodes += nodes_of_kind
        return stuck_nodes

    stuck_nodes = connection.run(run)
    for stuck_node in stuck_nodes if as_json else ():
        emit(_json_row(stuck_node))
    if not as_json and not _table(stuck_nodes):
        note("Nothing is stuck.")
    if stuck_nodes and with_exit_code:
        click.get_current_context().exit(Exit.FAILED)


async def _find(
    client: Client, kind: str, name: str | None, for_: timedelta, limit: int, *, waiting: bool
) -> AsyncIterator[Stuck]:
    """Stuck nodes of one kind, as they are found."""
    now = datetime.now(UTC)
    overdue_before = now - _GRACE
    searches: list[tuple[Filters, Judge]]
    match kind:
        case "exhausted":
            searches = [(Filters(name=name, status="retries_exhausted"), _exhausted)]
        case "errored":
            searches = [(Filters(name=name, status="errored"), _errored)]
        case "retrying":
            searches = [(Filters(name=name, status="retrying"), _retrying)]
        case "overdue":
            searches = [
                (
                    Filters(name=name, status=status, until=overdue_before),
                    lambda node, history: _overdue(node, history, overdue_before),
                )
                for status in ("sent_to_client", "started", "retrying")
            ]
        case _:
            unchanged_since = now - for_
            searches = [
                (
                    Filters(name=name, status=status, unchanged_since=unchanged_since),
                    lambda node, history: _inconsistent(node, history, unchanged_since),
                )
                for status in ("sent_to_client", "paused", *(_HELD_UP if waiting else ()))
            ]
    remaining = limit
    for filters, judge in searches:
        async for stuck_node in _judged(client, filters, judge):
            yield stuck_node
            remaining -= 1
            if not remaining:
                return


async def _judged(client: Client, filters: Filters, judge: Judge) -> AsyncIterator[Stuck]:
    """Nodes of a search, judged by their present state in the engine."""

    async def judge_now(identity: str) -> Stuck | None:
        node, history = await asyncio.gather(client.node(identity), client.history(identity))
        return judge(node, history)

    ids: list[str] = []
    looked_at = 0
    async for node in find_nodes(client, filters, limit=None):
        ids.append(node.id)
        looked_at += 1
        if len(ids) == CONCURRENCY:
            for stuck_node in await asyncio.gather(*map(judge_now, ids)):
                if stuck_node is not None:
                    yield stuck_node
            ids.clear()
        if looked_at == _LOOKED_AT_MAX:
            note(f"Only the {_LOOKED_AT_MAX} oldest nodes that are {filters.status} were looked at; narrow: --name")
            break
    for stuck_node in await asyncio.gather(*map(judge_now, ids)):
        if stuck_node is not None:
            yield stuck_node


def _exhausted(node: Node, history: list[StatusChange]) -> Stuck | None:
    return _with_error("exhausted", node, history) if node.status == "retries_exhausted" else None


def _errored(node: Node, history: list[StatusChange]) -> Stuck | None:
    return _with_error("errored", node, history) if node.status == "errored" else None


def _retrying(node: Node, history: list[StatusChange]) -> Stuck | None:
    return _with_error("retrying", node, history) if node.status == "retrying" else None


def _with_error(kind: str, node: Node, history: list[StatusChange]) -> Stuck:
    errors = [change for change in history if change.to_status == "errored"]
    message = error_of(errors[-1].response)[0] if errors else ""
    retry_at = node.due_at if node.status == "retrying" else None
    return Stuck(kind=kind, node=node, since=_changed_at(node, history), reason=message, next_retry_at=retry_at)


def _overdue(node: Node, history: list[StatusChange], overdue_before: datetime) -> Stuck | None:
    if node.status == "sent_to_client" and node.client_status == "received":
        due, expectation = node.complete_by, "its worker should have answered"
    elif node.status in ("started", "retrying"):
        due, expectation = node.due_at, "it should have started"
    else:
        return None
    if due is None or due > overdue_before:
        return None
    reason = f"{expectation} {ago(due)}; does an engine run?"
    return Stuck(kind="overdue", node=node, since=_changed_at(node, history), reason=reason, next_retry_at=None)


def _inconsistent(node: Node, history: list[StatusChange], unchanged_since: datetime) -> Stuck | None:
    since = _changed_at(node, history)
    if since > unchanged_since or node.due_at > unchanged_since:
        return None
    if node.status == "sent_to_client":
        until_text = "" if node.complete_by is None else f"; it may until {when(node.complete_by)}"
        reason = f"its worker has it, and has not answered{until_text}"
    elif node.status == "paused":
        reason = "its workflow is paused"
    else:
        reason = _HELD_UP.get(node.status, "")
    return Stuck(kind="inconsistent", node=node, since=since, reason=reason, next_retry_at=None) if reason else None


def _changed_at(node: Node, history: list[StatusChange]) -> datetime:
    return history[-1].at if history else node.created_at


def _json_row(stuck_node: Stuck) -> dict[str, object]:
    return {
        "kind": stuck_node.kind,
        "since": stuck_node.since,
        "why": stuck_node.reason,
        "next_retry_at": stuck_node.next_retry_at,
        **node_row(stuck_node.node),
    }


def _table(stuck_nodes: list[Stuck]) -> int:
    return print_table(
        ("KIND", "SINCE", "NEXT RETRY", "NODE", "WORKFLOW", "WHY", "ID"),
        (
            (
                stuck_node.kind,
                ago(stuck_node.since),
                "" if stuck_node.next_retry_at is None else ago(stuck_node.next_retry_at),
                stuck_node.node.name,
                f"{stuck_node.node.workflow_name} {json_text(stuck_node.node.subject)}",
                stuck_node.reason,
                stuck_node.node.id,
            )
            for stuck_node in stuck_nodes
        ),
    )
