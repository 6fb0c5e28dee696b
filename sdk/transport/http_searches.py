"""Searches and other calls that a gateway answers as JSON."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from backbeat.transport.http_values import read_nodes, read_value, read_workflows

_PARAMETER = re.compile(r"{(\w+)}")


class Search(NamedTuple):
    """A call that a gateway answers as JSON."""

    path: str
    #: POST: the filters are its body; else they are its query.
    method: str = "GET"
    #: True where the answer may be a page: it is given as text, with what the next page is asked for by.
    is_page: bool = False

    def url(self, filters: dict[str, Any]) -> str:
        """The path; filters that stand in it are taken out of the others."""
        return _PARAMETER.sub(lambda match: quote(str(filters.pop(match[1])), safe=""), self.path)


SEARCHES = {
    "workflows": Search("/workflows/search"),
    "activities": Search("/activities/search"),
    "count_workflows": Search("/workflows/search/count"),
    "count_activities": Search("/activities/search/count"),
    "names": Search("/workflows/names"),
    "queues": Search("/reports/queues"),
    "audit": Search("/audit"),
    "causes": Search("/reports/causes"),
    "failures": Search("/reports/failures"),
    "timeline": Search("/workflows/{workflow}/timeline"),
    "child_counts": Search("/activities/{node}/child_counts"),
    "letters": Search("/dead-letters", is_page=True),
    "letter": Search("/dead-letters/{position}", is_page=True),
    "redrive_letters": Search("/dead-letters/redrive", "POST", is_page=True),
    "drop_letters": Search("/dead-letters/drop", "POST", is_page=True),
    "archives": Search("/archives", is_page=True),
    "archive": Search("/archives/content", is_page=True),
}


def read_search(call: str, text: bytes) -> Any:
    """The answer to a search, as its caller takes it."""
    match call:
        case "workflows":
            return read_workflows(text)
        case "activities":
            return read_nodes(text)
        case _:
            return read_value(text)
