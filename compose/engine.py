"""`backbeat engine`: one engine. Several, here and on other machines, share the partitions."""

from pathlib import Path
from typing import Any

import click

from backbeat.compose.options import bootstrap_option, development_option
from backbeat.compose.tuning import given, tuning_options


@click.command(
    epilog="""\b
Examples:
  backbeat engine --bootstrap-servers kafka-1:9092,kafka-2:9092 --instance-id engine-a
  backbeat engine --instance-id engine-b --data-dir /var/lib/backbeat/engine-b
"""
)
@bootstrap_option
@click.option(
    "--instance-id",
    required=True,
    envvar="BACKBEAT_INSTANCE_ID",
    show_envvar=True,
    help="This engine's name, unique among all engines and the same at every start: it is what makes a restart quick, "
    "and two engines with one name throw each other out.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BACKBEAT_DATA_DIR",
    show_envvar=True,
    help="Where it keeps its records; lost ones are read again from Kafka.  [default: .backbeat/INSTANCE-ID]",
)
@development_option
@tuning_options
def engine(
    bootstrap_servers: str, instance_id: str, data_dir: Path | None, *, development: bool, **tuning: Any
) -> None:
    """Run one engine on a Kafka that is there, until it is stopped (SIGTERM)."""
    from backbeat.streams.app import run_engine
    from backbeat.streams.settings import EngineSettings
    from backbeat.streams.topics import check_topics

    settings = EngineSettings(
        bootstrap_servers=bootstrap_servers,
        instance_id=instance_id,
        data_dir=(data_dir or Path(".backbeat") / instance_id).absolute(),
        **given(tuning),
    )
    check_topics(bootstrap_servers, development=development)
    run_engine(settings)
