"""Answers to commands and queries, as records that fit into their topic."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import REPLIES, REPLY_BYTES_MAX
from backbeat.schemas.messages import replies
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.schemas.messages.replies import QueryAnswer
from backbeat.schemas.messages.values import ReplyTo
from backbeat.streams.core import queries
from backbeat.streams.ports.errors import NOT_OF_A_RECORD, defect_text
from backbeat.streams.ports.log import Outbox
from backbeat.streams.ports.state import PartitionState

logger = logging.getLogger(__name__)


class Replies:
    """The sender of replies."""

    def __init__(self, outbox: Outbox, counts: Counter[str]) -> None:
        self._outbox = outbox
        self._counts = counts

    def send(
        self, to: ReplyTo, answer: replies.Answer | QueryAnswer, tid: str, part: int = 0, *, last: bool = True
    ) -> None:
        """Send an answer, or a part of one."""
        value = codec.encode_reply(to, answer, tid, part, last)
        if len(value) > REPLY_BYTES_MAX:
            # Kafka would not take it, and the client would wait in vain.
            message = f"The answer has {len(value)} bytes, and one record has at most {REPLY_BYTES_MAX}"
            rejection = replies.Rejection(
                replies.Reason.LIMIT_EXCEEDED, message, f"{len(value)} bytes", "a smaller answer"
            )
            value = codec.encode_reply(to, rejection, tid, part, True)
        self._outbox.send(REPLIES, value, key=to.asker, partition=to.partition)

    def refuse(self, query: AnyQuery, rejection: replies.Rejection) -> None:
        """Answer an invalid query, unless its return address is invalid, too."""
        if query.reply_to.partition >= 0:
            self.send(query.reply_to, rejection, query.tid)

    def answer(self, query: AnyQuery, store: PartitionState) -> Iterator[None]:
        """Send all parts of the answer; yields between two of them.

        Reading changes nothing, so any exception is answered with a Rejection.
        """
        part = 0
        previous: QueryAnswer | None = None
        answers = queries.answer(query, store)
        while True:
            try:
                answer = next(answers, None)
            except NOT_OF_A_RECORD:
                raise
            except Exception as defect:
                self._counts["queries_failed"] += 1
                logger.exception("%s failed", type(query).__name__, extra={"tid": query.tid})
                answer, answers = _failed(defect), iter(())
            if previous is not None:
                self.send(query.reply_to, previous, query.tid, part, last=answer is None)
                part += 1
            if answer is None:
                return
            if previous is not None:
                yield
            previous = answer


def _failed(defect: Exception) -> replies.Rejection:
    message = f"The engine failed on this query: {defect_text(defect)}"
    return replies.Rejection(replies.Reason.INVALID_PARAMETERS, message, found="a defect", wanted="an answer")
