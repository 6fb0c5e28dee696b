"""Replies to commands, stored by idempotency key for repeats (design: command ids)."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.replies import Answer as AnswerBody
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.values import Command, ReplyTo
from backbeat.streams.core.effects import DeadLetter, Effect, Reply
from backbeat.streams.core.records import StoredReply
from backbeat.streams.core.tables import STORED_REPLIES
from backbeat.streams.core.transaction import Transaction

#: Characters of the transaction id in a reply, also where the id itself was refused for its length.
_REPLY_TID_MAX = 256
_PACK = msgspec.msgpack.Encoder()
_UNPACK: msgspec.msgpack.Decoder[AnswerBody] = msgspec.msgpack.Decoder(AnswerBody)


def answered(command: Command, answer: AnswerBody) -> list[Effect]:
    """The reply to a command, where it has a return address; else a rejection becomes a dead letter."""
    reply_to: ReplyTo | None = command.reply_to
    if reply_to is not None:
        return [Reply(reply_to, answer, command.tid[:_REPLY_TID_MAX])]
    if type(answer) is Rejection:
        return [DeadLetter(answer)]
    return []


def find_reply(transaction: Transaction, command: Command) -> list[Effect] | None:
    """The stored reply to a command with this idempotency key; null: the command is new."""
    stored = transaction.get(STORED_REPLIES, command.id)
    if stored is None:
        return None
    if stored.body_hash == command.body_hash:
        return answered(command, load_reply(stored))
    message = "This idempotency key was used for another request"
    return answered(command, Rejection(Reason.KEY_REUSED, message, found="another body", wanted="the same body"))


def load_reply(answer: StoredReply) -> AnswerBody:
    """The body of a stored reply."""
    return _UNPACK.decode(answer.effect)


def save_reply(transaction: Transaction, command: Command, answer: AnswerBody, now: int) -> None:
    """Store the reply to a command with an idempotency key, for `answer_retention_seconds`."""
    if command.body_hash is not None:
        store_reply(transaction, command.id, command.body_hash, answer, now)


def store_reply(transaction: Transaction, command_id: bytes, body_hash: bytes, answer: AnswerBody, now: int) -> None:
    """Store the reply to a command for `answer_retention_seconds`. None is stored under its id yet."""
    forget_at = now + int(transaction.meta.settings.answer_retention_seconds * 1000)
    transaction.add(STORED_REPLIES, command_id, StoredReply(body_hash, _PACK.encode(answer), forget_at))


def expire_reply(transaction: Transaction, command_id: bytes) -> bool:
    """Delete a stored reply. False: there is none."""
    if transaction.get(STORED_REPLIES, command_id) is None:
        return False
    transaction.delete(STORED_REPLIES, command_id)
    return True
