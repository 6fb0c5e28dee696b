"""Parameter names of each call, from its description; calls that old clients do not know accept no others.

A misspelled filter or `dryrun` would otherwise start a job over everything. Calls of the original ignore unknown names:
their clients rely on that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from backbeat.client.words import hint
from backbeat.gateway.http import errors
from backbeat.gateway.http.casing import snake
from backbeat.gateway.http.routing import Route
from backbeat.gateway.openapi.calls import CALLS
from backbeat.gateway.openapi.document import SCHEMAS

_SHOWN_CHARACTERS_MAX = 64


@lru_cache
def known_words(route: Route) -> tuple[str, ...]:
    """Parameter names of a call's query and body, in snake_case."""
    operation = CALLS[f"{route.method} {route.path}"]
    body = () if operation.body is None else SCHEMAS[operation.body]["properties"]
    return tuple(dict.fromkeys(map(snake, (*body, *(parameter["name"] for parameter in operation.query)))))


def check_words(route: Route, query: str, body: bytes, *, form: bool) -> None:
    """400 for an unknown parameter, for one given twice, and for JSON that is not an object.

    Query and body have been read before: they are well formed.
    """
    names = known_words(route)
    seen: set[str] = set()
    for name in (*_names_of_pairs(query), *(_names_of_pairs(body.decode()) if form else _names_of_json(body))):
        word = snake(name.partition("[")[0])
        if word not in names:
            excerpt = word[:_SHOWN_CHARACTERS_MAX]
            raise errors.invalid(f"{route.method} {route.path} knows no `{excerpt}`: {hint(excerpt, names)}")
        # `a[b]=…` sets a part of `a`, and there may be several.
        if "[" not in name:
            if word in seen:
                raise errors.invalid(f"`{word}` is said twice")
            seen.add(word)


def _names_of_pairs(text: str) -> Iterator[str]:
    return (name for name, _ in parse_qsl(text, keep_blank_values=True))


def _names_of_json(text: bytes) -> Iterator[str]:
    if not text or text.isspace():
        return iter(())
    # Numbers are not converted: some have more digits than Python reads.
    pairs = json.loads(text.decode(), object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    if not isinstance(pairs, _Pairs):
        raise errors.invalid("The body must be a JSON object")
    return (name for name, _ in pairs)


class _Pairs(list[tuple[str, Any]]):
    """Items of a JSON object as written: a key may come twice."""
