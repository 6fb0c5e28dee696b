"""The figure `results`: the cost of a join that takes the results of its group, against one that takes none."""

import time

from backbeat.compose.bench.figure import Figure, medians
from backbeat.compose.bench.rig import Rig, Say
from backbeat.compose.bench.worker import JOIN, JOIN_LIST, JOIN_PAGES, PAGE

#: Members of a group.
_SIZES = (2_000, 10_000)
#: Members that run at once.
_CONCURRENCY = 20
_RUNS_MAX = 3
#: Nodes beside the members: the signal, the group's flag, and the node that joins.
_NODES_BESIDE = 3
_WAIT_SECONDS = 300.0
_SERVING = ("broker", "engine", "worker")
#: Name in the figure -> the activity that joins.
_JOINS = {"none": JOIN, "list": JOIN_LIST, "pages": JOIN_PAGES}


class ResultsBench:
    """The measurements of joins on a rig with a worker."""

    def __init__(self, rig: Rig, runs: int, say: Say) -> None:
        self._rig = rig
        self._runs = runs
        self._say = say
        self._subject_count = 0

    async def measure(self) -> Figure:
        """Groups whose results nobody takes, that are taken as a list, and page by page, in turn."""
        limits = self._rig.client.limits
        await limits.set(PAGE, concurrency=_CONCURRENCY)
        await self._round("none", _SIZES[0])
        measured: dict[str, tuple[list[float], int]] = {}
        for size in _SIZES:
            costs: dict[str, list[float]] = {kind: [] for kind in _JOINS}
            for run in range(min(self._runs, _RUNS_MAX)):
                for kind, values in costs.items():
                    values.append(await self._round(kind, size))
                text = ", ".join(f"{kind} {values[-1]:.3f}" for kind, values in costs.items())
                self._say(f"(results) {size:,} members, run {run + 1}: CPU ms a node: {text}")
            for kind in ("list", "pages"):
                ratios = [cost / none for cost, none in zip(costs[kind], costs["none"], strict=True)]
                measured[f"ratio_{kind}_{size}"] = ratios, 2
            measured |= {f"cpu_ms_per_node_{kind}_{size}": (values, 3) for kind, values in costs.items()}
        await limits.remove(PAGE)
        return medians(**measured)

    async def _round(self, kind: str, size: int) -> float:
        """Run a group of so many members and its join: processor milliseconds a node."""
        rig = self._rig
        await rig.until_committed()
        usage_before, began_at = rig.usage(), time.monotonic()
        self._subject_count += 1
        node = await rig.client.signal("bench", f"r-{self._subject_count:07d}", _JOINS[kind], args=[size])
        joined = await node.result(_WAIT_SECONDS)
        assert joined == (None if kind == "none" else size), f"{joined} of {size} results"
        await rig.until_committed()
        cpu_seconds = rig.usage().since(usage_before)
        self._say(f"(results) {size:,} members, {kind}: {time.monotonic() - began_at:.1f} s")
        return sum(cpu_seconds[name] for name in _SERVING) / (size + _NODES_BESIDE) * 1e3
