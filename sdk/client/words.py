"""Keyword arguments that a call does not know: refused with the nearest that it knows, never passed over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from backbeat.errors import UnknownOption
from backbeat.schemas.messages.replies import Reason

#: Words of another interface (SDK, command line, HTTP), and those that mean the same: spelling would not lead there.
_ELSEWHERE = {
    "at": ("fires_at",),
    "backoff": ("retry_interval",),
    "client_id": ("client",),
    "deadline": ("timeout",),
    "every": ("interval",),
    "fires_at": ("at",),
    "interval": ("every",),
    "max_retries": ("retries", "retry"),
    "params": ("args",),
    "retries": ("retry",),
    "retry": ("retries",),
    "retry_interval": ("backoff",),
    "retry_interval_seconds": ("backoff", "retry_interval"),
    "runner": ("client", "client_id"),
    "status": ("current_status",),
    "timeout_seconds": ("timeout",),
    "workflow": ("workflow_name",),
}
#: The least likeness, from 0 to 1, of a word that is offered.
_LIKENESS_MIN = 0.62


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a refusal: the nearest word that is known, else all words.

    >>> hint("nmae", ["name", "subject"])
    'did you mean `name`?'
    >>> hint("colour", ["name", "subject"])
    'known are name, subject'
    """
    words = {name.lower(): name for name in known}
    elsewhere = (name for name in _ELSEWHERE.get(word.lower(), ()) if name in words)
    nearest = next(elsewhere, None) or next(iter(get_close_matches(word.lower(), words, 1, _LIKENESS_MIN)), None)
    if nearest is not None:
        return f"did you mean `{words[nearest]}`?"
    return f"known are {', '.join(words.values())}" if words else "it takes none"


def check_options(call: str, options: Mapping[str, object], known: Collection[str], advice: str = "") -> None:
    """Refuse the keyword arguments of a call that it does not know. UnknownOption."""
    for word in options:
        if word not in known:
            message = f"{call}() knows no `{word}`: {hint(word, known)}{advice}"
            raise UnknownOption(Reason.INVALID_PARAMETERS, message, word, ", ".join(known))
