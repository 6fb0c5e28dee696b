"""`backbeat user`: the client applications in the registry."""

import json
from typing import Any

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option
from backbeat.compose.cli.user.change import change, remove, repair, rotate_token
from backbeat.compose.cli.user.client import (
    client_argument,
    client_partitions_option,
    client_row,
    connections_option,
    delivery_option,
    endpoint_options,
    find_client,
    json_option,
    print_client,
)
from backbeat.compose.cli.user.import_file import from_environment, import_


@click.group()
def user() -> None:
    """Add, list, show, change or remove client applications; repair their registry."""


user.add_command(change)
user.add_command(rotate_token)
user.add_command(remove)
user.add_command(repair)
user.add_command(import_)
user.add_command(from_environment)


@user.command(
    epilog="""\b
Examples:
  backbeat user add billing
  backbeat user add shop --activity-endpoint http://shop/activity --notification-endpoint http://shop/notification
"""
)
@click.argument("name")
@bootstrap_option
@click.option("--id", "client_id", type=click.UUID, help="Its id.  [default: a random one]")
@endpoint_options()
@delivery_option("webhook where it has endpoints")
@connections_option("close")
@client_partitions_option(8)
@json_option
def add(
    name: str,
    bootstrap_servers: str,
    client_id: object,
    *,
    delivery: str | None,
    connections: str | None,
    partitions: int,
    as_json: bool,
    **endpoints: Any,
) -> None:
    """Add a client application and its topics; prints its id and, once and never again, its token."""
    import uuid

    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.kafka.clients import RegisteredClient, hash_token, make_token
    from backbeat.streams.kafka.registration import put_clients

    token = make_token()
    way = delivery or ("webhook" if any(endpoints.values()) else "topic")
    client = RegisteredClient(
        id=str(client_id or uuid.uuid4()),
        name=name,
        **{name: url or None for name, url in endpoints.items()},
        token_hash=hash_token(token),
        delivery="webhook" if way == "webhook" else "topic",
        connections="pooled" if connections == "pooled" else "close",
    )
    with ClientRegistry(bootstrap_servers) as registry:
        if registry.by_name(name) is not None:
            raise SetupError(f"there is a client {name!r} already. To see it: backbeat user show {name}")
        put_clients(registry, [client], partitions=partitions)
    print_client(client, token, as_json=as_json)


@user.command("list", epilog="Example: backbeat user list")
@bootstrap_option
@json_option
def list_(bootstrap_servers: str, *, as_json: bool) -> None:
    """List the client applications: id, way of delivery, name."""
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    with ClientRegistry(bootstrap_servers) as registry:
        clients = registry.all()
    if as_json:
        click.echo(json.dumps([client_row(client) for client in clients]))
        return
    for client in clients:
        click.echo(f"{client.id}  {client.delivery:<7}  {client.name}")


@user.command(epilog="Example: backbeat user show default")
@client_argument
@bootstrap_option
@json_option
def show(client: str, bootstrap_servers: str, *, as_json: bool) -> None:
    """Show what is known of one client application, as JSON."""
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    with ClientRegistry(bootstrap_servers) as registry:
        registered = find_client(registry, client)
    click.echo(json.dumps(client_row(registered), indent=None if as_json else 2))
