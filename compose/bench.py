"""`backbeat bench`: the figures of docs/performance.md, measured on this machine."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from backbeat.compose.errors import SetupError

if TYPE_CHECKING:
    from backbeat.compose.bench_figures import Figure
    from backbeat.compose.bench_rig import Rig, Say

LETTERS = "abcdefghi"
_RUNS = 5
#: What needs a stack with a worker, in the order in which it is measured.
_WITH_WORKER = "abgcde"


def _letters(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    del context, parameter
    if value is None:
        return LETTERS
    wanted = value.replace(",", "").replace(" ", "").lower()
    unknown = sorted(set(wanted) - set(LETTERS))
    if unknown or not wanted:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'} is no figure; there are {', '.join(LETTERS)}")
    return wanted


@click.command(
    epilog="""\b
Examples:
  backbeat bench                      all figures, within 15 minutes
  backbeat bench --only a,b --runs 3  the engine alone, and everything together
  backbeat bench --json | tail -1     one object, keyed by the figures' letters
"""
)
@click.option("--only", callback=_letters, metavar="LETTERS", help="Only these figures: a,b,…  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="The last line is one object with every figure.")
@click.option(
    "--runs", type=click.IntRange(1, 50), default=_RUNS, show_default=True, help="Runs; the median of them counts."
)
def bench(only: str, runs: int, *, as_json: bool) -> None:
    """Measure it on this machine: engine, latency, joins, memory. Nothing else should run meanwhile.

    Everything runs in temporary directories that are removed at the end. What each figure means: docs/performance.md.
    """
    from backbeat.compose.bench_table import show

    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    try:
        found = asyncio.run(measure(only, runs, say))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SetupError("the benchmark was interrupted.") from None
    show(found)
    click.echo(f"{time.monotonic() - began:.0f} s in all.")
    if as_json:
        click.echo(json.dumps(found))


async def measure(only: str, runs: int, say: "Say") -> dict[str, "Figure"]:
    """The figures by their letters."""
    from backbeat.compose.bench_scale import STORED, many_nodes, restarts, signals, stored

    this = asyncio.current_task()
    assert this is not None
    # As Ctrl-C: what was started is stopped, and its directories are removed.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    found: dict[str, Figure] = {}
    if set(only) & set(_WITH_WORKER):
        found |= await _with_worker(only, runs, say)
    if "f" in only:
        found["f"] = await signals(runs, say)
    if "i" in only:
        found["i"] = await _on_rig(say, lambda rig: many_nodes(rig, runs, say), lambda rig: restarts(rig, runs, say))
    if set(only) & set("hi"):
        costs: dict[str, float] = {}
        for workflows in STORED if "i" in only else STORED[-1:]:
            costs[str(workflows)], memory = await stored(workflows, runs, say)
        if "i" in only:
            found["i"]["cpu_us_per_command_by_workflows_stored"] = costs
        if "h" in only:
            found["h"] = memory | found.get("h", {})
    return {letter: found[letter] for letter in LETTERS if letter in found}


async def _with_worker(only: str, runs: int, say: "Say") -> dict[str, "Figure"]:
    from backbeat.compose.bench_figures import Bench
    from backbeat.compose.bench_rig import Rig

    say("starting Kafka, an engine and a worker")
    found: dict[str, Figure] = {}
    async with Rig(worker=True) as rig:
        one = Bench(rig, runs, say)
        await one.warm_up()
        measurements: dict[str, Callable[[], Awaitable[Figure]]] = {
            "a": one.engine_alone,
            "b": one.everything,
            "g": one.changelog,
            "c": one.joins,
            "d": one.in_a_row,
            "e": one.idle,
        }
        for letter, measurement in measurements.items():
            if letter in only:
                found[letter] = await measurement()
        if "h" in only:
            found["h"] = {"under_load_mb": {name: round(size) for name, size in rig.memory().items()}}
    return found


async def _on_rig(
    say: "Say",
    nodes: Callable[["Rig"], Awaitable[dict[str, float]]],
    restarts: Callable[["Rig"], Awaitable["Figure"]],
) -> "Figure":
    from backbeat.compose.bench_rig import Rig

    say("(i) starting an engine of its own")
    async with Rig() as rig:
        # The restart comes after them: then more than 100,000 nodes are stored.
        costs = await nodes(rig)
        return {"cpu_us_per_command_by_nodes_in_workflow": costs, "ready_after_kill": await restarts(rig)}
