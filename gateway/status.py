"""A gateway's status beside the API: `/metrics`, `/live`, `/ready` (docs/reference/metrics.md)."""

from __future__ import annotations

from backbeat.gateway.admission import Admission
from backbeat.gateway.http.services import Services
from backbeat.gateway.metrics import GatewayCollector, HttpMetrics
from backbeat.observe.prometheus import new_registry
from backbeat.observe.status_server import Status


def status_of(services: Services, http: HttpMetrics, admission: Admission) -> Status:
    """Status of a gateway with these services."""
    registry = new_registry()
    registry.register(GatewayCollector(services, http, admission))
    # Liveness is that its loop answers; it ends itself on fatal errors.
    return Status(registry, list, lambda: why_not_ready(services))


def why_not_ready(services: Services) -> list[str]:
    """Reasons why load balancers should not send callers here; empty: they may."""
    reasons = []
    if services.engine.missing is not None:
        reasons.append(services.engine.missing)
    elif services.deliverer is None:
        reasons.append("it is starting")
    if not services.in_rotation:
        reasons.append("it is out of rotation")
    return reasons
