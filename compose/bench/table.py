"""The benchmark's table: the measured values beside the targets and what others do on the same machine."""

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from backbeat.compose.bench.console import GOALS

if TYPE_CHECKING:
    from backbeat.compose.bench.figure import Figure

_PLAIN_WIDTH = 120
#: Larger values are shown without decimals.
_WHOLE_FROM = 100


class Row(NamedTuple):
    """A line of the table."""

    figure: str
    label: str
    path: tuple[str, ...]  #: keys of the value in the figure
    unit: str
    target: float | None = None
    others: str = ""
    more_is_better: bool = False


def _costs(figure: str, unit: str, target: float | None = None, others: str = "") -> list[Row]:
    """Processor time for each unit: in all, by process, and the client application's beside it."""
    name = f"cpu_ms_per_{unit}"
    by_process = f"{name}_by_process"
    return [
        Row(figure, f"CPU a {unit}: gateway, engine, broker", (name,), "ms", target, others),
        *(Row(figure, f"· {process}", (by_process, process), "ms") for process in ("gateway", "engine", "broker")),
        Row(figure, "· client application (beside these)", (by_process, "client"), "ms"),
    ]


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
    Row("limits", "CPU of a limited node, times another's", ("ratio",), "", 2.2),
    Row("limits", "· where the limit is narrow", ("ratio_narrow",), ""),
    Row("limits", "· CPU a node without a limit", ("cpu_ms_per_node_unlimited",), "ms"),
    Row("limits", "· 1,000 out at most", ("cpu_ms_per_node_limited",), "ms"),
    Row("limits", "· 100 out at most", ("cpu_ms_per_node_narrow",), "ms"),
    Row("limits", "· when 100,000 waited", ("cpu_ms_per_node_100000_waiting",), "ms"),
    *(
        Row("results", f"CPU a node, {size:,} joined with their {form}", (f"ratio_{kind}_{size}",), "times", 1.3)
        for size in (2_000, 10_000)
        for kind, form in (("list", "results"), ("pages", "results by pages"))
    ),
    *(
        Row("results", f"· {size:,} joined without results", (f"cpu_ms_per_node_none_{size}",), "ms")
        for size in (2_000, 10_000)
    ),
    Row("http_a", "signals accepted, 16 connections", ("signals_per_second",), "/s", 1_500, "739 T; 170 O", True),
    *_costs("http_a", "signal", 1.0, "1.4-4 T; 9.8 O"),
    Row("http_b", "1,000 children, webhook and PUT", ("seconds",), "s", 3.0, "32 O"),
    *_costs("http_b", "node", 1.8, "47 O"),
    Row("http_c", "100 in a row", ("seconds",), "s", 1.0, "0.7-4 T; 4.8 O"),
    Row("http_d", "nodes, 200 workflows of 1 + 3", ("nodes_per_second",), "/s", 600, "171 T; 28 O", True),
    *_costs("http_d", "node", 2.0, "10.7 T; 42 O"),
    Row("http_reads", "nodes read, 64 connections", ("reads_per_second",), "/s"),
    Row("http_reads", "· p50", ("read_p50_ms",), "ms"),
    Row("http_reads", "· p99", ("read_p99_ms",), "ms"),
    *_costs("http_reads", "read"),
    Row("http_reads", "signals sent, 64 connections", ("writes_per_second",), "/s"),
    Row("http_reads", "· p50", ("write_p50_ms",), "ms"),
    Row("http_reads", "· p99", ("write_p99_ms",), "ms"),
    *_costs("http_reads", "write"),
    Row("http_lag", "search without waiting shows it, p50", ("p50_ms",), "ms"),
    Row("http_lag", "search without waiting shows it, p99", ("p99_ms",), "ms"),
    Row("http_lag", "search that waits for it, p50", ("fresh_search_p50_ms",), "ms"),
    Row("http_lag", "records that a new projection takes", ("records_per_second",), "/s"),
    Row("search", "slowest search's p50, SQLite", ("sqlite", "p50_worst_ms"), "ms", 100),
    Row("search", "slowest search's p50, PostgreSQL", ("postgresql", "p50_worst_ms"), "ms", 100),
    *(Row("console", f"{page}, p50", (page, "p50_ms"), "ms", goal) for page, (goal, _) in GOALS.items()),
    *(Row("console", f"{page}, as sent", (page, "kb"), "kB", goal) for page, (_, goal) in GOALS.items()),
    Row("console", "assets, once", ("assets", "kb"), "kB", 25),
    Row("console", "100 open pages: the gateway", ("open_pages", "gateway_cores"), "cores", 0.1),
    Row("console", "· the engine", ("open_pages", "engine_cores"), "cores"),
    Row("console", "p99 of reads beside 4 people, times alone", ("api", "read_beside_ratio"), "", 1.1),
    Row("console", "p99 of signals beside 4 people, times alone", ("api", "accept_beside_ratio"), "", 1.1),
    Row("console", "· reads, the console in a gateway of its own", ("api", "read_apart_ratio"), "", 1.1),
    Row("console", "· signals, likewise", ("api", "accept_apart_ratio"), "", 1.1),
    Row("console", "· half as many reads a second", ("api", "read_half_beside_ratio"), "", 1.1),
    Row("console", "· half as many signals a second", ("api", "accept_half_beside_ratio"), "", 1.1),
    Row("console", "· the console in a gateway of its own: reads", ("api", "read_half_apart_ratio"), "", 1.1),
    Row("console", "· signals, likewise", ("api", "accept_half_apart_ratio"), "", 1.1),
]


def show(figures: dict[str, "Figure"], console: Console | None = None) -> None:
    """Print the table of the measured values."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table(title="Medians; T: Temporal, LH: LittleHorse, O: the original, the best of each on such a machine")
    for heading in ("", "what", "measured", "target", "", "others"):
        table.add_column(heading, justify="right" if heading in ("measured", "target") else "left")
    for row in ROWS:
        value = _value(figures.get(row.figure), row.path)
        if value is not None:
            table.add_row(row.figure, row.label, _text(value, row.unit), _target(row), _mark(row, value), row.others)
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
    is_met = value >= row.target if row.more_is_better else value <= row.target
    return "[green]✓[/green]" if is_met else f"[red]✗ {_deviation(value / row.target)}[/red]"


def _deviation(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.0f} %"
