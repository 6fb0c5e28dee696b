"""Delivery of sent records: all acknowledged before a commit; undeliverable activities become commands."""

from __future__ import annotations

import logging
from collections.abc import Callable

from backbeat.schemas import codec
from backbeat.schemas.kafka import topics
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.streams.output.commands import CommandSender
from backbeat.streams.output.outbox import Outbox, OutboxError
from backbeat.streams.ports.deadline import Deadline

logger = logging.getLogger(__name__)

#: Time for which a commit waits for acknowledgements before it holds back commands.
_FLUSH_SECONDS = 0.5


class Deliveries:
    """Called by the event loop at each tick, and by the thread of a commit."""

    def __init__(
        self,
        outbox: Outbox,
        commands: CommandSender,
        *,
        hold_back: Callable[[bool], object],
        was_away: Callable[[float], bool],
    ) -> None:
        """`hold_back`: called with true when commands have to wait, from any thread; `was_away`: see `reachability`."""
        self.outbox = outbox
        self._delivery_failed = commands.delivery_failed
        self._hold_back = hold_back
        self._was_away = was_away
        self.is_congested = False  #: true while commands are held back since a queue is full

    def relieve(self) -> None:
        """Hold commands back while records wait for room in a producer's queue."""
        if self.outbox.is_congested is not self.is_congested:
            self.is_congested = not self.is_congested
            self._hold_back(self.is_congested)

    def take_undelivered(self) -> bool:
        """Send a command for each undeliverable activity. True: there was an undeliverable record. OutboxError."""
        undelivered = self.outbox.poll()
        for record in undelivered:
            if record.topic.startswith(topics.ACTIVITIES_PREFIX):
                activity = codec.decode_activity(record.value)
                node = activity.node
                log_fields = {"tid": node.tid, "node": node.id, "attempt": node.attempt}
                logger.error("%s: an activity cannot be delivered: %s", record.topic, record.reason, extra=log_fields)
                if activity.kind is not ActivityKind.NOTIFICATION:
                    self._delivery_failed(node.id, node.attempt, record.reason)
            elif record.topic == topics.REPLIES:
                logger.warning("a reply cannot be delivered: %s", record.reason)
            else:
                raise OutboxError(f"{record.topic}: {record.reason}")
        if undelivered:
            self.outbox.settle(len(undelivered))
        return bool(undelivered)

    def flush(self, deadline: Deadline) -> None:
        """Step 1 of a commit: wait until all sent records are acknowledged, those for undeliverable ones included."""
        if self._flush_once(min(_FLUSH_SECONDS, deadline.left)):
            return
        # Under load the queue is never empty while commands go on filling it: hold them back until it is.
        self._hold_back(True)
        try:
            while not self._flush_once(deadline.left):
                if deadline.is_over and self._was_away(deadline.began_at):
                    deadline.renew()
                elif deadline.is_over:
                    raise OutboxError(f"records are not acknowledged after {deadline.given_seconds:.0f} s")
        finally:
            self._hold_back(False)

    def _flush_once(self, seconds: float) -> bool:
        """True when all sent records are acknowledged, and none was undeliverable.

        The loop takes undelivered records as well: the commands that it sends for them are not acknowledged yet.
        """
        settled = self.outbox.settled
        return self.outbox.flush(seconds) and not self.take_undelivered() and self.outbox.handed_out == settled
