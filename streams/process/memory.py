"""Memory of malloc and the collector: bounded, and returned regularly. Without glibc nothing is done."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
#: An engine has some forty threads of librdkafka and RocksDB; each would get an arena of its own.
_ARENAS = 2


#: Larger blocks are mapped by themselves and unmapped when freed: buffers of fetched records, of RocksDB's tables.
#: By default, malloc raises this to the largest of them and keeps holes of their size between small blocks.
_MAPPED_BYTES_MIN = 256 * 1024


def bound() -> None:
    """Let all threads share a few arenas, and keep large buffers out of them. Called before they start."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)
    _call("mallopt", _M_MMAP_THRESHOLD, _MAPPED_BYTES_MIN)


def give_back() -> None:
    """Return free memory to the system. Takes some milliseconds, in which other threads may have to wait."""
    _call("malloc_trim", 0)


def calm_collector() -> None:
    """Collect cycles seldom. Records have none: nearly everything is freed with its last reference.

    What is there now stays. It is not looked through before: that takes a twentieth of a start, for a thousand objects.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
