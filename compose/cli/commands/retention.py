"""`backbeat retention`: policies for finished workflows. They are kept in the log: every replay sees the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.options import as_option, json_option, operating, reason_option
from backbeat.compose.cli.show.printing import emit, how_long, print_table
from backbeat.compose.cli.user.deeds import Deed

_REFUSE_DEFAULT = timedelta(days=7)


def _deed(action: str, client: str, workflow: str) -> Deed:
    return Deed(action=action, kind="retention", subjects=[f"{client}/{workflow}"], name=f"{workflow} of {client}")


@click.group()
def retention() -> None:
    """Retention of finished workflows, by client application and workflow name. Without a policy: for ever."""


@retention.command(
    "set",
    epilog="""\b
Examples:
  backbeat retention set shop "Camera sale" --keep 30d
  backbeat retention set shop "Index" --keep 1h --no-archive --refuse 1d
""",
)
@click.argument("client")
@click.argument("workflow")
@operating
@as_option
@reason_option
@click.option("--keep", type=Length(), required=True, help="From the last thing that happened in it to its removal.")
@click.option("--archive/--no-archive", default=True, help="Whether it waits to be archived.  [default: archive]")
@click.option(
    "--refuse", type=Length(), default=_REFUSE_DEFAULT, help="How long its signals' ids are refused.  [default: 7d]"
)
def set_(
    client: str, workflow: str, connection: Connection, keep: timedelta, refuse: timedelta, *, archive: bool
) -> None:
    """Remove the finished workflows of this client and name after a time, those that are there already included.

    With an archive, a workflow stays until `backbeat archive run`, or a gateway with --archive-to, has written it.
    """
    replace(connection, client=client if connection.person else "").change(
        _deed("set", client, workflow),
        lambda made: made.retention.set(workflow, keep=keep, archive=archive, refuse=refuse, client=client),
    )
    outcome = "archived and removed" if archive else "removed without an archive"
    click.echo(f"Finished workflows {workflow!r} of {client} are {outcome} after {how_long(keep.total_seconds())}.")


@retention.command("list", epilog="Example: backbeat retention list --json")
@operating
@json_option
def list_(connection: Connection, *, as_json: bool) -> None:
    """List the policies; what is in none is kept for ever."""
    policies = connection.run(lambda client: client.retention.list())
    if as_json:
        for policy in policies:
            emit(policy)
        return
    print_table(
        ("CLIENT", "WORKFLOW", "KEPT", "ARCHIVED", "IDS REFUSED", "PARTITIONS"),
        (
            (
                policy.client,
                policy.workflow,
                how_long(policy.keep_seconds),
                "yes" if policy.archive else "no",
                how_long(policy.refuse_seconds),
                policy.partitions,
            )
            for policy in policies
        ),
    )


@retention.command(epilog='Example: backbeat retention remove shop "Camera sale"')
@click.argument("client")
@click.argument("workflow")
@operating
@as_option
@reason_option
def remove(client: str, workflow: str, connection: Connection) -> None:
    """Keep the workflows of this client and name for ever again, those that wait to be archived included."""
    replace(connection, client=client if connection.person else "").change(
        _deed("remove", client, workflow), lambda made: made.retention.remove(workflow, client=client)
    )
    click.echo(f"Workflows {workflow!r} of {client} are kept.")
