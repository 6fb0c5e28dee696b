"""`backbeat dev`: everything on this machine, until Ctrl-C."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import STATUS_PORT_DEFAULT, partitions_option

if TYPE_CHECKING:
    from backbeat.compose.local.stack import Stack

_DATA_DIR_DEFAULT = Path(".backbeat")
_STATUS_PORT = "BACKBEAT_STATUS_PORT"


@click.command(
    epilog="""\b
Examples:
  backbeat dev                                  state is kept in .backbeat
  backbeat dev --ephemeral --kafka-port 19092   state is thrown away at the end
  backbeat dev --bootstrap-servers kafka:9092   with a Kafka that is there
  backbeat dev --kafka-jars /media/jars         the first time, on a machine without a network
"""
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where all state and all logs are kept.  [default: .backbeat]",
)
@click.option("--ephemeral", is_flag=True, help="Keep state in a temporary directory, removed at the end.")
@click.option(
    "--kafka-port", type=click.IntRange(1, 65535), help="Kafka's port.  [default: 9092, or a free one if that is taken]"
)
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    help="The gateway's port.  [default: 9292, or a free one if that is taken]",
)
@click.option("--bootstrap-servers", metavar="HOST:PORT,…", help="Use this Kafka rather than starting one.")
@click.option(
    "--kafka-jars",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy Kafka's jars from this folder rather than fetch them: a copy of the one that `backbeat jars` prints.",
)
@click.option("--engines", type=click.IntRange(min=1), default=1, show_default=True, help="How many engines to run.")
@click.option(
    "--require-auth-token",
    is_flag=False,
    flag_value="writes",
    type=click.Choice(["none", "writes", "all"]),
    default="none",
    metavar="[=all]",
    help="Let the gateway ask for the caller's token: on signals, decisions and changes of limits, schedules, jobs "
    "and retention; or on all calls.",
)
@click.option(
    "--database-url", metavar="URL", help="The projection's database.  [default: SQLite in the data directory]"
)
@click.option("--archive-to", metavar="URL", help="Where the gateway archives workflows that are about to be removed.")
@partitions_option
def dev(
    data_dir: Path | None,
    kafka_port: int | None,
    http_port: int | None,
    bootstrap_servers: str | None,
    kafka_jars: Path | None,
    engines: int,
    partitions: int | None,
    require_auth_token: str,
    database_url: str | None,
    archive_to: str | None,
    *,
    ephemeral: bool,
) -> None:
    """Start Kafka, the topics, a client named `default`, an engine and the HTTP gateway, until Ctrl-C."""
    from backbeat.compose.cli.show.progress import Progress
    from backbeat.compose.local.jars.class_archive import prepare_kafka
    from backbeat.compose.local.jars.jars import from_folder
    from backbeat.compose.local.ports import choose_port
    from backbeat.compose.local.stack import Stack

    gateway_arguments = [f"--require-auth-token={require_auth_token}", "--ui=on", "--ui-login=none"]
    if database_url is not None:
        gateway_arguments += ["--database-url", database_url]
    if archive_to is not None:
        gateway_arguments += ["--archive-to", archive_to]

    if ephemeral and data_dir is not None:
        raise click.UsageError("--ephemeral makes its own directory: leave --data-dir out.")
    if bootstrap_servers is not None and kafka_port is not None:
        raise click.UsageError("--bootstrap-servers uses a Kafka that is there: leave --kafka-port out.")
    if bootstrap_servers is not None and kafka_jars is not None:
        raise click.UsageError("--bootstrap-servers uses a Kafka that is there: leave --kafka-jars out.")
    # The usual port for the one engine that there usually is, unless the environment names one; several take free ones.
    status_port = "0"
    if engines == 1:
        # Kafka and the gateway are not there yet: their ports are free, and theirs all the same.
        avoid = [port for port in (kafka_port, http_port) if port is not None]
        status_port = os.environ.get(_STATUS_PORT) or str(
            choose_port(None, STATUS_PORT_DEFAULT, "--status-port", avoid)
        )
    progress = Progress("starting Kafka, an engine and the gateway", click.echo)
    stack = Stack(
        None if ephemeral else data_dir or _DATA_DIR_DEFAULT,
        ephemeral=ephemeral,
        engines=engines,
        gateways=[gateway_arguments],
        partitions=partitions,
        bootstrap_servers=bootstrap_servers,
        kafka_port=kafka_port,
        http_port=http_port,
        env={_STATUS_PORT: status_port},
        say=progress.say,
    )
    with _signals(stack.kill_all):
        began_at = time.monotonic()
        try:
            if bootstrap_servers is None:
                prepare_kafka(click.echo, from_folder(kafka_jars) if kafka_jars else None)
            click.echo("Starting …")
            with progress:
                stack.start()
            _show(stack, time.monotonic() - began_at)
            stack.wait()
        except KeyboardInterrupt:
            click.echo("Stopping …")
        finally:
            stack.stop()
    if stack.failure is not None:
        raise SetupError(stack.failure)
    click.echo("Stopped." if ephemeral else f"Stopped; state is kept in {stack.data_dir}.")


def _show(stack: "Stack", seconds: float) -> None:
    client = f"default   (topics backbeat.signals.default, backbeat.activities.default; {stack.partitions} partitions)"
    lines = [("Kafka", stack.bootstrap_servers)]
    if stack.kafka is not None:
        lines[0] = ("Kafka", f"{stack.bootstrap_servers}   (pid {stack.kafka.pid}, log {stack.kafka.log_path})")
    engines = zip(stack.engine_pids, stack.engine_logs, stack.status_urls, strict=True)
    for number, (pid, log, url) in enumerate(engines, start=1):
        metrics = f", metrics {url}/metrics" if url else ""
        lines.append((f"Engine {number}", f"pid {pid}   (log {log}{metrics})"))
    for url, log in zip(stack.http_urls, stack.gateway_logs, strict=True):
        lines.append(("HTTP", f"{url}   (log {log})"))
    lines += [("Console", f"{url}/ui/") for url in stack.http_urls]
    lines += [("Client", client), ("Data", str(stack.data_dir))]
    click.echo(f"Backbeat is ready ({seconds:.1f} s).")
    for name, text in lines:
        click.echo(f"  {name:<10} {text}")
    click.echo("Stop it with Ctrl-C. Next, in another terminal:")
    click.echo(f"  export BACKBEAT_BOOTSTRAP_SERVERS={stack.bootstrap_servers} BACKBEAT_GATEWAY={stack.http_urls[0]}")
    click.echo("  backbeat init FOLDER    a first project: a workflow, its worker, its test")
    click.echo("  backbeat user list      the clients that may send signals and run activities")


@contextlib.contextmanager
def _signals(kill_all: Callable[[], None]) -> Iterator[None]:
    """Stop at Ctrl-C, SIGTERM and a closed terminal; at a second one while it stops, kill the remaining parts."""
    is_stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        nonlocal is_stopping
        if is_stopping:
            kill_all()
            return
        is_stopping = True
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handlers_before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)
