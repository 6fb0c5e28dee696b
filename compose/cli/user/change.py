"""`backbeat user set`, `rotate-token`, `remove` and `repair`: changes of a client application."""

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option, yes_option
from backbeat.compose.cli.user.client import (
    client_argument,
    connections_option,
    delivery_option,
    endpoint_options,
    find_client,
    json_option,
    print_client,
)


@click.command(
    "set",
    epilog="""\b
Examples:
  backbeat user set shop --activity-endpoint https://shop.example/activity
  backbeat user set shop --decision-endpoint ''        decisions go to the activity endpoint from now on
  backbeat user set shop --delivery topic              to workers on its topic; the endpoints are kept
  backbeat user set shop --connections pooled          connections to its endpoints are kept open
""",
)
@client_argument
@bootstrap_option
@endpoint_options("  An empty value removes it.")
@delivery_option("as it is; webhook with a new activity endpoint, topic without one")
@connections_option("as it is")
@json_option
def change(
    client: str,
    bootstrap_servers: str,
    *,
    delivery: str | None,
    connections: str | None,
    as_json: bool,
    **endpoints: str | None,
) -> None:
    """Change a client application's endpoints, or how it is served.

    Running gateways know within a second; what is under way goes to the new endpoint when it is tried again.
    """
    import msgspec

    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.kafka.clients import usual_delivery
    from backbeat.streams.kafka.registration import put_clients

    changes = {name: url or None for name, url in endpoints.items() if url is not None}
    if delivery is not None:
        changes["delivery"] = delivery
    elif "activity_endpoint" in changes:
        changes["delivery"] = usual_delivery(changes["activity_endpoint"])
    if connections is not None:
        changes["connections"] = connections
    if not changes:
        raise click.UsageError("Nothing to change: name an endpoint, --delivery or --connections.")
    with ClientRegistry(bootstrap_servers) as registry:
        client_before = find_client(registry, client)
        changed = msgspec.structs.replace(client_before, **changes)
        put_clients(registry, [changed])
    if changed.delivery != client_before.delivery:
        click.echo(
            f"From now on by {changed.delivery}: that begins with what {changed.topic} still holds "
            "(docs/reference/webhooks.md).",
            err=True,
        )
    print_client(changed, None, as_json=as_json)


@click.command("rotate-token", epilog="Example: backbeat user rotate-token shop")
@client_argument
@bootstrap_option
@json_option
def rotate_token(client: str, bootstrap_servers: str, *, as_json: bool) -> None:
    """Give a client application a new token, shown once; the old one is refused from now on."""
    import msgspec

    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.kafka.clients import hash_token, make_token
    from backbeat.streams.kafka.registration import change_client

    token = make_token()
    with ClientRegistry(bootstrap_servers) as registry:
        changed = msgspec.structs.replace(find_client(registry, client), token_hash=hash_token(token))
        change_client(registry, changed)
    print_client(changed, token, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  backbeat user remove shop
  backbeat user remove 5fd1e0cf-2f13-4be2-9d57-3f6a8a6ee3f1 --yes
"""
)
@client_argument
@bootstrap_option
@yes_option
def remove(client: str, bootstrap_servers: str, *, yes: bool) -> None:
    """Remove a client application from the registry.

    Its calls are refused from now on; its workflows and topics stay as they are. What is still to be sent to it
    becomes a client error.
    """
    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.streams.kafka.registration import remove_client

    with ClientRegistry(bootstrap_servers) as registry:
        registered = find_client(registry, client)
        if not yes and not click.confirm(f"Remove {registered.name} ({registered.id})? Its calls will be refused."):
            raise SetupError("nothing was removed.")
        remove_client(registry, registered)
    click.echo(f"Removed {registered.name} ({registered.id}).")


@click.command(
    epilog="""\b
Examples:
  backbeat user repair             shows what is wrong, and asks
  backbeat user repair --yes
"""
)
@bootstrap_option
@yes_option
def repair(bootstrap_servers: str, *, yes: bool) -> None:
    """Delete records of the registry that are no clients.

    Somebody else has written them; every part passes them over, and `backbeat topics check` names them. A client that
    such a record has taken the place of is added again with `backbeat user add NAME --id ID`.
    """
    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.streams.kafka.registration import repair as delete

    with ClientRegistry(bootstrap_servers) as registry:
        bad_records = registry.bad_records()
        for record in bad_records:
            click.echo(f"at {record.offset}, key {record.key.decode(errors='backslashreplace')[:64]}: {record.reason}")
        if not bad_records:
            click.echo("Every record of the registry is a client.")
            return
        if not yes and not click.confirm(f"Delete {len(bad_records)} of them?"):
            raise SetupError("nothing was deleted.")
        delete(registry, bad_records)
    click.echo(f"Deleted: {len(bad_records)}.")
