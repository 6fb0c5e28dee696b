"""Bounds of what is stored and sent that no setting moves: beyond them it could not be written back."""

from __future__ import annotations

#: Times, milliseconds since the epoch: the first of the year 1, and the last of the year 9999. No calendar of a
#: client has others.
TIME_MIN = -62_135_596_800_000
TIME_MAX = 253_402_300_799_999
