"""`backbeat archive`: write archives of workflows that are about to be removed; list and read them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import bootstrap_option, json_option, log_format_option, operating, setting
from backbeat.compose.cli.show.printing import (
    emit,
    json_text,
    make_console,
    print_fields,
    print_table,
    status_text,
    when,
)
from backbeat.compose.cli.show.rows import change_row, node_row

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.operations.archives import ArchivedNode, ArchivedWorkflow
    from backbeat.gateway.archiving import Archiver

READY_LINE = "backbeat archive ready"

_file_argument = click.argument("file", metavar="FILE|URL|NAME")


@click.group()
def archive() -> None:
    """Archive workflows that are about to be removed (`backbeat retention`); list and read archives.

    An archive is a file, JSON lines in gzip: zcat shows it, too.
    """


@archive.command(
    epilog="""\b
Examples:
  backbeat archive run --to file:///var/lib/backbeat/archive
  backbeat archive run --to "s3://bucket/backbeat?region=eu-central-1"
  backbeat archive run --to file:///mnt/archive --once         all that waits now, from cron
"""
)
@bootstrap_option
@setting(
    "--to",
    "file:///folder, or s3://bucket/prefix?endpoint=http://…&region=…",
    variable="BACKBEAT_ARCHIVE_TO",
    required=True,
    metavar="URL",
)
@click.option("--once", is_flag=True, help="End when nothing waits; 1: something could not be archived.")
@click.option(
    "--poll-seconds",
    type=Number(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="How often it is looked what waits.",
)
@log_format_option
def run(bootstrap_servers: str, to: str, poll_seconds: float, log_format: str, *, once: bool) -> None:
    """Write an archive of each workflow that waits for it, whereupon it is removed; until SIGTERM or Ctrl-C."""
    from backbeat.gateway.archiving import Archiver, open_archive_store
    from backbeat.streams.observe import logs

    store = open_archive_store(to)
    logs.to_stderr(log_format)

    async def write_archives() -> int:
        archiver = Archiver(bootstrap_servers, store)
        await archiver.start()
        try:
            if once:
                return await archiver.sweep()
            await _until_stopped(archiver, poll_seconds)
        finally:
            await archiver.stop()
        return 0

    failed_count = asyncio.run(write_archives())
    if failed_count:
        raise CommandError(f"{failed_count} workflows could not be archived; the log says why.", Exit.FAILED)


async def _until_stopped(archiver: Archiver, poll_seconds: float) -> None:
    stop_event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_event.set)
    running = asyncio.create_task(archiver.run(poll_seconds))
    stopped = asyncio.create_task(stop_event.wait())
    click.echo(READY_LINE)
    await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        running.result()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@archive.command(
    "list",
    epilog="""\b
Examples:
  backbeat archive list file:///var/lib/backbeat/archive
  backbeat archive list s3://bucket/backbeat --client shop --json
""",
)
@click.argument("url", envvar="BACKBEAT_ARCHIVE_TO", required=False)
@operating
@click.option("--client", help="Only those of this client application.")
@json_option
def list_(url: str | None, connection: Connection, client: str | None, *, as_json: bool) -> None:
    """List the archives of a store by their names: client, workflow name, day, id.

    As a person (--person): those of a gateway, without a URL.
    """
    if connection.person is not None:
        for name in connection.run(lambda made: _names(made, "" if client is None else quote(client, safe=""))):
            emit({"name": name}) if as_json else click.echo(name)
        return
    if url is None:
        raise click.UsageError("give the URL of a store, or --person")
    from backbeat.gateway.archiving import open_archive_store
    from backbeat.gateway.archiving.stores import name_part

    for name in open_archive_store(url).names("" if client is None else name_part(client)):
        emit({"name": name}) if as_json else click.echo(name)


async def _names(client: Client, under: str) -> list[str]:
    """Names of all archives below a folder."""
    names: list[str] = []
    for entry in await client.archives.list(under):
        names += await _names(client, entry.name) if entry.is_folder else [entry.name]
    return names


@archive.command(
    epilog="""\b
Examples:
  backbeat archive show file:///var/lib/backbeat/archive/shop/Camera%20sale/2026-11-24/5d3f….jsonl.gz
  backbeat archive show 5d3f….jsonl.gz --json | jq 'select(.status == "retries_exhausted")'
"""
)
@_file_argument
@operating
@json_option
def show(file: str, connection: Connection, *, as_json: bool) -> None:
    """Show what an archive holds. With --json: a line for each node, with its history."""
    archive = _read(file, connection)
    workflow = archive.workflow
    if as_json:
        for archived in archive.nodes:
            emit({**node_row(archived.node), "history": list(map(change_row, archived.history))})
        return
    print_fields(
        [
            ("client", archive.client),
            ("workflow", workflow.name),
            ("subject", json_text(workflow.subject)),
            ("id", workflow.id),
            ("decider", workflow.decider),
            ("created", when(workflow.created_at)),
            ("nodes", str(len(archive.nodes))),
        ]
    )
    print_table(("ID", "NAME", "STATUS", "CLIENT STATUS", "CREATED", "CHANGES"), map(_row, archive.nodes))


def _row(archived: ArchivedNode) -> tuple[Any, ...]:
    node = archived.node
    status = status_text(node.status)
    return (node.id, node.name, status, node.client_status, when(node.created_at), str(len(archived.history)))


@archive.command(
    epilog="""\b
Examples:
  backbeat archive tree 5d3f….jsonl.gz
  backbeat archive tree s3://bucket/backbeat/shop/Index/2026-11-24/5d3f….jsonl.gz --json
"""
)
@_file_argument
@operating
@json_option
def tree(file: str, connection: Connection, *, as_json: bool) -> None:
    """Draw the tree of an archived workflow. With --json: one document, as `backbeat workflow tree` has it."""
    from backbeat.client.views import Tree
    from backbeat.compose.cli.show.rows import tree_row
    from backbeat.compose.cli.show.tree import TreeOptions, draw

    archive = _read(file, connection)
    archived_tree = Tree(archive.workflow, [archived.node for archived in archive.nodes])
    emit(tree_row(archived_tree, TreeOptions())) if as_json else make_console().print(
        draw(archived_tree, TreeOptions())
    )


def _read(address: str, connection: Connection) -> ArchivedWorkflow:
    """An archive of a file or store; for a person that of a gateway, by its name."""
    from backbeat.client.operations.archives import ArchivedNode, ArchivedWorkflow
    from backbeat.client.views import NodeValue, StatusChange, Workflow
    from backbeat.gateway.archiving import read_archive, split_address

    if connection.person is not None:
        return connection.run(lambda client: client.archives.read(address))
    store, name = split_address(address)
    with store.open(name) as file:
        archive = read_archive(file, address)
    # The value of an archived node has all fields that are shown of a live one.
    return ArchivedWorkflow(
        archive.client,
        Workflow(archive.workflow),
        [
            ArchivedNode(cast("Node", NodeValue(view)), list(map(StatusChange, archive.history[view.id])))
            for view in archive.nodes
        ],
    )
