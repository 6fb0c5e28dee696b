"""One call, as its handler sees it: who asks, what is said, and the parts of the gateway that can answer."""

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
    from backbeat.schemas.kafka.client_registry import RegisteredClient

T = TypeVar("T")

#: What is read beside the event loop: megabytes of JSON take a second, and others would wait.
LARGE_BYTES = 256 * 1024

_KEY_CHARACTERS_MAX = 255

#: What the ids of this process's commands begin with, and how many there were.
_OWN = os.urandom(10)
_count = itertools.count()

_encode = msgspec.json.Encoder().encode
_SUCCESS = _encode({"success": True})


class Call:
    """A call that was let in. `client` is None only where the route is open to anybody."""

    __slots__ = (
        "_key",
        "_path",
        "_turn",
        "body",
        "client",
        "headers",
        "parameters",
        "parts",
        "route",
        "said",
        "tid",
        "user_id",
        "wishes",
    )

    def __init__(
        self,
        *,
        parts: Services,
        route: Route,
        path: dict[str, str],
        client: RegisteredClient | None,
        parameters: Parameters,
        tid: str,
        key: str | None,
        headers: Mapping[str, str],
        query: str,
        body: bytes,
        wishes: Preferences = Preferences(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.parts = parts
        self.route = route
        self._path = path
        self.client = client
        self.user_id = b"" if client is None else find_id(client.id) or b""
        #: query and body; what stands in the path is asked for by name
        self.parameters = parameters
        self.tid = tid
        self._key = key
        self._turn: asyncio.Semaphore | None = None
        self.headers = headers
        self.body = body
        #: query and body as they came
        self.said = query.encode() + b"\n" + body
        self.wishes = wishes
        if key is not None and not route.takes_record and not 0 < len(key) <= _KEY_CHARACTERS_MAX:
            raise errors.invalid(f"An Idempotency-Key has 1 to {_KEY_CHARACTERS_MAX} characters")

    @property
    def engine(self) -> Engine:
        """What asks the engine."""
        return self.parts.engine

    async def take_turn(self, turns: asyncio.Semaphore) -> None:
        """Wait until few enough others do the same; the turn lasts until the call is answered."""
        if self._turn is not None:
            return
        await turns.acquire()
        self._turn = turns

    def end(self) -> None:
        """It is answered."""
        if self._turn is not None:
            self._turn.release()

    def segment(self, name: str) -> str:
        """A parameter of the path."""
        return self._path[name]

    def path_id(self, name: str = "id") -> bytes:
        """An id in the path: 400 for what is none, 404 for one that was never made here."""
        text = self._path[name]
        identity = to_id(text)
        if not ids.is_ours(identity):
            raise errors.not_found(f"There is no {'workflow' if '/workflows' in self.route.path else 'node'} {text}")
        return identity

    async def read(self, reading: Callable[[], T]) -> T:
        """What is read from the parameters: beside the event loop where they are large."""
        return reading() if len(self.said) < LARGE_BYTES else await asyncio.to_thread(reading)

    async def keep(self, *texts: bytes) -> list[bytes]:
        """Payloads as they go to the engine (`payloads`). 503."""
        try:
            return await self.parts.payloads.keep(texts)
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    async def whole_nodes(self, views: list[NodeView]) -> list[NodeView]:
        """Nodes with their client data whole (`payloads`). 400 where that would be too much at once, 503."""
        large = [index for index, view in enumerate(views) if is_reference(view.client_data)]
        if not large:
            return views
        texts = await self._whole([views[index].client_data for index in large])
        whole = list(views)
        for index, text in zip(large, texts, strict=True):
            whole[index] = msgspec.structs.replace(views[index], client_data=text)
        return whole

    async def whole_changes(self, changes: list[StatusChange]) -> list[StatusChange]:
        """Status changes with their responses whole. 400, 503."""
        large = [index for index, change in enumerate(changes) if is_reference(change.response)]
        if not large:
            return changes
        texts = await self._whole([changes[index].response or b"" for index in large])
        whole = list(changes)
        for index, text in zip(large, texts, strict=True):
            whole[index] = msgspec.structs.replace(changes[index], response=text)
        return whole

    async def _whole(self, texts: list[bytes]) -> list[bytes]:
        size = sum(map(size_of, texts))
        if size > ANSWER_BYTES_MAX:
            raise errors.invalid(
                f"The answer would have {size} bytes of large client data or responses; {ANSWER_BYTES_MAX} is the "
                "most. Ask for pages (limit and after, or per_page and page)"
            )
        if len(texts) > 1:
            await self.take_turn(self.parts.large_answers)
        try:
            return [await self.parts.payloads.shown(text) for text in texts]
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    def node_json(self, view: NodeView) -> dict[str, Any]:
        """A node as this call is answered."""
        return whole_node_json(view) if self.wishes.whole else node_json(view)

    def status_change_json(self, node_id: bytes, change: StatusChange) -> dict[str, Any]:
        """An entry of a node's history as this call is answered."""
        found = status_change_json(node_id, change)
        if self.wishes.whole and change.response is None:
            found["response"] = None
        return found

    def identity(self) -> dict[str, Any]:
        """What every command carries: its id, who asks, and with a key what was asked."""
        if self._key is None:
            return {"id": next_command_id(), "user_id": self.user_id, "tid": self.tid}
        return {
            "id": ids.command_id(self.user_id, b"http:" + self._key.encode(errors="surrogateescape")),
            "user_id": self.user_id,
            "tid": self.tid,
            "body_hash": self._asked(),
        }

    def command_id(self) -> bytes | None:
        """The id of a command that came as a record with a key, as over Kafka: a repeat may come either way."""
        if self._key is None:
            return None
        return ids.command_id(self.user_id, unquote(self._key).encode(errors="surrogateescape"))

    def _asked(self) -> bytes:
        """16 bytes that differ when anything that was asked differs; the same under old and new paths."""
        path = [f"{name}={value}".encode() for name, value in sorted(self._path.items())]
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.route.method.encode(), self.route.path.encode(), *path, self.said):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        return digest.digest()


def next_command_id() -> bytes:
    """The id of a command that no key names: none like it was before, here or elsewhere."""
    return _OWN + next(_count).to_bytes(6, "big")


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(body=_encode(value), status=status, headers=headers, content_type="application/json")


def success() -> Response:
    """What most changes are answered with."""
    return Response(body=_SUCCESS, content_type="application/json")
