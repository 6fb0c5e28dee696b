"""`backbeat verify`: an independent judge of what the engines have made of the log."""

from __future__ import annotations

from pathlib import Path

import click

from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import bootstrap_option, json_option
from backbeat.schemas.environment import PREFIX


@click.command(
    epilog="""\b
Examples:
  backbeat verify --bootstrap-servers kafka-1:9092
  backbeat verify --snapshot /var/lib/backbeat/verify.sqlite
  backbeat verify --json | jq '.differences[0]'
  backbeat verify --replay

Exit codes: 0 all of it is as the rules say; 1 something differs; 3 Kafka cannot be reached; 5 whatever was judged is as
the rules say, but not everything could be: the output says what was left out.
"""
)
@bootstrap_option
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Begin from this file, where it is there, and write it anew once all agrees: then commands that retention has "
    "removed were judged before.",
)
@click.option(
    "--replay",
    is_flag=True,
    help="Instead: run the engine's own rules over the log, twice, and compare all records byte for byte.",
)
@click.option(
    "--schema-registry-url",
    envvar=f"{PREFIX}SCHEMA_REGISTRY_URL",
    metavar="URL",
    help="The schema registry that records refer to, where there is one.",
)
@json_option
def verify(
    bootstrap_servers: str, snapshot: Path | None, schema_registry_url: str | None, *, replay: bool, as_json: bool
) -> None:
    """Compare the state of all workflows with what the rules make of the log of commands.

    The judge reads the log from its beginning (or from a snapshot) up to the positions that the engines have committed,
    folds it by a second, naive reading of the rules that shares no code with the engine, and compares: workflows,
    nodes, statuses, histories, results, timers, limits, schedules, and what partitions sent each other. Engines may run
    meanwhile. It needs disk for a copy of the state, in the folder for temporary files, and little memory.
    """
    from backbeat.compose.cli.show.printing import emit
    from backbeat.compose.cli.show.progress import Progress
    from backbeat.compose.verify.judge import Judge, SnapshotError
    from backbeat.compose.verify.log import LogError, Topics

    if replay and snapshot is not None:
        raise click.UsageError("--replay reads the whole log: it has no --snapshot.")
    with Progress("looking at the topics", lambda text: click.echo(text, err=True)) as progress:
        try:
            topics = Topics(bootstrap_servers)
            if replay:
                from backbeat.compose.verify.replay import Replay
                from backbeat.schemas import codec

                codec.configure(schema_registry_url)
                verdict = Replay(topics, progress.show).run()
            else:
                verdict = Judge(topics, progress.show, schema_registry_url, snapshot).run()
        except LogError as error:
            raise CommandError(f"{error}.", Exit.UNREACHABLE) from error
        except SnapshotError as error:
            raise CommandError(f"{error}.") from error
    if as_json:
        emit(verdict.as_json())
    else:
        for line in verdict.lines():
            click.echo(line)
    if not verdict.agrees:
        raise click.exceptions.Exit(Exit.FAILED)
    if verdict.unjudged:
        raise click.exceptions.Exit(Exit.INCOMPLETE)
