"""How an engine process ends when it must not go on: at once, with one line that says why, and a code."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from backbeat.streams.keeper import NewerRecordError
from backbeat.streams.last_words import last_words
from backbeat.streams.restore import RestoreError

logger = logging.getLogger(__name__)

ENDED = 3  #: exit code: a supervisor starts the process again
MISFIT = 4  #: exit code: state and topics do not belong together, and starting again does not help


def end(reason: str, code: int = ENDED) -> NoReturn:
    """End the process now: no handler, no last commit."""
    logger.critical("the engine ends: %s", reason)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def end_hanging(reason: str) -> NoReturn:
    """End a process of which some part hangs."""
    last_words(lambda: end(reason), ENDED)


def code_of(error: Exception) -> int:
    """The exit code of a process that ends by this error."""
    return MISFIT if isinstance(error, RestoreError | NewerRecordError) else ENDED
