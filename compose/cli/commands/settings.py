"""`backbeat settings`: settings that the rules read. They are kept in the log: every replay sees the same."""

import asyncio
import os

import click
import msgspec

from backbeat.client.words import hint
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option
from backbeat.schemas.codec import encode_command
from backbeat.schemas.messages.bounds import SETTINGS, Settings
from backbeat.schemas.messages.commands import ChangeSettings
from backbeat.schemas.messages.queries import GetSettings
from backbeat.transport.requests import RequestClient

_ANSWER_SECONDS_MAX = 10.0
_NAMES = tuple(name for name in Settings.__struct_fields__ if name != "version")


@click.group()
def settings() -> None:
    """Show or change the settings that are kept in the log."""


@settings.command(epilog="Example: backbeat settings show --bootstrap-servers kafka-1:9092")
@bootstrap_option
def show(bootstrap_servers: str) -> None:
    """Show the settings; where partitions differ, each value with its partitions."""
    settings_of_partitions = asyncio.run(_read(bootstrap_servers))
    for name in _NAMES:
        values: dict[object, list[int]] = {}
        for partition, partition_settings in enumerate(settings_of_partitions):
            values.setdefault(getattr(partition_settings, name), []).append(partition)
        if len(values) == 1:
            click.echo(f"{name} = {next(iter(values))}")
        else:
            click.echo(
                f"{name} = " + ", ".join(f"{value} (partitions {partitions})" for value, partitions in values.items())
            )


@settings.command(
    "set",
    epilog="""\b
Examples:
  backbeat settings set default_timeout_seconds=3600
  backbeat settings set payload_bytes_max=100000 children_max=500 --bootstrap-servers kafka-1:9092
""",
)
@bootstrap_option
@click.argument("changes", metavar="NAME=VALUE...", nargs=-1, required=True)
def set_(bootstrap_servers: str, changes: tuple[str, ...]) -> None:
    """Change settings, in every partition. They count from there on in the log."""
    parsed = [_parse(change) for change in changes]
    values = dict(parsed)
    if len(values) < len(parsed):
        raise SetupError("A setting is given twice.")
    asyncio.run(_write(bootstrap_servers, values))
    for name, value in values.items():
        click.echo(f"{name} = {value}")


def _parse(change: str) -> tuple[str, float | int]:
    name, separator, text = change.partition("=")
    if not separator:
        raise SetupError(f"{change!r} is no setting. What to do: give NAME=VALUE, with one of {', '.join(_NAMES)}.")
    if name not in _NAMES:
        raise SetupError(f"there is no setting {name!r}: {hint(name, _NAMES)}.")
    kind = type(getattr(Settings(), name))
    try:
        value: float | int = kind(text)
    except ValueError:
        raise SetupError(
            f"{name}: {text!r} is no number. What to do: give {name}={getattr(Settings(), name)}."
        ) from None
    low, high = SETTINGS[name]
    if not low <= value <= high:
        raise SetupError(
            f"{name}: {text} is not from {low:g} to {high:.0f}. What to do: give {name}={getattr(Settings(), name)}."
        )
    return name, value


async def _read(bootstrap_servers: str) -> list[Settings]:
    requests = RequestClient(bootstrap_servers, _ANSWER_SECONDS_MAX)
    await requests.start()
    try:
        return [await _read_partition(requests, partition) for partition in range(requests.partitions)]
    finally:
        await requests.stop()


async def _read_partition(requests: RequestClient, partition: int) -> Settings:
    (answer,) = await requests.query(
        lambda reply_to, deadline: GetSettings(reply_to=reply_to, deadline=deadline, partition=partition),
        _ANSWER_SECONDS_MAX,
        f"settings of partition {partition}",
    )
    assert isinstance(answer, Settings)
    return answer


async def _write(bootstrap_servers: str, changes: dict[str, float | int]) -> None:
    requests = RequestClient(bootstrap_servers, _ANSWER_SECONDS_MAX)
    await requests.start()
    try:
        for partition in range(requests.partitions):
            await requests.command(
                lambda reply_to: encode_command(
                    ChangeSettings(
                        id=os.urandom(16),
                        reply_to=reply_to,
                        settings=msgspec.structs.replace(Settings(), **changes),
                        names=tuple(changes),
                    )
                ),
                partition.to_bytes(4, "big"),
                b"settings",
                _ANSWER_SECONDS_MAX,
                f"settings of partition {partition}",
            )
    finally:
        await requests.stop()
