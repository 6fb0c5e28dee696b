"""`backbeat limit`: how many nodes of an activity type may be out at once, and how often one may start."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.exit_codes import CommandError
from backbeat.compose.cli.options import acting, connected, json_option
from backbeat.compose.cli.show.printing import ago, emit, how_long, json_text, note, print_table
from backbeat.compose.cli.show.rows import limit_row
from backbeat.compose.cli.user.deeds import Deed

if TYPE_CHECKING:
    from backbeat.client.limits.views import ActivityLimit, LimitPool

_activity = click.argument("activity")


def _deed(action: str, activity: str) -> Deed:
    return Deed(action=action, kind="activity", subjects=[activity], name=activity)


@click.group()
def limit() -> None:
    """Limit activity types: how many nodes may be out at once, over all workers, and how often one may start.

    What would start beyond that waits: higher priority first, then fairness keys in turn, then age
    (docs/how-to/limits.md).
    """


@limit.command(
    "set",
    epilog="""\b
Examples:
  backbeat limit set "Send to Bank" --concurrency 3
  backbeat limit set "Send to Bank" --concurrency 3 --key metadata.bank
  backbeat limit set "Send mail" --rate 100/min --burst 10 --client shop
""",
)
@_activity
@acting
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Started and not answered, at most.")
@click.option("--rate", metavar="N/UNIT", help="Starts in a time, at most: 5/s, 100/min, 1000/h, 10/30s.")
@click.option("--burst", type=click.IntRange(min=1), default=1, show_default=True, help="Starts at once after a pause.")
@click.option(
    "--key", default="", metavar="PATH", help="Each value of it has slots of its own: metadata.bank, subject …"
)
@click.option("--aging", type=Length(), metavar="LENGTH", help="Who waits so long is a priority higher.  [default: 5m]")
def set_(
    activity: str,
    connection: Connection,
    concurrency: int | None,
    rate: str | None,
    burst: int,
    key: str,
    aging: timedelta | None,
) -> None:
    """Limit an activity; what is given replaces what was there. It counts for what waits already."""
    if concurrency is None and rate is None:
        raise click.UsageError("give --concurrency, --rate or both; `backbeat limit remove` ends a limit")
    options: dict[str, Any] = {} if aging is None else {"aging": aging}
    connection.change(
        _deed("limit", activity),
        lambda client: client.limits.set(activity, concurrency=concurrency, rate=rate, burst=burst, key=key, **options),
    )
    note(f"{activity} is limited. How it stands: backbeat limit show {activity!r}")


@limit.command(epilog="Example: backbeat limit remove 'Send to Bank'")
@_activity
@acting
def remove(activity: str, connection: Connection) -> None:
    """Limit an activity no more; what waits starts. A pause of it ends, too."""
    connection.change(_deed("unlimit", activity), lambda client: client.limits.remove(activity))
    note(f"{activity} is not limited")


@limit.command(epilog="Example: backbeat limit pause 'Send to Bank'")
@_activity
@acting
def pause(activity: str, connection: Connection) -> None:
    """Start none of an activity until it is resumed; what runs goes on."""
    connection.change(_deed("pause", activity), lambda client: client.limits.pause(activity))
    note(f"{activity} is paused. To go on: backbeat limit resume {activity!r}")


@limit.command(epilog="Example: backbeat limit resume 'Send to Bank'")
@_activity
@acting
def resume(activity: str, connection: Connection) -> None:
    """Go on with a paused activity: what waits starts in its order, as far as the limit allows."""
    connection.change(_deed("resume", activity), lambda client: client.limits.resume(activity))
    note(f"{activity} is resumed")


@limit.command("list", epilog="Example: backbeat limit list --json")
@connected
@json_option
def list_(connection: Connection, *, as_json: bool) -> None:
    """List the limits, and how they stand. With --json: a line for each."""
    limits = connection.run(lambda client: client.limits.list())
    if as_json:
        for activity_limit in limits:
            emit(limit_row(activity_limit))
        return
    columns = ("ACTIVITY", "AT ONCE", "RATE", "KEY", "OUT", "WAITING", "")
    if not print_table(
        columns, [(*_row(activity_limit), "paused" if activity_limit.paused else "") for activity_limit in limits]
    ):
        note("No activity is limited. To limit one: backbeat limit set --help")


@limit.command(epilog="Example: backbeat limit show 'Send to Bank'")
@_activity
@connected
@json_option
def show(activity: str, connection: Connection, *, as_json: bool) -> None:
    """Show the limit of an activity, by key: who is out, who waits by priority, since when."""
    activity_limit = connection.run(lambda client: client.limits.get(activity))
    if activity_limit is None:
        raise CommandError(f"{activity!r} has no limit. To see which have one: backbeat limit list")
    if as_json:
        emit(limit_row(activity_limit))
        return
    bounds = [f"{activity_limit.concurrency} at once" if activity_limit.concurrency else "", activity_limit.rate or ""]
    summary = ", ".join(text for text in [*bounds, "paused" if activity_limit.paused else ""] if text)
    click.echo(f"{activity}: {summary}; a priority higher after {how_long(activity_limit.aging_seconds)}")
    columns = ("KEY", "OUT", "WAITING", "BY PRIORITY 1 TO 5", "OLDEST", "NEXT START")
    print_table(columns, [_pool_row(pool) for pool in activity_limit.pools])
    if activity_limit.more:
        note("There are more keys than these: 100 of each partition are shown.")


def _row(activity_limit: ActivityLimit) -> tuple[str, ...]:
    more = "+" if activity_limit.more else ""
    concurrency = "" if activity_limit.concurrency is None else str(activity_limit.concurrency)
    rate = activity_limit.rate or ""
    if activity_limit.burst > 1:
        rate += f" (burst {activity_limit.burst})"
    return (
        activity_limit.activity,
        concurrency,
        rate,
        activity_limit.key,
        f"{activity_limit.out}{more}",
        f"{activity_limit.waiting}{more}",
    )


def _pool_row(pool: LimitPool) -> tuple[str, ...]:
    return (
        json_text(pool.key) if pool.key is not None else "",
        str(pool.out),
        str(pool.waiting),
        " ".join(str(count) for count in pool.waiting_by_priority.values()),
        "" if pool.oldest_asked_at is None else ago(pool.oldest_asked_at),
        "" if pool.next_start_at is None else ago(pool.next_start_at),
    )
