"""SIGTERM and SIGINT, for all workers of a process: each signal is handled once and reaches all of them."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: By event loop: the functions to be called.
_listeners: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
#: By event loop: the handler that each signal had before.
_before: dict[asyncio.AbstractEventLoop, dict[signal.Signals, Any]] = {}


def listen(loop: asyncio.AbstractEventLoop, listener: Callable[[], None]) -> Callable[[], None]:
    """Have `listener` called on each signal; the function returned ends that, and the signals do what they did before.

    Outside the main thread it is never called.
    """
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    listeners = _listeners.setdefault(loop, [])
    if not listeners:
        _before[loop] = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            loop.add_signal_handler(number, _call_listeners, loop)
    listeners.append(listener)

    def end() -> None:
        listeners.remove(listener)
        if not listeners:
            del _listeners[loop]
            for number, handler in _before.pop(loop).items():
                loop.remove_signal_handler(number)
                if handler is not None:
                    # None: it was not set from Python, and cannot be set again from there.
                    signal.signal(number, handler)

    return end


def _call_listeners(loop: asyncio.AbstractEventLoop) -> None:
    for listener in list(_listeners.get(loop, ())):
        listener()


def _nothing() -> None:
    """There is nothing to end."""
