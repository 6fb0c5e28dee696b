"""`backbeat user import` and `from-environment`: client applications that bring their ids and tokens along."""

import json
import uuid
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from backbeat.client.words import hint
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option
from backbeat.compose.cli.user.client import client_partitions_option, json_option, tell

if TYPE_CHECKING:
    from backbeat.schemas.kafka.client_registry import RegisteredClient


#: Brokers take their time to make hundreds of partitions; as many gateways can share one client's webhooks.
_PARTITIONS_OF_MANY = 2


class Given(msgspec.Struct, kw_only=True):
    """One element of the list; null is as absent."""

    name: str
    #: What the answer calls it; absent: its name.
    key: str | None = None
    id: str | None = None
    auth_token: str | None = None
    decision_endpoint: str | None = None
    activity_endpoint: str | None = None
    notification_endpoint: str | None = None
    delivery: str | None = None
    connections: str | None = None


@click.command(
    "import",
    epilog="""\b
Example: backbeat user import - <<'END'
  [{"name": "shop", "id": "5fd1e0cf-2f13-4be2-9d57-3f6a8a6ee3f1", "auth_token": "…",
    "activity_endpoint": "http://shop/activity", "notification_endpoint": "http://shop/notification"}]
  END
""",
)
@click.argument("file", type=click.File("rb"))
@bootstrap_option
@client_partitions_option(_PARTITIONS_OF_MANY)
def import_(file: IO[bytes], bootstrap_servers: str, *, partitions: int) -> None:
    """Add or change many client applications: those of a JSON list in FILE, or on standard input (-).

    Of each: name, and where given key, id, auth_token, decision_endpoint, activity_endpoint, notification_endpoint,
    delivery, connections. All are taken or, when one cannot be, none. Prints {"<key>": {"id": …, "auth_token": …},
    …}; a token that was not given is a new one.
    """
    from backbeat.schemas.kafka.client_registry import Registry
    from backbeat.schemas.kafka.clients import hash_token, make_token
    from backbeat.streams.kafka.registration import put_clients

    try:
        rows = msgspec.json.decode(file.read(), type=list[dict[str, Any]])
        for place, row in enumerate(rows):
            _check_words(place, row)
        several = msgspec.convert(rows, list[Given])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SetupError(f"this is no list of users: {error}.") from error
    answer, clients = {}, []
    with Registry(bootstrap_servers) as registry:
        for given in several:
            same_name = registry.by_name(given.name)
            token = given.auth_token or make_token()
            client = _client(given, hash_token(token), same_name.id if same_name is not None else None)
            clients.append(client)
            answer[given.key or given.name] = {"id": client.id, "auth_token": token}
        put_clients(registry, clients, partitions=partitions)
    click.echo(json.dumps(answer))


def _check_words(place: int, row: dict[str, Any]) -> None:
    known = Given.__struct_fields__
    for word in row:
        if word not in known:
            raise SetupError(f"user {row.get('name', place)!r}: there is no {word!r}: {hint(word, known)}.")


def _client(given: Given, token_hash: str, known_id: str | None) -> "RegisteredClient":
    from backbeat.schemas.kafka.clients import RegisteredClient, usual_delivery

    if given.delivery not in {None, "topic", "webhook"}:
        raise SetupError(f"user {given.name!r}: delivery is {given.delivery!r}, it must be topic or webhook.")
    if given.connections not in {None, "close", "pooled"}:
        raise SetupError(f"user {given.name!r}: connections is {given.connections!r}, it must be close or pooled.")
    try:
        client_id = str(uuid.UUID(given.id)) if given.id else known_id or str(uuid.uuid4())
    except ValueError as error:
        raise SetupError(f"user {given.name!r}: the id {given.id!r} is no UUID.") from error
    activity_endpoint = given.activity_endpoint or None
    delivery = usual_delivery(activity_endpoint)
    if given.delivery is not None:
        delivery = "webhook" if given.delivery == "webhook" else "topic"
    return RegisteredClient(
        id=client_id,
        name=given.name,
        decision_endpoint=given.decision_endpoint or None,
        activity_endpoint=activity_endpoint,
        notification_endpoint=given.notification_endpoint or None,
        token_hash=token_hash,
        delivery=delivery,
        connections="pooled" if given.connections == "pooled" else "close",
    )


@click.command(
    "from-environment",
    epilog="""\b
Example:
  BACKBEAT_USER_ID=5fd1e0cf-2f13-4be2-9d57-3f6a8a6ee3f1 BACKBEAT_USER_NAME=shop BACKBEAT_CLIENT_URL=http://shop \\
    backbeat user from-environment
""",
)
@bootstrap_option
@client_partitions_option(8)
@json_option
def from_environment(bootstrap_servers: str, *, partitions: int, as_json: bool) -> None:
    """Add the client application that the environment describes, if it is not there: for containers that start.

    BACKBEAT_USER_ID is its id, BACKBEAT_USER_NAME its name, BACKBEAT_CLIENT_URL where it listens: decisions and
    activities are posted to /activity there, notifications to /notification. Without BACKBEAT_USER_ID nothing is
    done; a client that has the id already stays as it is.
    """
    import os

    from backbeat.schemas.kafka.client_registry import Registry
    from backbeat.schemas.kafka.clients import RegisteredClient, hash_token, make_token
    from backbeat.streams.kafka.registration import put_clients

    given_id = os.environ.get("BACKBEAT_USER_ID", "").strip()
    if not given_id:
        click.echo("BACKBEAT_USER_ID is not set: no user is added.", err=True)
        return
    try:
        client_id = uuid.UUID(given_id)
    except ValueError as error:
        raise SetupError(f"BACKBEAT_USER_ID is {given_id!r}, which is no UUID.") from error
    with Registry(bootstrap_servers) as registry:
        found = registry.by_id(client_id.bytes)
        if found is not None:
            tell(found, None, as_json=as_json)
            return
        name, url = (_needed(variable) for variable in ("BACKBEAT_USER_NAME", "BACKBEAT_CLIENT_URL"))
        token = make_token()
        client = RegisteredClient(
            id=str(client_id),
            name=name,
            decision_endpoint=f"{url.rstrip('/')}/activity",
            activity_endpoint=f"{url.rstrip('/')}/activity",
            notification_endpoint=f"{url.rstrip('/')}/notification",
            token_hash=hash_token(token),
            delivery="webhook",
        )
        put_clients(registry, [client], partitions=partitions)
    tell(client, token, as_json=as_json)


def _needed(variable: str) -> str:
    import os

    value = os.environ.get(variable, "").strip()
    if not value:
        raise SetupError(f"{variable} is not set. What to do: set it beside BACKBEAT_USER_ID.")
    return value
