"""The words that a call knows, as its description has them; of the calls that old clients do not know, they are all.

A misspelled filter or `dryrun` would otherwise make a job over everything, for real. The calls that the original had
pass unknown words over: their clients rely on that.
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
    """What a call's query and body may say, in snake_case."""
    described = CALLS[f"{route.method} {route.path}"]
    body = () if described.body is None else SCHEMAS[described.body]["properties"]
    return tuple(dict.fromkeys(map(snake, (*body, *(each["name"] for each in described.query)))))


def check_words(route: Route, query: str, body: bytes, *, form: bool) -> None:
    """400 for a word that the call does not know, for one that is said twice, and for JSON that is no object.

    Query and body have been read before: here they are text that can be.
    """
    known = known_words(route)
    seen: set[str] = set()
    for name in (*_of_pairs(query), *(_of_pairs(body.decode()) if form else _of_json(body))):
        word = snake(name.partition("[")[0])
        if word not in known:
            shown = word[:_SHOWN_CHARACTERS_MAX]
            raise errors.invalid(f"{route.method} {route.path} knows no `{shown}`: {hint(shown, known)}")
        # `a[b]=…` says a part of `a`, and several may.
        if "[" not in name:
            if word in seen:
                raise errors.invalid(f"`{word}` is said twice")
            seen.add(word)


def _of_pairs(text: str) -> Iterator[str]:
    return (name for name, _ in parse_qsl(text, keep_blank_values=True))


def _of_json(text: bytes) -> Iterator[str]:
    if not text or text.isspace():
        return iter(())
    # Numbers are not looked at: some have more digits than Python reads.
    pairs = json.loads(text.decode(), object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    if not isinstance(pairs, _Pairs):
        raise errors.invalid("The body must be a JSON object")
    return (name for name, _ in pairs)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object's keys and values, as they stand there: a key may come twice."""
