"""`backbeat search`: find workflows and nodes. Answered by a gateway, from its projection."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Moment
from backbeat.compose.cli.filters import (
    Filters,
    filter_options,
    find_nodes,
    find_workflows,
    node_filters,
    workflow_filters,
)
from backbeat.compose.cli.options import add_options, connected, json_option
from backbeat.compose.cli.show.printing import emit, json_text, note, print_table, status_text, when
from backbeat.compose.cli.show.rows import node_row, wait_row, workflow_row

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.search import SearchCount
    from backbeat.client.views import Workflow
    from backbeat.client.waits import Wait

#: A node or a workflow.
Row = TypeVar("Row", "Node", "Workflow")

_LIMIT = 25
#: Questions to the engine that are under way together.
_ASKED_AT_ONCE = 20
_CLOSED = ("complete", "deactivated")


#: How many rows, and in which form.
_page_options = add_options(
    click.option("--limit", type=click.IntRange(min=1), default=_LIMIT, show_default=True, help="So many at most."),
    click.option("--older-than", type=click.UUID, metavar="ID", help="Only what was made before the one of this id."),
    click.option("--all", "all_", is_flag=True, help="All of them, however many."),
    click.option("--quiet", "-q", is_flag=True, help="Ids only, one on each line: for `-` of other commands."),
    json_option,
)

_count_options = add_options(
    click.option("--count", "counts", is_flag=True, help="Only how many there are."),
    click.option(
        "--count-max",
        type=click.IntRange(1, 100_000),
        default=10_000,
        show_default=True,
        help="Counted up to this: 10,000+ means that there are more.",
    ),
)
_OF_A_PAGE = ("limit", "older_than", "all_", "quiet", "as_json", "why")
#: What a count would pass over in silence.
_NOT_COUNTED = {"older_than": "--older-than", "quiet": "--quiet", "why": "--why"}


@click.group()
def search() -> None:
    """Find workflows and nodes by name, status, text and time.

    All filters must hold. A search sees every write that was answered before it was asked.
    """


def _nodes_table(nodes: list[Node], waits: dict[str, str] | None = None) -> int:
    """The nodes; with `waits`, by id, what each waits for."""
    return print_table(
        ("ID", "NAME", "STATUS", "CLIENT", "WORKFLOW", "SUBJECT", "CREATED", *(("WHY",) if waits is not None else ())),
        (
            (
                node.id,
                node.name,
                status_text(node.status),
                status_text(node.client_status),
                node.workflow_name,
                json_text(node.subject),
                when(node.created_at),
                *((waits.get(node.id, ""),) if waits is not None else ()),
            )
            for node in nodes
        ),
    )


def _workflows_table(workflows: list[Workflow]) -> int:
    return print_table(
        ("ID", "NAME", "SUBJECT", "CREATED", "STATE"),
        (
            (
                workflow.id,
                workflow.name,
                json_text(workflow.subject),
                when(workflow.created_at),
                " ".join(word for word, is_set in (("closed", workflow.closed), ("paused", workflow.paused)) if is_set),
            )
            for workflow in workflows
        ),
    )


@search.command(
    "nodes",
    epilog="""\b
Examples:
  backbeat search nodes --status retries_exhausted --name "Charge card"
  backbeat search nodes --metadata '"shop":1' --past-status errored --since 1d
  backbeat search nodes --status retries_exhausted --all --quiet | backbeat node retry -
  backbeat search nodes --status ready --why
  backbeat search nodes --slot "Charge card" --slot-key bank-7 --count
  backbeat search nodes --status running --unchanged-since 20h
