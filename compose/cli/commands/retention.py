"""`backbeat retention`: policies for finished workflows. They are kept in the log: every replay sees the same."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backbeat.compose.cli.durations import Length
from backbeat.compose.cli.exit_codes import CommandError
from backbeat.compose.cli.options import bootstrap_option, json_option
from backbeat.compose.cli.show.printing import emit, how_long, print_table

if TYPE_CHECKING:
    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.schemas.messages.retention import RetentionPolicy
    from backbeat.transport.requests import RequestClient

T = TypeVar("T")

_ANSWER_SECONDS_MAX = 10.0
_REFUSE_DEFAULT = timedelta(days=7)


@click.group()
def retention() -> None:
    """How long finished workflows are kept, by client application and workflow name. Without a policy: for ever."""


@retention.command(
    "set",
    epilog="""\b
Examples:
  backbeat retention set shop "Camera sale" --keep 30d
  backbeat retention set shop "Index" --keep 1h --no-archive --refuse 1d
""",
)
@click.argument("client")
@click.argument("workflow")
@bootstrap_option
@click.option("--keep", type=Length(), required=True, help="From the last thing that happened in it to its removal.")
@click.option("--archive/--no-archive", default=True, help="Whether it waits to be archived.  [default: archive]")
@click.option(
    "--refuse", type=Length(), default=_REFUSE_DEFAULT, help="How long its signals' ids are refused.  [default: 7d]"
)
def set_(
    client: str, workflow: str, bootstrap_servers: str, keep: timedelta, refuse: timedelta, *, archive: bool
) -> None:
    """Remove the finished workflows of this client and name after a time, those that are there already included.

    With an archive, a workflow stays until `backbeat archive run`, or a gateway with --archive-to, has written it.
    """
    from backbeat.schemas.messages.retention import RetentionPolicy

    async def run(requests: RequestClient, registry: ClientRegistry) -> None:
        policy = RetentionPolicy(
            owner_id=_owner(registry, client),
            name=workflow,
            keep_seconds=keep.total_seconds(),
            archive=archive,
            refuse_seconds=refuse.total_seconds(),
        )
        await _change(requests, policy, forget=False)

    _connected(bootstrap_servers, run)
    outcome = "archived and removed" if archive else "removed without an archive"
    click.echo(f"Finished workflows {workflow!r} of {client} are {outcome} after {how_long(keep.total_seconds())}.")


@retention.command("list", epilog="Example: backbeat retention list --json")
@bootstrap_option
@json_option
def list_(bootstrap_servers: str, *, as_json: bool) -> None:
    """List the policies; what is in none is kept for ever."""

    async def run(requests: RequestClient, registry: ClientRegistry) -> list[dict[str, Any]]:
        policies = await _policies(requests)
        return [
            {
                "client": _name(registry, policy.owner_id),
                "workflow": policy.name,
                "keep_seconds": policy.keep_seconds,
                "archive": policy.archive,
                "refuse_seconds": policy.refuse_seconds,
                "partitions": partitions,
            }
            for policy, partitions in policies.items()
        ]

    rows = sorted(_connected(bootstrap_servers, run), key=lambda row: (row["client"], row["workflow"]))
    if as_json:
        for row in rows:
            emit(row)
        return
    print_table(
        ("CLIENT", "WORKFLOW", "KEPT", "ARCHIVED", "IDS REFUSED", "PARTITIONS"),
        (
            (
                row["client"],
                row["workflow"],
                how_long(row["keep_seconds"]),
                "yes" if row["archive"] else "no",
                how_long(row["refuse_seconds"]),
                row["partitions"],
            )
            for row in rows
        ),
    )


@retention.command(epilog='Example: backbeat retention remove shop "Camera sale"')
@click.argument("client")
@click.argument("workflow")
@bootstrap_option
def remove(client: str, workflow: str, bootstrap_servers: str) -> None:
    """Keep the workflows of this client and name for ever again, those that wait to be archived included."""

    async def run(requests: RequestClient, registry: ClientRegistry) -> None:
        owner = _owner(registry, client)
        for policy in await _policies(requests):
            if (policy.owner_id, policy.name) == (owner, workflow):
                await _change(requests, policy, forget=True)
                return
        raise CommandError(
            f"There is no policy for {workflow!r} of {client}. What to do: look at `backbeat retention list`."
        )

    _connected(bootstrap_servers, run)
    click.echo(f"Workflows {workflow!r} of {client} are kept.")


def _connected(bootstrap_servers: str, action: Callable[[RequestClient, ClientRegistry], Awaitable[T]]) -> T:
    from backbeat.schemas.kafka.client_registry import ClientRegistry
    from backbeat.transport.requests import RequestClient

    async def connect() -> T:
        with ClientRegistry(bootstrap_servers) as registry:
            requests = RequestClient(bootstrap_servers, _ANSWER_SECONDS_MAX)
            await requests.start()
            try:
                return await action(requests, registry)
            finally:
                await requests.stop()

    return asyncio.run(connect())


def _owner(registry: ClientRegistry, client: str) -> bytes:
    registered = registry.by_name(client)
    if registered is not None:
        return registered.id_bytes
    try:
        # A client that was removed is known by its id alone.
        return uuid.UUID(client).bytes
    except ValueError:
        names = ", ".join(registered.name for registered in registry.all()) or "none"
        raise CommandError(
            f"There is no client {client!r} (known: {names}). What to do: `backbeat user add {client}`."
        ) from None


def _name(registry: ClientRegistry, owner_id: bytes) -> str:
    registered = registry.by_id(owner_id)
    return str(uuid.UUID(bytes=owner_id)) if registered is None else registered.name


async def _policies(requests: RequestClient) -> dict[RetentionPolicy, str]:
    """The policies, and the partitions of each."""
    from backbeat.schemas.messages.queries import GetRetention
    from backbeat.schemas.messages.retention import RetentionPolicies

    partitions_by_policy: dict[RetentionPolicy, list[int]] = {}
    for partition in range(requests.partitions):
        (answer,) = await requests.query(
            lambda reply_to, deadline, number=partition: GetRetention(  # type: ignore[misc]  # the default binds it
                reply_to=reply_to, deadline=deadline, partition=number
            ),
            _ANSWER_SECONDS_MAX,
            f"policies of partition {partition}",
        )
        assert isinstance(answer, RetentionPolicies)
        for policy in answer.policies:
            partitions_by_policy.setdefault(policy, []).append(partition)
    return {
        policy: "all" if len(partitions) == requests.partitions else ", ".join(map(str, partitions))
        for policy, partitions in partitions_by_policy.items()
    }


async def _change(requests: RequestClient, policy: RetentionPolicy, *, forget: bool) -> None:
    from backbeat.schemas.codec import encode_command
    from backbeat.schemas.messages.commands import ChangeRetention

    for partition in range(requests.partitions):
        await requests.command(
            lambda reply_to: encode_command(
                ChangeRetention(id=os.urandom(16), reply_to=reply_to, policy=policy, forget=forget)
            ),
            partition.to_bytes(4, "big"),
            b"retention",
            _ANSWER_SECONDS_MAX,
            f"policy of partition {partition}",
        )
