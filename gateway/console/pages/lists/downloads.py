"""Downloads of what a list shows: lines of JSON, or CSV, whose first line has the query and the time."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp.web import Response

from backbeat.gateway.console import responses
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.visit import Visit
from backbeat.payload.nouns import time_text

#: Rows of a download, at most: a list of more is for the command line.
ROWS_MAX = 5_000
FORMS = {"csv": ("text/csv", "CSV"), "jsonl": ("application/jsonl", "JSON lines")}
#: Characters by which a spreadsheet takes a cell for a formula, also in the width of East Asian ones.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - these are meant
#: Words of a query that are of the page alone.
_OF_PAGES = {"before": None, "every": None, "done": None}


class Download(msgspec.Struct, frozen=True):
    """Rows of a list: more than `ROWS_MAX` where there are more."""

    columns: tuple[str, ...]
    #: Values are texts, numbers, and JSON texts as `msgspec.Raw`.
    rows: Sequence[tuple[Any, ...]]


def links(visit: Visit, name: str) -> list[tuple[str, str]]:
    """Form and address of each download of the list that this page shows, from its first row on."""
    query = visit.address(**_OF_PAGES).partition("?")[2]
    return [(label, f"{name}.{form}{f'?{query}' if query else ''}") for form, (_, label) in FORMS.items()]


async def respond(visit: Visit, content: Download | None) -> Response:
    """The file; its form is the end of the path. PageError 503: the search is away."""
    if content is None:
        raise PageError(503, "This cannot be downloaded now", " ".join(visit.troubles), {"Retry-After": "5"})
    name, _, form = visit.path.rpartition("/")[2].rpartition(".")
    at = time.time_ns() // 1_000_000
    head = {
        "address": f"{visit.path}?{visit.request.rel_url.raw_query_string}".rstrip("?"),
        "at": time_text(at),
        "rows": min(len(content.rows), ROWS_MAX),
        "more": len(content.rows) > ROWS_MAX,
    }
    if visit.stale_seconds:
        head["may_miss_seconds"] = round(visit.stale_seconds, 1)
    if visit.troubles:
        head["but"] = " ".join(visit.troubles)
    write = csv_table if form == "csv" else json_lines
    async with visit.parts.turn():
        body = await asyncio.to_thread(write, {"list": name, **head}, content)
    moment = time_text(at).replace(":", "")
    return responses.download(body, FORMS[form][0], f"{name}-{moment}.{form}")


def json_lines(head: dict[str, Any], content: Download) -> bytes:
    """The head, then a row a line."""
    lines = [msgspec.json.encode(head)]
    for row in content.rows[:ROWS_MAX]:
        # Half of a surrogate pair is a character to JSON texts, and to no UTF-8.
        values = (value.encode(errors="replace").decode() if isinstance(value, str) else value for value in row)
        lines.append(msgspec.json.encode(dict(zip(content.columns, values, strict=True))))
    return b"".join(line + b"\n" for line in lines)


def csv_table(head: dict[str, Any], content: Download) -> bytes:
    """The head, the names of the columns, then the rows."""
    text = io.StringIO()
    writer = csv.writer(text)
    # One cell, so that a reader of tables may pass it over as a comment.
    writer.writerow(["# " + " ".join(f"{name}={cell(value)}" for name, value in head.items())])
    writer.writerow(content.columns)
    writer.writerows([cell(value) for value in row] for row in content.rows[:ROWS_MAX])
    return text.getvalue().encode(errors="replace")


def cell(value: Any) -> str:
    """A value as a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    text = bytes(value).decode(errors="replace") if isinstance(value, msgspec.Raw) else str(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text[:1].isspace() else text
