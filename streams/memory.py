"""Memory that malloc keeps for itself: bounded, and given back after a restore. Without glibc nothing is done."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
#: A process of ours has some forty threads of librdkafka and RocksDB; each would get an arena of its own.
_ARENAS = 2


def bound_arenas() -> None:
    """Let all threads share a few arenas. Called before they start."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return what is free to the system."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
