"""Figures (a) to (e) and (g): those of one stack with a worker."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

from backbeat.compose.bench.figure import Costs, Figure, medians, p99
from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import COMPILER, Raw, Rig, Say
from backbeat.compose.bench.worker import ALONE, FAN, FOUR
from backbeat.schemas.kafka.topics import HISTORY, STATE

_NAME = "bench"
_NODES_PER_WORKFLOW = 4
#: Of a workflow of four nodes: a signal, and a result for each node.
_COMMANDS_PER_WORKFLOW = 5
_WARM_UP_WORKFLOWS = 2_000
_WARM_UP_ROUNDS_MIN = 3
#: Bound of the warm-up: after it the figures show what compiling took.
_WARM_UP_ROUNDS_MAX = 25
_WARM_UP_SECONDS_MAX = 90.0
#: Share of the broker's processor time that compiling may take in a steady state.
_COMPILING_SHARE_MAX = 0.10
_ALONE_WORKFLOWS = 4_000
_ROUND_WORKFLOWS = 4_000
_WAIT_SECONDS = 120.0
_ROW = 100
_IDLE_WORKFLOWS = 200
#: Between two workflows of (e): until the one before has left nothing to do.
_IDLE_SECONDS = 0.03
#: The processes whose processor time counts as a node's cost; the client's is shown beside it.
_SERVING = ("broker", "engine", "worker")
_BIG_JOIN = 10_000
_BIG_JOIN_RUNS_MAX = 3


class Bench:
    """The measurements of one rig with a worker."""

    def __init__(self, rig: Rig, runs: int, say: Say) -> None:
        self._rig = rig
        self._runs = runs
        self._say = say
        self._maker = Maker(rig.user_id, rig.partitions)
        self._subject_count = 0
        self._changelog: Figure | None = None

    async def warm_up(self) -> None:
        """Let Java's compiler, the caches and the connections settle, so that the steady state is measured."""
        await until_warm(lambda: self._round(_WARM_UP_WORKFLOWS), self._say)

    def _subject(self) -> str:
        self._subject_count += 1
        return f"b-{self._subject_count:07d}"

    # --- (a) -------------------------------------------------------------------------------------------------------

    async def engine_alone(self) -> Figure:
        """(a) Commands that lie in the log when the engine begins; nobody takes its activities."""
        rates, costs = [], []
        await self._rig.hold_and_release(self._alone(_ALONE_WORKFLOWS // 2))
        for run in range(self._runs):
            records = self._alone(_ALONE_WORKFLOWS)
            seconds, cpu_seconds = await self._rig.hold_and_release(records)
            rates.append(len(records) / seconds)
            costs.append(cpu_seconds / len(records) * 1e6)
            self._say(f"(a) run {run + 1}: {rates[-1]:,.0f} commands/s, {costs[-1]:.0f} µs CPU a command")
        return medians(commands_per_second=(rates, 0), cpu_us_per_command=(costs, 1))

    def _alone(self, workflows: int) -> list[Raw]:
        commands: list[Raw] = []
        for _ in range(workflows):
            self._subject_count += 1
            commands += self._maker.workflow(subject_of(self._subject_count, "a"))
        return commands

    # --- (b) and (g) -----------------------------------------------------------------------------------------------

    async def everything(self) -> Figure:
        """(b) Broker, engine, worker and client on this machine: workflows of four nodes, all signalled at once."""
        rates: list[float] = []
        costs = Costs("node", _SERVING)
        records, sizes = [], []
        for run in range(self._runs):
            begin = await asyncio.to_thread(self._rig.ends, STATE)
            rate, cpu_seconds = await self._round(_ROUND_WORKFLOWS)
            nodes = _ROUND_WORKFLOWS * _NODES_PER_WORKFLOW
            end = await asyncio.to_thread(self._rig.ends, STATE)
            written, size = await asyncio.to_thread(self._rig.state_records, begin, end)
            records.append(written / nodes)
            sizes.append(size / nodes)
            rates.append(rate)
            self._say(f"(b) run {run + 1}: {rate:,.0f} nodes/s; {costs.add(cpu_seconds, nodes)}")
        self._changelog = medians(records_per_node=(records, 2), bytes_per_node=(sizes, 0))
        return medians(costs, nodes_per_second=(rates, 0))

    async def changelog(self) -> Figure:
        """(g) Records and bytes in the changelog for each node, in the runs of (b)."""
        if self._changelog is None:
            await self.everything()
        assert self._changelog is not None
        return self._changelog

    async def _round(self, workflows: int) -> tuple[float, dict[str, float]]:
        """Signal so many workflows of four nodes at once and await all; nodes a second, and processor seconds."""
        rig = self._rig
        await rig.until_committed()
        records_wanted = rig.count(HISTORY) + workflows * _COMMANDS_PER_WORKFLOW
        usage_before, began_at = rig.usage(), time.monotonic()
        for _ in range(workflows):
            await rig.client.publish(_NAME, self._subject(), FOUR)
        await rig.client.flush(_WAIT_SECONDS)
        await rig.until(lambda: rig.count(HISTORY) >= records_wanted, f"{workflows} workflows")
        seconds = time.monotonic() - began_at
        await rig.until_committed()
        return workflows * _NODES_PER_WORKFLOW / seconds, rig.usage().since(usage_before)

    # --- (c) (d) (e) -----------------------------------------------------------------------------------------------

    async def joins(self) -> Figure:
        """(c) A signal with many children in parallel, from sending it to the answer that it is complete."""
        runs_by_name = {}
        for leaves, runs in ((1_000, self._runs), (_BIG_JOIN, min(self._runs, _BIG_JOIN_RUNS_MAX))):
            seconds = await self._timed(f"(c) {leaves:,} children", runs, partial(self._join, leaves))
            runs_by_name[f"seconds_{leaves}"] = (seconds, 3)
        return medians(**runs_by_name)

    async def _join(self, leaves: int) -> None:
        node = await self._rig.client.signal(_NAME, self._subject(), FAN, args=[leaves])
        await node.result(_WAIT_SECONDS)

    async def in_a_row(self) -> Figure:
        """(d) A hundred signals to one workflow, from sending the first to the answer that the last is complete."""
        seconds = await self._timed(f"(d) {_ROW} in a row", self._runs, self._row)
        return medians(milliseconds=([value * 1e3 for value in seconds], 0))

    async def _row(self) -> None:
        client, subject = self._rig.client, self._subject()
        for _ in range(_ROW - 1):
            await client.publish(_NAME, subject, ALONE)
        last = await client.signal(_NAME, subject, ALONE)
        await last.result(_WAIT_SECONDS)

    async def idle(self) -> Figure:
        """(e) One workflow of four nodes at a time; from sending the signal to the answer that it is complete."""
        client = self._rig.client
        latencies_ms = []
        for _ in range(_IDLE_WORKFLOWS):
            await asyncio.sleep(_IDLE_SECONDS)
            began_at = time.perf_counter()
            node = await client.signal(_NAME, self._subject(), FOUR)
            await node.result(_WAIT_SECONDS)
            latencies_ms.append((time.perf_counter() - began_at) * 1e3)
        figure = {
            "p50_ms": round(median(latencies_ms), 1),
            "p99_ms": round(p99(latencies_ms), 1),
            "workflows": len(latencies_ms),
            "least_ms": round(min(latencies_ms), 1),
        }
        self._say(f"(e) {figure['workflows']} workflows: p50 {figure['p50_ms']} ms, p99 {figure['p99_ms']} ms")
        return figure

    async def _timed(self, label: str, runs: int, measurement: Callable[[], Awaitable[None]]) -> list[float]:
        seconds = []
        await measurement()
        for run in range(runs):
            await self._rig.until_committed()
            began_at = time.monotonic()
            await measurement()
            seconds.append(time.monotonic() - began_at)
            self._say(f"{label}, run {run + 1}: {seconds[-1]:.3f} s")
        return seconds


async def until_warm(measure_round: Callable[[], Awaitable[tuple[float, dict[str, float]]]], say: Say) -> None:
    """Repeat a load (it gives nodes a second, and processor seconds) until Java's compiler has little to do."""
    began_at = time.monotonic()
    for round_number in range(_WARM_UP_ROUNDS_MAX):
        rate, cpu_seconds = await measure_round()
        compiling = cpu_seconds[COMPILER] / cpu_seconds["broker"]
        say(f"warm-up {round_number + 1}: {rate:,.0f} nodes/s, {compiling:.0%} of the broker's CPU compiles")
        # A compiler thread that has ended takes its time along: then this round's share is not known.
        if round_number + 1 >= _WARM_UP_ROUNDS_MIN and 0 <= compiling < _COMPILING_SHARE_MAX:
            return
        if time.monotonic() - began_at > _WARM_UP_SECONDS_MAX:
            return
