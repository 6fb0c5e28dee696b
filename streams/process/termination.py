"""Termination of an engine, a gateway or a projection: at once, with the reason in one line, and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn, Protocol

from backbeat.streams.ports.errors import NewerRecordError, RestoreError
from backbeat.streams.process.last_words import last_words

logger = logging.getLogger(__name__)

ENDED = 3  #: exit code: a supervisor starts the process again
EXIT_INCONSISTENT_STATE = 4  #: exit code: state and topics do not belong together, and starting again does not help


class End(Protocol):
    """Port of the engine's parts: the end of their process."""

    def __call__(self, reason: str, code: int = ENDED) -> NoReturn:
        """End the process now."""


def end(reason: str, code: int = ENDED, *, part: str = "engine") -> NoReturn:
    """End the process now: no handler, no last commit."""
    logger.critical("the %s ends: %s", part, reason)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def end_hanging(reason: str, *, part: str = "engine") -> NoReturn:
    """End a process with a hanging part."""
    last_words(lambda: end(reason, part=part), ENDED)


def code_of(error: BaseException) -> int:
    """The exit code for this error."""
    return EXIT_INCONSISTENT_STATE if isinstance(error, RestoreError | NewerRecordError) else ENDED
