"""Transport of a client, by its address: Kafka's bootstrap servers or a gateway's URL."""

from __future__ import annotations

from typing import NamedTuple

from backbeat.delivery.kafka import servers_of
from backbeat.transport.base import Transport
from backbeat.transport.kafka import KafkaTransport


class Caller(NamedTuple):
    """Caller as a gateway knows it."""

    #: Name of the client application, or its id.
    client: str
    token: str | None = None
    #: Name of a person, whose token it is; None: the client application calls.
    person: str | None = None
    #: Reason of a person's changes, for the audit.
    reason: str = ""


def open_transport(address: str | None, caller: Caller, timeout: float, gateway: str | None) -> Transport:
    """The transport to this address; `gateway` is the URL that searches of a client of Kafka are asked of."""
    address = servers_of(address)
    if address.startswith(("http://", "https://")):
        return _over_http(address, caller)
    return KafkaTransport(address, timeout, None if gateway is None else _over_http(gateway, caller))


def _over_http(url: str, caller: Caller) -> Transport:
    from backbeat.transport.http import HttpTransport  # noqa: PLC0415 - nobody else needs HTTP

    return HttpTransport(url, *caller)
