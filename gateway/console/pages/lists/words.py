"""Searches in words: `client:bank name:"Charge card" status:failing since:2h`, as the box at the top takes them."""

from __future__ import annotations

import re
import time
from difflib import get_close_matches
from urllib.parse import urlencode

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.payload.nouns import time_text
from backbeat.schemas.messages.status import Bucket

_WORD = re.compile(r'(?:^|\s)([A-Za-z_]+):(?:"([^"]*)"|(\S*))')
_LENGTH = re.compile(r"(\d{1,6})(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
#: Words, and the filters of the lists that they are.
_FILTERS = {
    **{word: word for word in ("client", "name", "status", "had", "since", "until", "made_since", "made_until")},
    **{word: word for word in ("tid", "slot", "slot_key", "workflow", "parent", "cause", "unchanged_since")},
    "subject": "text",
    "metadata": "text",
}
_HAD = {word: word for word, _ in STATUS_CHOICES}
_STATUSES = {bucket.value: bucket.value for bucket in Bucket} | _HAD
#: Words that are asked of nodes alone.
_OF_NODES = {"metadata", "workflow", "parent", "cause", "unchanged_since"}


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
    rest = _WORD.sub(" ", text).strip()
    if rest:
        filters.setdefault("text", rest)
    of_nodes = asked & _OF_NODES
    if "subject" in asked and of_nodes:
        raise PageError(400, "One of them, please", f"subject is asked of workflows, {min(of_nodes)} of nodes.")
    kind = "workflows" if "subject" in asked or (rest and not of_nodes) else "nodes"
    return f"{kind}?{urlencode(filters, errors='replace')}"


def _value(word: str, value: str) -> str:
    """A filter's value as the lists' addresses have it. PageError 400: there is no such status."""
    if word in ("status", "had"):
        known = _HAD if word == "had" else _STATUSES
        if value.lower() not in known:
            raise _unknown(value, known)
        return known[value.lower()]
    length = _LENGTH.fullmatch(value) if word.endswith(("since", "until")) else None
    if length is None:
        return value
    return time_text(int((time.time() - int(length[1]) * _SECONDS[length[2]]) * 1_000))


def _unknown(word: str, known: dict[str, str]) -> PageError:
    near = get_close_matches(word, known, 3)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return PageError(400, f"{word[:40]!r} is no word of a search", f"{meant}There are {', '.join(known)}.")
