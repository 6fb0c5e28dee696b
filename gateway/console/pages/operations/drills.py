"""Drills: runs with their plays, curves and checks; two of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.deeds import form_fields
from backbeat.gateway.console.page_error import PageError, not_found
from backbeat.gateway.console.pages.operations.drill_runs import (
    DrillsError,
    PlayResult,
    Run,
    RunSummary,
    Totals,
    is_name,
    is_under_way,
    last_output,
    list_names,
    read_request,
    read_run,
)
from backbeat.gateway.console.visit import Page, Visit

T = TypeVar("T")

_ROWS = 50
_REFRESH_SECONDS = 5
_POINTS_MAX = 300
_WIDTH, _HEIGHT = 600.0, 60.0
#: Below this difference, in parts of the first, nothing is said to have changed.
_SAME = 0.1
#: Totals of which less is better.
_LESS = ("lost", "paid_twice", "executed_again")
#: Figures of a play of which less is worse.
_LESS_IS_WORSE = ("completed_per_second", "engines_answering")


class Curve(msgspec.Struct, frozen=True):
    """A figure over time, as lines of a picture."""

    figure: str
    #: For each run its lines: points as SVG has them. Where a value is missing a line ends.
    lines: list[list[str]]
    highest: float
    #: From the picture's left to where the fault began, and its width.
    fault_x: float
    fault_width: float


class FigureRow(msgspec.Struct, frozen=True):
    """A figure of two runs."""

    play: str
    figure: str
    first: str
    second: str
    #: `better`, `worse`, `other`; empty: they are alike.
    change: str


class RunRow(msgspec.Struct, frozen=True):
    """A run of the list."""

    name: str
    run: RunSummary | None
    is_under_way: bool
    problem: str


async def show_all(visit: Visit) -> Page:
    """GET /ui/drills."""
    folder = _folder(visit)

    def read() -> list[RunRow]:
        return [_row(folder, name) for name in list_names(folder, _ROWS)]

    return visit.page(
        "drills.html",
        "Drills",
        rows=await _in_thread(visit, read),
        rows_max=_ROWS,
        folder=str(folder),
        may_begin=visit.may_act and bool(visit.parts.settings.drill_topologies),
    )


def _row(folder: Path, name: str) -> RunRow:
    try:
        return RunRow(name, read_run(folder, name, RunSummary), is_under_way(folder, name), "")
    except DrillsError as error:
        return RunRow(name, None, False, str(error))


def _folder(visit: Visit) -> Path:
    """The folder of the runs. 404: there is none, or the visitor does not see all that a drill is about."""
    if visit.who.clients is not None:
        raise not_found("page")
    folder = visit.parts.settings.drills
    if folder is None:
        raise PageError(
            404,
            "This gateway knows of no drills",
            "Start it with --ui-drills FOLDER, that in which backbeat drill keeps its runs (.backbeat/drills).",
        )
    return folder


async def _in_thread(visit: Visit, read: Callable[[], T]) -> T:
    try:
        async with visit.services.large_answers:
            return await asyncio.to_thread(read)
    except DrillsError as error:
        raise PageError(503, "The drills cannot be read", str(error)) from error


async def _run(visit: Visit, name: str) -> Run:
    folder = _folder(visit)
    if not is_name(name):
        raise not_found("run")
    run = await _in_thread(visit, lambda: read_run(folder, name, Run))
    if run is None:
        raise not_found("run with a result: it goes on, or was cut off, or never was")
    return run


async def show(visit: Visit) -> Page:
    """GET /ui/drills/{run}?play=…: a run; the curves are those of one play."""
    name = visit.values["run"]
    run = await _run(visit, name)
    folder = _folder(visit)
    goes_on = await _in_thread(visit, lambda: is_under_way(folder, name))
    play = _play(run, visit.query.get("play"))
    return visit.page(
        "drill.html",
        f"Drill {run.id}",
        run=run,
        name=name,
        goes_on=goes_on,
        output="" if run.has_ended else await _in_thread(visit, lambda: last_output(folder, name)),
        request=await _in_thread(visit, lambda: read_request(folder, name)),
        refresh_seconds=_REFRESH_SECONDS if goes_on else 0,
        play=play,
        curves=[] if play is None else list(_curves([play])),
        totals=[(word, getattr(run.totals, word)) for word in Totals.__struct_fields__],
        plays={play.play.name: visit.address(play=play.play.name) for play in run.plays},
        **form_fields(visit),
        **visit.deeds(name),
    )


def _play(run: Run, name: str | None) -> PlayResult | None:
    """The play of this name; without a name the first that failed, else the first."""
    if name:
        return next((play for play in run.plays if play.play.name == name), None)
    played = [play for play in run.plays if not play.skipped]
    return next((play for play in played if play.failed), next(iter(played), None))


async def compare(visit: Visit) -> Page | Response:
    """GET /ui/drills/compare?first=…&second=…&play=…: two runs side by side."""
    if "first" not in visit.query:
        return responses.redirect("../drills")
    first, second = [await _run(visit, visit.query.get(word, "")) for word in ("first", "second")]
    common = [play.play.name for play in first.plays if _play(second, play.play.name) is not None]
    play_name = visit.query.get("play") or next(iter(common), "")
    runs = (first, second) if play_name in common else ()
    plays = [play for run in runs if (play := _play(run, play_name)) is not None]
    return visit.page(
        "drill_compare.html",
        "Two drills",
        first=first,
        second=second,
        names=(visit.query["first"], visit.query["second"]),
        rows=list(_figure_rows(first, second)),
        play=play_name,
        curves=list(_curves(plays)),
        plays={name: visit.address(play=name) for name in common},
    )


def _figure_rows(first: Run, second: Run) -> Iterator[FigureRow]:
    for name in dict.fromkeys((*first.setup, *second.setup)):
        values = [str(run.setup.get(name, "–")) for run in (first, second)]  # noqa: RUF001 - a dash
        if values[0] != values[1]:
            yield FigureRow("", name.replace("_", " "), values[0], values[1], "other")
    for word in _LESS:
        yield _figure("", word, *(float(getattr(run.totals, word)) for run in (first, second)))
    for before in first.plays:
        after = _play(second, before.play.name)
        if after is None or before.skipped or after.skipped:
            continue
        if before.outcome != after.outcome:
            change = "worse" if before.outcome == "passed" else "better"
            yield FigureRow(before.play.name, "outcome", before.outcome, after.outcome, change)
        if before.recovery_seconds is not None and after.recovery_seconds is not None:
            yield _figure(before.play.name, "recovery_seconds", before.recovery_seconds, after.recovery_seconds)
        for figure in before.worst:
            if figure in after.worst:
                yield _figure(before.play.name, f"worst_{figure}", before.worst[figure], after.worst[figure])


def _figure(play: str, figure: str, before: float, after: float) -> FigureRow:
    change = ""
    if abs(after - before) > _SAME * max(abs(before), 1e-9):
        is_less_worse = figure.removeprefix("worst_") in _LESS_IS_WORSE
        change = "better" if (after < before) != is_less_worse else "worse"
    return FigureRow(play, figure.replace("_", " "), f"{before:.4g}", f"{after:.4g}", change)


def _curves(plays: list[PlayResult]) -> Iterator[Curve]:
    """Curves of the figures that all of these plays have, on the same axes."""
    if not plays or not all(play.times for play in plays):
        return
    begin, end = min(play.times[0] for play in plays), max(play.times[-1] for play in plays)
    scale = _WIDTH / max(end - begin, 0.001)
    fault_x = min(max(-begin * scale, 0.0), _WIDTH)
    fault_width = min(max(play.seconds for play in plays) * scale, _WIDTH - fault_x)
    for figure in plays[0].curves:
        if not all(figure in play.curves for play in plays):
            continue
        values = [value for play in plays for value in play.curves[figure] if value is not None]
        highest = max(values, default=0.0)
        lines = [_lines(play.times, play.curves[figure], begin, scale, _HEIGHT / max(highest, 1e-9)) for play in plays]
        yield Curve(figure.replace("_", " "), lines, highest, round(fault_x, 1), round(fault_width, 1))


def _lines(times: list[float], values: list[float | None], begin: float, scale: float, height: float) -> list[str]:
    step = max(1, len(times) // _POINTS_MAX)
    lines: list[list[str]] = [[]]
    for at, value in list(zip(times, values, strict=False))[::step]:
        if value is None:
            lines.append([])
        else:
            lines[-1].append(f"{(at - begin) * scale:.1f},{_HEIGHT - value * height:.1f}")
    return [" ".join(points) for points in lines if points]
