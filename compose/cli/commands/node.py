"""`backbeat node`: show nodes, and change them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.batch import change_all
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.options import acting, compensate_option, connected, json_option
from backbeat.compose.cli.references import node_argument, nodes_argument, read_ids, read_value
from backbeat.compose.cli.show.printing import (
    ago,
    emit,
    json_text,
    make_console,
    note,
    print_fields,
    print_table,
    status_text,
    when,
)
from backbeat.compose.cli.show.rows import change_row, child_row, error_of, node_row, wait_row
from backbeat.compose.cli.show.sanitize import plain
from backbeat.compose.cli.user.deeds import Deed

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import StatusChange
    from backbeat.client.waits import Child, Wait

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
        for index, identity in enumerate(ids):
            node, changes, waits = await asyncio.gather(
                client.node(identity), client.history(identity), client.waits(identity)
            )
            errored = _errors(changes)
            if as_json:
                last_error = change_row(errored[-1]) if errored else None
                emit({**node_row(node), "waits": [wait_row(wait) for wait in waits], "last_error": last_error})
                continue
            if index:
                click.echo()
            _print_node(node, errored, waits)

    connection.run(run)


def _print_node(node: Node, errored: list[StatusChange], waits: list[Wait]) -> None:
    message, _ = error_of(errored[-1].response) if errored else ("", [])
    print_fields(
        [
            ("name", node.name),
            ("id", node.id),
            ("status", status_text(node.status)),
            *(("", _wait_text(wait, node.name)) for wait in waits),
            ("client status", status_text(node.client_status)),
            ("workflow", f"{node.workflow_name} {json_text(node.subject)}"),
            ("workflow id", node.workflow_id),
            ("parent id", node.parent_id or ""),
            ("mode", node.mode),
            ("attempt", f"{node.attempt}, {node.retries_remaining} retries left"),
            ("created", f"{when(node.created_at)} ({ago(node.created_at)})"),
            ("due", f"{when(node.due_at)} ({ago(node.due_at)})"),
            ("answer until", when(node.complete_by)),
            ("client data", json_text(node.client_data)),
            ("metadata", json_text(node.metadata) if node.metadata else ""),
            ("transaction id", node.tid),
            ("last error", f"{when(errored[-1].at)} {message}" if errored else ""),
        ]
    )
    if errored:
        note(f"All of it, with tracebacks: backbeat node errors {node.id}")


def _wait_text(wait: Wait, name: str) -> str:
    """A wait in words, and where there is more of it."""
    text = wait.sentence
    if wait.until is not None:
        text += f" ({ago(wait.until)})"
    if wait.kind in ("slot", "limit_paused"):
        return f"{text}: backbeat limit show {name!r}"
    return text if wait.node_id is None else f"{text}: backbeat node show {wait.node_id}"


@node.command(
    epilog="""\b
Examples:
  backbeat node children 5d3f8a10-…
  backbeat node children 5d3f8a10-… --limit 1000 --json
"""
)
@click.argument("identity", metavar="ID", type=click.UUID)
@connected
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="How many at most.")
@click.option("--after", metavar="ID", type=click.UUID, help="Begin behind this child, the last one seen.")
@json_option
def children(
    identity: uuid.UUID, connection: Connection, limit: int, after: uuid.UUID | None, *, as_json: bool
) -> None:
    """Show the nodes right below a node, or at the top of a workflow, and what each waits for.

    With --json: a line for each.
    """
    nodes = connection.run(lambda client: client.children(identity, limit=limit, after=after))
    _print_children(nodes, as_json=as_json)
    if not as_json and len(nodes) == limit:
        note(f"There may be more: backbeat node children {identity} --after {nodes[-1].id}")


@node.command(epilog="Example: backbeat node path 5d3f8a10-…")
@node_argument
@connected
@json_option
def path(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Show the nodes above a node, from the top of its workflow down, and the node. With --json: a line for each."""

    async def run(client: Client) -> list[Child]:
        return await (await client.node(node_id)).path()

    _print_children(connection.run(run), as_json=as_json)


def _print_children(nodes: list[Child], *, as_json: bool) -> None:
    if as_json:
        for child in nodes:
            emit(child_row(child))
        return
    print_table(
        ("ID", "NAME", "STATUS", "WAITS", "CHANGED"),
        (
            (
                child.id,
                child.name,
                status_text(child.status),
                child.error or ("" if child.wait is None else child.wait.sentence),
                when(child.changed_at),
            )
            for child in nodes
        ),
    )


@node.command(epilog="Example: backbeat node errors 5d3f8a10-…")
@node_argument
@connected
@json_option
def errors(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Show a node's errors, oldest first, with their tracebacks. With --json: a line for each."""
    _, history = _read(connection, node_id)
    errored = _errors(history)
    if as_json:
        for change in errored:
            message, traceback = error_of(change.response)
            emit({"at": change.at, "message": message, "traceback": traceback, "response": change.response})
        return
    console = make_console()
    for change in errored:
        message, traceback = error_of(change.response)
        console.print(f"{when(change.at)} ({ago(change.at)})  {plain(message)}", style="bold red")
        for line in traceback:
            console.print(plain(line.rstrip("\n")), style="dim")
    if not errored:
        note("It had no error.")


@node.command(epilog="Example: backbeat node history 5d3f8a10-… --json")
@node_argument
@connected
@json_option
def history(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Show every change of a node's statuses, oldest first. With --json: a line for each."""
    _, changes = _read(connection, node_id)
    if as_json:
        for change in changes:
            emit(change_row(change))
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
            for change in changes
        ),
    )


