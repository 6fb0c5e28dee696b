"""Hooks of coalescing at signals and nodes."""

from __future__ import annotations

from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.streams.core.coalesce import coalesce
from backbeat.streams.core.step import StatusListener
from backbeat.streams.core.tree import status

#: A repeat of a dropped signal is answered; a signal merges with one that waits.
ON_REPEAT = coalesce.answer_dropped
BEFORE_SIGNAL = coalesce.merge
#: The index follows the newest signal of a key, until it is sent or closed.
ON_NODE = coalesce.reindex
ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys({status.SENT_TO_CLIENT, *CLOSED}, coalesce.reindex)
