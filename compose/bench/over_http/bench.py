"""Figures of the HTTP gateway: its four loads, reads and writes, and how closely the projection follows."""

import asyncio
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import psutil
from sqlalchemy import Engine

from backbeat.compose.bench.engine import until_warm
from backbeat.compose.bench.figure import Costs, Figure, medians, p99
from backbeat.compose.bench.over_http.client import LoadResult
from backbeat.compose.bench.over_http.rig import SERVING, HttpRig
from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import Say, processor_seconds
from backbeat.compose.cli.errors import SetupError
from backbeat.gateway.projection import NodeFilters, Projection
from backbeat.gateway.projection.reading import search

_WARM_UP_WORKFLOWS = 1_000
_ACCEPT_SIGNALS = 2_000
_ACCEPT_WORKFLOWS = 200
_FAN = 1_000
_ROW = 100
_STEADY_WORKFLOWS = 200
_STEADY_CHILDREN = 3
_STEADY_NODES_EACH = 1 + _STEADY_CHILDREN
_READ_CONNECTIONS = 64
_READS = 6_000
_WRITES = 3_000
_READ_RUNS_MAX = 3
_LAG_WRITES = 120
_LAG_AT_ONCE = 4
#: Interval of looking at the tables: the resolution of a lag.
_LAG_LOOK_SECONDS = 0.01
#: Bound of the pause between two writes of one task: so that they fall anywhere between two commits.
_LAG_PAUSE_SECONDS_MAX = 0.5
_FRESH_SEARCHES = 40
_FOLLOW_WORKFLOWS = 5_000
_FOLLOW_SECONDS_MAX = 120.0
_OK, _CREATED = 200, 201

_Measurement = Callable[[], Awaitable[Figure]]


