"""Topology: all services, what they depend on, and the choice of targets among them."""

from __future__ import annotations

import math
import random
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import msgspec

from backbeat.compose.drill.topology.service import Service

_SELECTOR = re.compile(r"(?P<role>[\w-]+)(?::(?P<amount>all|\d+(?:/\d+)?))?(?:@(?P<host>[\w.-]+))?")
#: In a host's place: one that has as many.
_ONE_HOST = "one-host"


class TopologyError(Exception):
    """A topology cannot be used, or has not what was asked for; the text says what to do."""


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host as the tower reaches it."""

    name: str
    #: words before a command that run it there: ssh kafka-1; none: this host
    run: tuple[str, ...] = ()
    #: the name that the host calls itself, to which capsules are bound; empty: its name here
    hostname: str = ""
    #: address under which its capsules can be reached
    address: str = "127.0.0.1"
    #: the key file of its capsules there; empty: the run's own, on this host
    key_file: str = ""

    @property
    def own_name(self) -> str:
        """The name that the host itself has."""
        return self.hostname or (self.name if self.run else socket.gethostname())


class Topology:
    """Services by name, with their hosts."""

    def __init__(
        self,
        services: Iterable[Service],
        hosts: Iterable[Host] = (),
        bootstrap_servers: str = "",
        metrics: str = "",
    ) -> None:
        self.services: dict[str, Service] = {}
        for service in services:
            if service.name in self.services:
                raise TopologyError(
                    f"there is more than one service {service.name!r}. What to do: name or discover it once."
                )
            self.services[service.name] = service
        self.hosts = {host.name: host for host in hosts}
        #: the Kafka of it all, for clients
        self.bootstrap_servers = bootstrap_servers
        #: address of a Prometheus server that has the metrics; empty: the services themselves are asked
        self.metrics = metrics
        for service in self.services.values():
            for need in service.depends_on:
                if not self._named(need):
                    raise TopologyError(
                        f"{service.name} depends on {need!r}, which is neither a service nor a role. "
                        f"What to do: name one of {', '.join(sorted({*self.services, *self.roles}))}."
                    )

    def with_services(self, services: Iterable[Service]) -> Topology:
        """The same with other services."""
        return Topology(services, self.hosts.values(), self.bootstrap_servers, self.metrics)

    @property
    def roles(self) -> list[str]:
        """The roles that there are, in the order of their services."""
        return list(dict.fromkeys(service.role for service in self.services.values()))

    def of_role(self, role: str) -> list[Service]:
        """The services of a role."""
        return [service for service in self.services.values() if service.role == role]

    def host(self, service: Service) -> Host:
        """The host of a service."""
        return self.hosts.get(service.host) or Host(name=service.host or socket.gethostname())

    def dependents(self, name: str, levels: int | None = None) -> dict[str, int]:
        """The services that depend on one (or on a role), each with its level: 1 directly, 2 by one between."""
        if not self._named(name):
            raise TopologyError(f"there is no service or role {name!r}: {', '.join(self.services)}.")
        levels_by_name: dict[str, int] = {}
        last = {service.name for service in self._named(name)}
        begun = set(last)
        level = 0
        while last and (levels is None or level < levels):
            level += 1
            last = {
                service.name
                for service in self.services.values()
                if service.name not in begun and any(each.name in last for each in self._needs(service))
            }
            begun |= last
            levels_by_name |= dict.fromkeys(sorted(last), level)
        return levels_by_name

    def choose(self, selector: str, chance: random.Random) -> list[Service]:
        """Targets by role, share, host: `engine` (one), `engine:2`, `engine:1/3`, `broker:all`, `engine:all@app-1`.

        A name instead of a role is that service. A share is rounded up, and is at least one: of those of the host where
        one is named; with `@one-host` of all, and they are all on one host, whichever.
        """
        if selector in self.services:
            return [self.services[selector]]
        match = _SELECTOR.fullmatch(selector)
        services = self.of_role(match["role"]) if match else []
        if match is None or not services:
            raise TopologyError(
                f"no service is meant by {selector!r}. What to do: give a name, or a role with an amount "
                "(engine, engine:2, engine:1/3, engine:all), on a host if it must (engine:all@app-1, "
                f"engine:1/3@one-host); roles here: {', '.join(self.roles)}."
            )
        if match["host"] not in (None, _ONE_HOST):
            services = self._on_host(services, match["host"], selector)
        count = self._amount(match["amount"], len(services))
        if match["host"] == _ONE_HOST:
            hosts = sorted({service.host for service in services})
            chance.shuffle(hosts)
            fitting = [each for each in hosts if sum(service.host == each for service in services) >= count]
            if not fitting:
                raise TopologyError(f"{selector}: no host has {count} services of the role {match['role']}.")
            services = [service for service in services if service.host == fitting[0]]
        return sorted(chance.sample(services, min(count, len(services))), key=lambda service: service.name)

    def table(self) -> Iterator[Sequence[str]]:
        """Rows: name, role, host, version, metrics, depends on."""
        yield ("service", "role", "host", "version", "metrics", "depends on")
        for each in self.services.values():
            needs = ", ".join(each.depends_on) or "-"
            yield (each.name, each.role, each.host or "-", each.version or "-", each.metrics_url or "-", needs)

    def graph(self) -> Iterator[str]:
        """Lines of a tree: below each service those that depend on it."""
        roots = [service for service in self.services.values() if not service.depends_on]
        for root in roots:
            yield root.name
            yield from self._branches(root, "", {root.name})

    def _branches(self, service: Service, indent: str, path: set[str]) -> Iterator[str]:
        branches = [
            each
            for each in self.services.values()
            if each.name not in path and any(need.name == service.name for need in self._needs(each))
        ]
        for number, branch in enumerate(branches):
            is_last = number == len(branches) - 1
            yield f"{indent}{'└─ ' if is_last else '├─ '}{branch.name}"
            yield from self._branches(branch, indent + ("   " if is_last else "│  "), {*path, branch.name})

    def _on_host(self, services: list[Service], name: str, selector: str) -> list[Service]:
        chosen = [service for service in services if self.host(service).name == name]
        if not chosen:
            hosts = ", ".join(sorted({self.host(service).name for service in services}))
            raise TopologyError(f"{selector}: none of them is on a host {name!r}. What to do: name one of {hosts}.")
        return chosen

    def _named(self, name: str) -> list[Service]:
        return [self.services[name]] if name in self.services else self.of_role(name)

    def _needs(self, service: Service) -> list[Service]:
        return [need for name in service.depends_on for need in self._named(name)]

    @staticmethod
    def _amount(text: str | None, count: int) -> int:
        if text is None:
            return 1
        if text == "all":
            return count
        if "/" in text:
            return max(1, min(count, math.ceil(Fraction(text) * count)))
        return int(text)
