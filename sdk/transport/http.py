"""A client's way to the engine over a gateway's HTTP API (docs/reference/http.md). Needs the extra `http`."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from backbeat.delivery.kafka import logger
from backbeat.errors import Rejected, Timeout, Unavailable
from backbeat.payload.values import id_text
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.jobs import Jobs
from backbeat.schemas.messages.replies import History, Nodes
from backbeat.schemas.messages.schedules import Schedules
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.transport.connecting import Home
from backbeat.transport.http_calls import command_call, command_value
from backbeat.transport.http_jobs import read_job, read_jobs
from backbeat.transport.http_limits import read_limits
from backbeat.transport.http_schedules import read_schedule, read_schedules, schedule_path
from backbeat.transport.http_values import (
    read_history,
    read_node,
    read_nodes,
    read_users,
    read_value,
    read_workflow,
    read_workflows,
    refusal,
)
from backbeat.transport.http_words import (
    ASKED_HEADER,
    CLIENT_HEADER,
    KEY_HEADER,
    NEXT_HEADER,
    PREFER_HEADER,
    STALE_HEADER,
    TID_HEADER,
    WHOLE_HEADER,
    HttpCall,
)
from backbeat.transport.kafka import unknown_user

if TYPE_CHECKING:
    import aiohttp

_OK_MAX = 299
_PAGE_NODES = 5_000
_CONNECT_SECONDS_MAX = 10.0
_CONNECTIONS_MAX = 64
#: Published signals that are not answered yet, at most; so many of them are asked at once.
_UNDER_WAY_MAX = 2_000
_PUBLISHING_MAX = 32
_PUBLISH_SECONDS_MAX = 60.0
_AGAIN_SECONDS = 0.5
_FLUSH_SECONDS_MAX = 10.0
_ENDED = CLOSED | {ServerStatus.RETRIES_EXHAUSTED}
_SEARCHES = {"workflows": "/workflows/search", "activities": "/activities/search", "names": "/workflows/names"}


def is_http(address: str) -> bool:
    """Whether an address is a gateway's URL."""
    return address.startswith(("http://", "https://"))


