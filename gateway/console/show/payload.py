"""JSON text as HTML, token by token from the text itself: digits, key order and repeated keys stay as they are stored.

Deep or long objects and lists are folded into `<details>`; nothing of the text ever becomes HTML.
"""

from __future__ import annotations

import re

import msgspec
from markupsafe import Markup, escape

from backbeat.gateway.console.show.visible import visible

#: Characters of the JSON text that a page shows; the rest is a download.
SHOWN_CHARACTERS_MAX = 8_192
#: Folded from this depth on, and from so many entries.
_FOLDED_DEPTH = 3
_FOLDED_ENTRIES = 20
_TOKENS_MAX = 2_500
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+)', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}


class Payload(msgspec.Struct, frozen=True):
    """A JSON text on a page."""

    html: Markup
    #: Bytes of the whole text.
    size: int
    #: False: the page shows its beginning.
    is_whole: bool
    #: True for null, and for an object or a list without entries.
    is_empty: bool


def tokens(text: str) -> list[str]:
    """Strings, numbers, words and punctuation of a JSON text, in order; a string without its end as far as it goes."""
    words = []
    end = 0
    while (match := _TOKEN.match(text, end)) is not None:
        words.append(match[1])
        end = match.end()
    rest = text[end:].strip()
    return [*words, f'{rest}…"'] if rest else words


def payload(data: bytes | None) -> Payload | None:
    """A JSON text as a page shows it; None without one."""
    if data is None:
        return None
    text = data.decode(errors="surrogateescape")
    words = tokens(text[:SHOWN_CHARACTERS_MAX])
    is_whole = len(text) <= SHOWN_CHARACTERS_MAX and len(words) <= _TOKENS_MAX
    is_empty = text.strip() in {"", "null", "{}", "[]"}
    return Payload(_html(words[:_TOKENS_MAX]), len(data), is_whole, is_empty)


def is_sealed(data: bytes) -> bool:
    """True if the text may have a payload in it that only the holder of a key reads."""
    return b'"$backbeat"' in data


def _entries(words: list[str]) -> dict[int, int]:
    """Number of entries by the place of the opening bracket."""
    counts: dict[int, int] = {}
    opened: list[int] = []
    for place, piece in enumerate(words):
        if piece in _CLOSING:
            opened.append(place)
            counts[place] = 0 if words[place + 1 : place + 2] == [_CLOSING[piece]] else 1
        elif piece in "}]" and opened:
            opened.pop()
        elif piece == "," and opened:
            counts[opened[-1]] += 1
    return counts


def _html(words: list[str]) -> Markup:
    counts = _entries(words)
    parts: list[str] = []
    #: Of each open bracket: the closing one, and True if it is folded.
    opened: list[tuple[str, bool]] = []
    for place, piece in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if piece in _CLOSING:
            entries = counts[place]
            if not entries:
                opened.append((_CLOSING[piece], False))
                parts.append(piece)
                continue
            is_folded = len(opened) >= _FOLDED_DEPTH or entries >= _FOLDED_ENTRIES
            opened.append((_CLOSING[piece], is_folded))
            if is_folded:
                noun = "entry" if entries == 1 else "entries"
                parts.append(f"<details><summary>{piece} <i>{entries:,} {noun}</i></summary>")
            else:
                parts.append(piece)
            parts.append("<div>")
        elif piece in ("}", "]"):
            was_empty = place and words[place - 1] in _CLOSING
            _, is_folded = opened.pop() if opened else ("", False)
            parts.append(piece if was_empty else f"</div>{piece}{'</details>' if is_folded else ''}")
        elif piece == ",":
            parts.append(",<br>")
        elif piece == ":":
            parts.append(": ")
        else:
            parts.append(f'<span class="{_kind(piece, following)}">{_shown(piece)}</span>')
    for _, is_folded in reversed(opened):
        parts.append(f"…</div>{'</details>' if is_folded else ''}")
    return Markup("".join(parts))  # noqa: S704 - every token was escaped


def _kind(piece: str, following: str) -> str:
    if piece.startswith('"'):
        return "k" if following == ":" else "s"
    return "w" if piece in ("true", "false", "null") else "n"


def _shown(piece: str) -> str:
    return str(escape(visible(piece)))
