"""Audit: who did what to what, and why. Written before the command is sent, and again with what came of it."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from collections.abc import Reversible
from typing import TYPE_CHECKING

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.people.topic import TopicFollower, TopicWriter
from backbeat.gateway.people.visitor import Visitor
from backbeat.schemas.kafka.topics import AUDIT
from backbeat.schemas.requests.decoding import from_json

if TYPE_CHECKING:
    from confluent_kafka import Message

#: Newest entries that a gateway knows; the topic keeps all of 400 days.
ENTRIES_MAX = 20_000
#: Each entry is two records.
_RECORDS_MAX = 2 * ENTRIES_MAX
_CATCH_UP_SECONDS = 2.0
#: Outcomes beside `refused: …`.
DONE = "done"
UNKNOWN = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Entry of the audit, as `backbeat.audit` has it under its subject's id."""

    id: str
    #: Milliseconds since the epoch.
    at: int
    actor: str
    role: str
    #: Way in: `person`, `client`, `proxy`, `open`; `http`: a person called the API; `cli`: the command line on Kafka
    #: itself, under a name that nobody has checked.
    way: str
    address: str
    action: str
    #: `node`, `workflow`, `job`, `letter` and the like, `call` of the API; and its id and name.
    kind: str
    subject_id: str
    subject_name: str
    workflow_id: str
    client_id: str
    reason: str
    command_id: str
    tid: str
    #: `done`, `refused: …`; empty: nothing was heard of it, and it may have been done.
    outcome: str = UNKNOWN
    #: Ids of all subjects, where there are more than one: `subject_id` is the first.
    subject_ids: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Ids of all that it is about."""
        return self.subject_ids or (self.subject_id,)

    @property
    def about(self) -> tuple[str, ...]:
        """Ids of all that it is about, and of the workflow that this is in."""
        return (*self.subjects, self.workflow_id)


class EntryFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of entries; all must match, and one that is empty matches every entry."""

    actor: str = ""
    #: The whole word.
    action: str = ""
    #: Id of the client application whose it is.
    client_id: str = ""
    #: Milliseconds since the epoch: done then or later, and then or earlier.
    since: int | None = None
    until: int | None = None

    def match(self, entry: Entry) -> bool:
        """True for an entry that matches."""
        return (
            (not self.actor or entry.actor == self.actor)
            and (not self.action or entry.action == self.action)
            and (not self.client_id or entry.client_id == self.client_id)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at <= self.until)
        )


_EVERYTHING = EntryFilters()


class Audit:
    """The newest entries, followed from the topic; and their writer."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        #: Ids of entries by each id that they are about, oldest first: pages ask for those of single ones.
        self._of: dict[str, dict[str, None]] = {}
        self._lock = threading.Lock()
        self._writer = TopicWriter(bootstrap_servers, AUDIT)
        self.follower = TopicFollower(bootstrap_servers, AUDIT, self._take, newest=_RECORDS_MAX)

    async def write(self, entry: Entry) -> None:
        """Write an entry. Unavailable: it cannot be written, so nothing may be done."""
        await asyncio.to_thread(self.put, entry)

    def put(self, entry: Entry) -> None:
        """Write an entry, and block meanwhile. Unavailable."""
        try:
            self._writer.write(entry.subject_id.encode(), msgspec.json.encode(entry))
        except Unavailable as error:
            raise Unavailable(
                f"{error}. Try again when Kafka is back; a missing topic is made by: backbeat topics create."
            ) from error

    async def catch_up(self) -> None:
        """Read what was written before this, if Kafka answers in time."""
        await asyncio.to_thread(self.follower.catch_up, _CATCH_UP_SECONDS)

    def find(self, entry_id: str) -> Entry | None:
        """The entry with this id."""
        return self._entries.get(entry_id)

    def newest(
        self, count: int, *, visitor: Visitor, of: str = "", before: str = "", filters: EntryFilters = _EVERYTHING
    ) -> list[Entry]:
        """Entries that the visitor may see and that match, newest first.

        `of`: about what has this id, or is in this workflow; `before`: older ones than the entry of this id alone, none
        where that is not known any more.
        """
        entries: list[Entry] = []
        with self._lock:
            ids: Reversible[str] = self._of.get(of, {}).keys() if of else self._entries.keys()
            is_behind = not before
            for entry in map(self._entries.__getitem__, reversed(ids)):
                if len(entries) == count:
                    break
                if is_behind and filters.match(entry) and visitor.sees(_bytes(entry.client_id)):
                    entries.append(entry)
                is_behind = is_behind or entry.id == before
        return entries

    def _take(self, message: Message) -> None:
        try:
            entry = from_json(message.value() or b"", Entry)
        except msgspec.MsgspecError:
            # Somebody else's record.
            return
        with self._lock:
            self._entries[entry.id] = entry
            for identity in entry.about:
                self._of.setdefault(identity, {})[entry.id] = None
            if len(self._entries) > ENTRIES_MAX:
                _, oldest = self._entries.popitem(last=False)
                for identity in set(oldest.about):
                    self._of[identity].pop(oldest.id, None)
                    if not self._of[identity]:
                        del self._of[identity]


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return b""


def new_entry_id() -> str:
    """Id of an entry: random."""
    return secrets.token_hex(8)
