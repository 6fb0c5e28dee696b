"""`backbeat signal`: there is work for a workflow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backbeat.compose.connection import Connection
from backbeat.compose.exits import CommandError, Exit
from backbeat.compose.facts import node_facts
from backbeat.compose.moments import Due, Length
from backbeat.compose.options import connected, json_option
from backbeat.compose.output import emit
from backbeat.compose.references import STANDARD_INPUT, is_id, read_value
from backbeat.compose.run_options import read_run_options, run_options

if TYPE_CHECKING:
    from backbeat import Client, Node

_BY_ID, _BY_NAME = 2, 3
_WHERE = ("workflow", "subject", "name")


@click.command(
    epilog="""\b
Examples:
  backbeat signal "Camera sale" "Camera 703" "Make Purchase" --arg Ann
  backbeat signal 5d3f… "Make Purchase" --args '{"buyer": "Ann"}' --wait
  backbeat signal "Camera sale" 703 "Remind" --at 2h --retries 3 --key reminder-703
  backbeat signal "Camera sale" 703 "Index anew" --at 5s --coalesce-key index
  echo '{"workflow": "Sale", "subject": 703, "name": "Buy", "args": ["Ann"]}' | backbeat signal -
"""
)
@click.argument("target", nargs=-1, required=True, metavar="WORKFLOW SUBJECT|ID NAME")
@connected
@run_options
@click.option("--at", "fires_at", type=Due(), help="Not before: a time, or a length of time from now.")
@click.option("--key", "idempotency_key", help="A repeat with the same key gives the same node.")
@click.option("--link", type=click.UUID, metavar="NODE", help="A node that does not complete before this signal does.")
@click.option("--coalesce-key", metavar="KEY", help="It and a signal of this key that still waits become one.")
@click.option(
    "--coalesce",
    type=click.Choice(["replace", "drop"]),
    help="Which of the two remains: this one, or the one that waits.  [default: replace]",
)
@click.option("--wait", is_flag=True, help="Wait for its result, and print that.")
@click.option("--wait-for", type=Length(), metavar="LENGTH", help="Wait no longer than this.")
@json_option
def signal(
    target: tuple[str, ...],
    connection: Connection,
    wait_for: timedelta | None,
    *,
    wait: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Signal a workflow, which is made if there is none of this name and subject; prints the node's id.

    SUBJECT is JSON, or else text: 703 is a number, '"703"' a text. With `-`, lines of JSON on standard input are
    signals: workflow, subject and name, and what else the SDK's `signal` takes (docs/sdk.md).
    """
    if target == (STANDARD_INPUT,):
        if any(value not in (None, ()) for value in said.values()):
            raise click.UsageError("with `-`, each line says what its signal has; leave the options out")
        connection.run(lambda client: _signal_lines(client, as_json=as_json))
        return
    if len(target) not in (_BY_ID, _BY_NAME) or (len(target) == _BY_ID and not is_id(target[0])):
        raise click.UsageError("give WORKFLOW SUBJECT NAME, or a workflow's ID and NAME, or -")
    options = read_run_options(said)

    async def run(client: Client) -> None:
        workflow, subject, name = await _place(client, target)
        node = await client.signal(workflow, subject, name, **options)
        if not (wait or wait_for):
            emit(node_facts(node)) if as_json else click.echo(node.id)
            return
        if not as_json:
            click.echo(node.id, err=True)
        result = await _result(node, wait_for)
        emit({**node_facts(await node.refresh()), "result": result} if as_json else result)

    connection.run(run)


async def _result(node: Node, wait_for: timedelta | None) -> Any:
    from backbeat.errors import Timeout

    try:
        return await node.result(timeout=None if wait_for is None else wait_for.total_seconds())
    except Timeout as error:
        raise CommandError(f"{error}. To see more: backbeat node show {node.id}", Exit.NO_ANSWER) from error


async def _place(client: Client, target: tuple[str, ...]) -> tuple[str, Any, str]:
    if len(target) == _BY_NAME:
        return target[0], read_value(target[1]), target[2]
    found = await client.workflow(target[0])
    return found.name, found.subject, target[1]


async def _signal_lines(client: Client, *, as_json: bool) -> None:
    """Publish every line's signal: thousands a second, since nobody waits for one before the next is sent."""
    published = 0
    for number, line in enumerate(click.get_text_stream("stdin"), start=1):
        if not line.strip():
            continue
        where, options = _read_line(number, line)
        node_id = await client.publish(*where, **options)
        published += 1
        emit({"id": node_id}) if as_json else click.echo(node_id)
    await client.flush()
    click.echo(f"{published} signals are in Kafka", err=True)


def _read_line(number: int, line: str) -> tuple[tuple[Any, Any, Any], Any]:
    from backbeat.signals import SignalOptions

    try:
        said = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CommandError(f"standard input, line {number}: this is no JSON object ({error}).") from error
    missing = [name for name in _WHERE if name not in said]
    unknown = [name for name in said if name not in _WHERE and name not in SignalOptions.__annotations__]
    if missing or unknown:
        what = f"{missing[0]!r} is missing" if missing else f"there is no {unknown[0]!r}"
        known = ", ".join((*_WHERE, *SignalOptions.__annotations__))
        raise CommandError(f"standard input, line {number}: {what}. A signal has: {known}.")
    if isinstance(said.get("fires_at"), str):
        said["fires_at"] = Due().convert(said["fires_at"], None, None)
    workflow, subject, name = (said.pop(key) for key in _WHERE)
    return (workflow, subject, name), said
