"""Audit: what people did, to what, and why. `await client.audit(by="kim")`, as a person."""

from __future__ import annotations

from datetime import datetime

import msgspec

from backbeat.client.search import time_text
from backbeat.client.session import Session
from backbeat.schemas.requests.decoding import prepare


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A deed, or the intent of one."""

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


# Clients may be in several threads.
prepare(list[AuditEntry])


async def get_audit(session: Session, by: str, of: str, since: datetime | None, limit: int) -> list[AuditEntry]:
    """Entries, newest first. Unauthorized: a client application asks."""
    filters = {"by": by or None, "of": of or None, "since": time_text("since", since), "limit": limit}
    return msgspec.convert(await session.search("audit", filters), list[AuditEntry])
