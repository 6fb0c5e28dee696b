"""Needs of services that were discovered: those of Backbeat's roles, among the roles that are there."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backbeat.compose.drill.topology.service import Service

_NEEDS = {
    "engine": ("broker",),
    "gateway": ("broker", "engine"),
    "projection": ("broker", "engine"),
    "worker": ("broker", "engine"),
}


def with_needs(discovered: Iterable[Service], others: Iterable[Service] = ()) -> list[Service]:
    """The services with what those of their role cannot do without, added to what they are known to need.

    `others`: services beside them, whose roles are there, too.
    """
    services = list(discovered)
    roles = {service.role for service in (*services, *others)}
    return [
        msgspec.structs.replace(
            service,
            depends_on=tuple(
                dict.fromkeys((*service.depends_on, *(need for need in _NEEDS.get(service.role, ()) if need in roles)))
            ),
        )
        for service in services
    ]
