"""`backbeat drill`: faults injected into a running installation, watched, ended and reported."""

from __future__ import annotations

import getpass
import random
import shlex
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import json_option
from backbeat.compose.drill.options import folder_option, installation_options, playbook_option, run_options
from backbeat.compose.drill.security.command import security

if TYPE_CHECKING:
    from backbeat.compose.drill.plays.play import Play
    from backbeat.compose.drill.topology.topology import Topology

#: The play that begins with the version before.
_UPGRADE = "rolling-upgrade"


@click.group(
    epilog="""\b
Examples:
  backbeat drill list
  backbeat drill show engine-killed
  backbeat drill run engine-killed leader-killed
  backbeat drill certify
  backbeat drill soak --for 10m
  backbeat drill security
  backbeat drill report --format html --output drill.html
  backbeat drill report --compare 20261129-171500 20261129-183000
"""
)
def drill() -> None:
    """Inject faults into an installation under load, watch what comes of it, and report: does it keep its promises?

    Without --topology everything is started on loopback and removed in the end. docs/how-to/drill.md.
    """


drill.add_command(security)


@drill.command(
    name="list",
    epilog="""\b
Examples:
  backbeat drill list
  backbeat drill list --topology staging.toml
  backbeat drill list --units 'backbeat-*'
  backbeat drill list --namespace backbeat-staging --depends-on engine --levels 2
""",
)
@playbook_option
@installation_options
@click.option("--depends-on", metavar="NAME", help="Of the topology: what depends on this service or role.")
@click.option("--levels", type=click.IntRange(min=1), help="Up to so many levels.  [default: all]")
@json_option
def list_(
    playbooks: tuple[Path, ...],
    topology_file: Path | None,
    units: tuple[str, ...],
    namespaces: tuple[str, ...],
    metrics: str | None,
    depends_on: str | None,
    levels: int | None,
    *,
    as_json: bool,
) -> None:
    """List the plays; with --topology, --units or --namespace the services of an installation: a table and a graph."""
    from backbeat.compose.cli.show.printing import emit

    installation = _read_topology(topology_file, units, namespaces, metrics=metrics)
    if installation is not None:
        from backbeat.compose.drill.tables import show_topology
        from backbeat.compose.drill.topology.versions import with_versions

        show_topology(with_versions(installation), depends_on, levels, as_json=as_json)
        return
    if depends_on is not None:
        raise click.UsageError("--depends-on asks about an installation: give --topology, --units or --namespace.")
    for play in _plays(playbooks, ()):
        if as_json:
            import msgspec

            emit(msgspec.to_builtins(play))
        else:
            request = f"  (on request: {play.on_request})" if play.on_request else ""
            click.echo(f"{play.number or '-':>2}  {play.name:<22} {play.summary}{request}")


@drill.command(
    epilog="""\b
Examples:
  backbeat drill show client-floods
  backbeat drill show 6 18 --json
"""
)
@click.argument("plays", nargs=-1, required=True, metavar="PLAY…")
@playbook_option
@json_option
def show(plays: tuple[str, ...], playbooks: tuple[Path, ...], *, as_json: bool) -> None:
    """Show plays, by name or number: fault, targets, length, and the bounds that must be kept."""
    import msgspec

    from backbeat.compose.cli.show.printing import emit
    from backbeat.compose.drill.report.kept import bound_lines

    for play in _plays(playbooks, plays):
        if as_json:
            emit({**msgspec.to_builtins(play), "bounds": msgspec.to_builtins(play.guarded)})
            continue
        click.echo(f"{play.title}: {play.summary}")
        click.echo(f"  {play.fault} on {play.targets} for {play.seconds:g} s")
        for line in bound_lines(play):
            click.echo(f"  bound: {line}")


