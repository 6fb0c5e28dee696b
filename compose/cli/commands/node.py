"""`backbeat node`: show one node, and step in."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.batch import change_all
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.references import node_argument, nodes_argument, read_ids, read_value
from backbeat.compose.cli.show.printing import (
    ago,
    emit,
    json_text,
    make_console,
    note,
    print_facts,
    print_table,
    status_text,
    when,
)
from backbeat.compose.cli.show.rows import change_facts, error_of, node_facts
from backbeat.compose.cli.show.sanitize import plain

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import StatusChange

_response_option = click.option(
    "--response", metavar="VALUE", help="What is kept as its response: JSON, else text.  [default: none]"
)


@click.group()
def node() -> None:
    """Show nodes, their errors and their history; retry, resolve, cancel and more.

    Where several ids are taken, `-` reads them from standard input: one on each line, or lines of JSON with an `id`.
    """


@node.command(
    epilog="""\b
Examples:
  backbeat node show 5d3f8a10-…
  backbeat search nodes --status errored --quiet | backbeat node show - --json
"""
)
@nodes_argument
@connected
@json_option
def show(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Show nodes: where they are, what they were given, their last error. With --json: a line for each."""
    ids = read_ids(node_id)

    async def run(client: Client) -> None:
        for place, identity in enumerate(ids):
            found, changes = await asyncio.gather(client.node(identity), client.history(identity))
            errored = _errors(changes)
            if as_json:
                emit({**node_facts(found), "last_error": change_facts(errored[-1]) if errored else None})
                continue
            if place:
                click.echo()
            _print_node(found, errored)

    connection.run(run)


def _print_node(found: Node, errored: list[StatusChange]) -> None:
    message, _ = error_of(errored[-1].response) if errored else ("", [])
    print_facts(
        [
            ("name", found.name),
            ("id", found.id),
            ("status", status_text(found.status)),
            ("", f"waits for a slot: backbeat limit show {found.name!r}" if found.waits_for_slot else ""),
            ("client status", status_text(found.client_status)),
            ("workflow", f"{found.workflow_name} {json_text(found.subject)}"),
            ("workflow id", found.workflow_id),
            ("parent id", found.parent_id or ""),
            ("mode", found.mode),
            ("attempt", f"{found.attempt}, {found.retries_remaining} retries left"),
            ("created", f"{when(found.created_at)} ({ago(found.created_at)})"),
            ("due", f"{when(found.due_at)} ({ago(found.due_at)})"),
            ("answer until", when(found.complete_by)),
            ("client data", json_text(found.client_data)),
            ("metadata", json_text(found.metadata) if found.metadata else ""),
            ("transaction id", found.tid),
            ("last error", f"{when(errored[-1].at)} {message}" if errored else ""),
        ]
    )
    if errored:
        note(f"All of it, with tracebacks: backbeat node errors {found.id}")