def _read(connection: Connection, node_id: uuid.UUID) -> tuple[Node, list[StatusChange]]:
    async def run(client: Client) -> tuple[Node, list[StatusChange]]:
        node, changes = await asyncio.gather(client.node(node_id), client.history(node_id))
        return node, changes

    return connection.run(run)


def _errors(history: list[StatusChange]) -> list[StatusChange]:
    """Changes to errored: the client's, and the engine's own."""
    return [change for change in history if change.to_status == "errored"]


def _response(change: StatusChange) -> str:
    if change.response is None:
        return ""
    message, _ = error_of(change.response) if change.to_status == "errored" else ("", [])
    return message or json_text(change.response)


# --- changes ----------------------------------------------------------------------------------------------------------


def _change(
    arguments: tuple[str, ...],
    connection: Connection,
    change: Callable[[Client, str], Awaitable[Any]],
    verb: str,
    *,
    as_json: bool,
) -> None:
    ids = read_ids(arguments)
    deed = Deed(action=click.get_current_context().info_name or verb, kind="node", subjects=ids)

    def run(client: Client) -> Awaitable[None]:
        return change_all(ids, lambda identity: change(client, identity), verb, as_json=as_json)

    connection.change(deed, run)


@node.command(
    epilog="""\b
Examples:
  backbeat node retry 5d3f8a10-…
  backbeat search nodes --status retries_exhausted --quiet | backbeat node retry -
"""
)
@nodes_argument
@acting
@json_option
def retry(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Try nodes again now: failed ones, and those that wait for their next retry."""
    _change(node_id, connection, lambda client, identity: client.retry(identity), "retried", as_json=as_json)


@node.command(epilog="""Example: backbeat node resolve 5d3f8a10-… --result 703""")
@nodes_argument
@acting
@_response_option
@click.option(
    "--result",
    metavar="VALUE",
    help="Their result, for nodes that take it as an argument: JSON, else text.  [default: null]",
)
@json_option
def resolve(
    node_id: tuple[str, ...], connection: Connection, response: str | None, result: str | None, *, as_json: bool
) -> None:
    """Count nodes as done though their retries are exhausted; the tree goes on."""
    if response is not None and result is not None:
        raise click.UsageError("give --result or --response, not both: a response is kept as it is")
    value = None if response is None else read_value(response)
    given = None if result is None else read_value(result)
    _change(
        node_id,
        connection,
        lambda client, identity: client.resolve(identity, value, result=given),
        "resolved",
        as_json=as_json,
    )


@node.command(
    epilog="""\b
Examples:
  backbeat node answer 5d3f8a10-… --result '{"approved": true}'
  backbeat node answer 5d3f8a10-… --error "the customer said no" --final
"""
)
@node_argument
@acting
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
    failure = Fail(error) if final and error is not None else error

    _change(
        (str(node_id),),
        connection,
        lambda client, identity: client.answer(identity, result=value, error=failure),
        "answered",
        as_json=as_json,
    )


@node.command(
    epilog="""\b
Examples:
  backbeat node cancel 5d3f8a10-…
  backbeat node cancel 5d3f8a10-… --compensate
"""
)
@nodes_argument
@acting
@compensate_option
@json_option
def cancel(node_id: tuple[str, ...], connection: Connection, *, compensate: bool, as_json: bool) -> None:
    """Cancel nodes and everything below them, which become deactivated; what waited for them goes on."""
    _change(
        node_id, connection, lambda client, one: client.cancel(one, compensate=compensate), "canceled", as_json=as_json
    )


@node.command(epilog="Example: backbeat node shutdown 5d3f8a10-…")
@nodes_argument
@acting
@_response_option
@json_option
def shutdown(node_id: tuple[str, ...], connection: Connection, response: str | None, *, as_json: bool) -> None:
    """Give up nodes whose retries are exhausted; of a blocking one, the later siblings are deactivated."""
    value = None if response is None else read_value(response)
    _change(node_id, connection, lambda client, one: client.shutdown(one, value), "shut down", as_json=as_json)


@node.command(epilog="Example: backbeat node deactivate-previous 5d3f8a10-…")
@node_argument
@acting
@json_option
def deactivate_previous(node_id: uuid.UUID, connection: Connection, *, as_json: bool) -> None:
    """Deactivate every OLDER node of a node's whole workflow, complete ones and its ancestors too.

    The node itself stays as it is: `backbeat node cancel` ends it.
    """
    ids, verb = (str(node_id),), "all older nodes are deactivated"
    _change(ids, connection, lambda client, one: client.deactivate_previous(one), verb, as_json=as_json)


@node.command(epilog="Example: backbeat node reset 5d3f8a10-…")
@nodes_argument
@acting
@json_option
def reset(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Deactivate everything below nodes. The nodes themselves stay as they are: `start-next` lets them go on."""
    _change(node_id, connection, lambda client, identity: client.reset(identity), "reset", as_json=as_json)


@node.command(epilog="Example: backbeat node start-next 5d3f8a10-…")
@nodes_argument
@acting
@json_option
def start_next(node_id: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Start what can start below nodes, and complete those below which all is done: the engine looks again."""
    _change(node_id, connection, lambda client, one: client.start_next(one), "looked at again", as_json=as_json)
