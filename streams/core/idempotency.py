"""What a command is answered, and the answers that are kept for repeats of a caller's key (design: command ids)."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import Command
from backbeat.schemas.messages.replies import Answer as AnswerBody
from backbeat.schemas.messages.replies import Rejection
from backbeat.schemas.messages.values import ReplyTo
from backbeat.streams.core.effects import Effect, Refuse, Reply
from backbeat.streams.core.records import Answer
from backbeat.streams.core.tables import ANSWERS
from backbeat.streams.core.transaction import Transaction

#: Characters of the transaction id that an answer carries, also where the id itself is what was refused.
_REPLY_TID_MAX = 256
_PACK = msgspec.msgpack.Encoder()
_UNPACK: msgspec.msgpack.Decoder[AnswerBody] = msgspec.msgpack.Decoder(AnswerBody)


def answered(command: Command, answer: AnswerBody) -> list[Effect]:
    """The reply, where one was asked for; a refusal that nobody waits for is kept for an operator."""
    reply_to: ReplyTo | None = command.reply_to
    if reply_to is not None:
        return [Reply(reply_to, answer, command.tid[:_REPLY_TID_MAX])]
    if isinstance(answer, Rejection):
        return [Refuse(answer)]
    return []


def kept(answer: Answer) -> AnswerBody:
    """The answer that was kept."""
    return _UNPACK.decode(answer.effect)


def remember(transaction: Transaction, command: Command, answer: AnswerBody, now: int) -> None:
    """Keep what a command with a caller's key was answered, for as long as the settings say."""
    if command.body_hash is not None:
        keep(transaction, command.id, command.body_hash, answer, now)


def keep(transaction: Transaction, command_id: bytes, body_hash: bytes, answer: AnswerBody, now: int) -> None:
    """Keep what a command was answered, for as long as the settings say. Nothing is kept under its id yet."""
    forget_at = now + int(transaction.meta.settings.answer_retention_seconds * 1000)
    transaction.add(ANSWERS, command_id, Answer(body_hash, _PACK.encode(answer), forget_at))


def forget(transaction: Transaction, command_id: bytes) -> bool:
    """Forget what a command with a caller's key was answered. False: nothing was remembered."""
    if transaction.get(ANSWERS, command_id) is None:
        return False
    transaction.delete(ANSWERS, command_id)
    return True
