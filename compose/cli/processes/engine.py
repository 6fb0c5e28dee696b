"""`backbeat engine`: one engine. Several, here and on other machines, share the partitions."""

import contextlib
import gc
import importlib
import threading
from pathlib import Path
from typing import Any

import click

from backbeat.compose.cli.options import (
    STATUS_PORT_DEFAULT,
    bootstrap_option,
    development_option,
    log_format_option,
    setting,
    status_host_option,
    status_port_option,
)
from backbeat.compose.cli.processes.engine_options import named_settings, tuning_options


@click.command(
    epilog="""\b
Examples:
  backbeat engine --bootstrap-servers kafka-1:9092,kafka-2:9092 --instance-id engine-a
  backbeat engine --instance-id engine-b --data-dir /var/lib/backbeat/engine-b --status-port 9302
  backbeat engine --instance-id engine-c --status-host 0.0.0.0 --log-format json
"""
)
@bootstrap_option
@setting(
    "--instance-id",
    "This engine's name, unique among all engines and the same at every start: it is what makes a restart quick, "
    "and two engines with one name throw each other out.",
    required=True,
)
@setting(
    "--data-dir",
    "Where it keeps its records; lost ones are read again from Kafka.  [default: .backbeat/INSTANCE-ID]",
    type=click.Path(file_okay=False, path_type=Path),
)
@status_host_option
@status_port_option(STATUS_PORT_DEFAULT)
@log_format_option
@development_option
@tuning_options
def engine(
    bootstrap_servers: str,
    instance_id: str,
    data_dir: Path | None,
    status_host: str,
    status_port: int | None,
    log_format: str,
    *,
    development: bool,
    **tuning: Any,
) -> None:
    """Run one engine on a Kafka that is there, until it is stopped (SIGTERM).

    It shows its status to machines: http://HOST:PORT/metrics, /live and /ready (docs/reference/metrics.md).
    """
    # Half of a start's time is imports, and they leave no cycles to be looked for.
    gc.disable()
    try:
        from backbeat.streams.process.settings import EngineSettings

        settings = EngineSettings(
            bootstrap_servers=bootstrap_servers,
            instance_id=instance_id,
            data_dir=(data_dir or Path(".backbeat") / instance_id).absolute(),
            **named_settings(tuning),
        )
        _check(bootstrap_servers, log_format, development=development)
        from backbeat.observe.status_server import Address
        from backbeat.streams.process.faust_app import run_engine

        address = None if status_port is None else Address(status_host, status_port)
    finally:
        # Else the first collection looks through all that was imported: a twentieth of a start.
        gc.freeze()
        gc.enable()
    run_engine(settings, status=address)


def _check(bootstrap_servers: str, log_format: str, *, development: bool) -> None:
    """Wait for the brokers, and check the topics. The engine is imported meanwhile."""
    # All that the checks import comes first: two threads do not import the same modules.
    import confluent_kafka.admin  # noqa: F401 - see above

    from backbeat.schemas.kafka.brokers import wait_until_reached
    from backbeat.schemas.kafka.topics import check_topics
    from backbeat.streams.observe import logs

    logs.to_stderr(log_format)
    importing = threading.Thread(target=_import_engine, name="import")
    importing.start()
    try:
        wait_until_reached(bootstrap_servers)
        check_topics(bootstrap_servers, development=development)
    finally:
        importing.join()


def _import_engine() -> None:
    # An import that fails here fails again, and is told, where it is for use.
    with contextlib.suppress(Exception):
        importlib.import_module("backbeat.streams.process.faust_app")
