"""The transaction id of a call: the request's own or a new one, sent on with all that comes of it, and logged."""

from __future__ import annotations

import logging
import random
import re
from contextvars import ContextVar

HEADER = "X-backbeat-tid"

#: The transaction id of the call that is being answered.
current: ContextVar[str] = ContextVar("backbeat_tid", default="")

_OWN = re.compile(r"[!-~]{1,64}")


def choose(own: str | None) -> str:
    """The request's own transaction id if it can be one (1 to 64 printable characters), else a new one."""
    if own is not None and _OWN.fullmatch(own):
        return own
    return f"{random.getrandbits(28):07x}"


class TidFilter(logging.Filter):
    """Gives every record of the log the transaction id of the call that it is about (`%(tid)s`)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add it where the record does not bring its own."""
        if not hasattr(record, "tid"):
            record.tid = current.get() or "-"
        return True


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write the process's log, with transaction ids, a line a record."""
    handler = logging.StreamHandler()
    handler.addFilter(TidFilter())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(tid)s] %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
