"""Connections made in a thread, since Kafka's library blocks. A connection whose caller is gone is closed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from backbeat.errors import Unavailable

T = TypeVar("T")

BEFORE_FORK = (
    "this client was connected before a fork, and its connections are the parent's. What to do: connect a client in "
    "each process, after the fork"
)


async def connect_in_thread(connect: Callable[[], T], close: Callable[[T], object]) -> T:
    """A connection that `connect` makes in a thread. Where the caller is cancelled meanwhile, that thread closes it."""
    lock = threading.Lock()
    is_wanted = True
    connections: list[T] = []

    def make() -> T:
        connection = connect()
        with lock:
            connections.append(connection)
            keep = is_wanted
        if not keep:
            close(connection)
        return connection

    try:
        return await in_thread(make)
    except asyncio.CancelledError:
        with lock:
            is_wanted = False
            is_late = bool(connections)
        if is_late:
            # The cancel came after it was made and before it was returned.
            await in_thread(lambda: close(connections[0]))
        raise


async def in_thread(function: Callable[[], T]) -> T:
    """`asyncio.to_thread`; at the interpreter's end, when no thread can be started, a direct call."""
    try:
        return await asyncio.to_thread(function)
    except RuntimeError:
        if not _ends():
            raise
    return function()


def _ends() -> bool:
    return sys.is_finalizing() or not threading.main_thread().is_alive()


class Pinned:
    """Objects that a forked process never frees, not even when it ends.

    Freed there, Kafka's clients crash, since their threads are the parent's; an event loop and its sockets take
    themselves out of an epoll that the parent uses, too, and the parent would wait for ever.
    """

    def __init__(self, *objects: Any) -> None:
        self._objects = list(objects)
        _all_pinned.add(self)

    def keep(self, *objects: Any) -> None:
        """Further objects, to be held like the first."""
        self._objects += objects


_all_pinned: weakref.WeakSet[Pinned] = weakref.WeakSet()


def _pin_for_ever() -> None:
    for pinned in list(_all_pinned):
        # One reference more than there are: the interpreter's end does not let go of it either.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(pinned))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pin_for_ever)


class Home(Pinned):
    """The process and the event loop of a connection. Its threads and sockets work in no other one."""

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()

    @property
    def is_inherited(self) -> bool:
        """True in a process that was forked from the connection's."""
        return self._process != os.getpid()

    def check(self) -> None:
        """Raise Unavailable, which says what to do, in a forked process and in another event loop."""
        if self.is_inherited:
            raise Unavailable(BEFORE_FORK)
        if asyncio.get_running_loop() is not self._loop:
            raise Unavailable(
                "this client was connected in another event loop. What to do: a client for each loop, or one "
                "PlainClient, which any thread may use"
            )
