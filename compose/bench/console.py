"""Figure (console): pages over many nodes, what they cost calls of the API beside them, and what open pages cost.

The nodes are made as users' are: commands through Kafka, the engine, its changelog, and the gateway's projection.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

from backbeat.compose.bench.failing_nodes import Growth, growths
from backbeat.compose.bench.figure import Figure
from backbeat.compose.bench.over_http.rig import HttpRig
from backbeat.compose.bench.prepared_commands import Maker
from backbeat.compose.bench.rig import ALONE, Say
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.stack import Stack
from backbeat.gateway.console.live.hub import STREAMS_OF_SESSION_MAX
from backbeat.gateway.console.rendering import read_static_files
from backbeat.payload.values import id_text
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX

_REPEATS = 40
_OK = 200
_NODE = re.compile(rb'data-node="([0-9a-f-]+)"')
_GROUP = re.compile(rb'class="group" data-node="([^"]+)"')
#: Goals of the design for two cores: milliseconds, kB as sent.
GOALS = {
    "overview": (15, 12),
    "workflows": (100, 20),
    "nodes": (100, 20),
    "tree": (60, 25),
    "unfold 1,000": (150, 45),
    "node": (60, 15),
    "stuck": (20, 15),
    "timeline": (100, 25),
    "activities": (100, 20),
    "system": (100, 20),
}
#: People who load a page a second each while calls of the API are measured.
_PEOPLE = 4
_CONNECTIONS = 16
_WORKFLOWS = 200
_CALLS = {"read": 6_000, "accept": 3_000}
#: Suffix of the load that asks for half of the calls a second.
_HALF = "_half"
_RUNS = 3
#: The gateway of the console alone.
_APART = 1
#: Where the people's pages come from: none do, from the gateway that is called, from that of the console alone.
_PLACES = {"alone": None, "beside": 0, "apart": _APART}
_OPEN_PAGES = 100
#: Time over which open pages are measured; each second a node of the tree that they show changes.
_OPEN_SECONDS = 20


class ConsoleRig(HttpRig):
    """A rig whose gateway has the console, and lets everybody in; and another gateway, of the console alone."""

    def __init__(self) -> None:
        super().__init__()
        gateways = [[f"--ui={ui}", "--ui-login=none"] for ui in ("on", "only")]
        self.stack = Stack(ephemeral=True, long_lived=True, engines=0, gateways=gateways)

    async def _start(self) -> None:
        await super()._start()
        # Until it is looked at it would only follow what the other one follows.
        await asyncio.to_thread(self.stack.stop_gateway, _APART)

    async def start_apart(self) -> None:
        """Start the gateway of the console alone, and wait until its lists have all."""
        self.stack.start_gateway(_APART)
        await asyncio.to_thread(self.stack.wait_gateway_ready, _APART)
        database = self.open_database(_APART)
        try:
            await self.until_projected(database)
        finally:
            database.dispose()

    async def page(self, address: str, gateway: int = 0) -> tuple[float, bytes]:
        """Milliseconds until a page is there, and the page as it is sent: compressed."""
        began_at = time.perf_counter()
        headers = {"Accept-Encoding": "gzip"}
        async with self._session.get(self._url(address, gateway), headers=headers, auto_decompress=False) as response:
            body = await response.read()
            if response.status != _OK:
                raise SetupError(f"/ui/{address} was answered with {response.status}")
        return (time.perf_counter() - began_at) * 1_000, body

    @asynccontextmanager
    async def open_page(self, query: str, browser: str) -> AsyncIterator[None]:
        """A page of a browser that is open meanwhile, and told what changes: few of the same browser are."""
        async with self._session.get(self._url(f"live?{query}"), headers={"User-Agent": browser}) as response:
            if response.status != _OK:
                raise SetupError(f"/ui/live was answered with {response.status}")
            reading = asyncio.create_task(response.read())
            try:
                yield
            finally:
                reading.cancel()

    def _url(self, address: str, gateway: int = 0) -> str:
        return f"{self.stack.http_urls[gateway]}/ui/{address}"


async def pages(nodes: int, say: Say) -> Figure:
    """Pages of the console over so many nodes, of which a tenth has failed."""
    say("(console) starting Kafka, an engine and a gateway")
    async with ConsoleRig() as rig:
        return await rig.supervise(_measured(rig, nodes, say))


async def _measured(rig: ConsoleRig, nodes: int, say: Say) -> Figure:
    tree, seconds = await _grown(rig, nodes, say)
    addresses = await _addresses(rig, id_text(tree.workflow_id), id_text(tree.failing[0]))
    figures: Figure = {"nodes_made": nodes, "load_seconds": round(seconds)}
    for name, address in addresses.items():
        figures[name] = await _of_page(rig, address)
        goal_ms, goal_kb = GOALS[name]
        page = figures[name]
        say(
            f"(console) {name}: {page['p50_ms']} ms (goal {goal_ms}), p95 {page['p95_ms']} ms, the first "
            f"{page['first_ms']} ms; {page['kb']} kB (goal {goal_kb})"
        )
    files = sum(len(gzip.compress(file.body, 5)) for file in read_static_files().values())
    figures["assets"] = {"kb": round(files / 1e3, 1)}
    say(f"(console) assets, once: {files / 1e3:.1f} kB")
    figures["open_pages"] = await _open_pages(rig, tree, say)
    # A thousand rows at once are nobody's habit: people unfold two hundred.
    habits = [address for name, address in addresses.items() if name != "unfold 1,000"]
    figures["api"] = await _beside_people(rig, habits, say)
    return figures


async def _grown(rig: ConsoleRig, nodes: int, say: Say) -> tuple[Growth, float]:
    """The tree with one failing node, once it and all other workflows are made, and in the projection."""
    began_at = time.monotonic()
    tree: Growth | None = None
    for growth in growths(rig.user_id, rig.partitions, nodes):
        await _make(rig, growth)
        tree = tree or growth
        say(f"(console) {len(growth.children):,} nodes more after {time.monotonic() - began_at:.0f} s")
    assert tree is not None, "there is one at least"
    await rig.until_settled()
    seconds = time.monotonic() - began_at
    say(f"(console) {nodes:,} nodes are in the engine and in the projection after {seconds:.0f} s")
    return tree, seconds


async def _make(rig: ConsoleRig, growth: Growth) -> None:
    topic = f"{ACTIVITIES_PREFIX}{ALONE}"
    dispatches = rig.count(topic) + len(growth.children) + 1
    await asyncio.to_thread(rig.publish, growth.commands)
    await rig.until(lambda: rig.count(topic) >= dispatches, "the children")
    await asyncio.to_thread(rig.publish, growth.failures)


async def _addresses(rig: ConsoleRig, workflow: str, failing: str) -> dict[str, str]:
    """The pages that are measured, by their figures' names."""
    _, body = await rig.page(f"workflows/{workflow}?open=,")
    top = _NODE.search(gzip.decompress(body))
    assert top is not None, "a workflow has a node"
    signal = top[1].decode()
    _, body = await rig.page(f"workflows/{workflow}?open={signal}")
    group = _GROUP.search(gzip.decompress(body))
    assert group is not None, "its children are equal siblings"
    return {
        "overview": "",
        "workflows": "workflows",
        "nodes": "nodes?status=retries_exhausted",
        "tree": f"workflows/{workflow}",
        "unfold 1,000": f"workflows/{workflow}/rows?parent={group[1].decode()}&level=2&limit=1000",
        "node": f"nodes/{failing}",
        "stuck": "stuck",
        "timeline": f"workflows/{workflow}/timeline?below={signal}",
        "activities": "activities",
        "system": "system",
    }


