"""What became of what was sent: all of it acknowledged before a commit, and commands instead of the undeliverable."""

from __future__ import annotations

import logging
from collections.abc import Callable

from backbeat.schemas import codec
from backbeat.schemas.kafka import topics
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.streams.engine.loop import Engine
from backbeat.streams.output.outbox import Outbox, OutboxError
from backbeat.streams.process.deadline import Deadline
from backbeat.streams.process.termination import end

logger = logging.getLogger(__name__)

#: How long a commit waits for acknowledgements before it holds back what would be sent meanwhile.
_FLUSH_SECONDS = 0.5


class Deliveries:
    """Looked at by the event loop now and then, and by the thread of a commit."""

    def __init__(
        self,
        outbox: Outbox,
        engine: Engine,
        *,
        hold_back: Callable[[bool], object],
        was_away: Callable[[float], bool],
    ) -> None:
        """`hold_back`: whether commands wait, told from any thread; `was_away`: see `reachability`."""
        self._outbox = outbox
        self._engine = engine
        self._hold_back = hold_back
        self._was_away = was_away

    def take_undelivered(self) -> bool:
        """Turn what can never be delivered into commands; whether there was any."""
        undelivered = self._outbox.poll()
        for record in undelivered:
            if record.topic.startswith(topics.ACTIVITIES_PREFIX):
                activity = codec.decode_activity(record.value)
                node = activity.node
                about = {"tid": node.tid, "node": node.id, "attempt": node.attempt}
                logger.error("%s: an activity cannot be delivered: %s", record.topic, record.reason, extra=about)
                if activity.kind is not ActivityKind.NOTIFICATION:
                    self._engine.undeliverable(node.id, node.attempt, record.reason)
            elif record.topic == topics.REPLIES:
                logger.warning("a reply cannot be delivered: %s", record.reason)
            else:
                end(f"{record.topic}: {record.reason}")
        if undelivered:
            self._outbox.settle(len(undelivered))
        return bool(undelivered)

    def flush(self, deadline: Deadline) -> None:
        """Step 1: until everything is acknowledged, and so is what replaced the undeliverable."""
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
        """Whether everything sent so far is acknowledged, and nothing was undeliverable.

        The loop looks for the undeliverable as well: what it was handed since this began is not acknowledged yet.
        """
        settled = self._outbox.settled
        return self._outbox.flush(seconds) and not self.take_undelivered() and self._outbox.handed_out == settled
