"""`backbeat drill security`: attacks on an installation over TLS with rights for each part."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import click

from backbeat.compose.cli.exit_codes import Exit
from backbeat.compose.cli.options import json_option
from backbeat.compose.drill.options import folder_option


@click.command(
    epilog="""\b
Examples:
  backbeat drill security
  backbeat drill security --json
  backbeat drill report --format html --output security.html
\b
Exit codes: 0 all promises were kept; 1 one was not, or could not be tried.
"""
)
@folder_option
@json_option
def security(folder: Path, *, as_json: bool) -> None:
    """Attack an installation in each way that SECURITY.md promises to withstand, and report which promises are kept.

    It is started on loopback and removed in the end: a broker over SASL_SSL with certificates made on the spot, an
    engine and a gateway over HTTPS, each with the rights of `backbeat acls`, and payments through all of it. About four
    minutes.
    """
    from backbeat.compose.drill.report.page import render
    from backbeat.compose.drill.runs import held, new_run
    from backbeat.compose.drill.security.run import run

    path = new_run(folder)
    click.echo(f"Run {path.name}; to end it: backbeat drill abort --folder {path.parent}", err=True)
    # As Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with held(path):
        result = run(path, command=shlex.join(["backbeat", *sys.argv[1:]]), say=lambda text: click.echo(text, err=True))
    click.echo(render(result, "json" if as_json else "text"))
    (path / "report.html").write_text(render(result, "html"))
    click.echo(f"Kept in {path}: result.json, report.html, journal, log", err=True)
    if not result.passed:
        raise click.exceptions.Exit(Exit.FAILED)
