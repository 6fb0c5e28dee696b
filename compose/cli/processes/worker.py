"""`backbeat worker`: a worker from a shell, of a Worker or of a module's activities."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from backbeat.compose.cli.options import bootstrap_option, log_format_option, setting

if TYPE_CHECKING:
    from backbeat import Worker
    from backbeat.schemas.kafka.security import Brokers

#: The process that watches the files and started this one: set by `--reload` for its child.
RELOADED_BY = "_BACKBEAT_RELOADED_BY"


@click.command(
    epilog="""\b
Examples:
  backbeat worker orders                                 all activities that orders.py declares, or its Worker
  backbeat worker orders:worker --reload                 while developing
  backbeat worker shop.orders shop.mail --client shop    activities of two modules, as client application shop
  backbeat worker orders:worker --bootstrap-servers kafka-1:9092 --concurrency 20
\b
Exit codes: 0 stopped, 1 failed (an import, an unknown client application, Kafka refused), 2 the command line cannot
be understood (no such module or attribute, nothing registered), 3 Kafka cannot be reached.
"""
)
@click.argument("targets", nargs=-1, required=True, metavar="MODULE[:ATTRIBUTE]...")
@bootstrap_option
@setting(
    "--client",
    "The client application whose activities it runs.  [default: the Worker's own, else default]",
    metavar="NAME",
)
@setting(
    "--concurrency",
    "How many activities run at once.  [default: the Worker's own, else 100]",
    type=click.IntRange(min=1),
)
@click.option(
    "--reload",
    is_flag=True,
    help="While developing: start it anew whenever a Python file below the current directory changes.",
)
@log_format_option
@click.pass_context
def worker(
    context: click.Context,
    targets: tuple[str, ...],
    bootstrap_servers: Brokers,
    client: str | None,
    concurrency: int | None,
    log_format: str,
    *,
    reload: bool,
) -> None:
    """Run activities until Ctrl-C or SIGTERM: what has begun may end, a second signal does not wait for it.

    MODULE:ATTRIBUTE is a Worker, an activity or a list of activities; MODULE alone is its Worker, or all activities
    that it declares. Modules are looked for in the current directory, too. What is said here, in the environment or in
    a profile counts before what a Worker was made with.
    """
    is_reloaded = os.environ.get(RELOADED_BY) == str(os.getppid())
    if reload and not is_reloaded:
        from backbeat.compose.cli.processes.worker_reload import run_reloading

        context.exit(run_reloading(RELOADED_BY))
    if is_reloaded:
        # Ctrl-C reaches all processes of a terminal: the parent has heard it, and sends SIGTERM.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    from backbeat import Worker
    from backbeat.compose.cli.processes.worker_target import load
    from backbeat.streams.observe.logs import to_stderr

    sys.path.insert(0, str(Path.cwd()))
    # Before the modules are imported: those that set up logging of their own do it there.
    to_stderr(log_format)
    runnable = load(targets)
    named_worker = runnable if isinstance(runnable, Worker) else Worker(activities=runnable)
    servers = _servers(context, named_worker, bootstrap_servers)
    named_worker.configure(servers, client or named_worker.name, concurrency or named_worker.concurrency)
    named_worker.serve()
    logging.getLogger("backbeat").info("stopped")


def _servers(context: click.Context, worker: Worker, brokers: Brokers) -> str:
    """The Kafka that was named, else the worker's own, with the security that was named."""
    not_named = (ParameterSource.DEFAULT, None)
    if context.get_parameter_source("bootstrap_servers") not in not_named:
        return brokers
    from backbeat.schemas.kafka.security import Brokers, KafkaSecurity

    servers = worker.bootstrap_servers
    return servers if brokers.security == KafkaSecurity() else Brokers(servers, brokers.security)