""",
)
@connected
@filter_options("--metadata", "Stands in the metadata, as compact JSON.")
@click.option("--workflow-id", type=click.UUID, metavar="ID", help="Nodes of this workflow.")
@click.option("--parent-id", type=click.UUID, metavar="ID", help="Nodes right below this one.")
@click.option("--cause", metavar="ID", help="Nodes that have failed with this cause, by its id: `backbeat causes`.")
@click.option(
    "--unchanged-since",
    type=Moment(),
    help="Nodes none of whose statuses has changed after that: a time, or how long ago.",
)
@_page_options
@_count_options
@click.option("--why", is_flag=True, help="Also what each that is open waits for: whose result, or which node, time, …")
def nodes(connection: Connection, **options: Any) -> None:
    """Find nodes by what they are; the oldest come first. With --json: a line for each."""
    if _is_counted(connection, lambda client: client.count_nodes, node_filters, options):
        return
    if options.pop("why") and not options["quiet"]:
        _explain(connection, **options)
    else:
        _show(connection, find_nodes, node_row, _nodes_table, **options)


def _explain(
    connection: Connection,
    *,
    limit: int,
    older_than: uuid.UUID | None,
    all_: bool,
    quiet: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find nodes, and ask the engine what they wait for, so many at a time."""
    del quiet

    async def run(client: Client) -> None:
        before = None if older_than is None else str(older_than)
        found_nodes = find_nodes(client, Filters(**filters), limit=None if all_ else limit, older_than=before)
        shown: list[Node] = []
        sentences: dict[str, str] = {}
        async for batch in _batches(found_nodes):
            for node, waits in zip(
                batch, await asyncio.gather(*(_waits_of(client, node) for node in batch)), strict=True
            ):
                if as_json:
                    emit({**node_row(node), "waits": [wait_row(wait) for wait in waits]})
                else:
                    shown.append(node)
                    sentences[node.id] = "; ".join(wait.sentence for wait in waits)
        if not as_json and not _nodes_table(shown, sentences):
            note("There is none.")

    connection.run(run)


async def _batches(nodes: AsyncIterator[Node]) -> AsyncIterator[list[Node]]:
    batch: list[Node] = []
    async for node in nodes:
        batch.append(node)
        if len(batch) == _ASKED_AT_ONCE:
            yield batch
            batch = []
    yield batch


async def _waits_of(client: Client, node: Node) -> list[Wait]:
    """Waits of a node; none where it is closed, or was removed meanwhile."""
    from backbeat.errors import NotFound

    if node.status in _CLOSED:
        return []
    try:
        return await client.waits(node.id)
    except NotFound:
        return []


_workflow_options = add_options(
    connected, filter_options("--subject", "Stands in the subject, as compact JSON."), _page_options
)


def _is_counted(
    connection: Connection,
    count_of: Callable[[Client], Callable[..., Awaitable[SearchCount]]],
    filters_of: Callable[[Filters], dict[str, Any]],
    options: dict[str, Any],
) -> bool:
    """Print how many match, where that is asked; the options of counts are taken out of the others."""
    counts, count_max = options.pop("counts"), options.pop("count_max")
    if not counts:
        return False
    beside = [flag for name, flag in _NOT_COUNTED.items() if options.get(name)]
    if beside:
        raise click.UsageError(f"--count says only how many there are: leave out {', '.join(beside)}")
    as_json = options["as_json"]
    filters = Filters(**{name: value for name, value in options.items() if name not in _OF_A_PAGE})

    async def run(client: Client) -> None:
        matches = await count_of(client)(count_max=count_max, **filters_of(filters))
        if as_json:
            emit({"count": matches.count, "more": matches.more})
        else:
            click.echo(matches)

    connection.run(run)
    return True


@search.command(
    "workflows",
    epilog="""\b
Examples:
  backbeat search workflows --subject 703
  backbeat search workflows --name "Camera sale" --status errored --limit 100
  backbeat search workflows --past-status retries_exhausted --since 2026-11-01 --until 2026-11-02 --json
""",
)
@_workflow_options
@_count_options
def workflows(connection: Connection, **options: Any) -> None:
    """Find workflows that have nodes; the newest come first. The filters of nodes hold on one and the same node."""
    if _is_counted(connection, lambda client: client.count_workflows, workflow_filters, options):
        return
    _show(connection, find_workflows, workflow_row, _workflows_table, **options)


@click.command(
    "list",
    epilog="""\b
Examples:
  backbeat workflow list
  backbeat workflow list --name "Camera sale" --limit 100
  backbeat workflow list --status errored --all --json | jq -r .subject
""",
)
@_workflow_options
def list_(connection: Connection, **options: Any) -> None:
    """List workflows, the newest first: all that have nodes, or those that match. The same as `search workflows`."""
    _show(connection, find_workflows, workflow_row, _workflows_table, **options)


def _show(
    connection: Connection,
    find: Callable[..., AsyncIterator[Row]],
    json_row: Callable[[Row], Any],
    print_rows: Callable[[list[Row]], int],
    *,
    limit: int,
    older_than: uuid.UUID | None,
    all_: bool,
    quiet: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Find rows and print them: ids and JSON as they come, a table when all are there."""

    async def run(client: Client) -> None:
        before = None if older_than is None else str(older_than)
        rows = find(client, Filters(**filters), limit=None if all_ else limit, older_than=before)
        if quiet:
            async for row in rows:
                click.echo(row.id)
        elif as_json:
            async for row in rows:
                emit(json_row(row))
        elif not print_rows([row async for row in rows]):
            note("There is none.")

    connection.run(run)
