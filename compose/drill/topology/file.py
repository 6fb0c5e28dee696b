"""Topology from a TOML file: a user's own installation."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, Topology, TopologyError


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bootstrap_servers: str
    services: list[Service] = msgspec.field(name="service", default_factory=list)
    hosts: list[Host] = msgspec.field(name="host", default_factory=list)


def read_topology(path: Path) -> Topology:
    """The topology of a file: `bootstrap_servers`, a [[service]] for each process, a [[host]] for each other host.

    TopologyError: the file cannot be read as one; the text says where.
    """
    try:
        document = msgspec.toml.decode(path.read_bytes(), type=_Document)
    except OSError as error:
        raise TopologyError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path} is no topology: {error}. What to do: see docs/how-to/drill.md.") from error
    hosts = {host.name for host in document.hosts}
    for service in document.services:
        if service.host and service.host not in hosts:
            raise TopologyError(
                f"{path}: {service.name} is on the host {service.host!r}, which has no [[host]]. "
                "What to do: add one, with `run`, the words that run a command there (ssh, for example)."
            )
    return Topology(document.services, document.hosts, document.bootstrap_servers)