@drill.command(
    name="run",
    epilog="""\b
Examples:
  backbeat drill run engine-killed
  backbeat drill run 1 3 5 --seconds 15 --per-second 5
  backbeat drill run 4 --topology staging.toml
  backbeat drill run our-cache-gone --playbook plays.toml
  backbeat drill run rolling-upgrade --from-wheel backbeat-0.1.0-py3-none-any.whl
\b
Exit codes: 0 all bounds were kept; 1 one was not; 5 a play could not be played here.
""",
)
@click.argument("plays", nargs=-1, required=True, metavar="PLAY…")
@run_options()
def run_(plays: tuple[str, ...], **options: object) -> None:
    """Play these plays, by name or number, one after another on one installation."""
    _run(plays, **options)  # type: ignore[arg-type]


@drill.command(
    epilog="""\b
Examples:
  backbeat drill certify
  backbeat drill certify --engines 3 --workers 4 --per-second 12
\b
Exit codes: 0 all bounds were kept; 1 one was not; 5 a play could not be played here.
"""
)
@run_options()
def certify(**options: object) -> None:
    """Play the whole playbook, and yours: about twenty minutes, longer on a machine with other work."""
    _run((), **options)  # type: ignore[arg-type]


@drill.command(
    epilog="""\b
Examples:
  backbeat drill soak
  backbeat drill soak --for 10m --seed 7 --seconds 10
  backbeat drill soak --for 8h --topology staging.toml
\b
Exit codes: 0 all bounds were kept and nothing grew; 1 not so; 5 a play could not be played here.
"""
)
@click.option("--for", "length", type=Length(), default="1h", show_default=True, help="No play begins after it.")
@run_options()
def soak(length: timedelta, **options: object) -> None:
    """Play plays at random beside the load for an hour: engines, workers, gateways, brokers, network, disk.

    Each begins once the installation has recovered from the one before. Payments are removed half a minute after their
    end; memory, handles, threads and disk of engines, gateways and workers must stay flat.
    """
    _run((), soak_seconds=length.total_seconds(), **options)  # type: ignore[arg-type]


@drill.command(
    epilog="""\b
Examples:
  backbeat drill report
  backbeat drill report 20261129-171500 --format html --output drill.html
  backbeat drill report --compare 20261129-171500 20261129-183000
"""
)
@click.argument("run_name", required=False, metavar="[RUN]")
@folder_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="For people, for programs, or one page with curves.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file.  [default: standard output]")
@click.option("--compare", nargs=2, metavar="RUN RUN", help="Instead: what got better or worse from one to the other.")
def report(
    run_name: str | None, folder: Path, format_: str, output: Path | None, compare: tuple[str, str] | None
) -> None:
    """Show the report of a run that is kept; without a name the newest."""
    from backbeat.compose.drill.report.compare import compare_rows
    from backbeat.compose.drill.report.page import render
    from backbeat.compose.drill.runs import RunsError, find_run, read_result
    from backbeat.compose.drill.tables import table_lines

    try:
        if compare is not None:
            first, second = (read_result(find_run(folder, name)) for name in compare)
            text = "\n".join(table_lines(list(compare_rows(first, second))))
        else:
            text = render(read_result(find_run(folder, run_name)), format_)
    except RunsError as error:
        raise CommandError(str(error)) from error
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")


@drill.command(epilog="Example: backbeat drill abort")
@click.argument("run_name", required=False, metavar="[RUN]")
@folder_option
@click.option("--by", metavar="NAME", help="Who ends it, for the report.  [default: your name on this host]")
def abort(run_name: str | None, folder: Path, by: str | None) -> None:
    """End a run that is under way: its fault is taken back at once, and nothing more is played.

    Also where the run or a capsule of it was killed. It fails where something of a fault is left.
    """
    from backbeat.compose.drill.abort import AbortError, abort_run
    from backbeat.compose.drill.runs import RunsError, find_run

    try:
        path = find_run(folder, run_name)
    except RunsError as error:
        raise CommandError(str(error)) from error
    try:
        for line in abort_run(path, by or f"{getpass.getuser()} on {socket.gethostname()}"):
            click.echo(line)
    except AbortError as error:
        raise CommandError(str(error)) from error


