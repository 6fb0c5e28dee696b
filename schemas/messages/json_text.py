"""JSON texts that others wrote: read once where they come in, so that whoever reads them later can.

How deep a text may be nested is a bound of ours. Python's own depends on the call, the version and the machine, and a
replay must refuse what the first run refused.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import msgspec

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_DECODE = msgspec.json.Decoder().decode
_RESULT_HEAD = b'{"jsonrpc":"2.0","result":'
_RESULT_TAIL = b',"error":null,"id":null}'


class JsonTextError(ValueError):
    """A text that is no JSON, or that not everybody could read; the text says why."""


class TooDeepError(JsonTextError):
    """A text that is nested deeper than it may be."""


def parse(text: bytes, depth_max: int) -> Any:
    """The value of a JSON text in UTF-8: whatever is in it can be read, by us and by whoever gets it. JsonTextError."""
    # Each level takes two characters, and most texts are shorter than that.
    if len(text) > 2 * depth_max:
        check_depth(text, depth_max)
    try:
        return _DECODE(text)
    except msgspec.MsgspecError as error:
        raise JsonTextError(str(error)) from error
    except UnicodeDecodeError as error:
        raise JsonTextError(f"no UTF-8: {error.reason}") from error


def check_depth(text: bytes, depth_max: int) -> None:
    """Refuse what is nested deeper than this, without going down into it. JsonTextError."""
    if text.count(b"[") + text.count(b"{") <= depth_max:
        return
    # What is between quotes is no structure.
    outside = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth_max:
        raise TooDeepError(f"it is nested more than {depth_max} levels deep")


def as_response(text: bytes) -> bytes:
    """The response of a node with this result, JSON-RPC shaped, as the original's clients gave it."""
    return _RESULT_HEAD + text + _RESULT_TAIL
