"""Transport of a client, by its address: Kafka's bootstrap servers or a gateway's URL."""

from __future__ import annotations

from backbeat.delivery.kafka import servers_of
from backbeat.transport.base import Transport
from backbeat.transport.kafka import KafkaTransport


def open_transport(
    address: str | None, client: str, timeout: float, gateway: str | None, token: str | None
) -> Transport:
    """The transport to this address; `gateway` is the URL that searches of a client of Kafka are asked of."""
    address = servers_of(address)
    if address.startswith(("http://", "https://")):
        return _over_http(address, client, token)
    return KafkaTransport(address, timeout, None if gateway is None else _over_http(gateway, client, token))


def _over_http(url: str, client: str, token: str | None) -> Transport:
    from backbeat.transport.http import HttpTransport  # noqa: PLC0415 - nobody else needs HTTP

    return HttpTransport(url, client, token)