@node.command(epilog="Example: backbeat node errors 5d3f8a10-…")
@node_argument
@connected
@json_option
def errors(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Show a node's errors, oldest first, with their tracebacks. With --json: a line for each."""
    _, history = _read(connection, node_id)
    found = _errors(history)
    if as_json:
        for change in found:
            message, traceback = error_of(change.response)
            emit({"at": change.at, "message": message, "traceback": traceback, "response": change.response})
        return
    console = make_console()
    for change in found:
        message, traceback = error_of(change.response)
        console.print(f"{when(change.at)} ({ago(change.at)})  {plain(message)}", style="bold red")
        for line in traceback:
            console.print(plain(line.rstrip("\n")), style="dim")
    if not found:
        note("It had no error.")


@node.command(epilog="Example: backbeat node history 5d3f8a10-… --json")
@node_argument
@connected
@json_option
def history(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Show every change of a node's statuses, oldest first. With --json: a line for each."""
    _, found = _read(connection, node_id)
    if as_json:
        for change in found:
            emit(change_facts(change))
        return
    print_table(
        ("WHEN", "WHOSE", "FROM", "TO", "RESPONSE"),
        (
            (
                when(change.at),
                "client" if change.status_type == "current_client_status" else "server",
                status_text(change.from_status),
                status_text(change.to_status),
                _response(change),
            )
            for change in found
        ),
    )


def _read(connection: Connection, node_id: uuid.UUID) -> tuple[Node, list[StatusChange]]:
    async def run(client: Client) -> tuple[Node, list[StatusChange]]:
        found, changes = await asyncio.gather(client.node(node_id), client.history(node_id))
        return found, changes

    return connection.run(run)


def _errors(history: list[StatusChange]) -> list[StatusChange]:
    """The changes to errored: the client's, and the engine's own."""
    return [change for change in history if change.to_status == "errored"]


def _response(change: StatusChange) -> str:
    if change.response is None:
        return ""
    message, _ = error_of(change.response) if change.to_status == "errored" else ("", [])
    return message or json_text(change.response)


# --- stepping in -----------------------------------------------------------------------------------------------------


def _change(
    arguments: tuple[str, ...],
    connection: Connection,
    change: Callable[[Client, str], Awaitable[Any]],
    done: str,
    *,
    as_json: bool,
) -> None:
    ids = read_ids(arguments)
    connection.run(lambda client: change_all(ids, lambda identity: change(client, identity), done, as_json=as_json))


@node.command(
    epilog="""\b
Examples:
  backbeat node retry 5d3f8a10-…
  backbeat search nodes --status retries_exhausted --quiet | backbeat node retry -
"""
)
@nodes_argument
@connected
@json_option
def retry(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Try nodes again now: failed ones, and those that wait for their next retry."""
    _change(node_id, connection, lambda client, one: client.retry(one), "retried", as_json=as_json)


@node.command(epilog="""Example: backbeat node resolve 5d3f8a10-… --response '{"paid by": "hand"}'""")
@nodes_argument
@connected
@_response_option
@json_option
def resolve(node_id: tuple[str, ...], connection: Connection, response: str | None, *, as_json: bool) -> None:
    """Count nodes as done though their retries are exhausted; the tree goes on."""
    said = None if response is None else read_value(response)
    _change(node_id, connection, lambda client, one: client.resolve(one, said), "resolved", as_json=as_json)


@node.command(
    epilog="""\b
Examples:
  backbeat node answer 5d3f8a10-… --result '{"approved": true}'
  backbeat node answer 5d3f8a10-… --error "the customer said no" --final
"""
)
@node_argument
@connected
@click.option("--result", metavar="VALUE", help="What it gave: JSON, else text.  [default: null]")
@click.option("--error", metavar="TEXT", help="It failed, and this is why; it is tried again while there are retries.")
@click.option("--final", is_flag=True, help="With --error: it is not tried again.")
@json_option
def answer(
    node_id: uuid.UUID, connection: Connection, result: str | None, error: str | None, *, final: bool, as_json: bool
) -> None:
    """Answer for a worker: the activity that somebody else completes is done, or has failed."""
    from backbeat.errors import Fail

    if error is not None and result is not None:
        raise click.UsageError("give --result or --error, not both")
    if final and error is None:
        raise click.UsageError("--final goes with --error")
    value = None if result is None else read_value(result)
    what = Fail(error) if final and error is not None else error

    def say(client: Client, identity: str) -> Awaitable[None]:
        return client.answer(identity, result=value, error=what)

    _change((str(node_id),), connection, say, "answered", as_json=as_json)


@node.command(epilog="Example: backbeat node cancel 5d3f8a10-…")
@nodes_argument
@connected
@json_option
def cancel(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Deactivate nodes and everything below them; what waited for them goes on."""
    _change(node_id, connection, lambda client, one: client.cancel(one), "canceled", as_json=as_json)


@node.command(epilog="Example: backbeat node shutdown 5d3f8a10-…")
@nodes_argument
@connected
@_response_option
@json_option
def shutdown(node_id: tuple[str, ...], connection: Connection, response: str | None, *, as_json: bool) -> None:
    """Give up nodes whose retries are exhausted; of a blocking one, the later siblings are deactivated."""
    said = None if response is None else read_value(response)
    _change(node_id, connection, lambda client, one: client.shutdown(one, said), "shut down", as_json=as_json)


@node.command(epilog="Example: backbeat node deactivate-previous 5d3f8a10-…")
@node_argument
@connected
@json_option
def deactivate_previous(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Deactivate every OLDER node of a node's whole workflow, complete ones and its ancestors too.

    The node itself stays as it is. To deactivate the node: backbeat node cancel.
    """
    _change(
        (str(node_id),),
        connection,
        lambda client, one: client.deactivate_previous(one),
        "all older nodes are deactivated",
        as_json=as_json,
    )


@node.command(epilog="Example: backbeat node reset 5d3f8a10-…")
@nodes_argument
@connected
@json_option
def reset(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Deactivate everything below nodes. The nodes themselves stay as they are: `start-next` lets them go on."""
    _change(node_id, connection, lambda client, one: client.reset(one), "reset", as_json=as_json)


@node.command(epilog="Example: backbeat node start-next 5d3f8a10-…")
@nodes_argument
@connected
@json_option
def start_next(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Start what can start below nodes, and complete those below which all is done: the engine looks again."""
    _change(node_id, connection, lambda client, one: client.start_next(one), "looked at again", as_json=as_json)
