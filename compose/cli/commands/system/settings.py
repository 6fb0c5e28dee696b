"""`backbeat settings`: settings that the rules read. They are kept in the log: every replay sees the same."""

import click

from backbeat.client.words import hint
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import as_option, operating, reason_option
from backbeat.compose.cli.user.deeds import Deed
from backbeat.schemas.messages.bounds import SETTINGS
from backbeat.schemas.messages.bounds import Settings as EngineSettings

_NAMES = tuple(SETTINGS)


@click.group()
def settings() -> None:
    """Show or change the settings that are kept in the log."""


@settings.command(epilog="Example: backbeat settings show --bootstrap-servers kafka-1:9092")
@operating
def show(connection: Connection) -> None:
    """Show the settings; where partitions differ, each value with its partitions."""
    settings_of_partitions = connection.run(lambda client: client.settings.list())
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
@operating
@as_option
@reason_option
@click.argument("changes", metavar="NAME=VALUE...", nargs=-1, required=True)
def set_(connection: Connection, changes: tuple[str, ...]) -> None:
    """Change settings, in every partition, over Kafka: no gateway takes that. They count from there on in the log."""
    if connection.person is not None:
        raise SetupError("Settings are changed over Kafka alone. What to do: leave --person out.")
    parsed = [_parse(change) for change in changes]
    values = dict(parsed)
    if len(values) < len(parsed):
        raise SetupError("A setting is given twice.")
    deed = Deed(action="set", kind="settings", subjects=sorted(values), name=" ".join(changes))
    connection.change(deed, lambda client: client.settings.set(**values))
    for name, value in values.items():
        click.echo(f"{name} = {value}")


def _parse(change: str) -> tuple[str, float | int]:
    name, separator, text = change.partition("=")
    if not separator:
        raise SetupError(f"{change!r} is no setting. What to do: give NAME=VALUE, with one of {', '.join(_NAMES)}.")
    if name not in _NAMES:
        raise SetupError(f"there is no setting {name!r}: {hint(name, _NAMES)}.")
    default = getattr(EngineSettings(), name)
    advice = f"What to do: give {name}={default}."
    try:
        value: float | int = type(default)(text)
    except ValueError:
        raise SetupError(f"{name}: {text!r} is no number. {advice}") from None
    low, high = SETTINGS[name]
    if not low <= value <= high:
        raise SetupError(f"{name}: {text} is not from {low:g} to {high:.0f}. {advice}")
    return name, value
