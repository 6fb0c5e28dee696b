"""Options of a signal: of one that is sent now, and of one that a schedule sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.options import add_options
from backbeat.compose.cli.references import read_value

#: The command gets them by name.
run_options = add_options(
    click.option("--arg", "arg", multiple=True, metavar="VALUE", help="An argument of the handler: JSON, else text."),
    click.option("--args", "arguments", metavar="JSON", help="All arguments: a list, or an object of keywords."),
    click.option("--client-data", metavar="JSON", help="The whole of the client data, instead of arguments."),
    click.option("--metadata", metavar="JSON", help="An object of notes, for searches."),
    click.option("--decider", metavar="NAME", help="Of a workflow that is new.  [default: the workflow's name]"),
    click.option("--retries", type=click.IntRange(min=0), help="How often it is tried again.  [default: 6]"),
    click.option("--backoff", type=Length(), help="Wait before the first retry; doubles, up to 1h.  [default: 20m]"),
    click.option("--timeout", type=Length(), help="How long its worker has to answer.  [default: the engine's]"),
    click.option(
        "--to-client", metavar="NAME", help="The client application that runs it.  [default: --client, which asks]"
    ),
    click.option(
        "--priority", type=click.IntRange(1, 5), help="Where a limit holds it up: 1 goes first.  [default: 3]"
    ),
    click.option("--fairness-key", metavar="KEY", help="Where a limit holds it up: keys take turns."),
)


def read_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's options (`SignalOptions`) of the command's; those that were not given are left out."""
    signal_options = dict(options)
    arg, arguments = signal_options.pop("arg"), signal_options.pop("arguments")
    if arg and arguments is not None:
        raise click.UsageError("give --arg or --args, not both")
    client_data, metadata = signal_options.pop("client_data"), signal_options.pop("metadata")
    signal_options |= {
        "args": [read_value(argument) for argument in arg]
        if arguments is None
        else _json("--args", arguments, list | dict),
        "client_data": None if client_data is None else _json("--client-data", client_data, dict),
        "metadata": None if metadata is None else _json("--metadata", metadata, dict),
        "client": signal_options.pop("to_client"),
    }
    return {name: value for name, value in signal_options.items() if value is not None}


def _json(option: str, text: str, kind: Any) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise click.UsageError(f"{option}: this is no JSON: {text[:80]!r} ({error})") from error
    if not isinstance(value, kind):
        raise click.UsageError(f"{option}: give {'an object' if kind is dict else 'a list or an object'}")
    return value
