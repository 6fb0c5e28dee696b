"""Tasks of results that are taken, and the hooks of the tree for them."""

from __future__ import annotations

from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core.step import StatusListener, TaskHandler
from backbeat.streams.core.takes import allowance, produced, reading, takes

TASKS: dict[TaskKind, TaskHandler] = {
    TaskKind.COUNT_RESULTS: takes.count,
    TaskKind.GIVE_RESULTS: takes.give,
}
#: A closed node's takers are told; a failure may be allowed.
ON_STATUS: dict[ServerStatus, StatusListener] = {
    **dict.fromkeys(CLOSED, takes.closed),
    ServerStatus.RETRIES_EXHAUSTED: allowance.allow_failure,
}
TAKE = takes.take
RESULTS = reading.first_results
RETURNED = produced.returned
