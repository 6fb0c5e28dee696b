"""Versions of services, as their metrics tell them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import msgspec

from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology

_READ_SECONDS_MAX = 2.0
_INFO = re.compile(r'^backbeat_\w+_info\{[^}]*version="([^"]+)"', re.MULTILINE)


def with_versions(topology: Topology) -> Topology:
    """The topology with the version of each service that tells one; the others keep what the file says."""
    services = list(topology.services.values())
    with ThreadPoolExecutor(max(1, len(services))) as pool:
        versions = list(pool.map(_version, services))
    named = [
        msgspec.structs.replace(service, version=version) if version else service
        for service, version in zip(services, versions, strict=True)
    ]
    return topology.with_services(named)


def _version(service: Service) -> str:
    if not service.metrics_url:
        return ""
    try:
        with open_directly(service.metrics_url, timeout=_READ_SECONDS_MAX) as response:
            match = _INFO.search(response.read().decode(errors="replace"))
    except (OSError, ValueError):
        return ""
    return match[1] if match else ""
