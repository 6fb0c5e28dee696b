"""Comparison of two runs: what got better or worse, with the setups beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backbeat.compose.drill.report.result import PlayResult, RunResult

#: Below this difference, in parts of the first, nothing is said to have changed.
_SAME = 0.1


def compare_rows(first: RunResult, second: RunResult) -> Iterator[Sequence[str]]:
    """Rows: play, figure, first, second, change. Of all figures less is better."""
    yield ("play", "figure", first.id, second.id, "")
    for name in dict.fromkeys([*first.setup, *second.setup]):
        values = [str(run.setup.get(name, "-")) for run in (first, second)]
        if values[0] != values[1]:
            yield ("", name, *values, "setup")
    for figure in ("lost", "paid_twice", "executed_again"):
        yield _row("", figure, float(getattr(first.totals, figure)), float(getattr(second.totals, figure)))
    plays = {play.play.name: play for play in second.plays if not play.skipped}
    for before in first.plays:
        after = plays.get(before.play.name)
        if before.skipped or after is None:
            continue
        outcomes = ["passed" if each.passed else "failed" for each in (before, after)]
        if outcomes[0] != outcomes[1]:
            yield (before.play.name, "outcome", *outcomes, "worse" if before.passed else "better")
        figures = _figures(before), _figures(after)
        for figure in figures[0]:
            if figure in figures[1]:
                yield _row(before.play.name, figure, figures[0][figure], figures[1][figure])


def _figures(result: PlayResult) -> dict[str, float]:
    figures = {} if result.recovery_seconds is None else {"recovery_seconds": result.recovery_seconds}
    for way, each in result.ways.items():
        if each.asked:
            figures[f"{way}_silence_seconds"] = each.longest_silence_seconds
            figures[f"{way}_p99_ms"] = each.taken_p99_ms
    for figure in ("p50_seconds", "p99_seconds", "lag_records", "engine_memory_mebibytes"):
        if figure in result.worst:
            figures[f"worst_{figure}"] = result.worst[figure]
    return figures


def _row(play: str, figure: str, before: float, after: float) -> Sequence[str]:
    if abs(after - before) <= _SAME * max(abs(before), 1e-9):
        change = "="
    else:
        word = "better" if after < before else "worse"
        change = f"{word} ({(after / before - 1) * 100:+.0f} %)" if before else word
    return (play, figure, f"{before:.4g}", f"{after:.4g}", change)
