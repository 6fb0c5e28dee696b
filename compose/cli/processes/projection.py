"""`backbeat projection`: the tables that searches are answered from: follow, status, rebuild."""

import json
import time
from pathlib import Path
from typing import Any

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import (
    STATUS_PORT_DEFAULT,
    bootstrap_option,
    log_format_option,
    setting,
    status_host_option,
    status_port_option,
)

_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 5.0

_data_dir_option = setting(
    "--data-dir",
    "The gateway's directory: the SQLite projection is there.",
    variable="BACKBEAT_GATEWAY_DATA_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".backbeat/gateway"),
)
_database_option = setting(
    "--database-url", "The gateways' database where it is another: postgresql://USER@HOST/DATABASE.", metavar="URL"
)


@click.group()
def projection() -> None:
    """Follow the changelog into the tables that searches are answered from, look at them, or have them built anew."""


@projection.command(
    epilog="""\b
Examples:
  backbeat projection status
  backbeat projection status --database-url postgresql://backbeat@db/backbeat --json
"""
)
@bootstrap_option
@_data_dir_option
@_database_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def status(bootstrap_servers: str, data_dir: Path, database_url: str | None, *, as_json: bool) -> None:
    """Show whether it is whole, how far each partition was followed, how much is missing, and how many rows it has."""
    status = _status(bootstrap_servers, _url(data_dir, database_url))
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    from backbeat.compose.cli.show.printing import print_fields, print_table

    print_fields(
        [
            ("database", status["database"]),
            ("state", status["state"]),
            ("generation", str(status["generation"])),
            ("lag", f"{status['lag']:,} records"),
            *((name.replace("_", " "), f"{count:,}") for name, count in status["rows"].items()),
        ]
    )
    partitions = (tuple(map(str, partition.values())) for partition in status["partitions"])
    print_table(("PARTITION", "FOLLOWED TO", "OF"), partitions)


@projection.command(
    epilog="""\b
Examples:
  backbeat projection rebuild
  backbeat projection rebuild --database-url postgresql://backbeat@db/backbeat --no-wait

Nothing is lost by it: all of it comes from the changelog. Meanwhile searches are answered with 503 and Retry-After;
everything else works as ever.
"""
)
@bootstrap_option
@_data_dir_option
@_database_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until searches are answered again.")
def rebuild(bootstrap_servers: str, data_dir: Path, database_url: str | None, *, wait: bool) -> None:
    """Drop the tables and build them anew from the changelog.

    A gateway that runs does it; where none runs, this command does.
    """
    from backbeat.gateway.projection.following.follower import Follower
    from backbeat.gateway.projection.storage import facts, tables
    from backbeat.gateway.projection.storage.database import begin_writing, explained, open_engine, parse_url

    url = parse_url(_url(data_dir, database_url))
    engine = open_engine(url)
    began_at = time.monotonic()
    with explained(url), begin_writing(engine) as connection:
        projection_facts = facts.read_facts(connection)
        generation = (
            facts.ask_for_rebuild(connection) if projection_facts.schema_version == tables.SCHEMA_VERSION else 1
        )
    if not wait:
        click.echo("Asked for. Whichever gateway follows the changelog does it, or the next one that starts.")
        return
    follower = Follower(bootstrap_servers, engine)
    follower.start()
    try:
        _wait_until_built(follower, engine, generation)
    finally:
        follower.stop()
        engine.dispose()
    click.echo(f"Built in {time.monotonic() - began_at:.1f} s.")


@projection.command(
    epilog="""\b
Examples:
  backbeat projection follow --database-url postgresql://backbeat@db/backbeat
  BACKBEAT_DATABASE_URL=postgresql://backbeat@db/backbeat backbeat projection follow --status-port 9310
"""
)
@bootstrap_option
@_data_dir_option
@_database_option
@status_host_option
@status_port_option(STATUS_PORT_DEFAULT)
@log_format_option
def follow(
    bootstrap_servers: str,
    data_dir: Path,
    database_url: str | None,
    status_host: str,
    status_port: int | None,
    log_format: str,
) -> None:
    """Bring the tables up to date, until it is stopped (SIGTERM), so that gateways need not.

    Of all that could, one process does it: whoever came first. When that one ends, another takes over within a second.
    It shows its status to machines: http://HOST:PORT/metrics, /live and /ready (docs/reference/metrics.md).
    """
    from backbeat.gateway.projection.process import run_projection
    from backbeat.gateway.projection.storage.database import parse_url
    from backbeat.observe.status_server import Address

    url = parse_url(_url(data_dir, database_url))
    address = None if status_port is None else Address(status_host, status_port)
    run_projection(bootstrap_servers, url, status=address, log_format=log_format)


def _wait_until_built(follower: Any, engine: Any, generation: int) -> None:
    from backbeat.gateway.projection.storage import facts

    progress_at = time.monotonic() + _PROGRESS_SECONDS
    while True:
        if follower.refusal is not None:
            raise follower.refusal
        # Another process that follows has no event for its progress.
        time.sleep(_POLL_SECONDS)
        with engine.begin() as connection:
            projection_facts = facts.read_facts(connection)
        if projection_facts.generation >= generation and projection_facts.whole:
            return
        if time.monotonic() >= progress_at:
            progress_at += _PROGRESS_SECONDS
            trouble = follower.progress.trouble
            progress_text = (
                f"{follower.progress.records:,} records so far" if follower.progress.records else "under way"
            )
            click.echo(f"waiting: {trouble}" if trouble else progress_text)


def _url(data_dir: Path, database_url: str | None) -> str:
    # As GatewaySettings has it.
    return database_url or f"sqlite:///{data_dir / 'projection.sqlite'}"


def _status(bootstrap_servers: str, database_url: str) -> dict[str, Any]:
    from backbeat.gateway.projection.following.changelog import Changelog
    from backbeat.gateway.projection.storage import facts, tables
    from backbeat.gateway.projection.storage.database import explained, open_engine, parse_url, shown

    url = parse_url(database_url)
    if url.drivername == "sqlite" and not Path(str(url.database)).exists():
        raise SetupError(
            f"There is no projection in {url.database}. What to do: start a gateway, or name its --data-dir."
        )
    changelog = Changelog(bootstrap_servers)
    ends = changelog.ends()
    engine = open_engine(url)
    with explained(url), engine.begin() as connection:
        projection_facts = facts.read_facts(connection)
        is_ours = projection_facts.schema_version == tables.SCHEMA_VERSION
        positions = facts.read_positions(connection) if is_ours else {}
        rows = facts.count_rows(connection) if is_ours else {}
    engine.dispose()
    partitions = [
        {"partition": number, "next_offset": positions.get(number, offsets.first), "end": offsets.end}
        for number, offsets in ends.items()
    ]
    return {
        "database": shown(url),
        "state": _state(projection_facts, is_ours=is_ours, is_same=projection_facts.topic_id == changelog.topic_id),
        "generation": projection_facts.generation,
        "lag": sum(max(0, partition["end"] - partition["next_offset"]) for partition in partitions),
        "rows": rows,
        "partitions": partitions,
    }


def _state(projection_facts: Any, *, is_ours: bool, is_same: bool) -> str:
    if not is_ours:
        return "of another version: a gateway that starts builds it anew"
    if not is_same:
        return "of another changelog topic: a gateway that starts builds it anew"
    if projection_facts.wanted > projection_facts.generation:
        return "to be built anew: asked for, not begun"
    return "whole" if projection_facts.whole else "being built"
