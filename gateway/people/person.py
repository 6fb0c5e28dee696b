"""Person who may log in to the console: a record of `backbeat.people`, under the name as its key."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.people.topic import TopicFollower, TopicWriter
from backbeat.gateway.people.visitor import Role, Visitor
from backbeat.schemas.kafka.topics import PEOPLE
from backbeat.schemas.requests.decoding import from_json

if TYPE_CHECKING:
    from confluent_kafka import Message

    from backbeat.schemas.kafka.client_registry import ClientRegistry

_NAME = re.compile(r"[\w.@+-]{1,100}")
_READ_SECONDS = 30.0
_CATCH_UP_SECONDS = 2.0


class PersonError(Exception):
    """An invalid person; the text says what to do."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person as `backbeat.people` has it."""

    name: str
    role: Role
    #: SHA-256 of the token, hexadecimal.
    token_hash: str
    #: True: arguments, results and metadata are shown.
    payloads: bool = False
    #: Ids of the clients whose workflows are seen; None: all.
    clients: tuple[str, ...] | None = None
    #: Milliseconds since the epoch; None: never.
    expires_at: int | None = None

    @property
    def is_expired(self) -> bool:
        """True once the token is not taken any more."""
        return self.expires_at is not None and self.expires_at <= time.time_ns() // 1_000_000


def check_name(name: str) -> None:
    """Refuse a name that could be mistaken. PersonError."""
    if not _NAME.fullmatch(name):
        raise PersonError(f"{name[:200]!r} cannot be a person's name: 1 to 100 letters, digits, . _ - + and @.")


def visitor_of(person: Person, registry: ClientRegistry, way: str) -> Visitor:
    """A person as a visitor, who has come in by this way."""
    clients = None
    if person.clients is not None:
        registered = {client.id: client.id_bytes for client in registry.all()}
        clients = frozenset(registered[client_id] for client_id in person.clients if client_id in registered)
    return Visitor(name=person.name, role=person.role, way=way, payloads=person.payloads, clients=clients)


class People:
    """People by name, followed from the topic; and their writer."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._by_name: dict[str, Person] = {}
        self._writer = TopicWriter(bootstrap_servers, PEOPLE)
        self.follower = TopicFollower(bootstrap_servers, PEOPLE, self._take)
        self._catching_up = asyncio.Lock()
        self._next_catch_up: asyncio.Task[None] | None = None

    def by_name(self, name: str) -> Person | None:
        """The person of this name."""
        return self._by_name.get(name)

    def all(self) -> list[Person]:
        """Everybody, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def read(self) -> None:
        """Read all of the topic. Unavailable."""
        if not self.follower.catch_up(_READ_SECONDS):
            raise Unavailable(self.follower.problem or f"{PEOPLE} was not read within {_READ_SECONDS:.0f} s.")

    async def catch_up(self) -> None:
        """Read what was written before this, if Kafka answers within 2 s.

        One read serves all callers before it begins: whoever is not known cannot cause more than one at a time.
        """
        if self._next_catch_up is None:
            self._next_catch_up = asyncio.create_task(self._catch_up())
        await asyncio.shield(self._next_catch_up)

    async def _catch_up(self) -> None:
        async with self._catching_up:
            self._next_catch_up = None
            await asyncio.to_thread(self.follower.catch_up, _CATCH_UP_SECONDS)

    def put(self, person: Person) -> None:
        """Add or change a person. Unavailable."""
        self._writer.write(person.name.encode(), msgspec.json.encode(person))

    def remove(self, name: str) -> None:
        """Remove a person. Unavailable."""
        self._writer.write(name.encode(), None)

    def _take(self, message: Message) -> None:
        name, value = (message.key() or b"").decode(errors="replace"), message.value()
        person = None
        if value is not None:
            try:
                person = from_json(value, Person)
            except (msgspec.MsgspecError, RecursionError):
                # Somebody else's record lets nobody in.
                person = None
        if person is None or person.name != name:
            self._by_name.pop(name, None)
        else:
            self._by_name[name] = person
