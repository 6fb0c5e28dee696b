"""Checks before a run: what it was given can be used, and its names are free."""

from __future__ import annotations

from pathlib import Path

from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.drill.capsule.order import OrderError, make_key
from backbeat.compose.drill.load import rig
from backbeat.compose.drill.topology.topology import Topology, TopologyError
from backbeat.compose.drill.watch.prometheus import PrometheusError, check_server


def check_options(installation: Topology | None, metrics: str | None, from_wheel: str | None, *, is_soak: bool) -> None:
    """Refuse what does not go together, and a Prometheus server that does not answer as one. CommandError."""
    if installation is not None and not installation.bootstrap_servers:
        raise CommandError("The installation's Kafka is not known. What to do: give --bootstrap-servers", Exit.USAGE)
    if is_soak and from_wheel is not None:
        raise CommandError("--from-wheel is of one upgrade: leave it out with a soak", Exit.USAGE)
    if installation is not None and from_wheel is not None:
        raise CommandError("--from-wheel is of what is started here: leave it out with an installation", Exit.USAGE)
    if installation is None and metrics is not None:
        raise CommandError("--metrics is of an installation: give --topology, --units or --namespace", Exit.USAGE)
    if installation is not None and installation.metrics:
        _check_metrics(installation.metrics)


def _check_metrics(url: str) -> None:
    try:
        check_server(url)
    except PrometheusError as error:
        raise CommandError(str(error)) from error


def check_key(key_file: Path | None, installation: Topology | None) -> None:
    """Refuse a key that cannot be read, and hosts that cannot have the key of a run. CommandError."""
    hosts = [] if installation is None else [host.name for host in installation.hosts.values() if host.run]
    if key_file is None and hosts:
        raise CommandError(
            f"The hosts {', '.join(hosts)} need a copy of the key. What to do: give --key-file; it is made "
            "where there is none",
            Exit.USAGE,
        )
    if key_file is not None:
        try:
            make_key(key_file)
        except OrderError as error:
            raise CommandError(f"The key {key_file}: {error}", Exit.USAGE) from error


def check_names(installation: Topology, workers: int) -> None:
    """Refuse services that are named as those of the load. CommandError."""
    try:
        rig.check_names(installation, workers)
    except TopologyError as error:
        raise CommandError(str(error), Exit.USAGE) from error
