"""The commands of `backbeat`, each in a file of its own that is imported when it runs."""

import importlib
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import click

from backbeat.compose.cli.exit_codes import CommandError, defect, explain
from backbeat.compose.cli.installation import missing_folder
from backbeat.compose.cli.profile import Section, find_file, load_profile
from backbeat.schemas import environment
from backbeat.streams.compiled import is_compiled


class _Entry(NamedTuple):
    module: str
    summary: str


#: By purpose, as `backbeat --help` shows them. A command is the function of its name in this module of compose/.
_SECTIONS: dict[str, dict[str, _Entry]] = {
    "Workflows": {
        "signal": _Entry("cli.commands.signal", "Signal a workflow: there is work for it."),
        "schedule": _Entry("cli.commands.schedule", "Signal workflows at times: cron, intervals."),
        "workflow": _Entry("cli.commands.workflow", "List, show and follow workflows; pause, cancel them."),
        "node": _Entry("cli.commands.node", "Show nodes, their errors and history; retry, resolve, cancel."),
        "search": _Entry("cli.commands.search", "Find workflows and nodes by name, status, text and time."),
        "causes": _Entry("cli.reports.causes", "Why nodes have failed: their last errors, alike ones as one cause."),
        "stuck": _Entry("cli.commands.stuck", "What does not go on: why, since when, when it is tried again."),
        "job": _Entry("cli.commands.job", "One change for all that match: start, list, show, stop."),
        "retry": _Entry("cli.commands.job", "Retry all nodes that match."),
        "cancel": _Entry("cli.commands.job", "Cancel all nodes that match."),
        "resolve": _Entry("cli.commands.job", "Count all nodes that match as done."),
    },
    "Operation": {
        "stats": _Entry("cli.reports.stats", "Counts, queues, lag and timers, once."),
        "top": _Entry("cli.reports.top", "The same by activity, live."),
        "report": _Entry("cli.reports.report", "The daily report: text, HTML, by mail."),
        "dead-letters": _Entry("cli.dead_letters.command", "What was refused: show, redrive, drop."),
        "limit": _Entry("cli.commands.limit", "Limit or pause activity types: how many at once, how often."),
        "user": _Entry("cli.user.command", "Add, list, change or remove client applications."),
        "audit": _Entry("cli.user.audit", "What people did, and why."),
        "person": _Entry("cli.user.person", "Add, list, change or remove people who may use the console."),
        "engines": _Entry("cli.commands.system.engines", "Which engine has which partition, and how that stands."),
        "settings": _Entry("cli.commands.system.settings", "Change the settings that are kept in the log."),
        "retention": _Entry("cli.commands.retention", "How long finished workflows are kept: set, list, remove."),
        "archive": _Entry("cli.commands.archive", "Archive what is about to be removed; list and read archives."),
        "acls": _Entry("cli.user.acls", "The rights at Kafka that a part needs: show, give."),
        "topics": _Entry("cli.commands.system.topics", "Make or check the topics."),
        "verify": _Entry("verify.command", "Do the state and the rules agree? A judge of its own reads."),
        "backup": _Entry("backup.command", "Copy everything that Kafka has into files, while it runs; check them."),
        "restore": _Entry("backup.command", "Put a backup into an empty cluster."),
        "drill": _Entry("drill.command", "Inject faults under load, watch, and report what came of it."),
        "projection": _Entry("cli.processes.projection", "Look at the search's tables, or build them anew."),
    },
    "Processes": {
        "worker": _Entry("cli.processes.worker", "Run the activities of a module, or a Worker."),
        "engine": _Entry("cli.processes.engine", "Run one engine on a Kafka that is there."),
        "gateway": _Entry("cli.processes.gateway", "Run the HTTP gateway."),
        "codec": _Entry("cli.processes.codec", "Decode payloads for the console, with your own keys."),
        "dev": _Entry("cli.processes.dev", "Start everything on this machine: Kafka, topics, an engine."),
    },
    "Around it": {
        "init": _Entry("cli.commands.init", "Write a first project: a workflow, its worker, its test."),
        "demo": _Entry("demo.command", "Show it at work on a real Kafka, then end."),
        "bench": _Entry("bench.command", "Measure it on this machine."),
        "jars": _Entry("cli.commands.jars", "Fetch Apache Kafka's jars into the cache folder now."),
        "completion": _Entry("cli.commands.completion", "Let the shell complete commands and options."),
    },
}
#: Processes without an operator at the terminal: a defect's traceback belongs into their log.
_SERVERS = ("engine", "gateway", "projection", "worker")
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they run, so that `backbeat --help` is there at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands that are installed."""
        del ctx
        return [name for name in _COMMANDS if missing_folder(name) is None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        if (text := missing_folder(cmd_name)) is not None:
            raise CommandError(text)
        module = importlib.import_module(f"backbeat.compose.{_COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists in the help, without importing any."""
        installed = self.list_commands(ctx)
        width = max(map(len, installed))
        for title, entries in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), entry.summary) for name, entry in entries.items() if name in installed]
                )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse text that cannot be written back anywhere, before any command reads it."""
        for text in args:
            _check_text(text, "the command line")
        for name, value in os.environ.items():
            if name.startswith(environment.PREFIX):
                _check_text(value, f"the variable {name}")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Show an error as a sentence; a defect's traceback goes into a file, a server's into its log."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except (BrokenPipeError, ModuleNotFoundError):
            # The reader of the output has seen enough: click ends quietly then. A module to be installed: main.py.
            raise
        except Exception as error:
            explained = explain(error)
            if explained is None and ctx.invoked_subcommand in _SERVERS:
                raise
            raise explained or defect(error) from error


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{text[:80]!r} in {place} is no UTF-8.") from None


def _show_version(context: click.Context, _: click.Parameter, shows: bool) -> None:  # noqa: FBT001 - as click calls it
    if shows and not context.resilient_parsing:
        from importlib import metadata  # a fifth of the time of `backbeat --help`

        code = "engine compiled" if is_compiled() else "pure Python"
        click.echo(f"backbeat {metadata.version('backbeat')} ({code}, Python {platform.python_version()})")
        context.exit()


def _warn() -> None:
    text = environment.take()
    if text is not None:
        click.echo(f"warning: {text}", err=True)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Each command explains itself with examples: backbeat dev --help",
)
@click.option("--profile", envvar="BACKBEAT_PROFILE", metavar="NAME", help="The profile of backbeat.toml to use.")
@click.option(
    "--config",
    envvar="BACKBEAT_CONFIG",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Another file of profiles.  [default: the nearest backbeat.toml]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and whether the engine is compiled, and exit.",
)
@click.pass_context
def backbeat(context: click.Context, profile: str | None, config: Path | None) -> None:
    """Backbeat on Kafka: durable workflows whose truth is a log.

    Start here: `backbeat init FOLDER` writes a first project, `backbeat dev` runs everything on this machine.
    """
    if context.invoked_subcommand in _SERVERS:
        # Its log says it; what writes none says it in the end.
        context.call_on_close(_warn)
    else:
        _warn()
    settings = load_profile(config or find_file(Path.cwd(), Path.home()), profile)
    context.default_map = Section(context.command, context, settings, settings.commands)
