"""Report of a run as one HTML file: curves as SVG, nothing from elsewhere, printable."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import msgspec

from backbeat.compose.drill.report.result import CURVES, PlayResult, RunResult
from backbeat.compose.drill.report.text import MARKS, outcome, setup_figures, text_lines

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 360, 96, 44, 14
_STYLE = """
:root{color-scheme:light dark;--line:#2563eb;--fault:#f59e0b33;--muted:#6b7280}
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .3rem;border-top:1px solid #8884;padding-top:1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.15rem .7rem .15rem 0;text-align:left}
td.n{text-align:right}.curves{display:flex;flex-wrap:wrap;gap:.6rem 1rem}figure{margin:0}
figcaption{color:var(--muted);font-size:.8rem}
svg text{font:10px system-ui,sans-serif;fill:var(--muted)}
.ok{color:#15803d}.bad{color:#b91c1c}pre{white-space:pre-wrap;font-size:.8rem}
@media print{body{max-width:none;margin:0}h2,figure,table{break-inside:avoid}details{display:none}}
"""


def render(run: RunResult, format_: str) -> str:
    """The report as `text`, `json` or `html`, which is one page."""
    if format_ == "json":
        return msgspec.json.encode(run).decode()
    return "\n".join(_page_lines(run) if format_ == "html" else text_lines(run))


def _page_lines(run: RunResult) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drill {html.escape(run.id)}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body>"
    yield f'<h1>Drill {html.escape(run.id)}</h1><p class="{_class(passed=run.passed)}">{html.escape(outcome(run))}</p>'
    figures = ", ".join(f"{value:g} {name}" for name, value in setup_figures(run).items())
    seed = f", seed {run.setup['seed']}" if "seed" in run.setup else ""
    yield f"<p>{html.escape(figures + seed)}. Again: <code>{html.escape(run.command)}</code></p>"
    if run.plays:
        yield "<table><tr><th></th><th>play</th><th>recovered</th><th>longest silence</th><th>ended by</th></tr>"
        for play in run.plays:
            yield _row(play)
        yield "</table>"
    if run.promises:
        yield _table(
            ["", "area", "attack", "promise", "evidence"],
            [[MARKS[each.is_kept], each.area, each.attack, each.promise, each.evidence] for each in run.promises],
        )
    totals = run.totals
    yield "<h2>Payments</h2>"
    yield _table(
        ["asked for", "taken", "completed", "lost", "paid twice", "executions", "begun again"],
        [
            [
                totals.asked,
                totals.taken,
                totals.completed,
                totals.lost,
                totals.paid_twice,
                totals.executions,
                totals.executed_again,
            ]
        ],
    )
    if run.verdict_lines or run.failed:
        yield "<h2>Judge</h2><pre>" + html.escape("\n".join([*run.verdict_lines, *run.failed])) + "</pre>"
    for play in run.plays:
        yield from _play_section(play)
    if run.footprint:
        yield "<h2>What it uses, by its median in each fifth of the time</h2>"
        yield _table(
            ["", "1", "2", "3", "4", "5"],
            [[name, *(f"{value:.4g}" for value in parts)] for name, parts in run.footprint.items()],
        )
    if run.words:
        yield "<h2>What every process said</h2>"
        yield _table(
            ["service", "starts", "ends", "warnings and errors"],
            [
                [
                    words.service,
                    words.starts,
                    ", ".join(f"{why}: {n}" for why, n in words.ends.items()),
                    words.unknown or words.warnings,
                ]
                for words in run.words
            ],
        )
    yield "<details><summary>The report as text</summary><pre>" + html.escape("\n".join(text_lines(run)))
    yield "</pre></details></body></html>"


def _class(*, passed: bool) -> str:
    return "ok" if passed else "bad"


def _row(result: PlayResult) -> str:
    silence = max((figures.longest_silence_seconds for figures in result.ways.values()), default=0.0)
    recovery = "-" if result.recovery_seconds is None else f"{result.recovery_seconds:.1f} s"
    mark = "-" if result.skipped else MARKS[result.passed]
    cells = [
        f'<td class="{_class(passed=result.passed)}">{mark}</td>',
        f'<td><a href="#{html.escape(result.play.name)}">{html.escape(result.play.title)}</a></td>',
        f'<td class="n">{recovery}</td><td class="n">{silence:.1f} s</td>',
        f"<td>{html.escape(result.skipped or result.ended_by)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _play_section(result: PlayResult) -> Iterator[str]:
    play = result.play
    yield f'<h2 id="{html.escape(play.name)}">{html.escape(play.title)}</h2><p>{html.escape(play.summary)}</p>'
    if result.skipped:
        yield f"<p>Not played: {html.escape(result.skipped)}</p>"
        return
    sentence = (
        f"On {', '.join(result.targets)} for {result.seconds:.1f} s; ended by {result.ended_by}: {result.reason}."
    )
    yield f"<p>{html.escape(sentence)}</p>"
    yield "".join(f'<p class="bad">✗ {html.escape(line)}</p>' for line in result.failed)
    yield _table(
        ["way in", "asked for", "taken", "errors", "longest silence, s", "p50, ms", "p99, ms"],
        [
            [
                way,
                each.asked,
                each.taken,
                each.failures,
                f"{each.longest_silence_seconds:.1f}",
                f"{each.taken_p50_ms:.0f}",
                f"{each.taken_p99_ms:.0f}",
            ]
            for way, each in result.ways.items()
        ],
    )
    if result.bounds:
        yield _table(
            ["bound", "worst", "kept"],
            [
                [each.bound, "never seen" if each.worst is None else f"{each.worst:.4g}", MARKS[each.is_kept]]
                for each in result.bounds
            ],
        )
    yield '<div class="curves">'
    for figure, unit in CURVES.items():
        yield _curve(figure, unit, result)
    yield "</div>"


def _curve(figure: str, unit: str, result: PlayResult) -> str:
    """A curve over the play's time; the fault's time is shaded."""
    values = result.curves.get(figure, [])
    known = [value for value in values if value is not None]
    if not known or not result.times:
        return ""
    begin, end, top = result.times[0], max(result.times[-1], result.times[0] + 1), max(*known, 1e-9)
    width, height = _WIDTH - _LEFT, _HEIGHT - _BOTTOM

    def x(at: float) -> float:
        return _LEFT + (at - begin) / (end - begin) * width

    pieces: list[list[str]] = [[]]
    for at, value in zip(result.times, values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x(at):.1f},{height - value / top * (height - 8):.1f}")
    lines = "".join(
        f'<polyline fill="none" stroke="var(--line)" stroke-width="1.5" points="{" ".join(piece)}"/>'
        for piece in pieces
        if piece
    )
    shade_begin, shade_end = x(max(0.0, begin)), x(min(result.seconds, end))
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{figure}"><rect x="{shade_begin:.1f}" y="0" width="{max(0.0, shade_end - shade_begin):.1f}" '
        f'height="{height}" fill="var(--fault)"/>{lines}<text x="0" y="12">{top:.4g}</text>'
        f'<text x="0" y="{height}">0</text><text x="{_LEFT}" y="{_HEIGHT - 2}">{begin:.0f} s</text>'
        f'<text x="{_WIDTH - 36}" y="{_HEIGHT - 2}">{end:.0f} s</text></svg>'
        f"<figcaption>{figure.replace('_', ' ')}, {unit}</figcaption></figure>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
