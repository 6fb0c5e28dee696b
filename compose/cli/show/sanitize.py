"""Text of others: names, subjects and errors come from any client, and go to an operator's terminal.

Their control characters are spelt out, so that nobody moves that terminal's cursor or hides its content.
"""

import re

#: All but line feeds; and the characters that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Text of somebody else's, with its control characters spelt out."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Text of somebody else's as one line, with its control characters spelt out."""
    return plain(" ".join(text.split("\n")))
