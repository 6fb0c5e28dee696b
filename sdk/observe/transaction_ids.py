"""Transaction ids, and the trace context that may travel behind one.

A transaction id is common to a caller, its logs and all work that is done for it. Where OpenTelemetry is
installed, what a client or a running activity sends has the W3C `traceparent` of its span behind the id, after a
semicolon. The engine passes both on as one text; the id is shown without the part behind the semicolon.
"""

from __future__ import annotations

import re

_CARRIED = re.compile(r"\A(.*);(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})\Z", re.DOTALL)
#: A semicolon and a traceparent: shorter texts carry none.
_CARRIED_CHARACTERS_MIN = 56


def plain(tid: str) -> str:
    """The transaction id alone.

    >>> plain("tid-1;00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    'tid-1'
    >>> plain("order 7; Ann")
    'order 7; Ann'
    """
    return split(tid)[0]


def split(tid: str) -> tuple[str, str | None]:
    """The transaction id, and the traceparent behind it if there is one."""
    if len(tid) < _CARRIED_CHARACTERS_MIN:
        return tid, None
    match = _CARRIED.match(tid)
    return (tid, None) if match is None else (match[1], match[2])


def joined(tid: str, traceparent: str) -> str:
    """A transaction id with a trace context behind it, in place of any that it had.

    >>> joined("tid-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    'tid-1;00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    """
    return f"{plain(tid)};{traceparent}"
