"""`backbeat bench`: the figures of docs/explanation/performance.md, measured on this machine."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

import click

from backbeat.compose.cli.errors import SetupError

if TYPE_CHECKING:
    from backbeat.compose.bench.figure import Figure
    from backbeat.compose.bench.rig import Rig, Say

LETTERS = "abcdefghi"
#: Figures of a stack with a gateway.
HTTP = ("http_a", "http_b", "http_c", "http_d", "http_reads", "http_lag")
SEARCH = "search"
CONSOLE = "console"
LIMITS = "limits"
RESULTS = "results"
FIGURES = (*LETTERS, LIMITS, RESULTS, *HTTP, SEARCH, CONSOLE)
_RUNS = 5
#: Figures of a stack with a worker, in the order in which they are measured.
_WITH_WORKER = "abgcde"


def _figures(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    """Names of figures; letters may stand together, as in `abe`."""
    del context, parameter
    if value is None:
        # A million nodes are made by the engine: that takes longer than all the others.
        return [name for name in FIGURES if name != CONSOLE]
    names: list[str] = []
    for word in value.lower().replace(",", " ").split():
        names += [word] if word in FIGURES else list(word) if set(word) <= set(LETTERS) else _unknown(word)
    return names or _unknown("nothing")


def _unknown(word: str) -> list[str]:
    raise click.BadParameter(f"{word} is no figure; there are {', '.join(FIGURES)}")


@click.command(
    epilog="""\b
Examples:
  backbeat bench                      all figures, within 15 minutes
  backbeat bench --only a,b --runs 3  the engine alone, and everything together
  backbeat bench --only http_a,e      a load over HTTP, and the latency when idle
  backbeat bench --only console       pages of the console over a million nodes
  backbeat bench --json | tail -1     one object, keyed by the figures' names
"""
)
@click.option(
    "--only", callback=_figures, metavar="NAMES", help="Only these figures: a,b,http_a,…  [default: all but console]"
)
@click.option("--json", "as_json", is_flag=True, help="The last line is one object with every figure.")
@click.option(
    "--runs", type=click.IntRange(1, 50), default=_RUNS, show_default=True, help="Runs; the median of them counts."
)
@click.option(
    "--search-nodes",
    type=click.IntRange(1_000, 10_000_000),
    default=1_000_000,
    show_default=True,
    help="How many nodes the search and the console are measured over.",
)
def bench(only: list[str], runs: int, search_nodes: int, *, as_json: bool) -> None:
    """Measure it on this machine: engine, latency, joins, memory, HTTP, search. Nothing else should run meanwhile.

    Everything runs in temporary directories that are removed at the end. What each figure means:
    docs/explanation/performance.md.
    """
    from backbeat.compose.bench.table import show

    began_at = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began_at:6.1f} s  {text}")

    try:
        figures = asyncio.run(measure(only, runs, search_nodes, say))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SetupError("the benchmark was interrupted.") from None
    show(figures)
    click.echo(f"{time.monotonic() - began_at:.0f} s in all.")
    if as_json:
        click.echo(json.dumps(figures))


async def measure(only: Collection[str], runs: int, search_nodes: int, say: "Say") -> dict[str, "Figure"]:
    """The figures by their names."""
    from backbeat.compose.bench.scale import STORED, many_nodes, restarts, signals, stored

    task = asyncio.current_task()
    assert task is not None
    # As Ctrl-C: what was started is stopped, and its directories are removed.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    figures: dict[str, Figure] = {}
    if set(only) & {*_WITH_WORKER, LIMITS, RESULTS}:
        figures |= await _with_worker(only, runs, say)
    if "f" in only:
        figures["f"] = await signals(runs, say)
    if "i" in only:
        figures["i"] = await _on_rig(say, lambda rig: many_nodes(rig, runs, say), lambda rig: restarts(rig, runs, say))
    if set(only) & set("hi"):
        costs: dict[str, float] = {}
        for workflows in STORED if "i" in only else STORED[-1:]:
            costs[str(workflows)], memory = await stored(workflows, runs, say)
        if "i" in only:
            figures["i"]["cpu_us_per_command_by_workflows_stored"] = costs
        if "h" in only:
            figures["h"] = memory | figures.get("h", {})
    if set(only) & set(HTTP):
        figures |= await _over_http(only, runs, say)
    if SEARCH in only:
        from backbeat.compose.bench.over_http.search import searches

        figures[SEARCH] = await searches(search_nodes, say)
    if CONSOLE in only:
        from backbeat.compose.bench.console import pages

        figures[CONSOLE] = await pages(search_nodes, say)
    return {name: figures[name] for name in FIGURES if name in figures}


async def _over_http(only: Collection[str], runs: int, say: "Say") -> dict[str, "Figure"]:
    from backbeat.compose.bench.over_http.bench import HttpBench
    from backbeat.compose.bench.over_http.rig import HttpRig

    say("starting Kafka, an engine, a gateway and a client application")
    async with HttpRig() as rig:
        http_bench = HttpBench(rig, runs, say)
        await http_bench.warm_up()
        return {
            name: await rig.supervise(measurement())
            for name, measurement in http_bench.measurements.items()
            if name in only
        }


async def _with_worker(only: Collection[str], runs: int, say: "Say") -> dict[str, "Figure"]:
    from backbeat.compose.bench.engine import Bench
    from backbeat.compose.bench.rig import Rig

    say("starting Kafka, an engine and a worker")
    figures: dict[str, Figure] = {}
    async with Rig(worker=True) as rig:
        engine_bench = Bench(rig, runs, say)
        await engine_bench.warm_up()
        measurements: dict[str, Callable[[], Awaitable[Figure]]] = {
            "a": engine_bench.engine_alone,
            "b": engine_bench.everything,
            "g": engine_bench.changelog,
            "c": engine_bench.joins,
            "d": engine_bench.in_a_row,
            "e": engine_bench.idle,
        }
        for letter, measurement in measurements.items():
            if letter in only:
                figures[letter] = await rig.supervise(measurement())
        if LIMITS in only:
            from backbeat.compose.bench.costs.limits import LimitBench

            figures[LIMITS] = await rig.supervise(LimitBench(rig, runs, say).measure())
        if RESULTS in only:
            from backbeat.compose.bench.costs.results import ResultsBench

            figures[RESULTS] = await rig.supervise(ResultsBench(rig, runs, say).measure())
        if "h" in only:
            figures["h"] = {"under_load_mb": {name: round(size) for name, size in rig.memory().items()}}
    return figures


async def _on_rig(
    say: "Say",
    nodes: Callable[["Rig"], Awaitable[dict[str, float]]],
    restarts: Callable[["Rig"], Awaitable["Figure"]],
) -> "Figure":
    from backbeat.compose.bench.rig import Rig

    say("(i) starting an engine of its own")
    async with Rig() as rig:
        # The restart comes after the nodes: then more than 100,000 of them are stored.
        costs = await nodes(rig)
        return {"cpu_us_per_command_by_nodes_in_workflow": costs, "ready_after_kill": await restarts(rig)}
