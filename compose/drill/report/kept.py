"""Bounds of a play as its report tells them: each with the worst that was seen, and whether it was kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.report.result import PlayResult
from backbeat.compose.drill.watch.bounds import Bound, BoundOutcome, Sample, outcome_of

#: A fault whose bound was passed is over by then.
END_SECONDS_MAX = 2.0


def bound_lines(play: Play) -> Iterator[str]:
    """The bounds of a play in words: those that end its fault, and those that are judged afterwards."""
    yield from (f"{bound}" for bound in play.guarded)
    yield _silence(play)
    yield _recovery(play)
    if play.latency_times_max:
        yield _latency(play)


def bound_outcomes(result: PlayResult, bounds: Iterable[Bound], samples: Sequence[Sample]) -> list[BoundOutcome]:
    """Outcomes of all bounds of a play: of those that counted, over the samples of its fault, and of what followed."""
    play = result.play
    silence = max((figures.longest_silence_seconds for figures in result.ways.values()), default=0.0)
    outcomes = [
        *(outcome_of(bound, samples) for bound in bounds),
        BoundOutcome(bound=_silence(play), worst=silence, is_kept=silence <= play.silence_seconds_max),
        BoundOutcome(bound=_recovery(play), worst=result.recovery_seconds, is_kept=result.recovery_seconds is not None),
    ]
    if play.latency_times_max:
        before, during, _ = result.medians["p50_seconds"]
        outcomes.append(BoundOutcome(bound=_latency(play), worst=during, is_kept=during <= latency_max(play, before)))
    if result.anomaly_seconds is not None:
        outcomes.append(
            BoundOutcome(
                bound=f"the fault's end after its anomaly at most {END_SECONDS_MAX:g} s",
                worst=result.anomaly_seconds,
                is_kept=result.anomaly_seconds <= END_SECONDS_MAX,
            )
        )
    return outcomes


def latency_max(play: Play, before: float) -> float:
    """The longest median time of a payment while the fault lasts, by that of before."""
    return max(play.latency_seconds_free, play.latency_times_max * before)


def _silence(play: Play) -> str:
    return f"longest silence of a way in at most {play.silence_seconds_max:g} s"


def _recovery(play: Play) -> str:
    return f"all of before paid after at most {play.recovery_seconds_max:g} s"


def _latency(play: Play) -> str:
    return (
        f"median time of a payment at most {play.latency_times_max:g} times that of before, "
        f"or {play.latency_seconds_free:g} s"
    )
