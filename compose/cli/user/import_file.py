"""`backbeat user import` and `from-environment`: client applications that bring their ids and tokens along."""

import json
import uuid
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from backbeat.client.words import hint
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option
from backbeat.compose.cli.user.client import client_partitions_option, json_option, print_client
from backbeat.schemas.requests.decoding import from_json

if TYPE_CHECKING:
    from backbeat.schemas.kafka.client_registry import RegisteredClient


#: Partitions of each of many clients: brokers take their time to make hundreds; gateways can share a client's webhooks.
_PARTITIONS_DEFAULT = 2


class ClientRow(msgspec.Struct, kw_only=True):
    """An element of the list; null is as absent."""

    name: str
    #: Key in the answer; absent: its name.
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
@client_partitions_option(_PARTITIONS_DEFAULT)
def import_(file: IO[bytes], bootstrap_servers: str, *, partitions: int) -> None:
    """Add or change many client applications: those of a JSON list in FILE, or on standard input (-).

    Of each: name, and where given key, id, auth_token, decision_endpoint, activity_endpoint, notification_endpoint,
    delivery, connections. All are taken or, when one cannot be, none. Prints {"<key>": {"id": …, "auth_token": …},
    …}; a token that was not given is a new one.
    """
    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.kafka.clients import hash_token, make_token
    from backbeat.streams.kafka.registration import put_clients

    try:
        objects = from_json(file.read(), list[dict[str, Any]])
        for place, object_ in enumerate(objects):
            _check_words(place, object_)
        client_rows = msgspec.convert(objects, list[ClientRow])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SetupError(f"this is no list of clients: {error}.") from error
    result, clients = {}, []
    with ClientRegistry(bootstrap_servers) as registry:
        for row in client_rows:
            same_name = registry.by_name(row.name)
            token = row.auth_token or make_token()
            client = _client(row, hash_token(token), same_name.id if same_name is not None else None)
            clients.append(client)
            result[row.key or row.name] = {"id": client.id, "auth_token": token}
        put_clients(registry, clients, partitions=partitions)
    click.echo(json.dumps(result))


def _check_words(place: int, fields: dict[str, Any]) -> None:
    field_names = ClientRow.__struct_fields__
    for word in fields:
        if word not in field_names:
            raise SetupError(f"client {fields.get('name', place)!r}: there is no {word!r}: {hint(word, field_names)}.")


def _client(row: ClientRow, token_hash: str, known_id: str | None) -> "RegisteredClient":
    from backbeat.schemas.kafka.clients import RegisteredClient, usual_delivery

    if row.delivery not in {None, "topic", "webhook"}:
        raise SetupError(f"client {row.name!r}: delivery is {row.delivery!r}, it must be topic or webhook.")
    if row.connections not in {None, "close", "pooled"}:
        raise SetupError(f"client {row.name!r}: connections is {row.connections!r}, it must be close or pooled.")
    try:
        client_id = str(uuid.UUID(row.id)) if row.id else known_id or str(uuid.uuid4())
    except ValueError as error:
        raise SetupError(f"client {row.name!r}: the id {row.id!r} is no UUID.") from error
    activity_endpoint = row.activity_endpoint or None
    delivery = usual_delivery(activity_endpoint)
    if row.delivery is not None:
        delivery = "webhook" if row.delivery == "webhook" else "topic"
    return RegisteredClient(
        id=client_id,
        name=row.name,
        decision_endpoint=row.decision_endpoint or None,
        activity_endpoint=activity_endpoint,
        notification_endpoint=row.notification_endpoint or None,
        token_hash=token_hash,
        delivery=delivery,
        connections="pooled" if row.connections == "pooled" else "close",
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

    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.kafka.clients import RegisteredClient, hash_token, make_token
    from backbeat.streams.kafka.registration import put_clients

    id_text = os.environ.get("BACKBEAT_USER_ID", "").strip()
    if not id_text:
        click.echo("BACKBEAT_USER_ID is not set: no client is added.", err=True)
        return
    try:
        client_id = uuid.UUID(id_text)
    except ValueError as error:
        raise SetupError(f"BACKBEAT_USER_ID is {id_text!r}, which is no UUID.") from error
    with ClientRegistry(bootstrap_servers) as registry:
        existing = registry.by_id(client_id.bytes)
        if existing is not None:
            print_client(existing, None, as_json=as_json)
            return
        name, url = (_required(variable) for variable in ("BACKBEAT_USER_NAME", "BACKBEAT_CLIENT_URL"))
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
    print_client(client, token, as_json=as_json)


def _required(variable: str) -> str:
    import os

    value = os.environ.get(variable, "").strip()
    if not value:
        raise SetupError(f"{variable} is not set. What to do: set it beside BACKBEAT_USER_ID.")
    return value