class HttpTransport:
    """Speaks to the engine through a gateway, as the client application of this name or id."""

    def __init__(self, url: str, client: str, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = client
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._users: dict[str, bytes] = {}
        self._own = b""
        self._publishing: set[asyncio.Task[None]] = set()
        self._may_publish = asyncio.Semaphore(_PUBLISHING_MAX)
        self._failed: list[Exception] = []
        self._home: Home

    async def start(self) -> None:
        """Connect, and learn who the client applications are; nothing where it is connected."""
        if self._session is not None and not self._home.is_inherited:
            self._home.check()
            return
        try:
            import aiohttp  # noqa: PLC0415 - an extra: only who speaks HTTP has it
        except ImportError as error:
            raise ImportError('A client over HTTP needs `pip install "backbeat[http]"`') from error
        headers = {WHOLE_HEADER: "1"}
        if self._token is not None:
            headers["Authorization"] = f'Token token="{self._token}"'
        self._own = _as_uuid(self._client) or b""
        self._home = Home()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS_MAX),
        )
        self._home.keep(self._session)
        try:
            await self.refresh()
            if self._own and self._own not in self._users.values():
                raise unknown_user(self._client, self._users)  # noqa: TRY301 - the session is closed below
            self._own = self.user_id(self._client)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Send what was published, and leave. In a forked process nothing: all of it is the parent's."""
        if self._session is None or self._home.is_inherited:
            return
        self._home.check()
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=_FLUSH_SECONDS_MAX)
        failed, self._failed = self._failed, []
        left = len(self._publishing) + len(failed)
        if left:
            logger.error("the gateway has not taken %d signals that were published", left)
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
        """The gateway asks all of them, and gives one answer."""
        return 1

    def user_id(self, client: str) -> bytes:
        """The id of a client application by its name; an id is one."""
        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        found = self._users.get(client) or _as_uuid(client)
        if found is None:
            raise unknown_user(client, self._users)
        return found

    def users(self) -> Mapping[str, bytes]:
        """The ids of the client applications by their names, as they were last asked for."""
        return self._users

    async def refresh(self) -> None:
        """Ask who the client applications are."""
        text, _ = await self._ask(HttpCall("GET", "/users"), _CONNECT_SECONDS_MAX, "users")
        self._users = read_users(text)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def command(self, command: AnyCommand, timeout: float, what: str, *, key: str | None = None) -> Any:
        """Make the call that a command is, and give what it answers as the core would."""
        call = command_call(command)
        headers = {TID_HEADER: command.tid} if command.tid else {}
        if key is not None and command.body_hash is not None:
            headers |= {KEY_HEADER: _quoted(key), ASKED_HEADER: command.body_hash.hex()}
        text, _ = await self._ask(call, timeout, what, command.tid, headers)
        return command_value(command, text)

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Send a signal in the background. It has a key in any case: so it can be repeated, and its node has an id."""
        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()
        if len(self._publishing) >= _UNDER_WAY_MAX:
            raise BufferError(f"{_UNDER_WAY_MAX} signals wait for the gateway")
        if key is None:
            key = uuid.uuid4().hex
            command_id = ids.command_id(self._own, key.encode())
            command = msgspec.structs.replace(command, id=command_id, body_hash=os.urandom(16))
        task = asyncio.get_running_loop().create_task(self._publish(command, key))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)
        return ids.node_id(command.workflow_id, command.id, 0)

    async def _publish(self, command: Signal, key: str) -> None:
        ends_at = time.monotonic() + _PUBLISH_SECONDS_MAX
        what = f"signal {command.node.name!r}"
        while True:
            try:
                async with self._may_publish:
                    await self.command(command, max(0.1, ends_at - time.monotonic()), what, key=key)
            except (Timeout, Unavailable) as error:
                if time.monotonic() + _AGAIN_SECONDS >= ends_at:
                    self._failed.append(error)
                    return
                await asyncio.sleep(_AGAIN_SECONDS)
            except Rejected as error:
                self._failed.append(error)
                return
            else:
                return

    def under_way(self) -> int:
        """How many published signals have not been answered."""
        return len(self._publishing)

    async def flush(self, timeout: float) -> None:
        """Wait until everything published is answered."""
        if self._session is not None:
            self._home.check()
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=timeout)
        failed, self._failed = self._failed, []
        if failed:
            raise Unavailable(f"The gateway did not take {len(failed)} of the published signals: {failed[0]}")
        if self._publishing:
            raise Timeout(f"The gateway has not answered {len(self._publishing)} signals within {timeout:g} s")

    # --- queries -----------------------------------------------------------------------------------------------------

    async def query(self, query: queries.AnyQuery, timeout: float, what: str) -> list[Any]:
        """Make the calls that a query is, and give the parts of its answer."""
        match query:
            case queries.GetWorkflow():
                text, _ = await self._get(f"/workflows/{id_text(query.workflow_id)}", timeout, what, query.tid)
                return [read_workflow(text)]
            case queries.GetNode():
                text, _ = await self._get(f"/activities/{id_text(query.node_id)}", timeout, what, query.tid)
                return [read_node(text)]
            case queries.GetHistory():
                return [await self._history(query.node_id, timeout, what, query.tid)]
            case queries.GetTree():
                return await self._tree(query, timeout, what)
            case queries.WaitNode():
                return await self._wait(query, timeout, what)
            case queries.GetLimits():
                text, _ = await self._get("/limits", timeout, what, query.tid)
                return [read_limits(text)]
            case queries.GetSchedule():
                text, _ = await self._get(schedule_path(query.schedule_id), timeout, what, query.tid)
                return [read_schedule(text)]
            case queries.GetSchedules(partition=queries.ALL_PARTITIONS):
                text, _ = await self._get("/schedules", timeout, what, query.tid)
                return [Schedules(read_schedules(text))]
            case queries.GetJobs(job_id=None) if query.user_id is not None:
                text, _ = await self._get("/jobs", timeout, what, query.tid)
                return [Jobs(read_jobs(text))]
            case queries.GetJobs(job_id=bytes() as job_id) if query.user_id is not None:
                text, _ = await self._get(f"/jobs/{id_text(job_id)}", timeout, what, query.tid)
                return [Jobs((read_job(text),))]
            case _:
                raise Unavailable(
                    f"{what}: a gateway does not answer a {type(query).__name__}; a client of Kafka asks it"
                )

    async def _history(self, node_id: bytes, timeout: float, what: str, tid: str) -> History:
        text, _ = await self._get(f"/activities/{id_text(node_id)}/status_changes", timeout, what, tid)
        return History(read_history(text))

    async def _tree(self, query: queries.GetTree, timeout: float, what: str) -> list[Any]:
        """By the page: a large tree is neither one large answer nor one long silence."""
        ends_at = time.monotonic() + timeout
        path = f"/workflows/{id_text(query.workflow_id)}"
        text, _ = await self._get(path, timeout, what, query.tid)
        parts: list[Any] = [read_workflow(text)]
        path += "/children" if query.top_level_only else "/nodes"
        after = None if query.after is None else id_text(query.after)
        left = query.limit
        while left is None or left > 0:
            wanted = _PAGE_NODES if left is None else min(left, _PAGE_NODES)
            asked = {"limit": str(wanted)} if after is None else {"limit": str(wanted), "after": after}
            text, headers = await self._get(path, ends_at - time.monotonic(), what, query.tid, asked)
            nodes = read_nodes(text)
            parts.append(Nodes(nodes))
            after = headers.get(NEXT_HEADER)
            if after is None:
                break
            left = None if left is None else left - len(nodes)
        return parts

    async def _wait(self, query: queries.WaitNode, timeout: float, what: str) -> list[Any]:
        """The node once it has ended; its history is asked for only then."""
        ends_at = time.monotonic() + timeout
        wait_seconds = max(0.0, query.deadline / 1000 - self.now())
        call = HttpCall("GET", f"/activities/{id_text(query.node_id)}")
        try:
            text, _ = await self._ask(call, timeout, what, query.tid, {PREFER_HEADER: f"wait={wait_seconds:.3f}"})
        except Unavailable as error:
            if self._session is None:
                raise
            # A gateway that is started again is back within moments: a wait outlives it, as it outlives an engine.
            await asyncio.sleep(min(_AGAIN_SECONDS, wait_seconds))
            raise Timeout(f"{what}: {error}") from error
        view = read_node(text)
        if view.server not in _ENDED:
            return [view, History(())]
        left = max(_AGAIN_SECONDS, ends_at - time.monotonic())
        return [view, await self._history(query.node_id, left, what, query.tid)]

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """One page of a search."""
        said = {name: str(value) for name, value in filters.items()}
        text, headers = await self._get(_SEARCHES[call], timeout, f"search of {call}", "", said)
        if STALE_HEADER in headers:
            logger.warning("a search of %s may miss what was written in the last %s s", call, headers[STALE_HEADER])
        match call:
            case "workflows":
                return read_workflows(text)
            case "activities":
                return list(read_nodes(text))
            case _:
                return read_value(text)

    # --- asking ------------------------------------------------------------------------------------------------------

    async def _get(
        self, path: str, timeout: float, what: str, tid: str, query: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        return await self._ask(HttpCall("GET", path, query=query), timeout, what, tid)

    async def _ask(
        self, call: HttpCall, timeout: float, what: str, tid: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """A call's answer and its headers, or what it was refused with."""
        import aiohttp  # noqa: PLC0415 - as in start, which every call comes after

        if self._session is None:
            raise Unavailable("the client is not connected: use `async with Client(…) as client`")
        self._home.check()
        sent = dict(headers or {})
        if tid:
            sent[TID_HEADER] = tid
        if self._own:
            sent[CLIENT_HEADER] = id_text(self._own)
        if call.body is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    call.method, self._url + call.path, data=call.body, params=call.query, headers=sent
                ) as response,
            ):
                text = await response.read()
        except TimeoutError as error:
            again = "It may still be applied; to ask again without doing it twice, use the same idempotency key"
            said = "Is a gateway running?" if call.method == "GET" else again
            raise Timeout(f"{what}: no answer within {timeout:g} s. {said}") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"The gateway {self._url} cannot be reached: {error}") from error
        if response.status > _OK_MAX:
            raise refusal(response.status, text, what)
        return text, response.headers


def _as_uuid(text: str) -> bytes | None:
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None


def _quoted(key: str) -> str:
    """A key as it can stand in a header, whatever it is made of."""
    return quote(key, safe="")