@drill.command(
    hidden=True,
    epilog="Example: backbeat drill capsule --key-file drill.key --folder /var/lib/backbeat/drill < order.json",
)
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The key with which orders are signed.",
)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where its state is kept."
)
@click.option("--undo", is_flag=True, help="Take back what a capsule of this order has injected, and end.")
def capsule(key_file: Path, folder: Path, *, undo: bool) -> None:
    """Carry out the signed order on standard input: what the tower starts on the host of a target."""
    from backbeat.compose.drill.capsule.capsule import run_capsule

    raise click.exceptions.Exit(run_capsule(key_file, folder, undo=undo))


def _run(
    words: tuple[str, ...],
    *,
    folder: Path,
    topology_file: Path | None,
    units: tuple[str, ...],
    namespaces: tuple[str, ...],
    metrics: str | None,
    bootstrap_servers: str | None,
    playbooks: tuple[Path, ...],
    seed: int | None,
    seconds: float | None,
    key_file: Path | None,
    into: Path | None,
    from_wheel: str | None,
    workers: int,
    as_json: bool,
    **settings: object,
) -> None:
    """Run plays: those of these words, else all that certify."""
    import msgspec

    from backbeat.compose.drill.checks import check_key, check_names, check_options
    from backbeat.compose.drill.report.page import render
    from backbeat.compose.drill.run import Setup, run
    from backbeat.compose.drill.runs import held, new_run

    plays = [play for play in _plays(playbooks, words) if words or not play.on_request]
    if from_wheel is not None:
        # Whatever comes next is played on today's version.
        (upgrade,) = _plays((), (_UPGRADE,))
        plays = [upgrade, *(play for play in plays if play.name != _UPGRADE)]
    if seconds is not None:
        plays = [msgspec.structs.replace(play, seconds=seconds) for play in plays]
    installation = _read_topology(
        topology_file, units, namespaces, metrics=metrics, bootstrap_servers=bootstrap_servers or ""
    )
    check_options(installation, metrics, from_wheel, is_soak=bool(settings.get("soak_seconds")))
    check_key(key_file, installation)
    if installation is not None:
        check_names(installation, workers)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    fields = {**settings, "workers": workers, "seed": seed, "bootstrap_servers": bootstrap_servers or ""}
    setup = msgspec.convert({**fields, "from_wheel": from_wheel or ""}, Setup)
    path = into or new_run(folder)
    command = shlex.join(["backbeat", *sys.argv[1:]])
    click.echo(f"Run {path.name}, seed {seed}; to end it: backbeat drill abort --folder {path.parent}", err=True)
    # As Ctrl-C: what was injected is taken back, and what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with held(path):
        result = run(
            plays,
            setup,
            path,
            installation=installation,
            command=command,
            key_file=key_file,
            say=lambda text: click.echo(text, err=True),
        )
    click.echo(render(result, "json" if as_json else "text"))
    (path / "report.html").write_text(render(result, "html"))
    click.echo(f"Kept in {path}: result.json, report.html, journal, log", err=True)
    if not result.passed:
        raise click.exceptions.Exit(Exit.FAILED)
    if any(play.skipped for play in result.plays):
        raise click.exceptions.Exit(Exit.INCOMPLETE)


def _plays(playbooks: tuple[Path, ...], words: tuple[str, ...]) -> list[Play]:
    from backbeat.compose.drill.plays.playbook import PlaybookError, all_plays, choose

    try:
        plays = all_plays(playbooks)
        return choose(plays, words) if words else plays
    except PlaybookError as error:
        raise CommandError(str(error), Exit.USAGE) from error


def _read_topology(
    path: Path | None,
    units: tuple[str, ...],
    namespaces: tuple[str, ...],
    *,
    metrics: str | None,
    bootstrap_servers: str = "",
) -> Topology | None:
    """The topology of an installation that is there; None: none is named."""
    if path is None and not units and not namespaces:
        return None
    from backbeat.compose.drill.topology.file import read_topology
    from backbeat.compose.drill.topology.topology import TopologyError

    try:
        return read_topology(
            path, units=units, namespaces=namespaces, bootstrap_servers=bootstrap_servers, metrics=metrics or ""
        )
    except TopologyError as error:
        raise CommandError(str(error), Exit.USAGE) from error
