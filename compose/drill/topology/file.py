"""Topology of a user's own installation: from a TOML file, from systemd's units, from a Kubernetes namespace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from backbeat.compose.drill.topology.needs import with_needs
from backbeat.compose.drill.topology.pods import Namespace, discover_pods
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, Topology, TopologyError
from backbeat.compose.drill.topology.units import Units, discover_units


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bootstrap_servers: str = ""
    #: address of a Prometheus server
    metrics: str = ""
    services: list[Service] = msgspec.field(name="service", default_factory=list)
    hosts: list[Host] = msgspec.field(name="host", default_factory=list)
    units: list[Units] = []
    namespaces: list[Namespace] = msgspec.field(name="namespace", default_factory=list)


def read_topology(
    path: Path | None,
    *,
    units: Sequence[str] = (),
    namespaces: Sequence[str] = (),
    bootstrap_servers: str = "",
    metrics: str = "",
) -> Topology:
    """The topology of a file, and of what it names or is named here: patterns of this host's units, and namespaces.

    A file has a [[service]] for each process, or [[units]] and [[namespace]] whose services are discovered; a [[host]]
    for each other host. `bootstrap_servers` and `metrics`: instead of the file's.
    TopologyError: the file cannot be read as one, or nothing was discovered; the text says where.
    """
    document = _Document() if path is None else _read(path)
    hosts = {host.name: host for host in document.hosts}
    places = [(service.name, service.host) for service in document.services]
    for name, host in (*places, *((each.pattern, each.host) for each in document.units)):
        if host and host not in hosts:
            raise TopologyError(
                f"{path}: {name} is on the host {host!r}, which has no [[host]]. "
                "What to do: add one, with `run`, the words that run a command there (ssh, for example)."
            )
    discovered: list[Service] = []
    here = Host(name="this host")
    for each in (*document.units, *(Units(pattern=pattern) for pattern in units)):
        discovered += discover_units(each, hosts.get(each.host, here))
    for namespace in (*document.namespaces, *(Namespace(name=name) for name in namespaces)):
        discovered += discover_pods(namespace)
    services = [*document.services, *with_needs(discovered, document.services)]
    return Topology(
        services, hosts.values(), bootstrap_servers or document.bootstrap_servers, metrics or document.metrics
    )


def _read(path: Path) -> _Document:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_Document)
    except OSError as error:
        raise TopologyError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path} is no topology: {error}. What to do: see docs/how-to/drill.md.") from error
