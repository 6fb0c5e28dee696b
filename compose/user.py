"""`backbeat user`: the client applications in the registry."""

import hashlib
import json
import secrets

import click
import msgspec

from backbeat.compose.errors import SetupError
from backbeat.compose.options import bootstrap_option, development_option, replication_option


@click.group()
def user() -> None:
    """Add, list or show client applications."""


@user.command(
    epilog="""\b
Examples:
  backbeat user add billing
  backbeat user add shop --activity-endpoint http://shop/activities --notification-endpoint http://shop/notices
"""
)
@click.argument("name")
@bootstrap_option
@click.option("--id", "client_id", type=click.UUID, help="Its id.  [default: a random one]")
@click.option("--decision-endpoint", metavar="URL", help="Where decisions are posted to.")
@click.option("--activity-endpoint", metavar="URL", help="Where activities are posted to.")
@click.option("--notification-endpoint", metavar="URL", help="Where notifications are posted to.")
@click.option(
    "--delivery",
    type=click.Choice(["topic", "webhook"]),
    help="To workers on its topic, or to its endpoints.  [default: webhook where it has an activity endpoint]",
)
@click.option("--partitions", type=click.IntRange(min=1), default=8, show_default=True, help="Of each of its topics.")
@replication_option
@development_option
def add(
    name: str,
    bootstrap_servers: str,
    client_id: object,
    *,
    decision_endpoint: str | None,
    activity_endpoint: str | None,
    notification_endpoint: str | None,
    delivery: str | None,
    partitions: int,
    replication: int,
    development: bool,
) -> None:
    """Add a client application and its topics; prints its id and, once and never again, its token."""
    from backbeat.streams.registry import Registry, add_client

    with Registry(bootstrap_servers) as registry:
        if registry.by_name(name) is not None:
            raise SetupError(f"there is a client {name!r} already. To see it: backbeat user show {name}")
    token = secrets.token_urlsafe(32)
    client = add_client(
        bootstrap_servers,
        name,
        client_id=str(client_id) if client_id else None,
        decision_endpoint=decision_endpoint,
        activity_endpoint=activity_endpoint,
        notification_endpoint=notification_endpoint,
        # Only the hash is kept: who reads the registry learns no token.
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        delivery="webhook" if delivery == "webhook" else ("topic" if delivery == "topic" else None),
        partitions=partitions,
        replication=replication,
        development=development,
    )
    click.echo(f"id     {client.id}\nname   {client.name}\ntoken  {token}")


@user.command("list", epilog="Example: backbeat user list")
@bootstrap_option
def list_(bootstrap_servers: str) -> None:
    """List the client applications: id, way of delivery, name."""
    from backbeat.streams.registry import Registry

    with Registry(bootstrap_servers) as registry:
        for client in registry.all():
            click.echo(f"{client.id}  {client.delivery:<7}  {client.name}")


@user.command(epilog="Example: backbeat user show default")
@click.argument("name")
@bootstrap_option
def show(name: str, bootstrap_servers: str) -> None:
    """Show what is known of one client application, as JSON."""
    from backbeat.streams.registry import Registry

    with Registry(bootstrap_servers) as registry:
        client = registry.by_name(name)
    if client is None:
        raise SetupError(f"there is no client {name!r}. To see all: backbeat user list")
    click.echo(json.dumps(msgspec.to_builtins(client), indent=2))
