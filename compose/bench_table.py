"""The benchmark's table: what was measured, beside what was set out to do and what others do on the same machine."""

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from backbeat.compose.bench_figures import Figure

_PLAIN_WIDTH = 118
#: Larger values are shown without decimals.
_WHOLE_FROM = 100


class Row(NamedTuple):
    """One line of the table."""

    letter: str
    what: str
    path: tuple[str, ...]  #: where in the letter's figure the value stands
    unit: str
    target: float | None = None
    others: str = ""
    more_is_better: bool = False


ROWS = [
    Row("b", "nodes, everything on this machine", ("nodes_per_second",), "/s", 3_500, "1,115 LH; 171 T", True),
    Row("b", "CPU a node: broker, engine, worker", ("cpu_ms_per_node",), "ms", 0.40, "1.4 LH; 10.7 T"),
    Row("b", "· broker", ("cpu_ms_per_node_by_process", "broker"), "ms"),
    Row("b", "  of which Java's compiler", ("cpu_ms_per_node_by_process", "broker compiler"), "ms"),
    Row("b", "· engine", ("cpu_ms_per_node_by_process", "engine"), "ms"),
    Row("b", "· worker", ("cpu_ms_per_node_by_process", "worker"), "ms", None, "0.33 LH"),
    Row("b", "· client (beside these)", ("cpu_ms_per_node_by_process", "client"), "ms"),
    Row("a", "CPU a command, engine alone", ("cpu_us_per_command",), "µs", 120),
    Row("a", "commands, engine alone", ("commands_per_second",), "/s"),
    Row("c", "1,000 children joined", ("seconds_1000",), "s", 0.8, "2.6 T; 41 LH"),
    Row("c", "10,000 children joined", ("seconds_10000",), "s", 8.0, "T, LH: cannot"),
    Row("d", "100 in a row", ("milliseconds",), "ms", 350, "408 LH; 700 T"),
    Row("e", "4 steps, idle, p50", ("p50_ms",), "ms", 16, "23 LH; 47 T"),
    Row("e", "4 steps, idle, p99", ("p99_ms",), "ms", None, "126 LH; 100 T"),
    Row("f", "signals published by topic", ("published_per_second",), "/s", 20_000, "1,792 LH; 739 T", True),
    Row("f", "· taken by one ingest", ("ingested_per_second",), "/s"),
    Row("g", "changelog records a node", ("records_per_node",), "", 4, "34 LH"),
    Row("g", "changelog bytes a node", ("bytes_per_node",), "B"),
    Row("i", "ready after kill -9, 100,000 nodes", ("ready_after_kill", "seconds_from_start"), "s", 5, "18-35 LH"),
    Row("i", "· from the kill on", ("ready_after_kill", "seconds_from_kill"), "s"),
    Row("h", "engine, 1,000,000 nodes stored", ("engine_mb",), "MB", 250, "290 T; 3,100 LH"),
    Row("h", "· broker beside it", ("broker_mb",), "MB"),
    Row("h", "worker", ("under_load_mb", "worker"), "MB"),
    *(
        Row("i", f"CPU a command, {nodes:,} nodes in the workflow", (by, str(nodes)), "µs")
        for by in ("cpu_us_per_command_by_nodes_in_workflow",)
        for nodes in (10, 1_000, 100_000)
    ),
    *(
        Row("i", f"CPU a command, {workflows:,} workflows stored", (by, str(workflows)), "µs")
        for by in ("cpu_us_per_command_by_workflows_stored",)
        for workflows in (1_000, 100_000)
    ),
]


def show(found: dict[str, "Figure"], console: Console | None = None) -> None:
    """Print the table of what was measured."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table(title="Medians; T: Temporal, LH: LittleHorse, the best of each on this machine")
    for heading in ("", "what", "measured", "target", "", "others"):
        table.add_column(heading, justify="right" if heading in ("measured", "target") else "left")
    for row in ROWS:
        value = _value(found.get(row.letter), row.path)
        if value is not None:
            table.add_row(row.letter, row.what, _text(value, row.unit), _target(row), _mark(row, value), row.others)
    console.print(table)


def _value(figure: Any, path: tuple[str, ...]) -> float | None:
    for name in path:
        if not isinstance(figure, dict) or name not in figure:
            return None
        figure = figure[name]
    return float(figure)


def _text(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if value >= _WHOLE_FROM or value == int(value) else f"{value:,.3g}"
    return f"{digits} {unit}".rstrip()


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{'≥' if row.more_is_better else '≤'} {_text(row.target, row.unit)}"


def _mark(row: Row, value: float) -> str:
    if row.target is None:
        return ""
    met = value >= row.target if row.more_is_better else value <= row.target
    return "[green]✓[/green]" if met else f"[red]✗ {_off(value / row.target)}[/red]"


def _off(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.0f} %"
