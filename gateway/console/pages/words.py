"""Searches in words: `client:bank name:"Charge card" status:failing since:2h`, as the box at the top takes them."""

from __future__ import annotations

import re
import time
from difflib import get_close_matches
from urllib.parse import urlencode

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.payload.nouns import time_text

_WORD = re.compile(r'(?:^|\s)([A-Za-z_]+):(?:"([^"]*)"|(\S*))')
_LENGTH = re.compile(r"(\d{1,6})(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
#: Words, and the filters of the lists that they are.
_FILTERS = {
    **{word: word for word in ("client", "name", "status", "had", "since", "until")},
    "subject": "text",
    "metadata": "text",
}
_STATUSES = {"failing": "retries_exhausted", "running": "sent_to_client", "done": "complete"} | {
    word: word for word, _ in STATUS_CHOICES
}


def address_of(text: str) -> str | None:
    """Address of the list that a text in words asks for; None: it is no such text. PageError 400: a word is none."""
    words = [(match[1].lower(), match[2] if match[2] is not None else match[3]) for match in _WORD.finditer(text)]
    if not words or not any(word in _FILTERS for word, _ in words):
        return None
    filters: dict[str, str] = {}
    for word, value in words:
        if word not in _FILTERS:
            raise _unknown(word, _FILTERS)
        filters[_FILTERS[word]] = _value(word, value)
    asked = {word for word, _ in words}
    if {"subject", "metadata"} <= asked:
        raise PageError(400, "One of them, please", "subject is asked of workflows, metadata of nodes.")
    rest = _WORD.sub(" ", text).strip()
    if rest:
        filters.setdefault("text", rest)
    kind = "workflows" if "subject" in asked or (rest and "metadata" not in asked) else "nodes"
    return f"{kind}?{urlencode(filters, errors='replace')}"


def _value(word: str, value: str) -> str:
    """A filter's value as the lists' addresses have it. PageError 400: there is no such status."""
    if word in ("status", "had"):
        if value.lower() not in _STATUSES:
            raise _unknown(value, _STATUSES)
        return _STATUSES[value.lower()]
    length = _LENGTH.fullmatch(value) if word in ("since", "until") else None
    if length is None:
        return value
    return time_text(int((time.time() - int(length[1]) * _SECONDS[length[2]]) * 1_000))


def _unknown(word: str, known: dict[str, str]) -> PageError:
    near = get_close_matches(word, known, 3)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return PageError(400, f"{word[:40]!r} is no word of a search", f"{meant}There are {', '.join(known)}.")
