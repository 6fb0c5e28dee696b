"""Avro's numbers: zigzag, seven bits a byte, the lowest first. Tables, since nearly every number is small or a time."""

from __future__ import annotations

from functools import lru_cache

_INT_MAX = 2**31
_LONG_MAX = 2**63
_LONG_BYTES_MAX = 10
_PAIRS = 1 << 14  #: what two bytes can say
_SIX_BYTES = 0x0080_8080_8080  #: the marks of a number of six bytes: more, more, more, more, more, last

_BYTE = tuple(bytes((byte,)) for byte in range(0x100))
#: Two bytes with more behind them, by the 14 bits in them.
_MORE = tuple(low + high for high in _BYTE[0x80:] for low in _BYTE[0x80:])
#: One or two bytes with nothing behind them, by their bits.
_LAST = _BYTE[:0x80] + tuple(low + high for high in _BYTE[1:0x80] for low in _BYTE[0x80:])
#: The whole of a number from 0 up.
SMALL = _LAST[::2]


# The same few times are written again and again: a command's own is in each of its status changes.
@lru_cache(maxsize=256)
def write_long(number: int) -> bytes:
    """A number of at most 64 bits."""
    bits = number << 1 if number >= 0 else ~(number << 1)
    if bits < _PAIRS:
        return _LAST[bits]
    if bits < 1 << 28:
        return _MORE[bits & 0x3FFF] + _LAST[bits >> 14]
    if bits < 1 << 42:
        # Times until the year 2039.
        return _MORE[bits & 0x3FFF] + _MORE[(bits >> 14) & 0x3FFF] + _LAST[bits >> 28]
    if bits >= 2 * _LONG_MAX:
        raise ValueError(f"{number} has more than 64 bits")
    return _MORE[bits & 0x3FFF] + _MORE[(bits >> 14) & 0x3FFF] + _rest(bits >> 28)


def _rest(bits: int) -> bytes:
    out = bytearray()
    while bits >= 0x80:  # noqa: PLR2004 - seven bits a byte
        out.append((bits & 0x7F) | 0x80)
        bits >>= 7
    out.append(bits)
    return bytes(out)


def write_int(number: int) -> bytes:
    """A number of at most 32 bits."""
    if not -_INT_MAX <= number < _INT_MAX:
        raise ValueError(f"{number} has more than 32 bits")
    return write_long(number)


def read_long(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and the position behind it."""
    word = int.from_bytes(data[position : position + 6], "little")
    if word & 0x8080_8080_8080 == _SIX_BYTES:
        # Six bytes: every time from 1980 to 2039.
        bits = (
            word & 0x7F
            | word >> 1 & 0x3F80
            | word >> 2 & 0x1F_C000
            | word >> 3 & 0xFE0_0000
            | word >> 4 & 0x7_F000_0000
            | word >> 5 & 0x3F8_0000_0000
        )
        return (bits >> 1) ^ -(bits & 1), position + 6
    bits = shift = 0
    for byte in data[position : position + _LONG_BYTES_MAX]:
        bits |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - nothing behind it
            if bits >= 2 * _LONG_MAX:
                break
            return (bits >> 1) ^ -(bits & 1), position + shift // 7
    raise ValueError("a number without an end")


def read_int(data: bytes, position: int) -> tuple[int, int]:
    """A number of at most 32 bits at `position`, and the position behind it."""
    number, position = read_long(data, position)
    if not -_INT_MAX <= number < _INT_MAX:
        raise ValueError(f"{number} has more than 32 bits")
    return number, position


def read_length(data: bytes, position: int) -> tuple[int, int]:
    """The length of what follows, which must all be there."""
    length, position = read_long(data, position)
    if not 0 <= length <= len(data) - position:
        raise ValueError(f"{length} bytes announced, {len(data) - position} there")
    return length, position
