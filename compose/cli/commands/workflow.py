"""`backbeat workflow`: list, show and draw workflows; send them messages; pause, resume, close and cancel them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from backbeat.compose.cli.batch import change_all
from backbeat.compose.cli.commands.search import list_
from backbeat.compose.cli.commands.timeline import timeline
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.options import acting, compensate_option, connected, json_option, reason_option, yes_option
from backbeat.compose.cli.references import (
    STANDARD_INPUT,
    is_id,
    read_value,
    workflow_argument,
    workflow_id,
    workflow_ids,
    workflows_argument,
)
from backbeat.compose.cli.show.printing import ago, emit, json_text, make_console, note, print_fields, when
from backbeat.compose.cli.show.rows import tree_row, workflow_row
from backbeat.compose.cli.show.sanitize import plain
from backbeat.compose.cli.user.deeds import Deed

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.client.views import Tree

_CLOSED = ("complete", "deactivated")
_BY_ID, _BY_NAME = 2, 3


@click.group()
def workflow() -> None:
    """List, show, draw, send to, pause, resume, close and cancel workflows.

    A workflow is named by its id, or by its NAME and SUBJECT. SUBJECT is JSON, or else text: 703 is a number, '"703"' a
    text.
    """


workflow.add_command(list_)
workflow.add_command(timeline)


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow show "Camera sale" "Camera 703"
  backbeat workflow show 5d3f8a10-… --json
"""
)
@workflow_argument
@connected
@json_option
def show(workflow: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Show one workflow: what it is, and how many of its nodes have which status."""
    tree = connection.run(lambda client: client.tree(workflow_id(client, workflow)))
    counts = _counts(tree)
    if as_json:
        emit({**workflow_row(tree.workflow), "nodes": sum(counts.values()), "nodes_by_status": counts})
        return
    view = tree.workflow
    flags = [word for word, is_set in (("closed", view.closed), ("paused", view.paused)) if is_set]
    print_fields(
        [
            ("name", view.name),
            ("subject", json_text(view.subject)),
            ("id", view.id),
            ("decider", view.decider),
            ("created", f"{when(view.created_at)} ({ago(view.created_at)})"),
            ("takes signals", "no, it is closed" if view.closed else "yes"),
            ("state", ", ".join(flags)),
            ("nodes", str(sum(counts.values()))),
            *((f"  {status}", str(count)) for status, count in counts.items()),
        ]
    )


@workflow.command(epilog="Example: backbeat workflow names")
@connected
@json_option
def names(connection: Connection, *, as_json: bool) -> None:
    """List the names of the client application's workflows, once each."""
    for name in connection.run(lambda client: client.workflow_names()):
        emit({"name": name}) if as_json else click.echo(plain(name))


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow tree "Camera sale" "Camera 703"
  backbeat workflow tree "Camera sale" 703 --follow
  backbeat workflow tree 5d3f8a10-… --depth 2 --json | jq '.children[].status'
"""
)
@workflow_argument
@connected
@click.option("--follow", "follows", is_flag=True, help="Go on until all of it is closed, or Ctrl-C.")
@click.option("--interval", type=Number(min=0.1), default=0.5, show_default=True, help="Seconds; with --follow.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw so many levels.  [default: all]")
@click.option("--children", type=click.IntRange(min=1), metavar="N", help="Draw so many of a node's children.")
@click.option("--fold", is_flag=True, help="Draw a branch in which all is closed as one line.")
@click.option("--ids/--no-ids", default=True, help="Show ids.  [default: ids]")
@json_option
def tree(
    workflow: tuple[str, ...],
    connection: Connection,
    interval: float,
    depth: int | None,
    children: int | None,
    *,
    follows: bool,
    fold: bool,
    ids: bool,
    as_json: bool,
) -> None:
    """Draw a workflow's tree. With --json: one document; with --follow: a line for each node that changed.

    What is left out is counted: in JSON, `below` a node and `more` of its children.
    """
    from backbeat.compose.cli.show.follow_tree import follow
    from backbeat.compose.cli.show.tree import TreeOptions, draw

    options = TreeOptions(depth=depth, children_max=children, folded=fold, with_ids=ids)
    if follows and as_json and (depth or children or fold):
        raise click.UsageError("--follow --json has a line for each node: leave --depth, --children and --fold out")
    if follows:
        connection.run(lambda client: follow(client, workflow_id(client, workflow), options, interval, as_json=as_json))
        return
    tree = connection.run(lambda client: client.tree(workflow_id(client, workflow)))
    if as_json:
        emit(tree_row(tree, options))
    else:
        make_console().print(draw(tree, options))


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow outcome "Camera sale" "Camera 703"
  backbeat workflow outcome 5d3f8a10-… --json | jq .state
"""
)
@workflow_argument
@connected
@json_option
def outcome(workflow: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Show whether a workflow runs, waits, retries, has failed or is done, how far it is, and what fails and why."""
    result = connection.run(lambda client: client.outcome_of(workflow_id(client, workflow)))
    if as_json:
        emit(asdict(result))
        return
    given_up = ", a step was given up" if result.given_up else ""
    rows = [("state", result.state + given_up), ("nodes done", f"{result.done:,} of {result.total:,}")]
    print_fields([*rows, *((step.name, f"{step.id} {plain(step.why)}") for step in result.failing)])


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow follow "Camera sale" "Camera 703"
  backbeat workflow follow 5d3f8a10-… --after 703-0 --json
"""
)
@workflow_argument
@connected
@click.option("--after", metavar="ID", help="Go on behind this change; 0: from the oldest that is kept on.")
@json_option
def follow(workflow: tuple[str, ...], connection: Connection, after: str | None, *, as_json: bool) -> None:
    """Print the changes of a workflow's nodes as they come, until Ctrl-C: a line for each status."""

    async def run(client: Client) -> None:
        async for change in client.follow(workflow_id(client, workflow), after=after):
            if as_json:
                emit(asdict(change))
            else:
                click.echo(f"{when(change.at)}  {plain(str(change))}")

    connection.run(run)


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow send "Orders" o1 approval '{"by": "Grace"}'
  backbeat workflow send 5d3f8a10-… approval --key approval-of-o1
  cat approval.json | backbeat workflow send "Orders" o1 approval -