class HttpBench:
    """The measurements of one rig with a gateway."""

    def __init__(self, rig: HttpRig, runs: int, say: Say) -> None:
        self._rig = rig
        self._runs = runs
        self._say = say

    @property
    def measurements(self) -> dict[str, _Measurement]:
        """The measurements by their figures' names, in their order."""
        return {
            "http_a": self.accepted,
            "http_b": self.fanned_out,
            "http_c": self.in_a_row,
            "http_d": self.steady,
            "http_reads": self.reads,
            "http_lag": self.lag,
        }

    async def warm_up(self) -> None:
        """Repeat a load until Java's compiler has little to do, as for the other figures."""

        async def measure_round() -> tuple[float, dict[str, float]]:
            result, cpu_seconds = await self._counted(_WARM_UP_WORKFLOWS, lambda: self._steady(_WARM_UP_WORKFLOWS))
            return _WARM_UP_WORKFLOWS * _STEADY_NODES_EACH / result.seconds, cpu_seconds

        await until_warm(measure_round, self._say)

    # --- the four loads --------------------------------------------------------------------------------------------

    async def accepted(self) -> Figure:
        """(http_a) Signals accepted over 16 connections; their webhooks are only answered."""

        async def measure() -> LoadResult:
            result = await self._rig.load("accept", count=_ACCEPT_SIGNALS)
            # The first signal of every workflow is posted, and its cost counts.
            await self._rig.load("webhooks", count=min(_ACCEPT_SIGNALS, _ACCEPT_WORKFLOWS))
            return result

        seconds, costs = await self._runs_of("http_a", _ACCEPT_WORKFLOWS, measure, _ACCEPT_SIGNALS, "signal")
        rates = [_ACCEPT_SIGNALS / run_seconds for run_seconds in seconds]
        return medians(costs, signals_per_second=(rates, 0))

    async def fanned_out(self) -> Figure:
        """(http_b) One signal with 1,000 children at once, by webhook and PUT, until it is complete."""
        seconds, costs = await self._runs_of(
            "http_b", 1, lambda: self._rig.load("fan", children=_FAN), _FAN + 1, "node"
        )
        return medians(costs, seconds=(seconds, 3))

    async def in_a_row(self) -> Figure:
        """(http_c) A hundred signals to one workflow, one call after another, until the last is complete."""
        seconds, costs = await self._runs_of("http_c", 1, lambda: self._rig.load("row", count=_ROW), _ROW, "node")
        return medians(costs, seconds=(seconds, 3))

    async def steady(self) -> Figure:
        """(http_d) 200 workflows of one signal with three children, until all are complete."""
        nodes = _STEADY_WORKFLOWS * _STEADY_NODES_EACH
        seconds, costs = await self._runs_of(
            "http_d", _STEADY_WORKFLOWS, lambda: self._steady(_STEADY_WORKFLOWS), nodes, "node"
        )
        rates = [nodes / run_seconds for run_seconds in seconds]
        return medians(costs, nodes_per_second=(rates, 0))

    def _steady(self, workflows: int) -> Awaitable[LoadResult]:
        return self._rig.load("steady", count=workflows, children=_STEADY_CHILDREN)

    async def _runs_of(
        self, name: str, workflows: int, measure: Callable[[], Awaitable[LoadResult]], units: int, unit: str
    ) -> tuple[list[float], Costs]:
        """Seconds of every run, and the processor time for each unit by process."""
        seconds: list[float] = []
        costs = Costs(unit, SERVING)
        await self._counted(workflows, measure)
        for run in range(self._runs):
            result, cpu_seconds = await self._counted(workflows, measure)
            seconds.append(result.seconds)
            costs_text = costs.add(cpu_seconds, units)
            self._say(
                f"({name}) run {run + 1}: {result.seconds:.3f} s, {units / result.seconds:,.0f} {unit}s/s; {costs_text}"
            )
        return seconds, costs

    async def _counted(
        self, workflows: int, measure: Callable[[], Awaitable[LoadResult]]
    ) -> tuple[LoadResult, dict[str, float]]:
        """Run a load on so many new workflows; processor seconds until everything was committed and projected."""
        rig = self._rig
        await rig.load("prepare", count=workflows)
        await rig.until_settled()
        usage_before = rig.usage()
        result = await measure()
        await rig.until_settled()
        return result, rig.usage().since(usage_before)

    # --- reads and writes ------------------------------------------------------------------------------------------

    async def reads(self) -> Figure:
        """(http_reads) Nodes read, and signals sent, over 64 connections."""
        results: dict[str, list[LoadResult]] = {"read": [], "write": []}
        costs = {name: Costs(name, SERVING) for name in results}
        loads = (("write", "accept", _WRITES), ("read", "read", _READS))
        for run in range(min(self._runs, _READ_RUNS_MAX)):
            await self._rig.load("prepare", count=_ACCEPT_WORKFLOWS)
            for name, load, count in loads:
                await self._rig.until_settled()
                usage_before = self._rig.usage()
                result = await self._rig.load(load, count=count, connections=_READ_CONNECTIONS)
                await self._rig.until_settled()
                costs_text = costs[name].add(self._rig.usage().since(usage_before), count)
                results[name].append(result)
                self._say(
                    f"(http_reads) run {run + 1}: {count / result.seconds:,.0f} {name}s/s, p50 {result.p50_ms:.1f} ms, "
                    f"p99 {result.p99_ms:.1f} ms; {costs_text}"
                )
        figure = medians(*costs.values())
        for name, _, count in loads:
            figure[f"{name}s_per_second"] = round(median(count / result.seconds for result in results[name]))
            figure[f"{name}_p50_ms"] = round(median(result.p50_ms or 0.0 for result in results[name]), 1)
            figure[f"{name}_p99_ms"] = round(median(result.p99_ms or 0.0 for result in results[name]), 1)
        return figure | {"gateway_mb": round(self._rig.memory()["gateway"])}

    # --- the projection ----------------------------------------------------------------------------------------------

    async def lag(self) -> Figure:
        """(http_lag) Time from the answer to a write until it is in the tables, and how quickly these can follow."""
        lags: list[float] = []
        workflow = await self._workflow()
        rng = random.Random(1)  # noqa: S311 - it is to be the same every time

        async def write(count: int) -> None:
            for _ in range(count):
                await asyncio.sleep(rng.random() * _LAG_PAUSE_SECONDS_MAX)
                lags.append(await self._write_lag(workflow))

        async with asyncio.TaskGroup() as group:
            for _ in range(_LAG_AT_ONCE):
                group.create_task(write(-(-_LAG_WRITES // _LAG_AT_ONCE)))
        fresh = [await self._fresh_search(workflow) for _ in range(_FRESH_SEARCHES)]
        figure = {
            "p50_ms": round(median(lags)),
            "p99_ms": round(p99(lags)),
            "fresh_search_p50_ms": round(median(fresh), 1),
            "fresh_search_p99_ms": round(p99(fresh), 1),
        }
        self._say(
            f"(http_lag) shown p50 {figure['p50_ms']} ms, p99 {figure['p99_ms']} ms after the answer; a search that "
            f"waits for it: p50 {figure['fresh_search_p50_ms']} ms, p99 {figure['fresh_search_p99_ms']} ms"
        )
        return figure | await self._follow()

    async def _workflow(self) -> str:
        body = {"name": "lag", "subject": uuid.uuid4().hex, "decider": "lag"}
        return await self._create("/workflows", body)

    async def _create(self, path: str, body: dict[str, str]) -> str:
        status, content = await self._rig.call("POST", path, body)
        if status != _CREATED:
            raise SetupError(f"POST {path}: {status} {content}")
        return str(content["id"])

    async def _write_lag(self, workflow: str) -> float:
        """Milliseconds from the answer to a signal to a search, without waiting, that shows it."""
        filters = NodeFilters(name=uuid.uuid4().hex)
        assert filters.name is not None
        await self._create(f"/workflows/{workflow}/signal", {"name": filters.name})
        answered_at = time.monotonic()
        while not self._search(self._rig.database, filters):
            if time.monotonic() - answered_at > _FOLLOW_SECONDS_MAX:
                raise SetupError(f"a signal was not in the projection {_FOLLOW_SECONDS_MAX:.0f} s after its answer")
            await asyncio.sleep(_LAG_LOOK_SECONDS)
        return (time.monotonic() - answered_at) * 1e3

    def _search(self, database: Engine, filters: NodeFilters) -> bool:
        with database.connect() as connection, connection.begin():
            return bool(search.search_nodes(connection, self._rig.registered.id_bytes, filters))

    async def _fresh_search(self, workflow: str) -> float:
        """Milliseconds of a search over HTTP for a signal that was answered a moment ago."""
        name = uuid.uuid4().hex
        await self._create(f"/workflows/{workflow}/signal", {"name": name})
        began_at = time.perf_counter()
        status, nodes = await self._rig.call("GET", f"/activities/search?name={name}")
        latency_ms = (time.perf_counter() - began_at) * 1e3
        if status != _OK or [node["name"] for node in nodes] != [name]:
            raise SetupError(f"a search does not show the signal that was answered before: {status} {nodes}")
        return latency_ms

    async def _follow(self) -> Figure:
        """Records a second that a new projection takes from an existing changelog, in this process."""
        rig = self._rig
        maker = Maker(rig.user_id, rig.partitions)
        commands = [
            command for number in range(_FOLLOW_WORKFLOWS) for command in maker.workflow(subject_of(number, "follow"))
        ]
        await asyncio.to_thread(rig.publish, commands)
        await rig.until_settled()

        async def flush(partition: int) -> tuple[int, int]:
            raise SetupError(f"nobody asks partition {partition}")

        process = psutil.Process()
        with tempfile.TemporaryDirectory(prefix="backbeat-bench-") as folder:
            url = f"sqlite:///{Path(folder) / 'projection.sqlite'}"
            projection = Projection(rig.stack.bootstrap_servers, url, flush=flush, partitions=rig.partitions)
            await projection.start()
            try:
                await rig.until(lambda: projection.records > 0, "the follower")
                records_before, began_at, cpu_before = projection.records, time.monotonic(), processor_seconds(process)
                await rig.until(lambda: projection.is_whole, "the follower")
                records = projection.records - records_before
                seconds, cost = time.monotonic() - began_at, processor_seconds(process) - cpu_before
            finally:
                await projection.stop()
        rate, cpu_us = records / seconds, cost / records * 1e6
        self._say(f"(http_lag) a new projection takes {rate:,.0f} records/s, {cpu_us:.0f} µs CPU each")
        return {"records_per_second": round(rate), "cpu_us_per_record": round(cpu_us, 1), "records": records}
