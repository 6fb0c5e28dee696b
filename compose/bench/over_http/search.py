"""Figure (search): time of a page over a million nodes, on SQLite and, where it can be started, PostgreSQL.

    python -m backbeat.compose.bench.over_http.search DATABASE_URL NODES

Filling the tables is minutes of computing: it is done in a process of its own, which ends when the benchmark does.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backbeat.compose.bench.figure import Figure
from backbeat.compose.bench.rig import Say
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.postgresql import postgresql, why_not

NODES = 1_000_000
_REPEATS = 20


async def searches(nodes: int, say: Say) -> Figure:
    """By database: the worst median of all searches, and every search."""
    figures: Figure = {}
    for name, database in (("sqlite", _sqlite), ("postgresql", postgresql)):
        reason = why_not() if name == "postgresql" else None
        if reason is not None:
            say(f"(search) {name} is left out: {reason}")
            continue
        with database() as url:
            figures[name] = await _measured(url, nodes)
        figure = figures[name]
        worst = max(figure["searches"], key=lambda search: figure["searches"][search]["p50_ms"])
        say(
            f"(search) {name}, {nodes:,} nodes loaded in {figure['load_seconds']:.0f} s: "
            f"slowest p50 {figure['p50_worst_ms']} ms ({worst}), slowest of all {figure['worst_ms']} ms"
        )
    return figures


@contextlib.contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="backbeat-bench-") as folder:
        yield f"sqlite:///{Path(folder) / 'projection.sqlite'}"


async def _measured(url: str, nodes: int) -> Figure:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backbeat.compose.bench.over_http.search", url, str(nodes)),
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for us: we end it.
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SetupError(f"the search could not be measured: exit code {process.returncode}")
    figure: Figure = json.loads(output)
    return figure


if __name__ == "__main__":
    from backbeat.compose.bench.search import measure_search

    print(json.dumps(measure_search(sys.argv[1], int(sys.argv[2]), _REPEATS)))
