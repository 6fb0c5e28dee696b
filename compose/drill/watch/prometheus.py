"""Metrics as a Prometheus server has them: for installations whose services the tower does not reach.

They are as old as the server's last scrape: an anomaly is seen that much later.
"""

from __future__ import annotations

import urllib.parse
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from backbeat.compose.drill.topology.direct import open_directly
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.watch.direct import DirectSource
from backbeat.compose.drill.watch.reading import NAMES, Reading, Values
from backbeat.schemas.requests.decoding import from_json

_READ_SECONDS_MAX = 5.0
#: Longer than an interval of scrapes: within it lies the newest value of whatever is scraped.
_WINDOW = "2m"
_UP = "up"
#: Labels that name a target: a service of that name, or whose metrics have that address.
_PLACES = ("pod", "instance")
#: Labels that the server has added to those of the service.
_ADDED = {"__name__", "job", "instance", "pod", "namespace", "container", "endpoint", "service", "node"}


class PrometheusError(Exception):
    """Error of a server that does not answer queries; the text says what to do."""


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    #: seconds since the epoch, and the value as text; the newest last
    values: list[tuple[float, str]]


class _Data(msgspec.Struct, frozen=True):
    result: list[_Series]


class _Answer(msgspec.Struct, frozen=True):
    data: _Data


class PrometheusSource:
    """Source that asks a Prometheus server by its HTTP API.

    Services of which the server has nothing, as those of the load, are asked themselves.
    """

    def __init__(self, url: str) -> None:
        """`url`: of the server."""
        self._url = url
        self._direct = DirectSource()
        #: names of services that the server knows
        self._known: set[str] = set()

    def close(self) -> None:
        """Read no more."""
        self._direct.close()

    def read(self, services: Sequence[Service]) -> dict[str, Reading]:
        """The server's newest values of each service that is up; nothing of those while it does not answer."""
        try:
            series = _query(self._url)
        except (OSError, msgspec.DecodeError):
            series = []
        known = _by_place(services)
        values: dict[str, Values] = defaultdict(dict)
        times: dict[str, float] = defaultdict(float)
        down = set()
        for each in series:
            name = _name_of(each.metric, known)
            if name is None:
                continue
            at, value = each.values[-1]
            if each.metric["__name__"] == _UP:
                down |= {name} if float(value) == 0 else set()
                continue
            labels = {label: text for label, text in each.metric.items() if label not in _ADDED}
            values[name][each.metric["__name__"], tuple(sorted(labels.items()))] = float(value)
            times[name] = max(times[name], at)
        self._known |= {*values, *down}
        readings = self._direct.read([service for service in services if service.name not in self._known])
        return readings | {name: Reading(values[name], times[name]) for name in values if name not in down}


def check_server(url: str) -> None:
    """PrometheusError: no query is answered there."""
    try:
        _query(url)
    except (OSError, ValueError) as error:
        raise PrometheusError(
            f"{url} answers no query: {error}. What to do: name a Prometheus server, such as http://prometheus:9090"
        ) from error


def _query(url: str) -> list[_Series]:
    # A range, not an instant: it has the times of the values, which rates are made of.
    query = f'{{__name__=~"{"|".join((*NAMES, _UP))}"}}[{_WINDOW}]'
    address = f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with open_directly(address, timeout=_READ_SECONDS_MAX) as response:
        return from_json(response.read(), _Answer).data.result


def _by_place(services: Sequence[Service]) -> dict[str, Service]:
    """Services by their names, and by the addresses of their metrics."""
    return {service.name: service for service in services} | {
        urllib.parse.urlsplit(service.metrics_url).netloc: service for service in services if service.metrics_url
    }


def _name_of(metric: dict[str, str], known: dict[str, Service]) -> str | None:
    """Name of the service of a series; None: nobody's, such as that of a pod of this name in another namespace."""
    for label in _PLACES:
        service = known.get(metric.get(label, ""))
        if service is not None and service.namespace in ("", metric.get("namespace", service.namespace)):
            return service.name
    return None
