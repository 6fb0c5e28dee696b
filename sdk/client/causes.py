"""Causes of failures: failed nodes by their last error, without what differs from one to the next (`Client.causes`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from backbeat.client.session import Session
from backbeat.payload.values import to_datetime


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one activity that have failed with what is, but for ids, numbers and quoted words, the same error."""

    id: str
    activity: str
    cause: str  #: the error with `#` for what differs; empty: no error is known
    sample: str  #: one of the errors as it was
    fixed: str  #: the longest piece that is the same in all of them: for the filter `error` of a job
    nodes: dict[str, int]  #: by status: retries_exhausted, errored, retrying
    workflows: int  #: workflows that these nodes are in
    first_at: datetime  #: of the first of these failures
    last_at: datetime  #: of the last
    last_hour: list[int]  #: failures of the last hour, in twelve parts of it, the oldest first


async def find_causes(session: Session, limit: int) -> list[Cause]:
    """Causes, those first that need a person. Unavailable: the client knows no gateway."""
    answer: dict[str, Any] = await session.search("causes", {"limit": limit})
    return [
        Cause(
            id=row["id"],
            activity=row["activity"],
            cause=row["cause"],
            sample=row["sample"],
            fixed=row["fixed"],
            nodes=row["nodes"],
            workflows=row["workflows"],
            first_at=to_datetime(row["firstAt"]),
            last_at=to_datetime(row["lastAt"]),
            last_hour=row["lastHour"],
        )
        for row in answer["causes"]
    ]
