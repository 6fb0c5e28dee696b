"""A call as its handler sees it: client, parameters, and the gateway's services."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp.web import Response

from backbeat.errors import Unavailable
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import Parameters, find_id, to_id
from backbeat.gateway.http.preferences import Preferences
from backbeat.gateway.http.presentation import node_json, status_change_json, whole_node_json
from backbeat.gateway.payloads import ANSWER_BYTES_MAX, is_reference, size_of
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.views import NodeView

if TYPE_CHECKING:
    from backbeat.gateway.engine_client import Engine
    from backbeat.gateway.http.routing import Route
    from backbeat.gateway.http.services import Services
    from backbeat.gateway.people.visitor import Visitor
    from backbeat.schemas.kafka.client_registry import RegisteredClient

T = TypeVar("T")

#: Size from which JSON is read off the event loop: megabytes take a second, which other calls would wait.
LARGE_BYTES = 256 * 1024

_KEY_CHARACTERS_MAX = 255

#: Ids of this process's commands: random prefix and counter.
_ID_PREFIX = os.urandom(10)
_count = itertools.count()

_encode = msgspec.json.Encoder().encode
_SUCCESS = _encode({"success": True})


class Call:
    """An authenticated call. `client` is None where the route is open to anybody, and for a person who sees all.

    `person`: who calls; None: the client application itself, or anybody.
    """

    __slots__ = (
        "_command_id",
        "_key",
        "_path",
        "_transport",
        "_turn",
        "body",
        "client",
        "content",
        "headers",
        "outcome",
        "parameters",
        "person",
        "preferences",
        "route",
        "services",
        "tid",
        "user_id",
    )

    def __init__(
        self,
        *,
        services: Services,
        route: Route,
        path: dict[str, str],
        client: RegisteredClient | None,
        parameters: Parameters,
        tid: str,
        key: str | None,
        headers: Mapping[str, str],
        query: str,
        body: bytes,
        preferences: Preferences = Preferences(),  # noqa: B008 - it cannot be changed
        transport: asyncio.Transport | None = None,
        person: Visitor | None = None,
    ) -> None:
        self.services = services
        self.route = route
        self._path = path
        self.client = client
        self.person = person
        self.user_id = b"" if client is None else find_id(client.id) or b""
        #: Query and body; path parameters are read by `segment`.
        self.parameters = parameters
        self.tid = tid
        self._key = key
        self._command_id: bytes | None = None
        #: What came of it, for the audit, where it was answered and not all was done; empty: all was.
        self.outcome = ""
        self._turn: asyncio.Semaphore | None = None
        self._transport = transport
        self.headers = headers
        self.body = body
        #: Query and body unread, for the request hash.
        self.content = query.encode() + b"\n" + body
        self.preferences = preferences
        if key is not None and not route.takes_record and not 0 < len(key) <= _KEY_CHARACTERS_MAX:
            raise errors.invalid(f"An Idempotency-Key has 1 to {_KEY_CHARACTERS_MAX} characters")

    @property
    def engine(self) -> Engine:
        """Client of the engine."""
        return self.services.engine

    @property
    def asker_id(self) -> bytes | None:
        """Id of the client application as which the engine is asked; None: a person does who sees all."""
        return None if self.client is None else self.user_id

    @property
    def path(self) -> dict[str, str]:
        """Path parameters."""
        return self._path

    async def take_turn(self, turns: asyncio.Semaphore) -> None:
        """Wait for one of the semaphore's turns; it is held until `end`."""
        if self._turn is not None:
            return
        await turns.acquire()
        self._turn = turns

    def end(self) -> None:
        """Release the turn, after the answer or a part of it; the next part takes another."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def hang_up(self) -> None:
        """Cut the caller off, whatever it has not read yet."""
        if self._transport is not None:
            self._transport.abort()

    def segment(self, name: str) -> str:
        """Value of a path parameter."""
        return self._path[name]

    def path_id(self, name: str = "id") -> bytes:
        """Id in the path: 400 if it is no UUID, 404 if it was never created here."""
        text = self._path[name]
        identity = to_id(text)
        if not ids.is_ours(identity):
            raise errors.not_found(f"There is no {'workflow' if '/workflows' in self.route.path else 'node'} {text}")
        return identity

    async def read(self, reading: Callable[[], T]) -> T:
        """Result of reading the parameters: off the event loop where they are large."""
        return reading() if len(self.content) < LARGE_BYTES else await asyncio.to_thread(reading)

    async def store(self, *texts: bytes) -> list[bytes]:
        """Payloads for the engine, large ones stored (`payloads`). 503."""
        try:
            return await self.services.payloads.store(texts)
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    async def whole_nodes(self, views: list[NodeView]) -> list[NodeView]:
        """Nodes with their large client data loaded (`payloads`). 400: too much for one answer; 503."""
        indexes = [index for index, view in enumerate(views) if is_reference(view.client_data)]
        if not indexes:
            return views
        texts = await self._load([views[index].client_data for index in indexes])
        loaded = list(views)
        for index, text in zip(indexes, texts, strict=True):
            loaded[index] = msgspec.structs.replace(views[index], client_data=text)
        return loaded

    async def whole_changes(self, changes: list[StatusChange]) -> list[StatusChange]:
        """Status changes with their large responses loaded. 400, 503."""
        indexes = [index for index, change in enumerate(changes) if is_reference(change.response)]
        if not indexes:
            return changes
        texts = await self._load([changes[index].response or b"" for index in indexes])
        loaded = list(changes)
        for index, text in zip(indexes, texts, strict=True):
            loaded[index] = msgspec.structs.replace(changes[index], response=text)
        return loaded

    async def _load(self, texts: list[bytes]) -> list[bytes]:
        size = sum(map(size_of, texts))
        if size > ANSWER_BYTES_MAX:
            raise errors.invalid(
                f"The answer would have {size} bytes of large client data or responses; {ANSWER_BYTES_MAX} is the "
                "most. Ask for pages (limit and after, or per_page and page)"
            )
        if len(texts) > 1:
            await self.take_turn(self.services.large_answers)
        try:
            return [await self.services.payloads.load_or_reference(text) for text in texts]
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    def node_json(self, view: NodeView) -> dict[str, Any]:
        """JSON of a node, with the fields that the call's preferences ask for."""
        return whole_node_json(view) if self.preferences.whole else node_json(view)

    def status_change_json(self, node_id: bytes, change: StatusChange) -> dict[str, Any]:
        """JSON of a status change, likewise."""
        fields = status_change_json(node_id, change)
        if self.preferences.whole and change.response is None:
            fields["response"] = None
        return fields

    @property
    def has_key(self) -> bool:
        """True where it has an Idempotency-Key: a repeat changes nothing."""
        return self._key is not None

    @property
    def command_id(self) -> bytes:
        """Id of its command: from the key, of a record the same as over Kafka, so that a repeat may come either way."""
        if self._command_id is None:
            self._command_id = _next_command_id() if self._key is None else self._id_of_key(self._key)
        return self._command_id

    def _id_of_key(self, key: str) -> bytes:
        text = unquote(key) if self.route.takes_record else f"http:{key}"
        return ids.command_id(self._key_owner(), text.encode(errors="surrogateescape"))

    def identity(self) -> dict[str, Any]:
        """Fields of its command: id, user, transaction id, and the request hash where there is a key."""
        fields = {"id": self.command_id, "user_id": self.asker_id, "tid": self.tid}
        return fields | {"body_hash": self._request_hash()} if self.has_key else fields

    def _key_owner(self) -> bytes:
        """Text whose keys are apart from others': a client's id; a person's name, and the client that it is about."""
        return self.user_id if self.person is None else b"person:" + self.person.name.encode() + self.user_id

    def _request_hash(self) -> bytes:
        """16 bytes that depend on everything requested; the same for old and new paths."""
        path = [f"{name}={value}".encode() for name, value in sorted(self._path.items())]
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.route.method.encode(), self.route.path.encode(), *path, self.content):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        return digest.digest()


def _next_command_id() -> bytes:
    """Id of a command without a key: unique."""
    return _ID_PREFIX + next(_count).to_bytes(6, "big")


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(body=_encode(value), status=status, headers=headers, content_type="application/json")


def success() -> Response:
    """Answer of most changes."""
    return Response(body=_SUCCESS, content_type="application/json")
