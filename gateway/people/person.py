"""Person who may log in to the console: a record of `backbeat.people`, under the name as its key."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from backbeat.errors import Unavailable
from backbeat.gateway.people.topic import TopicFollower, TopicWriter
from backbeat.gateway.people.visitor import Role
from backbeat.schemas.kafka.topics import PEOPLE

if TYPE_CHECKING:
    from confluent_kafka import Message

_NAME = re.compile(r"[\w.@+-]{1,100}")
_READ_SECONDS = 30.0


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


class People:
    """People by name, followed from the topic; and their writer."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._by_name: dict[str, Person] = {}
        self._writer = TopicWriter(bootstrap_servers, PEOPLE)
        self.follower = TopicFollower(bootstrap_servers, PEOPLE, self._take)

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
                person = msgspec.json.decode(value, type=Person)
            except msgspec.MsgspecError:
                # Somebody else's record lets nobody in.
                person = None
        if person is None or person.name != name:
            self._by_name.pop(name, None)
        else:
            self._by_name[name] = person
