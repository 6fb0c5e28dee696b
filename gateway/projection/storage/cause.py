"""Cause of a failure: an error's text without what differs from one failure to the next.

Ids, numbers and quoted words become `#`: "refused by bank-7:443" and "refused by bank-9:443" are both "refused by
bank-#". What stays is word for word in every such error, so the longest piece of it is what a job's filter can ask for.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import msgspec

#: Characters of an error that say its cause.
CHARACTERS_MAX = 200
_SAMPLE_CHARACTERS_MAX = 500
PLACEHOLDER = "#"
#: What differs, the longer forms first.
_VARIABLE = re.compile(
    r"""
      [0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}   # a UUID
    | 0[xX][0-9a-fA-F]+                                    # an address
    | \b(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b                # a hash
    | (?<!\w)'[^'\n]{1,100}'(?!\w) | "[^"\n]{1,100}" | “[^”\n]{1,100}” | `[^`\n]{1,100}`   # quoted words
    | [0-9]+(?:[.,:][0-9]+)*                               # numbers, times, addresses of hosts
    """,
    re.VERBOSE,
)


class Cause(msgspec.Struct, frozen=True):
    """Cause: the text that several errors share."""

    #: with `#` for what differs
    text: str
    #: one of the errors as it was
    sample: str


def cause_of(error: str) -> Cause:
    """The cause of an error. An empty text: no error is known."""
    return Cause(_VARIABLE.sub(PLACEHOLDER, error[:CHARACTERS_MAX]), error[:_SAMPLE_CHARACTERS_MAX])


def fixed_piece(sample: str) -> str:
    """The longest piece of a line of an error that is the same in all of its cause; empty: nothing is.

    It stays within a line: a form of a browser sends another line break than the error has.
    """
    pieces = [line.strip() for piece in _VARIABLE.split(sample[:CHARACTERS_MAX]) for line in piece.splitlines()]
    return max(pieces, key=len, default="")


def cause_key(name_key: int, text: str) -> int:
    """Key of a cause of one activity in the tables."""
    content = name_key.to_bytes(8, "big", signed=True) + text.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


_KEY_MASK = (1 << 64) - 1
_ID = re.compile("[0-9a-f]{16}")


def id_of_key(key: int) -> str:
    """Id of a cause, as reports and addresses have it."""
    return f"{key & _KEY_MASK:016x}"


def key_of_id(cause_id: str) -> int | None:
    """Key of a cause in the tables; None: no cause has an id of this form."""
    if not _ID.fullmatch(cause_id):
        return None
    return int.from_bytes(bytes.fromhex(cause_id), "big", signed=True)
