"""The figure `limits`: the cost of a limit, against the same nodes without one."""

import asyncio
from collections.abc import Awaitable, Callable

from backbeat.compose.bench.figure import Figure, medians
from backbeat.compose.bench.rig import Rig, Say
from backbeat.compose.bench.worker import ALONE, LIMITED
from backbeat.schemas.kafka.topics import HISTORY

_WORKFLOWS = 5_000
_WAITING = 100_000
#: So many that commits carry as much with the limit as without: then the cost of the limit itself is measured.
_CONCURRENCY = 1_000
#: So few that the way from one node's end to the next one's start decides, and commits carry little.
_NARROW = 100
_WAIT_SECONDS = 120.0
_LOOK_SECONDS = 0.2
#: Commands that change a node, each of which leaves a record of history: a limited one is granted its slot.
_CHANGES = {ALONE: 2, LIMITED: 3}
_SERVING = ("broker", "engine", "worker")


class LimitBench:
    """The measurements of a limited activity on a rig with a worker."""

    def __init__(self, rig: Rig, runs: int, say: Say) -> None:
        self._rig = rig
        self._runs = runs
        self._say = say
        self._subject_count = 0

    async def measure(self) -> Figure:
        """Workflows of one node, without a limit and with two, in turn; then a hundred thousand that waited."""
        limits = self._rig.client.limits
        await limits.set(LIMITED, concurrency=_CONCURRENCY)
        await self._round(LIMITED, _WORKFLOWS)
        costs: dict[str, list[float]] = {"unlimited": [], "limited": [], "narrow": []}
        for run in range(self._runs):
            costs["unlimited"].append(await self._round(ALONE, _WORKFLOWS))
            for kind, concurrency in (("limited", _CONCURRENCY), ("narrow", _NARROW)):
                await limits.set(LIMITED, concurrency=concurrency)
                costs[kind].append(await self._round(LIMITED, _WORKFLOWS))
            costs_text = ", ".join(f"{kind} {values[-1]:.3f}" for kind, values in costs.items())
            self._say(f"(limits) run {run + 1}: CPU ms a node: {costs_text}")
        ratios = {
            kind: [limited / unlimited for limited, unlimited in zip(costs[kind], costs["unlimited"], strict=True)]
            for kind in ("limited", "narrow")
        }
        await limits.set(LIMITED, concurrency=_CONCURRENCY)
        await limits.pause(LIMITED)
        waiting = await self._round(LIMITED, _WAITING, when_sent=self._resume)
        self._say(f"(limits) {_WAITING:,} waiting: CPU ms a node: {waiting:.3f}")
        await limits.remove(LIMITED)
        figure = medians(
            ratio=(ratios["limited"], 2),
            ratio_narrow=(ratios["narrow"], 2),
            **{f"cpu_ms_per_node_{kind}": (values, 3) for kind, values in costs.items()},
        )
        return figure | {"cpu_ms_per_node_100000_waiting": round(waiting, 3)}

    async def _resume(self) -> None:
        """Resume the limit once all the nodes wait."""
        limits = self._rig.client.limits
        # The pool lies in the engine's store: it has no event.
        while (limit := await limits.get(LIMITED)) is None or limit.waiting < _WAITING:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        await limits.resume(LIMITED)

    async def _round(
        self, activity: str, workflows: int, when_sent: Callable[[], Awaitable[None]] | None = None
    ) -> float:
        """Signal so many workflows of one node at once, and wait for all: processor milliseconds a node."""
        rig = self._rig
        await rig.until_committed()
        records_wanted = rig.count(HISTORY) + workflows * _CHANGES[activity]
        usage_before = rig.usage()
        for _ in range(workflows):
            self._subject_count += 1
            await rig.client.publish("bench", f"l-{self._subject_count:07d}", activity)
        await rig.client.flush(_WAIT_SECONDS)
        if when_sent is not None:
            await when_sent()
        await rig.until(lambda: rig.count(HISTORY) >= records_wanted, f"{workflows} workflows")
        await rig.until_committed()
        cpu_seconds = rig.usage().since(usage_before)
        return sum(cpu_seconds[name] for name in _SERVING) / workflows * 1e3
