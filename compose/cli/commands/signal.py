"""`backbeat signal`: send signals to workflows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from backbeat.client.words import hint
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Due, Length
from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import connected, json_option, reason_option
from backbeat.compose.cli.references import STANDARD_INPUT, is_id, read_value
from backbeat.compose.cli.show.printing import emit, note
from backbeat.compose.cli.show.rows import node_row
from backbeat.compose.cli.show.sanitize import plain
from backbeat.compose.cli.signal_options import read_run_options, run_options
from backbeat.compose.cli.stdin_lines import read_lines
from backbeat.schemas.requests.decoding import from_json

if TYPE_CHECKING:
    from backbeat import Client, Node
    from backbeat.errors import BackbeatError

_BY_ID, _BY_NAME = 2, 3
_REQUIRED = ("workflow", "subject", "name")
#: Time after which a user who waits is told the reason, once.
_TELL_SECONDS = 10.0


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
@reason_option
@run_options
@click.option("--at", type=Due(), help="Not before: a time, or a length of time from now.")
@click.option("--key", "idempotency_key", help="A repeat with the same key gives the same node.")
@click.option("--link", type=click.UUID, metavar="NODE", help="A node that does not complete before this signal does.")
@click.option("--coalesce-key", metavar="KEY", help="It and a signal of this key that still waits become one.")
@click.option(
    "--coalesce",
    type=click.Choice(["replace", "drop"]),
    help="Which of the two remains: this one, or the one that waits.  [default: replace]",
)
@click.option(
    "--beside", is_flag=True, default=None, help="Start at once, beside the signals that wait their turn there."
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
    **options: Any,
) -> None:
    """Signal a workflow, which is made if there is none of this name and subject; prints the node's id.

    SUBJECT is JSON, or else text: 703 is a number, '"703"' a text. With `-`, lines of JSON on standard input are
    signals, each sent when it comes: workflow, subject and name, and what else the SDK's `signal` takes
    (docs/reference/sdk.md).
    """
    if target == (STANDARD_INPUT,):
        if any(value not in (None, ()) for value in options.values()):
            raise click.UsageError("with `-`, each line says what its signal has; leave the options out")
        connection.because("").run(lambda client: _signal_lines(client, as_json=as_json))
        return
    if len(target) not in (_BY_ID, _BY_NAME) or (len(target) == _BY_ID and not is_id(target[0])):
        raise click.UsageError("give WORKFLOW SUBJECT NAME, or a workflow's ID and NAME, or -")
    signal_options = read_run_options(options)

    async def run(client: Client) -> None:
        workflow, subject, name = await _place(client, target)
        node = await client.signal(workflow, subject, name, **signal_options)
        if not (wait or wait_for):
            emit(node_row(node)) if as_json else click.echo(node.id)
            return
        if not as_json:
            click.echo(node.id, err=True)
        result = await _result(node, wait_for)
        emit({**node_row(await node.refresh()), "result": result} if as_json else result)

    connection.because("").run(run)


async def _result(node: Node, wait_for: timedelta | None) -> Any:
    from backbeat.errors import Timeout

    seconds = None if wait_for is None else wait_for.total_seconds()
    if seconds is None or seconds > _TELL_SECONDS:
        try:
            return await node.result(timeout=_TELL_SECONDS)
        except Timeout as error:
            note(f"Still waiting: {error}")
            seconds = None if seconds is None else seconds - _TELL_SECONDS
    try:
        return await node.result(timeout=seconds)
    except Timeout as error:
        raise CommandError(f"{error}. To see more: backbeat node show {node.id}", Exit.NO_ANSWER) from error


async def _place(client: Client, target: tuple[str, ...]) -> tuple[str, Any, str]:
    if len(target) == _BY_NAME:
        return target[0], read_value(target[1]), target[2]
    workflow = await client.workflow(target[0])
    return workflow.name, workflow.subject, target[1]


class RetryFields(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A rule for retries on a line: fields of `backbeat.Retry`, times in seconds."""

    times: int | None = None
    first: float | None = None
    factor: float | None = None
    longest: float | None = None
    jitter: float | None = None


class Line(msgspec.Struct, omit_defaults=True):
    """A signal on a line of standard input: parameters of `Client.signal` (`backbeat.client.signals.SignalOptions`)."""

    workflow: str
    subject: Any
    name: str
    decider: str | None = None
    args: list[Any] | dict[str, Any] | None = None
    client_data: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    retry: RetryFields | None = None
    retries: int | None = None
    backoff: float | None = None
    timeout: float | None = None
    client: str | None = None
    priority: int | None = None
    fairness_key: str | None = None
    #: Text, as of --at.
    at: str | None = None
    idempotency_key: str | None = None
    link: str | None = None
    coalesce_key: str | None = None
    coalesce: Literal["replace", "drop"] | None = None
    beside: bool | None = None
    #: Names of activities.
    on_failure: str | None = None
    on_cancel: str | None = None


async def _signal_lines(client: Client, *, as_json: bool) -> None:
    """Publish every line's signal as it comes: thousands a second, since none is awaited before the next."""
    published_count = line_number = 0
    failed: BackbeatError | None = None
    async for line in read_lines():
        if line is None:
            failed = await _flush(client) or failed
            continue
        line_number += 1
        if not line.strip():
            continue
        target, options = _read_line(line_number, line)
        node_id = await client.publish(*target, **options)
        published_count += 1
        emit({"id": node_id}) if as_json else click.echo(node_id)
    await client.flush()
    if failed is not None:
        raise failed
    click.echo(f"{published_count} signals are in Kafka", err=True)


async def _flush(client: Client) -> BackbeatError | None:
    """Flush, and print which of the lines so far were not taken: following a file, nobody would hear of it later."""
    from backbeat.errors import BackbeatError, Timeout

    try:
        await client.flush()
    except Timeout:
        return None  # They are still under way.
    except BackbeatError as error:
        note(plain(str(error)))
        return error
    return None


def _read_line(number: int, line: bytes) -> tuple[tuple[str, Any, str], Any]:
    place = f"standard input, line {number}"
    try:
        fields = from_json(line, dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{place}: this is no JSON object ({error}).") from error
    field_names = Line.__struct_fields__
    missing = [name for name in _REQUIRED if name not in fields]
    unknown = [name for name in fields if name not in field_names]
    if unknown:
        raise CommandError(f"{place}: a signal knows no {plain(unknown[0])[:80]!r}: {hint(unknown[0], field_names)}.")
    if missing:
        raise CommandError(f"{place}: {missing[0]!r} is missing. A signal has: {', '.join(field_names)}.")
    try:
        signal_line = msgspec.convert(fields, Line)
    except msgspec.ValidationError as error:
        raise CommandError(f"{place}: {error}.") from error
    options = {
        option: getattr(signal_line, option) for option in field_names if getattr(signal_line, option) is not None
    }
    if "retry" in options:
        from backbeat.activities.retry import Retry

        given = msgspec.structs.asdict(options["retry"])
        options["retry"] = Retry(**{name: value for name, value in given.items() if value is not None})
    if "at" in options:
        options["at"] = Due().convert(options["at"], None, None)
    workflow, subject, name = signal_line.workflow, signal_line.subject, signal_line.name
    for required in _REQUIRED:
        options.pop(required, None)
    return (workflow, subject, name), options