async def _of_page(rig: ConsoleRig, address: str) -> dict[str, float]:
    # Figures that pages share are read for the first of them, and then every few seconds for all.
    first, _ = await rig.page(address)
    measured = [await rig.page(address) for _ in range(_REPEATS)]
    times = sorted(milliseconds for milliseconds, _ in measured)
    return {
        "first_ms": round(first, 1),
        "p50_ms": round(median(times), 1),
        "p95_ms": round(times[_REPEATS * 95 // 100 - 1], 1),
        "worst_ms": round(times[-1], 1),
        "kb": round(max(len(body) for _, body in measured) / 1e3, 1),
    }


async def _open_pages(rig: ConsoleRig, tree: Growth, say: Say) -> Figure:
    """Cores that a hundred open pages take: half of them show the tree, half wait for new figures."""
    changing = (node for node in tree.children if node not in tree.failing)
    alone = await _cores(rig, changing)
    async with AsyncExitStack() as opened:
        queries = [f"w={id_text(tree.workflow_id)}", "t=figures"] * (_OPEN_PAGES // 2)
        await open_pages(rig, opened, queries)
        watched = await _cores(rig, changing)
    figures = {f"{name}_cores": round(watched[name] - alone[name], 3) for name in ("gateway", "engine")}
    say(
        f"(console) {_OPEN_PAGES} open pages take {figures['gateway_cores']} cores of the gateway, "
        f"{figures['engine_cores']} of the engine"
    )
    return figures


async def open_pages(rig: ConsoleRig, opened: AsyncExitStack, queries: Iterable[str]) -> None:
    """Open a page for each of these queries, in as many browsers as it takes."""
    for number, query in enumerate(queries):
        await opened.enter_async_context(rig.open_page(query, f"browser {number // STREAMS_OF_SESSION_MAX}"))


async def _cores(rig: ConsoleRig, changing: Iterator[bytes]) -> dict[str, float]:
    """Cores that each process takes while one node a second completes."""
    maker = Maker(rig.user_id, rig.partitions)
    await rig.until_settled()
    usage, began_at = rig.usage(), time.monotonic()
    for _ in range(_OPEN_SECONDS):
        rig.publish(maker.results([next(changing)]))
        await asyncio.sleep(1.0)
    seconds = time.monotonic() - began_at
    return {name: used / seconds for name, used in rig.usage().since(usage).items()}


async def _beside_people(rig: ConsoleRig, addresses: list[str], say: Say) -> Figure:
    """Latency of the API's calls while people look, each loading a page a second, and while nobody does, by turns."""
    p99s: dict[str, list[float]] = {}
    await rig.start_apart()
    await rig.load("prepare", count=_WORKFLOWS)
    # As many calls as the gateway takes, and half as many a second, as a system with something to spare has.
    loads = {call: {"count": count, "connections": _CONNECTIONS} for call, count in _CALLS.items()}
    halves: dict[str, dict[str, int]] = {}
    for run in range(_RUNS + 1):
        for name, parameters in loads.items():
            for place, gateway in list(_PLACES.items())[:: 1 if run % 2 else -1]:
                # There is something to read once signals were accepted.
                await rig.load("accept", count=_WORKFLOWS)
                async with _people(rig, addresses, gateway):
                    result = await rig.load(name.removesuffix(_HALF), **parameters)
                if run:
                    p99s.setdefault(f"{name}_{place}", []).append(result.p99_ms or 0.0)
                elif gateway is None:
                    count = parameters["count"]
                    halves[name + _HALF] = {"count": count // 2, "per_second": int(count / result.seconds / 2)}
        # The first run of all was the warm-up.
        loads |= halves
    figure: Figure = {f"{name}_p99_ms": round(median(values), 1) for name, values in p99s.items()}
    for name, place in itertools.product(loads, ("beside", "apart")):
        figure[f"{name}_{place}_ratio"] = round(figure[f"{name}_{place}_p99_ms"] / figure[f"{name}_alone_p99_ms"], 2)
    figure["half"] = {name: parameters["per_second"] for name, parameters in halves.items()}
    figure["runs"] = {name: [round(value, 1) for value in values] for name, values in p99s.items()}
    say(f"(console) p99 of the API beside {_PEOPLE} people who load a page a second, and alone: {figure}")
    return figure


@asynccontextmanager
async def _people(rig: ConsoleRig, addresses: list[str], gateway: int | None) -> AsyncIterator[None]:
    """People who load one page after the other from a gateway; null: nobody looks."""

    async def look(first: int) -> None:
        await asyncio.sleep(first / _PEOPLE)
        for address in itertools.islice(itertools.cycle(addresses), first, None):
            await asyncio.gather(rig.page(address, gateway or 0), asyncio.sleep(1.0))

    people = 0 if gateway is None else _PEOPLE
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(look(number)) for number in range(people)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for error in ended if isinstance(error, Exception)]
        if errors:
            raise errors[0]
