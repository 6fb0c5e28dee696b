"""The daily report as text, as HTML that mail programs show, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from backbeat.compose.cli.durations import iso
from backbeat.compose.cli.show.sanitize import one_line
from backbeat.gateway.api.shapes.reports import Daily

_COLUMNS = ("client", "workflow", "completed", "failed attempts", "out of retries", "inconsistent")
#: Columns from here on are numbers.
_NUMBERS_FROM = 2
_INCONSISTENT = _COLUMNS.index("inconsistent")

#: Mail programs drop style sheets: every cell has its style.
_CELL = "padding:4px 12px 4px 0;border-bottom:1px solid #ddd;vertical-align:top;"
_RIGHT = _CELL + "text-align:right;"
_ALARM = _RIGHT + "color:#b00020;font-weight:bold;"


def subject_of(daily: Daily) -> str:
    """Subject of a mail: the numbers that must be known even if the rest is not read."""
    completed = sum(workflow_type.completed for workflow_type in daily.workflows)
    stuck = sum(sum(workflow_type.inconsistent.values()) for workflow_type in daily.workflows)
    return f"Backbeat {_moment(daily.until)[:10]}: {completed:,} completed, {stuck:,} inconsistent"


def document_of(daily: Daily, names: Mapping[str, str]) -> dict[str, Any]:
    """The report as a JSON document."""
    return {
        "since": iso(daily.since),
        "until": iso(daily.until),
        "stuck_hours": daily.stuck_hours,
        "workflows": [
            {
                "client": names.get(workflow_type.user_id, workflow_type.user_id),
                "workflow": workflow_type.workflow,
                "completed": workflow_type.completed,
                "failed_attempts": workflow_type.errored,
                "out_of_retries": workflow_type.exhausted,
                "inconsistent": sum(workflow_type.inconsistent.values()),
                "inconsistent_by_status": workflow_type.inconsistent,
            }
            for workflow_type in daily.workflows
        ],
    }


def text_of(daily: Daily, names: Mapping[str, str]) -> str:
    """The report as plain text."""
    rows = [_COLUMNS, *_rows(daily, names)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(_COLUMNS))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([_title(daily), "", *(lines if daily.workflows else [_NOTHING]), "", _footnote(daily)])


def html_of(daily: Daily, names: Mapping[str, str]) -> str:
    """The report as a page."""
    head = "".join(
        f'<th style="{_RIGHT if number >= _NUMBERS_FROM else _CELL + "text-align:left;"}">{escape(name)}</th>'
        for number, name in enumerate(_COLUMNS)
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(number, text) for number, text in enumerate(row))}</tr>" for row in _rows(daily, names)
    )
    table = f'<table style="border-collapse:collapse;font-size:14px;">\n<tr>{head}</tr>\n{body}\n</table>'
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(subject_of(daily))}</title></head>
<body style="font-family:sans-serif;color:#222;">
<h1 style="font-size:18px;">{escape(_title(daily))}</h1>
{table if daily.workflows else f"<p>{escape(_NOTHING)}</p>"}
<p style="color:#666;font-size:12px;">{escape(_footnote(daily))}</p>
</body>
</html>"""


_NOTHING = "Nothing completed or failed, and nothing is inconsistent."


def _rows(daily: Daily, names: Mapping[str, str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            one_line(names.get(workflow_type.user_id, workflow_type.user_id)),
            one_line(workflow_type.workflow),
            f"{workflow_type.completed:,}",
            f"{workflow_type.errored:,}",
            f"{workflow_type.exhausted:,}",
            _stuck(workflow_type.inconsistent),
        )
        for workflow_type in daily.workflows
    ]
    if len(rows) > 1:
        total = [
            sum(getattr(workflow_type, name) for workflow_type in daily.workflows)
            for name in ("completed", "errored", "exhausted")
        ]
        stuck = sum(sum(workflow_type.inconsistent.values()) for workflow_type in daily.workflows)
        rows.append(("all", "", *(f"{count:,}" for count in total), f"{stuck:,}"))
    return rows


def _stuck(by_status: Mapping[str, int]) -> str:
    if not by_status:
        return "0"
    return f"{sum(by_status.values()):,} ({', '.join(f'{count:,} {status}' for status, count in by_status.items())})"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        # The last one is not padded: the text in brackets would push its number about.
        text
        if number == _INCONSISTENT
        else text.rjust(widths[number])
        if number >= _NUMBERS_FROM
        else text.ljust(widths[number])
        for number, text in enumerate(row)
    ]


def _cell(number: int, text: str) -> str:
    style = _CELL if number < _NUMBERS_FROM else _RIGHT
    if number == _INCONSISTENT and text != "0":
        style = _ALARM
    return f'<td style="{style}">{escape(text)}</td>'


def _title(daily: Daily) -> str:
    return f"Backbeat, {_moment(daily.since)} to {_moment(daily.until)}"


def _footnote(daily: Daily) -> str:
    return (
        f"Inconsistent: nodes that should go on and have had no news for {daily.stuck_hours:g} hours, as of now. "
        "To see them: backbeat stuck"
    )


def _moment(at_milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(at_milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
