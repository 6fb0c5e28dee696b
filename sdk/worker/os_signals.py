"""SIGTERM and SIGINT, for all workers of a process: each signal is handled once and reaches all of them."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: By event loop: what is to be called.
_listeners: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
#: By event loop: what each signal did before.
_before: dict[asyncio.AbstractEventLoop, dict[signal.Signals, Any]] = {}


def listen(loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> Callable[[], None]:
    """Have `heard` called on each signal; what is returned ends that, and the signals do what they did before.

    Outside the main thread nothing is heard.
    """
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    listeners = _listeners.setdefault(loop, [])
    if not listeners:
        _before[loop] = {one: signal.getsignal(one) for one in _SIGNALS}
        for one in _SIGNALS:
            loop.add_signal_handler(one, _tell, loop)
    listeners.append(heard)

    def end() -> None:
        listeners.remove(heard)
        if not listeners:
            del _listeners[loop]
            for one, handler in _before.pop(loop).items():
                loop.remove_signal_handler(one)
                if handler is not None:
                    # None: it was not set from Python, and cannot be set again from there.
                    signal.signal(one, handler)

    return end


def _tell(loop: asyncio.AbstractEventLoop) -> None:
    for heard in list(_listeners.get(loop, ())):
        heard()


def _nothing() -> None:
    """There is nothing to end."""
