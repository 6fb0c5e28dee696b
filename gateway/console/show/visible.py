"""Characters that cannot be seen, or that turn text around, as signs that can: `⟦U+202E⟧`."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

#: Categories of characters without a shape: control, format (bidi, zero width), surrogate, private, unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_KEPT = frozenset("\n\t")
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e]")


def visible(text: str) -> str:
    """The text with each hidden character written out. Line feeds and tabs stay."""
    return text if text.isascii() and text.isprintable() else _SUSPECT.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    return _sign_of(match[0])


@lru_cache(maxsize=4096)
def _sign_of(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"⟦U+{ord(character):04X}⟧"


def visible_value(value: Any) -> Any:
    """Whatever a template prints: text made visible; markup and other values as they are."""
    # Mostly plain text, and a page may print twenty thousand values: no look-up of an attribute for that.
    if type(value) is str or (isinstance(value, str) and not hasattr(value, "__html__")):
        return visible(value)
    return value


def cut(text: str, characters: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
