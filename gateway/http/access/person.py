"""Person who makes a call: by name and token, as in the console, with the same rights and the same audit.

A person names the client application that a call is about (Client-Id), or none: then it is about all of them.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.http import errors
from backbeat.gateway.http.access.authentication import CLIENT_HEADER, read_token
from backbeat.gateway.http.access.subject import subject_of
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.people.audit import DONE, Entry, new_entry_id
from backbeat.gateway.people.person import visitor_of
from backbeat.gateway.people.visitor import Right, Visitor
from backbeat.schemas.kafka.clients import hash_token
from backbeat.transport.http_words import PERSON_HEADER, REASON_HEADER

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, Response

    from backbeat.gateway.http.call import Call
    from backbeat.gateway.http.routing import Route
    from backbeat.gateway.http.services import Services
    from backbeat.schemas.kafka.client_registry import RegisteredClient

logger = logging.getLogger(__name__)

REASON_CHARACTERS_MAX = 500
_SERVER_ERROR_STATUS = 500
#: Headers that say who calls, about whom, and why.
_ONCE = (PERSON_HEADER, "Authorization", CLIENT_HEADER, REASON_HEADER)
_RIGHTS = {Right.PAYLOADS: "the right to see payloads (--payloads)", Right.ACT: "the role operator (--role operator)"}


async def authenticate_person(
    request: BaseRequest, route: Route, services: Services
) -> tuple[Visitor, RegisteredClient | None]:
    """The person who calls, and the client application that the call is about; None: all. 401, 403, 503."""
    headers = request.headers
    # A proxy that adds a header to the caller's own: which is whose nobody can tell.
    twice = next((name for name in _ONCE if len(headers.getall(name, ())) > 1), None)
    if twice is not None:
        raise errors.invalid(f"The header {twice} is there twice, and neither is taken")
    person = await _find_person(headers, services, request.remote or "")
    if person is None:
        raise errors.unauthorized()
    if route.person is None:
        raise errors.forbidden(f"{route.method} {route.path} is for client applications, and no person may call it")
    check_right(person, route.person)
    if CLIENT_HEADER in headers:
        client_id = find_id(headers[CLIENT_HEADER])
        client = None if client_id is None else services.engine.client(client_id)
        if client is None and client_id is not None and person.clients is None:
            # It may have been added a moment ago.
            await services.engine.catch_up()
            client = services.engine.client(client_id)
        if client is None or not person.sees(client.id_bytes):
            raise errors.forbidden(f"There is no such client application, or it is not {person.name}'s to see")
        return person, client
    if person.clients is not None or not route.for_all:
        raise errors.forbidden(f"Say which client application this is about: {CLIENT_HEADER}: <its id>")
    return person, None


def check_right(person: Visitor, right: Right) -> None:
    """Refuse a person who has not this right. 403."""
    if not person.may(right):
        raise errors.forbidden(f"This needs {_RIGHTS[right]}: backbeat person set {person.name} …")


async def _find_person(headers: Mapping[str, str], services: Services, address: str) -> Visitor | None:
    """The person; None: name or token is wrong. 429, 503."""
    people, name, token_hash = services.people, headers[PERSON_HEADER], hash_token(read_token(headers))
    people.follower.start()
    if people.follower.problem:
        # Nobody may have been read yet: that is no wrong try.
        await people.catch_up()
    tries = services.wrong_tries
    for is_caught_up in (False, True):
        person = people.by_name(name)
        is_theirs = hmac.compare_digest(token_hash.encode(), (person.token_hash if person else "").encode())
        if person is not None and is_theirs and not person.is_expired:
            if is_caught_up:
                tries.take_back(address)
            return visitor_of(person, services.engine.registry, way="http")
        if not is_caught_up:
            if seconds := tries.seconds_left(address):
                raise errors.too_many(
                    f"Too many wrong names or tokens of people from {address}: wait {seconds} s", seconds
                )
            tries.note(address)
            # The person, or the token, may have been added a moment ago.
            await people.catch_up()
            if people.follower.problem:
                tries.take_back(address)
                raise errors.unavailable(people.follower.problem, "Backbeat::Unavailable")
    logger.warning("a wrong name or token of a person at the API, from %s", address)
    return None


def read_reason(headers: Mapping[str, str]) -> str:
    """Reason of a person's change. 400: it is missing or too long."""
    # Bytes that are no UTF-8 come as lone surrogates, which cannot be written.
    reason = unquote(headers.get(REASON_HEADER, "")).encode(errors="replace").decode().strip()
    if not 0 < len(reason) <= REASON_CHARACTERS_MAX:
        raise errors.invalid(
            f"A person says why something is changed: the header {REASON_HEADER}, percent-encoded, 1 to "
            f"{REASON_CHARACTERS_MAX} characters. It is kept in the audit"
        )
    return reason


async def carry_out(call: Call, address: str, reason: str, handler: Callable[[Call], Awaitable[Response]]) -> Response:
    """Write down what a person is about to change, do it, write down what came of it. 503: it cannot be written."""
    entry = _entry(call, address, reason)
    try:
        await call.services.audit.write(entry)
    except Unavailable as error:
        raise errors.unavailable(f"Nothing was done: {error}", "Backbeat::Unavailable") from error
    try:
        response = await handler(call)
    except errors.Refusal as refusal:
        # An engine that is away may have done it: only of a refusal it is known that it has not.
        if refusal.status < _SERVER_ERROR_STATUS:
            await _write_outcome(call, entry, f"refused: {refusal}")
        raise
    await _write_outcome(call, entry, call.outcome or DONE)
    return response


async def _write_outcome(call: Call, entry: Entry, outcome: str) -> None:
    try:
        await call.services.audit.write(msgspec.structs.replace(entry, outcome=outcome))
    except Unavailable:
        # It is done: the audit has it, without what came of it.
        logger.exception("the outcome of %s by %s is not in the audit", entry.action, entry.actor)


def _entry(call: Call, address: str, reason: str) -> Entry:
    person = call.person
    assert person is not None, "a client application's calls are its own affair"
    subject_id, subject_name = subject_of(call)
    return Entry(
        id=new_entry_id(),
        at=time.time_ns() // 1_000_000,
        actor=person.name,
        role=person.role,
        way=person.way,
        address=address,
        tid=call.tid,
        action=f"{call.route.method} {call.route.path}",
        kind="call",
        subject_id=subject_id,
        subject_name=subject_name,
        workflow_id="",
        client_id="" if call.client is None else call.client.id,
        reason=reason,
        command_id=call.command_id.hex(),
    )
