"""`backbeat person`: who may log in to the console."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import bootstrap_option, json_option, yes_option
from backbeat.compose.cli.show.printing import emit, print_table, when

if TYPE_CHECKING:
    from backbeat.gateway.people.person import People, Person

F = TypeVar("F", bound=Callable[..., Any])

_name_argument = click.argument("name")
_role_option = click.option(
    "--role", type=click.Choice(["reader", "operator"]), help="A reader sees, an operator also changes."
)
_clients_option = click.option(
    "--client", "clients", multiple=True, metavar="NAME", help="Only what is this client's; may be given several times."
)
_payloads_option = click.option(
    "--payloads/--no-payloads", default=None, help="Whether arguments, results and metadata are shown."
)
_expires_option = click.option(
    "--expires", type=Length(), metavar="LENGTH", help="The token is taken for so long: 90d.  [default: for ever]"
)


@click.group()
def person() -> None:
    """Add, list, change or remove people who may log in to the console."""


@person.command(
    epilog="""\b
Examples:
  backbeat person add kim --role operator --payloads
  backbeat person add audit@shop.example --role reader --client shop --expires 90d
"""
)
@_name_argument
@bootstrap_option
@_role_option
@_clients_option
@_payloads_option
@_expires_option
@json_option
def add(
    name: str,
    bootstrap_servers: str,
    role: str | None,
    clients: tuple[str, ...],
    expires: timedelta | None,
    *,
    payloads: bool | None,
    as_json: bool,
) -> None:
    """Add a person; prints a token, once and never again, to log in with.

    Makes the topics backbeat.people and backbeat.audit where they are missing. Gateways know within a second.
    """
    from backbeat.gateway.people.person import Person, check_name
    from backbeat.gateway.people.visitor import Role
    from backbeat.schemas.kafka.clients import hash_token, make_token
    from backbeat.schemas.kafka.topics import console_topics, ensure_client_topics

    check_name(name)
    ensure_client_topics(bootstrap_servers, console_topics())
    token = make_token()
    with _reading(bootstrap_servers) as people:
        if people.by_name(name) is not None:
            raise SetupError(f"there is a person {name!r} already. To change it: backbeat person set {name}")
        added = Person(
            name=name,
            role=Role(role or Role.READER),
            token_hash=hash_token(token),
            payloads=bool(payloads),
            clients=_client_ids(bootstrap_servers, clients),
            expires_at=_until(expires),
        )
        people.put(added)
    _print_token(bootstrap_servers, added, token, as_json=as_json)


@person.command("list", epilog="Example: backbeat person list")
@bootstrap_option
@json_option
def list_(bootstrap_servers: str, *, as_json: bool) -> None:
    """List the people. With --json: a line for each."""
    with _reading(bootstrap_servers) as people:
        everybody = people.all()
    client_names = _client_names(bootstrap_servers, everybody)
    rows = [_row(person, client_names) for person in everybody]
    if as_json:
        for row in rows:
            emit(row)
        return
    print_table(
        ("NAME", "ROLE", "PAYLOADS", "CLIENTS", "EXPIRES"),
        (
            (
                row["name"],
                row["role"],
                "yes" if row["payloads"] else "no",
                "all" if row["clients"] is None else ", ".join(row["clients"]),
                row["expires_at"] or "never",
            )
            for row in rows
        ),
    )


@person.command(
    "set",
    epilog="""\b
Examples:
  backbeat person set kim --role reader
  backbeat person set kim --client shop --client bank     sees these two only
  backbeat person set kim --all-clients --expires 90d
