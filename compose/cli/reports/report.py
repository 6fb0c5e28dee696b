"""`backbeat report`: the report of a day, for people who do not look at a terminal (behaviour document, section 7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Moment, Number, milliseconds
from backbeat.compose.cli.options import connected, json_option
from backbeat.compose.cli.reports.mail import MailServer, mail_options
from backbeat.compose.cli.reports.source import database_option, source

_DAY = timedelta(days=1)


@click.group()
def report() -> None:
    """Reports over some time, as text, HTML or mail."""


@report.command(
    epilog="""\b
Examples:
  backbeat report daily
  backbeat report daily --since 2026-01-30 --until 2026-01-31 --json
  backbeat report daily --html > report.html
  backbeat report daily --mail-to ops@example.org --mail-from backbeat@example.org --smtp-host mail.example.org

Every morning at six, by cron:
  0 6 * * *  backbeat --profile production report daily --mail-to ops@example.org
"""
)
@connected
@database_option
@click.option("--since", type=Moment(), metavar="TIME", help="From when on.  [default: a day before --until]")
@click.option("--until", type=Moment(), metavar="TIME", help="Up to when.  [default: now]")
@click.option(
    "--stuck-hours",
    type=Number(min=0, max=100_000),
    default=20.0,
    show_default=True,
    help="After so long without news a node that should go on is inconsistent.",
)
@click.option("--html", "as_html", is_flag=True, help="As an HTML page.")
@json_option
@mail_options
def daily(
    connection: Connection,
    database_url: str | None,
    since: datetime | None,
    until: datetime | None,
    stuck_hours: float,
    mail: MailServer | None,
    *,
    as_html: bool,
    as_json: bool,
) -> None:
    """Show completed and inconsistent nodes by workflow type, over the last day; or send it by mail.

    A node is inconsistent if something should happen to it (it is started, with its client, waiting for a retry, or
    failed), nothing has for 20 hours, and no time that it waits for has passed since or lies ahead. Nodes that wait for
    others are not counted with them. That is as of now, whatever --until says.
    """
    from backbeat.compose.cli.reports.page import document_of, html_of, subject_of, text_of
    from backbeat.compose.cli.show.printing import emit, note

    if as_html and as_json:
        raise click.UsageError("Give --html or --json.")
    until = until or datetime.now(UTC)
    since = since or until - _DAY
    if since > until:
        raise click.UsageError("--since is later than --until.")
    report_source = source(connection, database_url)
    daily_report = report_source.daily(milliseconds(since), milliseconds(until), stuck_hours)
    names = report_source.names()
    if mail is not None:
        mail.send(subject_of(daily_report), text_of(daily_report, names), html_of(daily_report, names))
        note(f"Sent to {', '.join(mail.to)}.")
    if as_json:
        emit(document_of(daily_report, names))
    elif as_html:
        click.echo(html_of(daily_report, names))
    elif mail is None:
        click.echo(text_of(daily_report, names))
