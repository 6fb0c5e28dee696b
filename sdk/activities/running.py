"""The activity that is running here, for what is called inside of its handler."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Any

from backbeat.observe import tracing

#: The running `Activity`; `current()` gives it with its type.
running: ContextVar[Any] = ContextVar("backbeat_activity")


def transaction_id() -> str:
    """The running activity's transaction id, else a new one: logs and traces of what belongs together share it."""
    activity = running.get(None)
    return tracing.new(os.urandom(8).hex() if activity is None else activity.tid_sent)