""",
)
@_name_argument
@bootstrap_option
@_role_option
@_clients_option
@click.option("--all-clients", is_flag=True, help="What is any client's.")
@_payloads_option
@_expires_option
@json_option
def change(
    name: str,
    bootstrap_servers: str,
    role: str | None,
    clients: tuple[str, ...],
    expires: timedelta | None,
    *,
    all_clients: bool,
    payloads: bool | None,
    as_json: bool,
) -> None:
    """Change what a person may do; the token stays, and it counts from now on."""
    import msgspec

    from backbeat.gateway.people.visitor import Role

    if clients and all_clients:
        raise click.UsageError("--client names some, --all-clients takes all: give one of them.")
    changes: dict[str, Any] = {}
    if role is not None:
        changes["role"] = Role(role)
    if clients or all_clients:
        changes["clients"] = _client_ids(bootstrap_servers, clients)
    if payloads is not None:
        changes["payloads"] = payloads
    if expires is not None:
        changes["expires_at"] = _until(expires)
    if not changes:
        raise click.UsageError("Nothing to change: name --role, --client, --payloads or --expires.")
    with _reading(bootstrap_servers) as people:
        changed = msgspec.structs.replace(_find(people, name), **changes)
        people.put(changed)
    _print_token(bootstrap_servers, changed, None, as_json=as_json)


@person.command(epilog="Example: backbeat person rotate kim")
@_name_argument
@bootstrap_option
@json_option
def rotate(name: str, bootstrap_servers: str, *, as_json: bool) -> None:
    """Give a person a new token, shown once; the old one is refused from now on, and its sessions end."""
    import msgspec

    from backbeat.schemas.kafka.clients import hash_token, make_token

    token = make_token()
    with _reading(bootstrap_servers) as people:
        changed = msgspec.structs.replace(_find(people, name), token_hash=hash_token(token))
        people.put(changed)
    _print_token(bootstrap_servers, changed, token, as_json=as_json)


@person.command(epilog="Example: backbeat person remove kim --yes")
@_name_argument
@bootstrap_option
@yes_option
def remove(name: str, bootstrap_servers: str, *, yes: bool) -> None:
    """Remove a person; its sessions end. What it did stays in the audit."""
    with _reading(bootstrap_servers) as people:
        _find(people, name)
        if not yes and not click.confirm(f"Remove {name}?"):
            raise SetupError("nobody was removed.")
        people.remove(name)
    click.echo(f"Removed {name}.")


def _reading(bootstrap_servers: str) -> Any:
    """The people, read whole; a context manager."""
    import contextlib

    from backbeat.gateway.people.person import People

    @contextlib.contextmanager
    def read() -> Any:
        people = People(bootstrap_servers)
        with people.follower:
            people.read()
            yield people

    return read()


def _find(people: People, name: str) -> Person:
    person = people.by_name(name)
    if person is None:
        raise SetupError(f"there is no person {name!r}. To see all: backbeat person list")
    return person


def _client_ids(bootstrap_servers: str, names: tuple[str, ...]) -> tuple[str, ...] | None:
    from backbeat.compose.cli.user.client import find_client
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    if not names:
        return None
    with ClientRegistry(bootstrap_servers) as registry:
        return tuple(find_client(registry, name).id for name in names)


def _until(expires: timedelta | None) -> int | None:
    return None if expires is None else round((time.time() + expires.total_seconds()) * 1000)


def _client_names(bootstrap_servers: str, people: list[Person]) -> dict[str, str]:
    """Names of all clients by id; empty, and nothing is read, where these people see every client."""
    from backbeat.schemas.kafka.client_registry import ClientRegistry

    if all(person.clients is None for person in people):
        return {}
    with ClientRegistry(bootstrap_servers) as registry:
        return {client.id: client.name for client in registry.all()}


def _row(person: Person, client_names: dict[str, str]) -> dict[str, Any]:
    """JSON row of a person; never its token's hash."""
    from datetime import UTC, datetime

    names = None
    if person.clients is not None:
        names = [client_names.get(client_id, client_id) for client_id in person.clients]
    expires_at = None if person.expires_at is None else when(datetime.fromtimestamp(person.expires_at / 1000, UTC))
    return {
        "name": person.name,
        "role": str(person.role),
        "payloads": person.payloads,
        "clients": names,
        "expires_at": expires_at,
    }


def _print_token(bootstrap_servers: str, person: Person, token: str | None, *, as_json: bool) -> None:
    row = _row(person, _client_names(bootstrap_servers, [person]))
    if as_json:
        emit(row if token is None else {**row, "token": token})
        return
    clients = "all clients" if row["clients"] is None else ", ".join(row["clients"])
    payloads = "with payloads" if person.payloads else "without payloads"
    click.echo(
        f"name   {person.name}\nmay    {person.role}, {payloads}, {clients}\nuntil  {row['expires_at'] or 'for ever'}"
    )
    if token is not None:
        click.echo(f"token  {token}")
        click.echo("Keep the token: it is not shown again.", err=True)