"""
)
@click.argument("target", nargs=-1, required=True, metavar="WORKFLOW SUBJECT|ID NAME [VALUE]")
@connected
@reason_option
@click.option("--key", "idempotency_key", help="A repeat with the same key counts once.")
@json_option
def send(target: tuple[str, ...], connection: Connection, idempotency_key: str | None, *, as_json: bool) -> None:
    """Send a message to a workflow: the node that waits for one of this NAME has VALUE as its result.

    VALUE is JSON, or else text; `-` reads it from standard input, and without one it is null. Where no node waits, the
    workflow keeps it for the next one.
    """
    count = _BY_ID if is_id(target[0]) else _BY_NAME
    if len(target) not in (count, count + 1):
        raise click.UsageError(
            "give WORKFLOW SUBJECT NAME, or a workflow's ID and NAME, and then a VALUE if there is one"
        )
    name = target[count - 1]
    text = target[count] if len(target) > count else None
    value = None if text is None else read_value(sys.stdin.read() if text == STANDARD_INPUT else text)

    async def run(client: Client) -> None:
        if count == _BY_NAME:
            workflow, subject = target[0], read_value(target[1])
        else:
            view = await client.workflow(target[0])
            workflow, subject = view.name, view.subject
        await client.send(workflow, subject, name, value, idempotency_key=idempotency_key)

    connection.because("").run(run)
    emit({"name": name, "sent": True}) if as_json else note(f"sent {name!r}")


def _change(
    arguments: tuple[str, ...],
    connection: Connection,
    change: Callable[[Client, str], Awaitable[Any]],
    verb: str,
    *,
    as_json: bool,
) -> None:
    action = click.get_current_context().info_name or verb

    async def run(client: Client) -> None:
        ids = workflow_ids(client, arguments)
        async with connection.written(client, Deed(action=action, kind="workflow", subjects=ids)):
            await change_all(ids, lambda identity: change(client, identity), verb, as_json=as_json)

    connection.because("").run(run)


@workflow.command(epilog='Example: backbeat workflow pause "Camera sale" "Camera 703"')
@workflows_argument
@acting
@json_option
def pause(workflow: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Start nothing in a workflow until it is resumed; what runs may end."""
    _change(workflow, connection, lambda client, identity: client.pause(identity), "paused", as_json=as_json)


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow resume "Camera sale" "Camera 703"
  backbeat workflow list --name "Camera sale" --quiet | backbeat workflow resume -
"""
)
@workflows_argument
@acting
@json_option
def resume(workflow: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Go on with a paused workflow."""
    _change(workflow, connection, lambda client, identity: client.resume(identity), "resumed", as_json=as_json)


@workflow.command(epilog='Example: backbeat workflow close "Camera sale" "Camera 703"')
@workflows_argument
@acting
@json_option
def close(workflow: tuple[str, ...], connection: Connection, *, as_json: bool) -> None:
    """Take no more signals in a workflow; what is in it goes on."""
    _change(workflow, connection, lambda client, identity: client.close(identity), "closed", as_json=as_json)


@workflow.command(
    epilog="""\b
Examples:
  backbeat workflow cancel "Camera sale" "Camera 703"
  backbeat workflow cancel 5d3f8a10-… --yes
  backbeat workflow cancel "Camera sale" "Camera 703" --compensate
"""
)
@workflow_argument
@acting
@compensate_option
@yes_option
@json_option
def cancel(workflow: tuple[str, ...], connection: Connection, *, compensate: bool, yes: bool, as_json: bool) -> None:
    """Cancel all of a workflow's nodes that are not complete. It still takes signals: see `close`."""

    async def run(client: Client) -> None:
        tree = await client.tree(workflow_id(client, workflow))
        # The last first, one after the other: a signal that waits for an earlier one must not begin because that was
        # canceled, and commands that are sent at once over HTTP arrive in any order.
        roots = [branch.node.id for branch in reversed(tree.children) if branch.node.status not in _CLOSED]
        if not roots:
            note("Nothing in it is open.")
            return
        open_count = sum(1 for _, node in tree.walk() if node.status not in _CLOSED)
        if not yes:
            click.confirm(f"Cancel {open_count} nodes of {tree.workflow.name!r}?", abort=True, err=True)

        def send(identity: str) -> Awaitable[None]:
            return client.cancel(identity, compensate=compensate)

        deed = Deed(action="cancel", kind="workflow", subjects=[tree.workflow.id], name=tree.workflow.name)
        async with connection.written(client, deed):
            await change_all(roots, send, "canceled", as_json=as_json, concurrency=1)

    connection.because("").run(run)


def _counts(tree: Tree[Node]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for _, node in tree.walk():
        counts[node.status] = counts.get(node.status, 0) + 1
    return dict(sorted(counts.items()))
