"""Blocking code made steppable: a strand is a thread that runs only while the simulation waits for it.

A commit and a restore block in the real engine, each in a thread of its own, while the loop goes on. Here they hand
control back at every point where something could go wrong, and the simulation decides when they go on, or that they
never do. Only one of all threads runs at any time, so a run depends on nothing but its seed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Crashed(SystemExit):
    """The process is no more. A SystemExit, because asyncio lets nothing else out of a running loop at once."""


_here = threading.local()


class Strand:
    """One blocking call."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._killed = False
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _here.strand = self
        self._go.acquire()
        try:
            if not self._killed:
                self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - whoever resumes the strand looks at it
            self.error = error
        self.done = True
        self._back.release()

    def resume(self) -> None:
        """Let it go on to its next pause or its end."""
        assert not self.done, "the strand has ended"
        self._go.release()
        self._back.acquire()

    def kill(self) -> None:
        """Its process is gone: it ends where it is, running nothing more than what Python's own unwinding does."""
        self._killed = True
        while not self.done:
            self.resume()
        self._thread.join()

    def _pause(self) -> None:
        if self._killed:
            raise Crashed
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Crashed


def pause() -> bool:
    """Hand control back to the simulation. False: not in a strand, nothing to hand back."""
    strand: Strand | None = getattr(_here, "strand", None)
    if strand is None:
        return False
    strand._pause()
    return True
