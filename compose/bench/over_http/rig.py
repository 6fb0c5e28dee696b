"""Stack of the benchmark's HTTP figures: with a gateway, and a client application that is served by it."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Self

import aiohttp
import msgspec
import psutil
from sqlalchemy import Engine

from backbeat.compose.bench.over_http.client import Load, LoadResult
from backbeat.compose.bench.rig import Rig
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.stack import Stack
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.gateway.projection.storage.facts import read_positions
from backbeat.schemas.kafka.client_registry import RegisteredClient
from backbeat.schemas.kafka.topics import STATE
from backbeat.schemas.requests.decoding import from_json
from backbeat.streams.kafka.registration import add_client

#: The client application that is served by webhook.
CLIENT = "bench-http"
#: The processes whose processor time counts; the client application's is shown beside it.
SERVING = ("gateway", "engine", "broker")
_START_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.03
_OK = 200


class HttpRig(Rig):
    """A rig with one gateway. `client`, in what it measures, is the client application."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack(ephemeral=True, long_lived=True, engines=0, gateways=[[]])
        #: The client application as the registry has it.
        self.registered: RegisteredClient
        #: The gateway's projection, to be read without asking the gateway.
        self.database: Engine
        self._application: ChildProcess | None = None
        self._session: aiohttp.ClientSession
        self._resources: AsyncExitStack
        self._control = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            # A load has no bound here; the client application has bounds of its own.
            unbounded = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
            )
            self._session = await resources.enter_async_context(unbounded)
            await super().__aenter__()
            self._resources = resources.pop_all()
        return self

    async def __aexit__(self, *ended: object) -> None:
        async with self._resources:
            await super().__aexit__(*ended)
            self.database.dispose()

    async def _start(self) -> None:
        await super()._start()
        port = free_port(self.stack.http_ports)
        self._control = f"http://{LOOPBACK}:{port}"
        self.registered = await asyncio.to_thread(
            add_client,
            self.stack.bootstrap_servers,
            CLIENT,
            decision_endpoint=f"{self._control}/decision",
            activity_endpoint=f"{self._control}/activity",
            notification_endpoint=f"{self._control}/notification",
            partitions=self.partitions,
        )
        arguments = (self.stack.http_urls[0], self.registered.id, str(port))
        self._application = self.stack.module_process(
            "client application", "backbeat.compose.bench.over_http.client", *arguments
        )
        self._application.start()
        async with asyncio.timeout(_START_SECONDS_MAX):
            await self._until_known()
            await self._until_listening()
        self.database = self.open_database(0)

    def open_database(self, gateway: int) -> Engine:
        """The projection of a gateway."""
        tables = self.stack.data_dir / f"gateway-{gateway + 1}" / "projection.sqlite"
        return open_engine(parse_url(f"sqlite:///{tables}"))

    async def _until_known(self) -> None:
        """Wait for the gateway's registry, which follows the topic."""
        while True:
            status, _ = await self.call("GET", "/workflows/names")
            if status == _OK:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until_listening(self) -> None:
        while True:
            self._look_at_parts()
            try:
                await self.load("webhooks")
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    def _stop(self) -> None:
        if self._application is not None:
            self._application.stop()
        super()._stop()

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call the gateway as the client application; status and content of the response."""
        headers = {"Client-Id": self.registered.id, "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        url = self.stack.http_urls[0] + path
        async with self._session.request(method, url, data=data, headers=headers) as response:
            return response.status, msgspec.json.decode(await response.read())

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that take part; `client` is the client application."""
        processes = super().processes()
        processes["gateway"] = psutil.Process(self.stack.gateway_pids[0])
        if self._application is not None and self._application.pid:
            processes["client"] = psutil.Process(self._application.pid)
        return processes

    async def load(self, name: str, **parameters: int) -> LoadResult:
        """Run a load of the client application to its end."""
        text = msgspec.json.encode(Load(**parameters))
        async with self._session.post(f"{self._control}/load/{name}", data=text) as response:
            body = await response.read()
            if response.status != _OK:
                raise SetupError(f"the load {name!r} failed: {body.decode(errors='replace')}")
            return from_json(body, LoadResult)

    async def until_settled(self) -> None:
        """Wait until all that is in the log is applied, committed, and in the gateway's projection."""
        # A search has the engine commit at once: the cost of processes that only wait should not count.
        await self.call("GET", "/workflows/search?name=none")
        await self.until_committed()

        await self.until_projected(self.database)

    async def until_projected(self, database: Engine) -> None:
        """Wait until all that is committed is in a gateway's projection."""
        while behind := self._unprojected(database):
            # A million records take their time: it is enough that it goes on.
            await self.until(partial(self._is_projected_to, database, behind - 1), "the projection")

    def _is_projected_to(self, database: Engine, behind: int) -> bool:
        return self._unprojected(database) <= behind

    def _unprojected(self, database: Engine) -> int:
        """Offsets of the changelog that a projection is behind."""
        with database.connect() as connection, connection.begin():
            positions = read_positions(connection)
        return sum(max(0, end - positions.get(number, 0)) for number, end in self.ends(STATE).items())

    def _look_at_parts(self) -> None:
        super()._look_at_parts()
        if self._application is not None:
            self._application.check()
