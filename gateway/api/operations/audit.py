"""Call for the audit: what people did, to what, and why (docs/how-to/console.md)."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from aiohttp.web import Response
from msgspec import Meta

from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.people.audit import Entry, EntryFilters
from backbeat.payload.nouns import time_text

ENTRIES_DEFAULT, ENTRIES_MAX = 100, 20_000
_CATCH_UP_SECONDS = 10.0


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Entry of the audit: a deed, or the intent of one."""

    id: str
    at: str
    actor: str
    role: str
    way: Annotated[
        str,
        Meta(
            description="`person`, `client`, `proxy` or `open` in the console; `http`: the API; `cli`: the command "
            "line on Kafka, by a name that nobody has checked"
        ),
    ]
    address: str
    action: str
    kind: Annotated[str, Meta(description="`node`, `workflow`, `job`, `letter` and the like; `call`: of the API")]
    subjects: Annotated[list[str], Meta(description="ids of what it was done to")]
    subject_name: str
    reason: str
    outcome: Annotated[
        str | None, Meta(description="`done`, `refused: …`; null: nothing was heard of it, and it may have been done")
    ]
    tid: str


async def index(call: Call) -> Response:
    """GET /audit: newest first, to people alone."""
    if call.person is None:
        raise errors.forbidden("The audit is for people, and not for client applications: Person: <name>")
    parameters, audit = call.parameters, call.services.audit
    limit = parameters.whole_number("limit")
    if limit is None:
        limit = ENTRIES_DEFAULT
    if not 1 <= limit <= ENTRIES_MAX:
        raise errors.invalid(f"limit is {limit}; 1 is the least and {ENTRIES_MAX} the most")
    since, until = parameters.time("since"), parameters.time("until")
    audit.follower.start()
    if not await asyncio.to_thread(audit.follower.catch_up, _CATCH_UP_SECONDS):
        raise errors.unavailable(audit.follower.problem or "The audit is being read", "Backbeat::Unavailable")
    words = {name: parameters.text(name) or "" for name in ("of", "by", "action", "before")}
    filters = EntryFilters(
        actor=words["by"],
        action=words["action"],
        client_id="" if call.client is None else call.client.id,
        since=since,
        until=until,
    )
    entries = audit.newest(limit, visitor=call.person, of=words["of"], before=words["before"], filters=filters)
    return answer([_as_json(entry) for entry in entries])


def _as_json(entry: Entry) -> AuditEntry:
    return AuditEntry(
        id=entry.id,
        at=time_text(entry.at),
        actor=entry.actor,
        role=entry.role,
        way=entry.way,
        address=entry.address,
        action=entry.action,
        kind=entry.kind,
        subjects=list(entry.subjects),
        subject_name=entry.subject_name,
        reason=entry.reason,
        outcome=entry.outcome or None,
        tid=entry.tid,
    )
