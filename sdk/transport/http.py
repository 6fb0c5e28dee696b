"""A client's way to the engine over a gateway's HTTP API (docs/reference/http.md). Needs the extra `http`."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from backbeat.delivery.kafka import logger
from backbeat.errors import InvalidParameters, Rejected, Timeout, Unavailable
from backbeat.payload.values import id_text
from backbeat.schemas import bodies
from backbeat.schemas.errors import UnknownSchemaError
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.replies import Reason, ReplyRecord
from backbeat.transport.base import checked, written
from backbeat.transport.busy import until_taken
from backbeat.transport.call_slots import CallSlots
from backbeat.transport.connecting import Home
from backbeat.transport.events import follow
from backbeat.transport.failed_signals import FailedSignals
from backbeat.transport.http_searches import SEARCHES, read_search
from backbeat.transport.http_values import (
    IncompatibleGatewayError,
    as_uuid,
    read_users,
    read_value,
    refusal,
)
from backbeat.transport.http_words import (
    CLIENT_HEADER,
    KEY_HEADER,
    NEXT_HEADER,
    PARTITIONS_HEADER,
    PREFER_HEADER,
    RETRY_AFTER_HEADER,
    STALE_HEADER,
    TID_HEADER,
    caller_headers,
    client_header,
    timeout_advice,
)
from backbeat.transport.kafka import unknown_user

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

_OK_MAX = 299
_CONNECT_SECONDS_MAX = 10.0
#: Calls under way; those that stay for long are counted apart.
_CALLS_MAX = 64
_WAITS_MAX = 512
#: Published signals without an answer, at most; requests of them at the same time.
_UNDER_WAY_MAX = 2_000
_PUBLISHING_MAX = 32
_PUBLISH_SECONDS_MAX = 60.0
_AGAIN_SECONDS = 0.5
_FLUSH_SECONDS_MAX = 10.0
#: In place of a client application's id: none is named.
_ALL_CLIENTS = ""
_COMMANDS, _QUERIES, _SCHEMAS = "/commands", "/queries", "/schemas/"


class HttpTransport:
    """Transport through a gateway, as the client application of this name or id."""

    def __init__(
        self, url: str, client: str, token: str | None = None, person: str | None = None, reason: str = ""
    ) -> None:
        """`person`: name of a person, whose are the token and the reason; `client`: whom it is about, empty: all."""
        self._url = url.rstrip("/")
        self._client = client
        self._token = token
        self._person = person
        self._reason = reason
        self._session: aiohttp.ClientSession | None = None
        self._users: dict[str, bytes] = {}
        self._user_id = b""
        self._partitions = 0
        self._publishing: set[asyncio.Task[None]] = set()
        self._may_publish = asyncio.Semaphore(_PUBLISHING_MAX)
        self._calls, self._long_calls, self._schema_calls = map(CallSlots, (_CALLS_MAX, _WAITS_MAX, _CALLS_MAX))
        self._failed = FailedSignals("The gateway")
        self._home: Home

    async def start(self) -> None:
        """Connect, and load the client applications; nothing when it is connected."""
        if self._session is not None and not self._home.is_inherited:
            self._home.check()
            return
        try:
            import aiohttp  # noqa: PLC0415 - an extra: only a client over HTTP needs it
        except ImportError as error:
            raise ImportError('A client over HTTP needs `pip install "backbeat[http]"`') from error
        self._user_id = as_uuid(self._client) or b""
        self._home = Home()
        self._session = aiohttp.ClientSession(
            # Bounded by the slots of calls.
            connector=aiohttp.TCPConnector(limit=0),
            headers=caller_headers(self._token, self._person, self._reason),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS_MAX),
        )
        self._home.keep(self._session)
        try:
            await self.refresh()
            if self._user_id and self._user_id not in self._users.values():
                raise unknown_user(self._client, self._users)  # noqa: TRY301 - the session is closed below
            if self._client or self._person is None:
                self._user_id = self.user_id(self._client)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Send published signals, and disconnect. Nothing in a forked process: the connections are the parent's."""
        if self._session is None or self._home.is_inherited:
            return
        self._home.check()
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=_FLUSH_SECONDS_MAX)
        if (failure := self._failed.take()) is not None:
            logger.error("%s", failure)
        if self._publishing:
            logger.error("the gateway has not answered %d signals that were published", len(self._publishing))
        for task in tuple(self._publishing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._session.close()
        self._session = None

    def now(self) -> float:
        """The host's time."""
        return time.time()

    @property
    def partitions(self) -> int:
        """Number of partitions that commands have. Unavailable: the gateway does not know it."""
        if not self._partitions:
            raise Unavailable(
                f"The gateway {self._url} does not say how many partitions there are: it has not reached Kafka yet, or "
                "its version is older than this client's"
            )
        return self._partitions

    def user_id(self, client: str) -> bytes:
        """The id of a client application by its name or its id."""
        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        client_id = self._users.get(client) or as_uuid(client)
        if client_id is None:
            raise unknown_user(client, self._users)
        return client_id

    def users(self) -> Mapping[str, bytes]:
        """Ids of the client applications by name, as last loaded."""
        return self._users

    async def refresh(self) -> None:
        """Load the client applications and the number of partitions."""
        text, headers = await self._text("/users", _CONNECT_SECONDS_MAX, "users")
        self._users = read_users(text)
        partitions = headers.get(PARTITIONS_HEADER, "")
        self._partitions = int(partitions) if partitions.isdecimal() else 0

    # --- commands ----------------------------------------------------------------------------------------------------

    async def command(self, command: AnyCommand, timeout: float, operation: str, *, key: str | None = None) -> Any:
        """Send a command and await its answer. InvalidParameters: only a client of Kafka may send it."""
        if command.user_id is None and self._person is None:
            kind = type(command).__name__
            message = f"A gateway takes no {kind} for all client applications; a client of Kafka sends it"
            raise InvalidParameters(Reason.INVALID_PARAMETERS, message, kind, "one for this client application")
        headers = {TID_HEADER: command.tid} if command.tid else {}
        if command.user_id is None:
            headers[CLIENT_HEADER] = _ALL_CLIENTS
        if key is not None and command.body_hash is not None:
            headers[KEY_HEADER] = quote(key, safe="")
        (answer,) = await self._send(_COMMANDS, written(bodies.write, command), timeout, operation, headers)
        return answer

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Send a signal in the background. It always has a key: so it can be repeated, and its node's id is known."""
        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()
        if len(self._publishing) >= _UNDER_WAY_MAX:
            raise BufferError(f"{_UNDER_WAY_MAX} signals wait for the gateway")
        if key is None:
            key = uuid.uuid4().hex
            command_id = ids.command_id(self._user_id, key.encode())
            command = msgspec.structs.replace(command, id=command_id, body_hash=os.urandom(16))
        task = asyncio.get_running_loop().create_task(self._publish(command, key))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)
        return ids.node_id(command.workflow_id, command.id, 0)

    async def _publish(self, command: Signal, key: str) -> None:
        ends_at = time.monotonic() + _PUBLISH_SECONDS_MAX
        operation = f"signal {command.node.name!r}"
        while True:
            try:
                async with self._may_publish:
                    await self.command(command, max(0.1, ends_at - time.monotonic()), operation, key=key)
            except (Timeout, Unavailable) as error:
                if time.monotonic() + _AGAIN_SECONDS >= ends_at:
                    self._failed.note(str(error))
                    return
                await asyncio.sleep(_AGAIN_SECONDS)
            except Rejected as error:
                self._failed.note(str(error))
                return
            else:
                return

    def under_way(self) -> int:
        """Number of published signals without an answer."""
        return len(self._publishing)

    async def flush(self, timeout: float) -> None:
        """Wait until all published signals are answered. Unavailable: one was refused. Timeout."""
        if self._session is not None:
            self._home.check()
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=timeout)
        if (failure := self._failed.take()) is not None:
            raise failure
        if self._publishing:
            raise Timeout(f"The gateway has not answered {len(self._publishing)} signals within {timeout:g} s")

    # --- queries -----------------------------------------------------------------------------------------------------

    async def query(self, query: queries.AnyQuery, timeout: float, operation: str) -> list[Any]:
        """Send a query and await all parts of its answer."""
        if query.user_id is None and self._person is None:
            kind = f"{type(query).__name__} for all client applications"
            raise Unavailable(f"{operation}: a gateway answers no {kind}; a client of Kafka asks it")
        body = written(bodies.write, query)
        headers = {TID_HEADER: query.tid} if query.tid else {}
        if query.user_id is None:
            headers[CLIENT_HEADER] = _ALL_CLIENTS
        if not isinstance(query, queries.WaitNode):
            return await self._send(_QUERIES, body, timeout, operation, headers)
        wait_seconds = max(0.0, query.deadline / 1000 - self.now())  # a duration: the gateway's clock may differ
        try:
            headers[PREFER_HEADER] = f"wait={wait_seconds:.3f}"
            return await self._send(_QUERIES, body, timeout, operation, headers)
        except Unavailable as error:
            if self._session is None or isinstance(error, IncompatibleGatewayError):
                raise
            # A restarted gateway is back within moments: a wait outlives its restart, as it outlives an engine's.
            await asyncio.sleep(min(_AGAIN_SECONDS, wait_seconds))
            raise Timeout(f"{operation}: {error}") from error

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """A page of a search."""
        called, rest = SEARCHES[call], dict(filters)
        path = called.url(rest)
        if called.method == "GET":
            operation = f"search of {call}"
            request: dict[str, Any] = {"params": {name: str(value) for name, value in rest.items()}}
        else:
            operation = call.replace("_", " ")
            request = {"data": msgspec.json.encode(rest), "headers": {"Content-Type": "application/json"}}
        text, headers = await self._text(path, timeout, operation, called.method, **request)
        if called.is_page:
            return text, headers.get(NEXT_HEADER)
        if STALE_HEADER in headers:
            logger.warning("a search of %s may miss what was written in the last %s s", call, headers[STALE_HEADER])
        return read_search(call, text)

    def follow(self, workflow_id: bytes, after: str | None) -> AsyncIterator[Any]:
        """The changes of a workflow, as server-sent events. A connection that ends is opened anew, where it was."""
        url = f"{self._url}/workflows/{id_text(workflow_id)}/changes"
        return follow(self._session, url, client_header(self._user_id), after)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _text(
        self, path: str, timeout: float, operation: str, method: str = "GET", **request: Any
    ) -> tuple[bytes, Mapping[str, str]]:
        """JSON text and headers of an answer."""

        async def read(response: aiohttp.ClientResponse) -> tuple[bytes, Mapping[str, str]]:
            return await response.read(), response.headers

        return await self._request(method, path, read, timeout, operation, **request)

    async def _send(self, path: str, body: bytes, timeout: float, operation: str, headers: dict[str, str]) -> list[Any]:
        """The answers to a POST of a record."""
        headers["Content-Type"] = bodies.MEDIA_TYPE
        return checked(await self._request("POST", path, self._replies, timeout, operation, headers=headers, data=body))

    async def _request(
        self,
        method: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[T]],
        timeout: float,
        operation: str,
        *,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> T:
        """The response of a call, read by `read`. Raises the refusal's error; Timeout; Unavailable.

        While the gateway has too many calls of this client (429) it is sent again, within the timeout.
        """

        async def call(seconds: float) -> T:
            return await self._call(method, path, read, seconds, operation, headers=headers, **request)

        return await until_taken(call, timeout)

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[T]],
        timeout: float,
        operation: str,
        *,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> T:
        """The same, sent once. BusyError: the gateway has too many calls of this client."""
        import aiohttp  # noqa: PLC0415 - as in `start`, before every call

        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()
        headers = {**client_header(self._user_id), **(headers or {})}
        if headers.get(CLIENT_HEADER) == _ALL_CLIENTS:
            del headers[CLIENT_HEADER]
        # A schema is asked for while the answer that needs it holds a slot.
        calls = self._schema_calls if path.startswith(_SCHEMAS) else self._calls
        slots = self._long_calls if PREFER_HEADER in headers else calls
        is_sent = False
        try:
            async with asyncio.timeout(timeout), slots:
                is_sent = True
                async with self._session.request(method, self._url + path, headers=headers, **request) as response:
                    if response.status <= _OK_MAX:
                        return await read(response)
                    text = await response.read()
        except TimeoutError as error:
            if not is_sent:
                message = f"{operation}: not sent within {timeout:.3g} s, behind {_CALLS_MAX} calls of this client"
                raise Timeout(f"{message}. What to do: make fewer at once") from error
            advice = timeout_advice(is_command=path == _COMMANDS, is_read=method == "GET" or path == _QUERIES)
            raise Timeout(f"{operation}: no answer within {timeout:.3g} s. {advice}") from error
        except aiohttp.ClientError as error:
            is_other = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError)
            advice = ". Is this Kafka's port? A client of Kafka is given host:port without http://" if is_other else ""
            raise Unavailable(f"The gateway {self._url} cannot be reached: {error}{advice}") from error
        is_record, retry_after = path in (_COMMANDS, _QUERIES), response.headers.get(RETRY_AFTER_HEADER, "")
        raise refusal(response.status, text, operation, is_record=is_record, retry_after=retry_after)

    async def _replies(self, response: aiohttp.ClientResponse) -> list[Any]:
        """The answers in a response, in parts."""
        if response.content_type != bodies.MEDIA_TYPE:
            message = f"What answers at {self._url} is no gateway of Backbeat: {response.content_type}"
            raise IncompatibleGatewayError(message)
        answers, content = [], response.content
        try:
            while True:
                (length,) = bodies.LENGTH.unpack(await content.readexactly(bodies.LENGTH.size))
                reply = await self._reply(await content.readexactly(length))
                answers.append(reply.answer)
                if reply.last:
                    break
        except asyncio.IncompleteReadError as error:
            raise Unavailable(f"The answer of the gateway {self._url} broke off after {len(answers)} parts") from error
        # Read to the end: the next call reuses the connection.
        await content.read()
        return answers

    async def _reply(self, reply: bytes) -> ReplyRecord:
        """A decoded reply; one of another version by the gateway's schema of it."""
        try:
            try:
                return bodies.read_reply(reply)
            except UnknownSchemaError as error:
                text, _ = await self._text(f"{_SCHEMAS}{error.fingerprint.hex()}", _CONNECT_SECONDS_MAX, "a schema")
                bodies.learn(read_value(text))
                return bodies.read_reply(reply)
        except (ValueError, RecursionError, Rejected) as error:
            raise IncompatibleGatewayError(
                f"This client cannot read what the gateway {self._url} answers: {error}. What to do: use a newer client"
            ) from error
