"""The commands of `backbeat`: which there are, each in a file of its own that is imported when it runs."""

import importlib
import importlib.metadata
import importlib.util
from typing import Any, NamedTuple

import click

from backbeat.compose.errors import SetupError


class _Entry(NamedTuple):
    place: str
    summary: str


_COMMANDS = {
    "dev": _Entry("backbeat.compose.dev:dev", "Start everything on this machine: Kafka, topics, an engine."),
    "demo": _Entry("backbeat.compose.demo:demo", "Show it at work on a real Kafka, then end."),
    "engine": _Entry("backbeat.compose.engine:engine", "Run one engine on a Kafka that is there."),
    "gateway": _Entry("backbeat.compose.gateway:gateway", "Run the HTTP gateway."),
    "projection": _Entry("backbeat.compose.projection:projection", "Look at the search's tables, or build them anew."),
    "topics": _Entry("backbeat.compose.topics:topics", "Make or check the topics."),
    "user": _Entry("backbeat.compose.user:user", "Add, list, change or remove client applications."),
    "settings": _Entry("backbeat.compose.settings:settings", "Change the settings that are kept in the log."),
    "dead-letters": _Entry("backbeat.compose.dead_letters:dead_letters", "Look at records that were refused."),
    "bench": _Entry("backbeat.compose.bench:bench", "Measure it on this machine."),
    "jars": _Entry("backbeat.compose.fetch:jars", "Fetch Apache Kafka's jars into the cache folder now."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they run, so that `backbeat --help` is there at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands whose file is installed."""
        del ctx
        return [name for name, entry in _COMMANDS.items() if importlib.util.find_spec(entry.place.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = _COMMANDS[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name].summary) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Show what is wrong with the surroundings as text; only a defect of ours ends in a traceback."""
        try:
            return super().invoke(ctx)
        except SetupError as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            if _is_explained(error):
                raise click.ClickException(str(error)) from error
            reason = _kafka_reason(error)
            if reason is None:
                raise
            raise click.ClickException(reason) from error


def _is_explained(error: Exception) -> bool:
    """Errors of the engine's own modules that say what was found and what to do."""
    return (type(error).__module__, type(error).__name__) in {
        ("backbeat.streams.brokers", "UnreachableError"),
        ("backbeat.streams.topics", "TopicError"),
        ("backbeat.streams.registry", "RegistryError"),
        ("backbeat.streams.settings", "SettingsError"),
        ("backbeat.gateway.projection.database", "ProjectionError"),
    }


def _kafka_reason(error: Exception) -> str | None:
    from confluent_kafka import KafkaError, KafkaException

    if not isinstance(error, KafkaException) or not isinstance(error.args[0], KafkaError):
        return None
    return f"Kafka: {error.args[0].str()}. What to do: see that it runs, and that --bootstrap-servers names it."


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command explains itself with examples: backbeat dev --help",
)
@click.version_option(package_name="backbeat", message="backbeat %(version)s")
def backbeat() -> None:
    """Backbeat on Kafka: durable workflows whose truth is a log.

    \b
    Start here:
      backbeat demo                 see it at work, from nothing (needs a JDK and Maven)
      backbeat dev                  everything on this machine, until Ctrl-C
      backbeat engine --instance-id a --bootstrap-servers kafka:9092
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
