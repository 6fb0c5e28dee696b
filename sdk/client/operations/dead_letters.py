"""Dead letters: records that could not be processed, as a gateway lists and settles them. `client.dead_letters`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from backbeat.client.search import time_text
from backbeat.client.session import Session
from backbeat.schemas.requests.decoding import from_json

_PAGE_MAX = 500


class Mark(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Mark of a dead letter that was redriven or dropped."""

    at: datetime
    went_to: str | None  #: place of the record that was sent in; None: it was dropped
    note: str | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A record that could not be processed."""

    position: str  #: its name: partition@offset in the topic of dead letters
    at: datetime  #: when it was refused
    state: str  #: `waiting`, `redriven` or `dropped`
    reason: str
    topic: str  #: where it came from
    source: str  #: its place there: topic, partition@offset
    times_redriven: int  #: how often it had been sent in again before it came here
    mark: Mark | None
    #: These fields are of a letter that was asked for by its position; None in a list.
    key: str | None = None
    headers: dict[str, str] | None = None
    kind: str | None = None  #: kind of the record; None: it cannot be read
    content: Any = None  #: the record, decoded
    unreadable: str | None = None  #: why it cannot be read; None: it can
    value_base64: str | None = None  #: the record as it came


class SettledLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A dead letter that was to be settled."""

    position: str
    went_to: str | None  #: place of the record that was sent in
    error: str | None  #: why it waits on; None: it does not


class DeadLetters:
    """Records of this client application's topics that could not be processed; a person who sees all has all.

    A gateway answers: the client is given its URL, or with Kafka `gateway`. Unavailable: it knows none.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(
        self,
        *,
        state: str = "waiting",
        reason: str | None = None,
        topic: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """The newest, newest first, `limit` at most, without their contents.

        `state`: waiting, redriven, dropped or all; `reason`: contained in the reason.
        """
        filters: dict[str, Any] = {
            "state": state,
            "reason": reason,
            "topic": topic,
            "since": time_text("since", since),
            "until": time_text("until", until),
            "limit": min(limit, _PAGE_MAX),
        }
        letters: _Letters = []
        before: str | None = None
        while True:
            text, before = await self._session.search("letters", {**filters, "before": before})
            letters += from_json(text, _Letters)
            if before is None or len(letters) >= limit:
                return letters[:limit]

    async def get(self, position: str) -> DeadLetter:
        """A letter whole, decoded where it can be: `0@17`. NotFound."""
        text, _ = await self._session.search("letter", {"position": position})
        return from_json(text, DeadLetter)

    async def redrive(self, positions: str | Iterable[str], *, note: str = "", again: bool = False) -> _Settled:
        """Send letters in again where they came from, 200 at most; what became of each.

        `note` is kept with them; `again`: those that were settled before, too. NotFound: one is not there.
        """
        return await self._settle("redrive_letters", positions, note, again=again)

    async def drop(self, positions: str | Iterable[str], *, note: str = "", again: bool = False) -> _Settled:
        """Count letters as nobody's concern any more: they stay in the topic, and are not listed. As `redrive`."""
        return await self._settle("drop_letters", positions, note, again=again)

    async def _settle(self, call: str, positions: str | Iterable[str], note: str, *, again: bool) -> _Settled:
        named = [positions] if isinstance(positions, str) else [*positions]
        body = {"positions": named, "note": note or None, "again": again or None}
        text, _ = await self._session.search(call, body)
        return from_json(text, _Settled)


_Letters = list[DeadLetter]
_Settled = list[SettledLetter]
