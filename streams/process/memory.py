"""Memory that malloc keeps for itself: bounded, and given back now and then. Without glibc nothing is done."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
#: A process of ours has some forty threads of librdkafka and RocksDB; each would get an arena of its own.
_ARENAS = 2


#: What is larger is mapped by itself and unmapped when it is freed: buffers of fetched records, of RocksDB's tables.
#: Left alone, malloc raises this to the largest of them and keeps holes of their size between small things.
_MAPPED_BYTES_MIN = 256 * 1024


def bound() -> None:
    """Let all threads share a few arenas, and keep large buffers out of them. Called before they start."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)
    _call("mallopt", _M_MMAP_THRESHOLD, _MAPPED_BYTES_MIN)


def give_back() -> None:
    """Return what is free to the system. Takes some milliseconds, in which other threads may have to wait."""
    _call("malloc_trim", 0)


def calm_collector() -> None:
    """Look for cycles seldom. Records hold none: nearly everything is freed when its last reference goes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
