"""Writes to the client registry: clients added, changed and removed, invalid records deleted."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from backbeat.schemas.kafka.client_registry import READ_SECONDS_MAX, BadRecord, ClientRegistry, ClientRegistryError
from backbeat.schemas.kafka.clients import ClientError, Delivery, RegisteredClient, check_client, usual_delivery
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import (
    CLIENTS,
    PARTITIONS_DEFAULT,
    TopicSpec,
    client_topics,
    ensure_client_topics,
    has_topics,
)


def add_client(
    bootstrap_servers: str,
    name: str,
    *,
    client_id: str | None = None,
    decision_endpoint: str | None = None,
    activity_endpoint: str | None = None,
    notification_endpoint: str | None = None,
    token_hash: str = "",
    delivery: Delivery | None = None,
    partitions: int = PARTITIONS_DEFAULT,
) -> RegisteredClient:
    """Add a client and create its topics; the same call again returns the same client.

    Without `delivery`, a client with an activity endpoint gets webhooks, any other its topic.
    """
    with ClientRegistry(bootstrap_servers) as registry:
        same_name = registry.by_name(name)
        client = RegisteredClient(
            id=str(uuid.UUID(client_id)) if client_id else (same_name.id if same_name else str(uuid.uuid4())),
            name=name,
            decision_endpoint=decision_endpoint,
            activity_endpoint=activity_endpoint,
            notification_endpoint=notification_endpoint,
            token_hash=token_hash or (same_name.token_hash if same_name else ""),
            delivery=delivery or usual_delivery(activity_endpoint),
        )
        put_clients(registry, [client], partitions=partitions)
    return client


def put_clients(
    registry: ClientRegistry,
    clients: Sequence[RegisteredClient],
    *,
    partitions: int = PARTITIONS_DEFAULT,
) -> None:
    """Add or change clients and create the topics that they lack; if one of them is refused, none is written.

    Returns once the registry has read them. ClientRegistryError: a name or an id is another client's.
    """
    _check_all(registry, clients)
    specs = [spec for client in clients for spec in _topics_of(client, partitions)]
    # Before the clients: consumers of the registry rely on a client's topics.
    ensure_client_topics(registry.bootstrap_servers, specs)
    new = {client.id_bytes: client for client in clients if client != registry.by_id(client.id_bytes)}
    _write(registry, new)
    # Two that add the same name at once both find it free. All agree on its owner; the other gives in.
    losers = [client for client in new.values() if registry.by_name(client.name) != client]
    if losers:
        _write(registry, dict.fromkeys(client.id_bytes for client in losers))
        raise ClientRegistryError(f"somebody else has just added a client {losers[0].name!r}: it is theirs.")


def change_client(registry: ClientRegistry, client: RegisteredClient) -> None:
    """Change a client that has its topics already."""
    _check_all(registry, [client])
    _write(registry, {client.id_bytes: client})


def remove_client(registry: ClientRegistry, client: RegisteredClient) -> None:
    """Remove a client. Its topics stay: their records may be wanted."""
    _write(registry, {client.id_bytes: None})


def _check_all(registry: ClientRegistry, clients: Iterable[RegisteredClient]) -> None:
    names: dict[str, str] = {}
    ids: dict[bytes, str] = {}
    for client in clients:
        try:
            check_client(client)
        except ClientError as error:
            raise ClientRegistryError(str(error)) from error
        same_name = registry.by_name(client.name)
        owner = names.setdefault(client.name, same_name.id if same_name else client.id)
        if owner != client.id:
            raise ClientRegistryError(
                f"there is a client {client.name!r} already: it has the id {owner}, not {client.id}."
            )
        same_id = registry.by_id(client.id_bytes)
        name = ids.setdefault(client.id_bytes, same_id.name if same_id else client.name)
        if name != client.name:
            raise ClientRegistryError(
                f"the id {client.id} is client {name!r}'s already, it cannot be {client.name!r}'s."
            )


def _topics_of(client: RegisteredClient, partitions: int) -> list[TopicSpec]:
    if has_topics(client.name):
        return client_topics(client.name, partitions)
    # Its services cannot name a signals topic; its activities go to a topic of its id.
    return [spec for spec in client_topics(client.id, partitions) if spec.name == client.topic]


def repair(registry: ClientRegistry, bad_records: Sequence[BadRecord]) -> None:
    """Delete invalid records by their keys; wait until the registry has read that."""
    _produce(registry, {record.key: None for record in bad_records})
    if not registry.wait_until_gone(bad_records):
        raise ClientRegistryError(f"{CLIENTS} was written, but not read again within {READ_SECONDS_MAX:.0f} s.")


def _write(registry: ClientRegistry, clients: Mapping[bytes, RegisteredClient | None]) -> None:
    """Write clients, or None for a removed one, by their ids; wait until the registry has read them."""
    _produce(
        registry,
        {
            str(uuid.UUID(bytes=client_id)).encode(): None if client is None else msgspec.json.encode(client)
            for client_id, client in clients.items()
        },
    )
    if not registry.wait_for(clients):
        raise ClientRegistryError(f"{CLIENTS} was written, but not read again within {READ_SECONDS_MAX:.0f} s.")


def _produce(registry: ClientRegistry, records: Mapping[bytes, bytes | None]) -> None:
    errors: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            errors.append(error)

    producer = Producer({**connection(registry.bootstrap_servers), "acks": "all"})
    for key, value in records.items():
        producer.produce(CLIENTS, key=key, value=value, partition=0, on_delivery=delivered)
    unacknowledged = producer.flush(READ_SECONDS_MAX)
    if errors or unacknowledged:
        reason = errors[0].str() if errors else f"not acknowledged within {READ_SECONDS_MAX:.0f} s"
        raise ClientRegistryError(f"{CLIENTS} could not be written: {reason}.")
