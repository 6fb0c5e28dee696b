"""Commands and queries about workflows, signals among them: `Client` has them as calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from backbeat.activities.follow_ups import check_plain, followings
from backbeat.activities.running import transaction_id
from backbeat.client.session import Session, as_id
from backbeat.client.signals import SignalOptions, change_hash, make_signal, make_workflow
from backbeat.client.views import Workflow
from backbeat.client.waits import get_path
from backbeat.delivery.changes import Change
from backbeat.delivery.kafka import logger
from backbeat.errors import KeyReused, NotFound, Timeout
from backbeat.payload.values import Id, id_text, to_id, to_subject, to_text
from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.values import FollowUp
from backbeat.worker.responses import result_response

#: Signals that are published and not acknowledged: with more, `publish` waits.
_UNDER_WAY_MAX = 100_000
#: The transport is asked for their number every so many signals.
_LOOK_EVERY = 1_000
_BACK_OFF_SECONDS = 0.005
_NAMES_MAX = 10_000


async def signal_command(
    session: Session, workflow: str, subject: Any, name: str, options: SignalOptions
) -> commands.Signal:
    """The command of a signal. InvalidParameters; NotFound for a client application that there is not."""
    user_id = session.user_id
    runs_it = await session.find_user(options.get("client"))
    new_workflow = make_workflow(user_id, workflow, subject, options.get("decider"))
    args = options.get("args")
    packed = None
    if args and not isinstance(args, str | bytes) and not session.packing.is_plain:
        packed = await session.pack(f"arguments of {name!r}", args)
    follow_ups = await _follow_ups(session, options)
    return make_signal(
        user_id=user_id,
        runs_it=runs_it,
        command_id=session.command_id(options.get("idempotency_key")),
        tid=transaction_id(),
        workflow=new_workflow,
        name=name,
        options=options,
        now=session.transport.now(),
        packed=packed,
        # Encrypted arguments are other bytes each time: a repeat is recognised by the rest then.
        hashes_arguments=session.packing.is_repeatable,
        follow_ups=follow_ups,
    )


async def _follow_ups(session: Session, options: SignalOptions) -> tuple[FollowUp, ...]:
    """The activities that follow a signal."""
    follow_ups = []
    for following in followings(options, None, options.get("args") or ()):
        check_plain(following.name, following.params, 0)
        packed = following.params
        if packed and not session.packing.is_plain:
            packed = await session.pack(f"arguments of {following.name!r}", packed)
        user_id = await session.find_user(following.client or options.get("client"))
        follow_ups.append(following._replace(params=packed).made(user_id, None))
    return tuple(follow_ups)


async def create_workflow(session: Session, workflow: str, subject: Any, decider: str | None) -> Workflow:
    """The workflow of this name and subject, made if there is none."""
    new_workflow = make_workflow(session.user_id, workflow, subject, decider)
    command = commands.CreateWorkflow(workflow=new_workflow, **session.command_fields())
    return Workflow(await session.transport.command(command, session.timeout, f"workflow {workflow!r}"))


async def get_workflow(session: Session, workflow_id: Id) -> Workflow:
    """A workflow by its id. NotFound."""
    id_bytes, text = as_id(workflow_id)
    query = queries.GetWorkflow(workflow_id=id_bytes, **session.query_fields())
    try:
        return Workflow((await session.query(query, f"workflow {text}"))[0])
    except NotFound as refusal:
        raise session.not_found(id_bytes, refusal) from None


async def change_workflow(session: Session, workflow_id: Id, change: str) -> None:
    """Change a workflow: `pause`, `resume` or `complete` (no more signals)."""
    command = commands.ChangeWorkflow(workflow_id=to_id(workflow_id), change=change, **session.command_fields())
    await session.command(command, change)


async def send_message(
    session: Session, workflow: str, subject: Any, name: str, value: Any, *, key: str | None
) -> None:
    """Send a message to the workflow of this name and subject. NotFound, WorkflowComplete, LimitExceeded, KeyReused."""
    to_text("A name", name)
    workflow_id = ids.workflow_id(session.user_id, to_text("The workflow's name", workflow), to_subject(subject))
    session.remember(workflow_id, workflow, subject)
    label = f"message {name!r}"
    payload = result_response(await session.pack(label, value), label)
    command = commands.SendMessage(workflow_id=workflow_id, name=name, payload=payload, **session.command_fields())
    if key is not None:
        # Encrypted content is other bytes each time: a repeat is recognised by the rest then.
        asked = command if session.packing.is_repeatable else msgspec.structs.replace(command, payload=b"")
        command = msgspec.structs.replace(command, id=session.command_id(key), body_hash=change_hash(asked))
    try:
        await session.transport.command(command, session.timeout, f"{label} to {workflow!r}", key=key)
    except NotFound as refusal:
        raise session.not_found(workflow_id, refusal) from None
    except KeyReused as refusal:
        text = (
            f"idempotency_key {key!r} was used before, for another request: a message with another name, workflow, "
            "subject or value, or no message. What to do: the same request, or a key of its own"
        )
        raise KeyReused(refusal.reason, text, refusal.found, refusal.wanted) from None


class Publisher:
    """Signals sent without waiting for the engine, as many at once as the transport keeps up with."""

    def __init__(self, session: Session) -> None:
        self._session = session
        #: Number of signals published.
        self._published = 0

    async def publish(self, command: commands.Signal, key: str | None) -> str:
        """Send a signal, and give the id that its node will have."""
        await self._session.ready()
        self._published += 1
        if self._published % _LOOK_EVERY == 0:
            # Other tasks get their turn, too.
            await asyncio.sleep(0)
            # The library has no event for this; only a Kafka that does not keep up leads here.
            while self._session.transport.under_way() > _UNDER_WAY_MAX:  # noqa: ASYNC110
                await asyncio.sleep(_BACK_OFF_SECONDS)
        while True:
            try:
                return id_text(self._session.transport.publish(command, key=key))
            except BufferError:
                await asyncio.sleep(_BACK_OFF_SECONDS)


# --- changes as they come --------------------------------------------------------------------------------------------


class Names:
    """Names of nodes, each asked for once; the oldest are forgotten."""

    def __init__(self, ask: Callable[[bytes], Awaitable[str]]) -> None:
        self._ask = ask
        self._names: dict[str, str] = {}

    async def named(self, change: Change) -> Change:
        """A change with its node's name; empty where there is no such node any more."""
        name = change.name or self._names.get(change.node_id)
        if name is None:
            name = self._names[change.node_id] = await self._ask(to_id(change.node_id))
            if len(self._names) > _NAMES_MAX:
                del self._names[next(iter(self._names))]
        return msgspec.structs.replace(change, name=name)


async def follow_workflow(session: Session, workflow_id: Id, after: str | None) -> AsyncIterator[Change]:
    """The changes of a workflow as they come. NotFound, InvalidParameters, Unavailable."""

    async def name_of(node_id: bytes) -> str:
        while True:
            try:
                # The node's own client application is not asked for: it may be another's, in a workflow of this one.
                return (await get_path(session, node_id))[-1].name
            except NotFound:
                return ""
            except Timeout as error:
                # Another engine takes the partition over; changes that come meanwhile are kept in their topic.
                logger.info("following workflow %s goes on: %s", workflow_id, error)

    names = Names(name_of)
    await get_workflow(session, workflow_id)
    async for change in session.transport.follow(as_id(workflow_id)[0], after):
        yield await names.named(change)
