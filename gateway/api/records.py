"""Commands and queries as they stand on Kafka, over HTTP: what the SDK sends (docs/reference/http.md).

The caller is who the gateway lets in, whatever a record says: who asks, whose workflow or limit it is, and where the
answer goes are set here. What a record means, and whether it may be, the engine says, as for any other sender.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.errors import Rejected
from backbeat.gateway.api.activities import ERRORED
from backbeat.gateway.api.nodes import fit_response, store_large
from backbeat.gateway.api.record_rules import COMMANDS, FOR_ALL, QUERIES, WITHOUT_PAYLOADS, names
from backbeat.gateway.api.redaction import redacted
from backbeat.gateway.http import errors
from backbeat.gateway.http.access.authentication import authenticate
from backbeat.gateway.http.access.person import check_right, read_reason
from backbeat.gateway.http.call import LARGE_BYTES, Call, answer
from backbeat.gateway.http.routing import Access
from backbeat.gateway.people.visitor import Right
from backbeat.payload.values import id_text
from backbeat.schemas import bodies
from backbeat.schemas.errors import DecodeError, UnknownSchemaError
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.replies import History, Nodes, Reason, Rejection
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.messages.views import NodeView
from backbeat.schemas.routes import route
from backbeat.transport.base import every_answer, to_every_partition

logger = logging.getLogger(__name__)

#: Nodes of a tree that are asked of the engine at once: what a large tree takes of the gateway's memory.
_PAGE_NODES = 4_000
#: A wait that is shorter may be over before an engine hears of it.
_WAIT_SECONDS_MIN = 0.1
_UNAVAILABLE_MIN = 500

_with = msgspec.structs.replace


async def command(call: Call) -> Response:
    """POST /commands: a command, answered when the engine has applied it."""
    record = await _read(call, bodies.read_command)
    rule = COMMANDS.get(type(record))
    if rule is None:
        raise errors.invalid(f"{_kind(record)} is none of the commands that are taken here: {names(COMMANDS)}")
    if rule.access is Access.WRITER and call.person is None:
        await authenticate(call.headers, rule.access, call.services.settings.require_auth_token, call.engine)
    if call.person is not None and isinstance(record, commands.StartJob) and record.filter.metadata is not None:
        # Whoever may ask what it contains reads it letter by letter.
        check_right(call.person, Right.PAYLOADS)
    _check_partition(call, record)
    if call.client is None and type(record) not in FOR_ALL:
        raise errors.forbidden(f"Say whose {_kind(record)} this is: Client-Id: <the client application's id>")
    # Where nobody is named the record says whose it is; who runs a node's children is checked all the same.
    if rule.own is not None and (call.client is not None or isinstance(record, commands.ChangeNode)):
        record = rule.own(call, record)
    record = await _kept(call, _identified(call, record))
    target = _target(record)

    def send(key: bytes) -> Awaitable[Any]:
        return call.engine.command(lambda reply_to: _with(record, reply_to=reply_to), key, key, target)

    route_key = route(record)
    try:
        result = await (
            to_every_partition(call.engine.every_partition(), send) if route_key is None else send(route_key)
        )
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=True) from rejected
    return _answered(call, [await _whole(call, result)])


async def query(call: Call) -> Response:
    """POST /queries: a query, answered by the engine in as many replies as it takes."""
    record = await _read(call, bodies.read_query)
    if call.person is not None and type(record) not in WITHOUT_PAYLOADS:
        check_right(call.person, Right.PAYLOADS)
    if type(record) not in QUERIES:
        raise errors.invalid(f"{_kind(record)} is none of the queries that are answered here: {names(QUERIES)}")
    if call.preferences.wait_seconds and not isinstance(record, queries.WaitNode):
        # A wait is counted apart from the calls at work, and nothing else may be.
        raise errors.invalid(f"Prefer: wait is for a WaitNode. What to do: send the {_kind(record)} without it")
    if isinstance(record, queries.GetTree):
        return await _tree(call, record)
    if getattr(record, "partition", None) == queries.ALL_PARTITIONS:
        per_partition = (_ask(call, _with(record, partition=number)) for number in call.engine.every_partition())
        return _answered(call, [part for parts in await every_answer(per_partition) for part in parts])
    _check_partition(call, record)
    return _answered(call, await _ask(call, record))


async def schema(call: Call) -> Response:
    """GET /schemas/:fingerprint: by which records of another version are read."""
    text = call.segment("fingerprint")
    try:
        schema_json = bodies.find_schema(bytes.fromhex(text))
    except ValueError:
        schema_json = None
    if schema_json is None:
        raise errors.not_found(f"No record has a schema of the fingerprint {text[:64]}")
    return answer(schema_json)


# --- what comes ------------------------------------------------------------------------------------------------------


async def _read(call: Call, reading: Callable[[bytes], Any]) -> Any:
    media_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != bodies.MEDIA_TYPE:
        raise errors.invalid(
            f"A body of {media_type[:64] or 'no type'} is not taken here: send a record, with Content-Type: "
            f"{bodies.MEDIA_TYPE} (docs/reference/http.md)"
        )
    try:
        if len(call.body) < LARGE_BYTES:
            return reading(call.body)
        return await asyncio.to_thread(reading, call.body)
    except UnknownSchemaError as error:
        raise errors.invalid(
            f"This gateway does not know the schema with the fingerprint {error.fingerprint.hex()}: its version is "
            "older than the client's. What to do: upgrade engines and gateways before their clients"
        ) from error
    except (DecodeError, RecursionError) as error:
        raise errors.invalid(f"The body is no record: {error}") from error


def _check_partition(call: Call, record: Any) -> None:
    """Refuse a partition that is none: nobody would answer."""
    named = getattr(record, "partition", 0)
    if named not in (every := call.engine.every_partition()):
        raise errors.invalid(f"There is no partition {named}: commands have {len(every)}, counted from 0")


def _identified(call: Call, record: commands.AnyCommand) -> commands.AnyCommand:
    """The command as this caller's, with an id that no other caller's can have."""
    common: dict[str, Any] = {"user_id": call.asker_id, "tid": call.tid, "reply_to": None, "source": None}
    if isinstance(record, commands.StartJob):
        # The job is known by its id, in every partition: the caller names it.
        person = call.person
        note = record.note if person is None else record.note or read_reason(call.headers)
        return _with(record, **common, body_hash=None, note=note, actor="" if person is None else person.name)
    record = _with(record, **common, id=call.command_id)
    if not call.has_key:
        return _with(record, body_hash=None)
    if record.body_hash is not None:
        return record
    text = bodies.write(_with(record, tid=""))
    return _with(record, body_hash=hashlib.blake2b(text, digest_size=16).digest())


async def _kept(call: Call, record: Any) -> Any:
    """The command with client data and responses kept elsewhere where they are too large, as for other calls."""
    match record:
        case commands.Signal():
            (node,) = await store_large(call, (record.node,))
            return record if node is record.node else _with(record, node=node)
        case commands.AddChildren():
            return _with(record, children=await store_large(call, record.children))
        case commands.SendMessage():
            return _with(record, payload=await fit_response(call, record.payload, is_error=False))
        case commands.ChangeNode():
            if record.response is None:
                return record
            is_error = record.status == ERRORED
            return _with(record, response=await fit_response(call, record.response, is_error=is_error))
        case _:
            return record


def _kind(record: Any) -> str:
    return type(record).__name__


_NOUNS = {
    "node_id": "node",
    "parent_id": "node or workflow",
    "workflow_id": "workflow",
    "schedule_id": "schedule",
    "job_id": "job",
}


def _target(record: Any) -> str:
    """Name of the workflow, node or other thing that a record is about, for errors."""
    for name, noun in _NOUNS.items():
        if isinstance(identity := getattr(record, name, None), bytes):
            return f"{noun} {id_text(identity)}"
    return _kind(record)


# --- what is answered ------------------------------------------------------------------------------------------------


async def _ask(call: Call, record: Any) -> list[Any]:
    """All parts of an answer, with client data and responses whole."""
    waits = isinstance(record, queries.WaitNode)
    wait_ends_at = call.engine.now() + call.preferences.wait_seconds
    seconds = call.preferences.wait_seconds + call.engine.answer_seconds if waits else None
    target = _target(record)

    def addressed(reply_to: ReplyTo, deadline: int) -> Any:
        if waits:
            # Engines pass over what comes after its deadline: asked again, it needs another.
            deadline = int(max(wait_ends_at, call.engine.now() + _WAIT_SECONDS_MIN) * 1000)
        return _with(record, reply_to=reply_to, deadline=deadline, user_id=call.asker_id, tid=call.tid)

    try:
        parts = await call.engine.query(addressed, target, seconds)
    except Rejected as rejected:
        raise errors.refused(rejected, target, whole=True) from rejected
    return [await _whole(call, part) for part in parts]


async def _whole(call: Call, part: Any) -> Any:
    match part:
        case NodeView():
            return (await call.whole_nodes([part]))[0]
        case Nodes():
            return Nodes(tuple(await call.whole_nodes(list(part.nodes))))
        case History():
            return History(tuple(await call.whole_changes(list(part.changes))))
        case _:
            return redacted(call, part)


def _answered(call: Call, parts: list[Any]) -> Response:
    return Response(body=bodies.write_replies(parts, call.tid), content_type=bodies.MEDIA_TYPE)


Page = tuple[list[Any], bool]


async def _tree(call: Call, record: queries.GetTree) -> Response:
    """A tree by the page, each asked for when the one before has gone out: little of a large one is in memory."""
    if record.limit is not None and record.limit < 1:
        raise errors.invalid(f"limit is {record.limit}; 1 is the least")
    pages = _pages(call, record)
    first, is_end = await anext(pages)
    if is_end:
        return _answered(call, first)
    return Response(body=_stream(call, first, pages), content_type=bodies.MEDIA_TYPE)


async def _pages(call: Call, record: queries.GetTree) -> AsyncIterator[Page]:
    """The parts of each page, and whether it is the last: the workflow, then nodes."""
    after, left = record.after, record.limit
    while True:
        limit = _PAGE_NODES if left is None else min(left, _PAGE_NODES)
        parts = await _ask(call, _with(record, limit=limit, after=after))
        nodes = [node for part in parts[1:] for node in part.nodes]
        left = None if left is None else left - len(nodes)
        is_end = len(nodes) < limit or left == 0
        yield parts, is_end
        if is_end:
            return
        after = nodes[-1].id


async def _stream(call: Call, first: list[Any], pages: AsyncIterator[Page]) -> AsyncIterator[bytes]:
    yield bodies.write_replies(first, call.tid, is_end=False)
    count = len(first)
    try:
        async for (_, *nodes), is_end in pages:
            parts = nodes or [Nodes(())]
            yield bodies.write_replies(parts, call.tid, first_part=count, is_end=is_end)
            count += len(parts)
            # What was loaded has gone out.
            call.end()
    except errors.Refusal as refusal:
        # The status has gone out: what the engine refuses is the last reply, as over Kafka.
        yield bodies.write_replies([_rejection(call, refusal)], call.tid, first_part=count)
    finally:
        call.end()


def _rejection(call: Call, refusal: errors.Refusal) -> Rejection:
    """A refusal as a reply. ConnectionError where nobody refused, but a part is away: the answer breaks off then."""
    if refusal.status >= _UNAVAILABLE_MIN:
        logger.warning("the answer to %s breaks off: %s", call.tid, refusal)
        raise ConnectionError(str(refusal)) from refusal
    rejected = refusal.__cause__
    if isinstance(rejected, Rejected):
        return Rejection(Reason(rejected.reason), rejected.message, rejected.found, rejected.wanted)
    return Rejection(Reason.INVALID_PARAMETERS, str(refusal))
