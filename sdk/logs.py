"""Log records that say what they belong to: the workflow, node, attempt and transaction id of the running activity.

A worker adds the filter to the handlers of the root logger while it runs (`Worker(log_context=False)`: it does not). A
format may then name the four: `%(node)s`. Records that are logged outside of an activity have empty ones.

    handler.addFilter(ActivityFilter())         # for a handler that is added later, or to another logger
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from backbeat.activities.running import running

_EMPTY = {"workflow": "", "node": "", "attempt": "", "tid": ""}


class ActivityFilter(logging.Filter):
    """Lets every record pass, and puts `workflow`, `node`, `attempt` and `tid` into it where they are not there yet.

    >>> record = logging.makeLogRecord({"node": "said by the caller"})
    >>> ActivityFilter().filter(record), record.node, record.attempt
    (True, 'said by the caller', '')
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True."""
        activity = running.get(None)
        if activity is None:
            fields = _EMPTY
        else:
            fields = {
                "workflow": activity.workflow_id,
                "node": activity.id,
                "attempt": str(activity.attempt),
                "tid": activity.tid,
            }
        for name, value in fields.items():
            record.__dict__.setdefault(name, value)
        return True


_filter = ActivityFilter()
#: How many workers want the filter, by handler.
_wanted: dict[logging.Handler, int] = {}


def install() -> Callable[[], None]:
    """Add the filter to the root logger's handlers; what is returned takes it away, once nobody else wants it."""
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        _wanted[handler] = _wanted.get(handler, 0) + 1
        handler.addFilter(_filter)

    def remove() -> None:
        for handler in handlers:
            _wanted[handler] -= 1
            if not _wanted[handler]:
                del _wanted[handler]
                handler.removeFilter(_filter)

    return remove
