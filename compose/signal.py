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
@click.option("--arg", "arg", multiple=True, metavar="VALUE", help="An argument of the handler: JSON, else text.")
@click.option("--args", "arguments", metavar="JSON", help="All arguments: a list, or an object of keywords.")
@click.option("--client-data", metavar="JSON", help="The whole of the client data, instead of arguments.")
@click.option("--metadata", metavar="JSON", help="An object of notes, for searches.")
@click.option("--decider", metavar="NAME", help="Of a workflow that is new.  [default: the workflow's name]")
@click.option("--at", "fires_at", type=Due(), help="Not before: a time, or a length of time from now.")
@click.option("--retries", type=click.IntRange(min=0), help="How often it is tried again.  [default: 6]")
@click.option("--backoff", type=Length(), help="How long until the first retry; doubles later.  [default: 20m]")
@click.option("--deadline", type=Length(), help="How long its worker has to answer.  [default: the engine's]")
@click.option("--key", "idempotency_key", help="A repeat with the same key gives the same node.")
@click.option("--link", type=click.UUID, metavar="NODE", help="A node that does not complete before this signal does.")
@click.option("--coalesce-key", metavar="KEY", help="It and a signal of this key that still waits become one.")
@click.option(
    "--coalesce",
    type=click.Choice(["replace", "drop"]),
    help="Which of the two remains: this one, or the one that waits.  [default: replace]",
)
@click.option("--runner", metavar="NAME", help="The client application that runs it.  [default: the one that asks]")
@click.option("--wait", is_flag=True, help="Wait for its result, and print that.")
@click.option("--wait-for", type=Length(), metavar="LENGTH", help="Wait no longer than this.")
@json_option
def signal(
    target: tuple[str, ...],
    connection: Connection,
    arg: tuple[str, ...],
    arguments: str | None,
    client_data: str | None,
    metadata: str | None,
    backoff: timedelta | None,
    deadline: timedelta | None,
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
        _refuse_beside_lines(arg, arguments, client_data, metadata, backoff, deadline, said)
        connection.run(lambda client: _signal_lines(client, as_json=as_json))
        return
    if len(target) not in (_BY_ID, _BY_NAME) or (len(target) == _BY_ID and not is_id(target[0])):
        raise click.UsageError("give WORKFLOW SUBJECT NAME, or a workflow's ID and NAME, or -")
    if arg and arguments is not None:
        raise click.UsageError("give --arg or --args, not both")
    said |= {
        "args": [read_value(one) for one in arg] if arguments is None else _json("--args", arguments, list | dict),
        "client_data": None if client_data is None else _json("--client-data", client_data, dict),
        "metadata": None if metadata is None else _json("--metadata", metadata, dict),
        "retry_interval_seconds": backoff,
        "timeout_seconds": deadline,
        "client": said.pop("runner"),
    }
    options = {name: value for name, value in said.items() if value is not None}

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


def _json(option: str, text: str, kind: Any) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{option}: this is no JSON: {text[:80]!r} ({error})") from error
    if not isinstance(value, kind):
        raise click.UsageError(f"{option}: give {'an object' if kind is dict else 'a list or an object'}")
    return value


def _refuse_beside_lines(*given: Any) -> None:
    *options, said = given
    if any(options) or any(value is not None for value in said.values()):
        raise click.UsageError("with `-`, each line says what its signal has; leave the options out")


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
