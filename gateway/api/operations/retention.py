"""Calls for retention, and for archives of workflows that it has removed (docs/how-to/retention.md)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp.web import Response

from backbeat.errors import BackbeatError, NotFound, Rejected
from backbeat.gateway import engine_calls
from backbeat.gateway.api.shapes.retention import ArchivedNode, ArchivedWorkflow, ArchiveEntry, Policy
from backbeat.gateway.archiving import ArchiveStore, folders
from backbeat.gateway.archiving.content import Archive, read_archive
from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer, success
from backbeat.gateway.http.presentation import status_change_json, whole_node_json, workflow_json
from backbeat.payload.values import id_text
from backbeat.schemas.messages.commands import ChangeRetention
from backbeat.schemas.messages.queries import GetRetention
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.transport.base import every_answer, to_every_partition
from backbeat.transport.http_words import NEXT_HEADER

T = TypeVar("T")

ENTRIES_DEFAULT, ENTRIES_MAX = 200, 1_000
NODES_DEFAULT, NODES_MAX = 1_000, 10_000


# --- policies --------------------------------------------------------------------------------------------------------


async def index(call: Call) -> Response:
    """GET /retention: the policies, by client application and workflow."""
    policies = await _policies(call)
    return answer(sorted(policies, key=lambda policy: (policy.client or "", policy.client_id, policy.workflow)))


async def show(call: Call) -> Response:
    """GET /retention/:workflow."""
    return answer(await _policy(call))


async def put(call: Call) -> Response:
    """PUT /retention/:workflow: keep finished workflows of this name for so long."""
    parameters = call.parameters
    keep_seconds, refuse_seconds = parameters.number("keep_seconds"), parameters.number("refuse_seconds")
    if keep_seconds is None:
        raise errors.invalid("keep_seconds is missing: how long a finished workflow is kept")
    archive = parameters.flag("archive")
    policy = RetentionPolicy(
        owner_id=call.user_id,
        name=_name(call),
        keep_seconds=keep_seconds,
        archive=True if archive is None else archive,
    )
    if refuse_seconds is not None:
        policy = msgspec.structs.replace(policy, refuse_seconds=refuse_seconds)
    await _change(call, policy, forget=False)
    return answer(await _policy(call))


async def remove(call: Call) -> Response:
    """DELETE /retention/:workflow: keep workflows of this name for ever again."""
    policy = await _policy(call)
    forgotten = RetentionPolicy(owner_id=call.user_id, name=policy.workflow, keep_seconds=policy.keep_seconds)
    await _change(call, forgotten, forget=True)
    return success()


def _name(call: Call) -> str:
    name = call.segment("workflow")
    if not name.strip() or "\0" in name:
        raise errors.invalid("The workflows' name is missing")
    return name


async def _policy(call: Call) -> Policy:
    name = _name(call)
    policy = next((policy for policy in await _policies(call) if policy.workflow == name), None)
    if policy is None:
        raise errors.not_found(f"There is no policy for {name[:100]!r}: such workflows are kept for ever")
    return policy


async def _policies(call: Call) -> list[Policy]:
    parts = await every_answer(
        engine_calls.ask(call, GetRetention, f"retention of partition {partition}", partition=partition)
        for partition in call.engine.every_partition()
    )
    counts = Counter(policy for part in parts for reply in part for policy in reply.policies)
    return [_as_json(call, policy, count) for policy, count in counts.items()]


def _as_json(call: Call, policy: RetentionPolicy, count: int) -> Policy:
    client = call.engine.client(policy.owner_id)
    return Policy(
        client_id=id_text(policy.owner_id),
        client=None if client is None else client.name,
        workflow=policy.name,
        keep_seconds=policy.keep_seconds,
        archive=policy.archive,
        refuse_seconds=policy.refuse_seconds,
        partitions=count,
    )


async def _change(call: Call, policy: RetentionPolicy, *, forget: bool) -> None:
    identity, target = call.identity(), f"retention of {policy.name[:100]!r}"

    async def send(route: bytes) -> object:
        return await call.engine.command(
            lambda reply_to: ChangeRetention(reply_to=reply_to, policy=policy, forget=forget, **identity),
            route,
            route,
            target,
        )

    try:
        await to_every_partition(call.engine.every_partition(), send)
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=call.preferences.whole) from rejected


# --- archives --------------------------------------------------------------------------------------------------------


async def archives(call: Call) -> Response:
    """GET /archives: what is right in a folder of archives: client applications, then names, days, archives."""
    under, after = call.parameters.text("under") or "", call.parameters.text("after") or ""
    limit = _limit(call, ENTRIES_DEFAULT, ENTRIES_MAX)
    store, parts = _store(call), _parts(call, under.strip("/"))
    if len(parts) >= folders.PARTS:
        raise errors.invalid("under names no folder: archives lie in folders by client application, workflow and day")
    names = await _available(call, lambda: folders.children(store, "/".join(parts), limit + 1, after, _own(call)))
    entries = [
        ArchiveEntry(
            name=f"{'/'.join(parts)}/{name}".strip("/"), label=folders.label(name), is_folder=name.endswith("/")
        )
        for name in names[:limit]
    ]
    headers = {NEXT_HEADER: names[limit - 1]} if len(names) > limit else None
    return answer(entries, headers=headers)


async def archive(call: Call) -> Response:
    """GET /archives/content: an archived workflow, with its nodes and their status changes."""
    name = call.parameters.text("name")
    limit, after = _limit(call, NODES_DEFAULT, NODES_MAX), call.parameters.uuid("after")
    store = _store(call)
    if name is None or len(_parts(call, name)) != folders.PARTS or not folders.is_archive(name):
        raise errors.invalid("name is missing, or names no archive: GET /archives lists them")

    def read() -> Archive:
        with store.open(name) as file:
            return read_archive(file, name)

    content = await _available(call, read)
    if call.client is not None and content.workflow.user_id != call.user_id:
        # The folder is named after the client; whose it is says the workflow itself.
        raise errors.not_found(f"There is no archive {name[:200]}")
    begin = 0
    if after is not None:
        begin = next((place + 1 for place, node in enumerate(content.nodes) if node.id == after), -1)
        if begin < 0:
            raise errors.not_found(f"There is no node {id_text(after)} in this archive")
    page = content.nodes[begin : begin + limit]
    headers = {NEXT_HEADER: id_text(page[-1].id)} if begin + limit < len(content.nodes) else None
    return answer(
        ArchivedWorkflow(
            client=content.client,
            workflow=workflow_json(content.workflow),
            total=len(content.nodes),
            nodes=[
                ArchivedNode(
                    node=whole_node_json(node),
                    status_changes=[status_change_json(node.id, change) for change in content.history.get(node.id, ())],
                )
                for node in page
            ],
        ),
        headers=headers,
    )


def _limit(call: Call, default: int, most: int) -> int:
    limit = call.parameters.whole_number("limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {most} the most")
    return limit


def _store(call: Call) -> ArchiveStore:
    store = call.services.archive_store
    if store is None:
        raise errors.not_found("This gateway knows of no archives: it was started without --archive-to")
    return store


def _own(call: Call) -> list[str] | None:
    """Folders that the caller sees; None: all."""
    return None if call.client is None else [folders.of_client(call.client.name)]


def _parts(call: Call, name: str) -> list[str]:
    """Parts of a name below the store. 400: it leads out of it; 404: it is another client application's."""
    parts = folders.parts(name)
    if parts is None:
        raise errors.invalid("It names no folder of archives")
    own = _own(call)
    if parts and own is not None and parts[0] not in own:
        raise errors.not_found(f"There is no archive {name[:200]}")
    return parts


async def _available(call: Call, work: Callable[[], T]) -> T:
    try:
        async with call.services.large_answers:
            return await asyncio.to_thread(work)
    except NotFound as error:
        raise errors.not_found(str(error)) from error
    except BackbeatError as error:
        raise errors.unavailable(str(error), "Backbeat::Unavailable") from error
