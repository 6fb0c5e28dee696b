"""A gateway's status for machines, beside the API: `/metrics`, `/live`, `/ready` (docs/reference/metrics.md)."""

from __future__ import annotations

from backbeat.gateway.http.services import Services
from backbeat.gateway.metrics import GatewayCollector, HttpFigures
from backbeat.observe.prometheus import new_registry
from backbeat.observe.status_server import Status


def status_of(parts: Services, http: HttpFigures) -> Status:
    """The status of a gateway with these parts."""
    registry = new_registry()
    registry.register(GatewayCollector(parts, http))
    # Its loop answers: that is what is asked. What it cannot survive ends it.
    return Status(registry, list, lambda: why_not_ready(parts))


def why_not_ready(parts: Services) -> list[str]:
    """Why callers should not be sent here; none: they may be."""
    reasons = []
    if parts.engine.missing is not None:
        reasons.append(parts.engine.missing)
    elif parts.deliverer is None:
        reasons.append("it is starting")
    if not parts.in_rotation:
        reasons.append("it is out of rotation")
    return reasons
