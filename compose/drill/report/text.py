"""Report of a run as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

from backbeat.compose.drill.report.result import PlayResult, PromiseResult, RunResult
from backbeat.compose.drill.watch.bounds import BoundOutcome

MARKS = {True: "✓", False: "✗"}


def text_lines(run: RunResult) -> Iterator[str]:
    """The lines of a report."""
    began = datetime.fromtimestamp(run.began_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield f"Drill {run.id}, {began}, {max(0.0, run.ended_at - run.began_at) / 60:.1f} minutes"
    version = f"; version {run.version}" if run.version else ""
    yield "  " + ", ".join(f"{value:g} {name}" for name, value in setup_figures(run).items()) + version
    if "seed" in run.setup:
        yield f"  seed {run.setup['seed']}: --seed repeats the choice of targets and moments, and of a soak's plays"
    yield ""
    for play in run.plays:
        yield from _play_lines(play)
    yield from _promise_lines(run.promises)
    totals = run.totals
    yield (
        f"Payments: {totals.asked} asked for, {totals.taken} taken, {totals.completed} completed, {totals.lost} lost, "
        f"{totals.paid_twice} paid twice"
    )
    yield f"Executions: {totals.executions}, {totals.executed_again} of them begun again (at least once is promised)"
    yield ""
    if run.footprint:
        yield "What it uses, by its median in each fifth of the time:"
        yield from (
            f"  {name}: {', '.join(f'{value:.4g}' for value in parts)}" for name, parts in run.footprint.items()
        )
        yield ""
    if run.words:
        yield "What every process said:"
    for words in run.words:
        if words.unknown:
            yield f"  {words.service}: {words.unknown}"
            continue
        ends = ", ".join(f"{reason}: {count}" for reason, count in words.ends.items()) or "none"
        yield f"  {words.service}: {words.starts} starts, ends: {ends}, {words.warnings} warnings and errors"
        for line in words.lines:
            yield f"    {line}"
    if run.words:
        yield ""
    yield from (f"Judge: {line}" for line in run.verdict_lines)
    for line in run.failed:
        yield f"✗ {line}"
    if run.aborted:
        yield f"✗ aborted by {run.aborted}"
    yield outcome(run)


def outcome(run: RunResult) -> str:
    """The outcome in a sentence."""
    passed = sum(play.passed for play in run.plays)
    skipped = sum(bool(play.skipped) for play in run.plays)
    word = "PASSED" if run.passed else "FAILED"
    if run.promises:
        kept = sum(each.is_kept for each in run.promises)
        return f"{word}: {kept} of {len(run.promises)} attacks were withstood"
    return f"{word}: {passed} of {len(run.plays) - skipped} plays kept their bounds" + (
        f"; {skipped} could not be played here" if skipped else ""
    )


def bound_line(outcome: BoundOutcome) -> str:
    """A bound, the worst that was seen, and whether it was kept."""
    worst = "never seen" if outcome.worst is None else f"worst {outcome.worst:.4g}"
    return f"{outcome.bound}: {worst}, {'kept' if outcome.is_kept else 'NOT KEPT'}"


def setup_figures(run: RunResult) -> dict[str, float]:
    """Numbers of services, and the rate."""
    return {
        name.replace("per_second", "payments/s").replace("soak_seconds", "s of soak"): value
        for name, value in run.setup.items()
        if isinstance(value, int | float) and name != "seed" and (name != "soak_seconds" or value)
    }


def _promise_lines(promises: list[PromiseResult]) -> Iterator[str]:
    """Attacks below the promises that they are about, with their evidence."""
    for (area, promise), attacks in itertools.groupby(promises, lambda each: (each.area, each.promise)):
        yield f"{area}: {promise}"
        for each in attacks:
            yield f"  {MARKS[each.is_kept]} {each.attack}: {'kept' if each.is_kept else 'BROKEN'}"
            yield f"      {each.evidence}"
    if promises:
        yield ""


def _play_lines(result: PlayResult) -> Iterator[str]:
    play = result.play
    if result.skipped:
        yield f"- {play.title}: not played: {result.skipped}"
        yield ""
        return
    yield f"{MARKS[result.passed]} {play.title}: {play.summary}"
    yield f"    on {', '.join(result.targets)} for {result.seconds:.1f} s; ended by {result.ended_by}: {result.reason}"
    if result.anomaly:
        seconds = f", {result.anomaly_seconds:.1f} s after it was seen" if result.anomaly_seconds is not None else ""
        yield f"    anomaly: {result.anomaly}{seconds}"
    yield from (f"    did not count, it was so before: {line}" for line in result.ignored)
    recovery = "not in time" if result.recovery_seconds is None else f"{result.recovery_seconds:.1f} s"
    yield f"    all of before paid after {recovery} (at most {play.recovery_seconds_max:g} s)"
    yield from (f"    bound: {bound_line(outcome)}" for outcome in result.bounds)
    for way, figures in result.ways.items():
        if figures.asked:
            yield (
                f"    {way:<5} {figures.asked} asked for, {figures.taken} taken, {figures.failures} errors, "
                f"longest silence {figures.longest_silence_seconds:.1f} s, taken within p50 {figures.taken_p50_ms:.0f} "
                f"ms, p99 {figures.taken_p99_ms:.0f} ms"
            )
    for figure, (before, during, after) in result.medians.items():
        worst = result.worst.get(figure)
        yield f"    {figure}: {before:g}, {during:g}, {after:g}" + ("" if worst is None else f"; worst {worst:g}")
    if result.capsule is not None:
        left = result.capsule.left
        yield "    left of the fault: " + (", ".join(left) if left else "nothing" if left == [] else "not looked for")
        yield from (f"    · {note}" for note in result.capsule.notes[:12])
        if len(result.capsule.notes) > 12:  # noqa: PLR2004 - as above
            yield f"    · … {len(result.capsule.notes) - 12} more"
    yield from (f"    ✗ {line}" for line in result.failed)
    yield ""
