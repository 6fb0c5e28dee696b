"""Outbox of a slice: effects of many commands, which leave together at its end.

A request costs a broker as much as some hundred records, and librdkafka sends one a partition: records that are handed
over one by one leave in requests of a few.
"""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType
from typing import Any, Protocol

from backbeat.streams.ports.log import Outbox


class BatchOutbox(Outbox, Protocol):
    """Port of the slices: an outbox that takes batches, too."""

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
        """Send records of one partition (-1: by their keys), in order: `value` and `key` of each."""


class SliceOutbox:
    """The sender of effects: outside of a slice at once, within one (`with`) at its end, a batch for each partition.

    Called on the event loop alone. A slice is one piece of work without an await, so that no snapshot can come between
    a command and its effects.
    """

    def __init__(self, outbox: BatchOutbox) -> None:
        self._outbox = outbox
        self._is_open = False
        #: by topic and partition
        self._gathered: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Send one record, in order with the others of its partition."""
        if self._is_open and headers is None:
            self._gathered[topic, partition].append({"value": value, "key": key})
        else:
            # librdkafka takes no headers in a batch. Dead letters alone have some, and a topic of their own.
            self._outbox.send(topic, value, key=key, partition=partition, headers=headers)

    def __enter__(self) -> None:
        assert not self._is_open, "one slice at a time"
        self._is_open = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        # Also after an error: the commands before it were applied.
        gathered, self._gathered = self._gathered, defaultdict(list)
        for (topic, partition), messages in gathered.items():
            if len(messages) == 1:
                self._outbox.send(topic, messages[0]["value"], key=messages[0]["key"], partition=partition)
            else:
                self._outbox.send_batch(topic, partition, messages)
