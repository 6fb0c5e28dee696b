"""Audit: what people did, to what, and why. `await client.audit(by="kim")`, as a person."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

import msgspec

from backbeat.client.search import time_text
from backbeat.client.session import Session
from backbeat.schemas.requests.decoding import prepare


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A deed, or the intent of one."""

    id: str = ""  #: what `before` takes; empty: the gateway is an older one
    at: datetime
    actor: str
    role: str
    way: str  #: `person`, `client`, `proxy`, `open`: the console; `http`: the API; `cli`: not checked
    address: str
    action: str
    kind: str  #: `node`, `workflow`, `job`, `letter` and the like; `call`: of the API
    subjects: list[str]  #: ids of what it was done to
    subject_name: str
    reason: str
    outcome: str | None  #: `done`, `refused: …`; None: nothing was heard of it, and it may have been done
    tid: str


_LIMIT = 100
# Clients may be in several threads.
prepare(list[AuditEntry])


class AuditOptions(TypedDict, total=False):
    """Filters of the audit: all of them must hold."""

    #: A person's name.
    by: str
    #: The id of what it was done to, or of a workflow that this is in.
    of: str
    #: The word for what was done: retry, cancel, pause, …
    action: str
    #: When it was done.
    since: datetime | None
    until: datetime | None
    #: The id of an entry: only older ones.
    before: str
    #: Entries at most.
    limit: int


WORDS = tuple(AuditOptions.__annotations__)


async def get_audit(session: Session, options: AuditOptions) -> list[AuditEntry]:
    """Entries, newest first. Unauthorized: a client application asks."""
    filters = {
        **{name: options.get(name) or None for name in ("by", "of", "action", "before")},
        "since": time_text("since", options.get("since")),
        "until": time_text("until", options.get("until")),
        "limit": options.get("limit", _LIMIT),
    }
    return msgspec.convert(await session.search("audit", filters), list[AuditEntry])
