"""Payloads of old clients that are too large for a record: in records of their own, with a reference in their place.

Old clients send arguments and results of megabytes. Such a payload is cut into chunks on the topic `backbeat.payloads`,
and what goes to the engine is a JSON object that says where they are and what their SHA-256 is. Whoever shows or posts
it has it whole again. Payloads that fit a record, which is nearly all of them, are not looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.codecs import MARK
from backbeat.delivery.kafka import make_consumer, make_producer, partition_counts
from backbeat.errors import CodecError, Unavailable
from backbeat.schemas.kafka.topics import PAYLOADS
from backbeat.schemas.messages.bounds import Settings

logger = logging.getLogger(__name__)

#: The largest payload that is taken.
PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
#: The largest one that goes as it is, and how much those of one call may be together.
INLINE_BYTES_MAX = Settings().payload_bytes_max
CALL_BYTES_MAX = 512 * 1024

#: How much of them one answer may have.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

_KEPT = "kept"
_PREFIX = f'{{"{MARK}":"{_KEPT}",'.encode()
_CHUNK_BYTES = 1024 * 1024
_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.1
#: What was kept or read lately: mostly it is posted next.
_CACHE_BYTES_MAX = 32 * 1024 * 1024


class _Reference(msgspec.Struct):
    sha256: str
    bytes: int
    partition: int
    offsets: list[int]
    #: the node's, which the engine reads
    timeout: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Timeout(msgspec.Struct):
    timeout: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_references = msgspec.json.Decoder(_Reference)
_timeouts = msgspec.json.Decoder(_Timeout)


def is_reference(text: bytes | None) -> bool:
    """Whether this stands for a payload that is kept elsewhere."""
    return text is not None and text.startswith(_PREFIX)


def size_of(text: bytes) -> int:
    """How large the payload is that a reference stands for."""
    try:
        return _references.decode(text).bytes
    except msgspec.MsgspecError:
        return len(text)


def too_many(texts: Sequence[bytes]) -> list[int]:
    """Which of a call's payloads have to be kept elsewhere: the large ones, and so many that the rest fits a record."""
    left = sum(map(len, texts))
    if left <= INLINE_BYTES_MAX:
        return []
    several = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index]), reverse=True):
        if left <= CALL_BYTES_MAX and len(texts[index]) <= INLINE_BYTES_MAX:
            break
        several.append(index)
        left -= len(texts[index])
    return several


class Payloads:
    """Keeps payloads and gives them back. Used from one event loop; connects when it has something to do."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None
        self._partitions = 0
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    async def stop(self) -> None:
        """Leave."""
        if self._consumer is not None:
            await asyncio.to_thread(self._consumer.close)

    async def keep(self, texts: Iterable[bytes]) -> list[bytes]:
        """Each payload of a call as it goes to the engine: itself, or a reference. Unavailable."""
        kept = list(texts)
        several = too_many(kept)
        if several:
            references = await asyncio.to_thread(self._keep, [kept[index] for index in several])
            for index, reference in zip(several, references, strict=True):
                kept[index] = reference
        return kept

    async def whole(self, text: bytes) -> bytes:
        """A payload that is kept elsewhere, or the text itself. CodecError: it is lost. Unavailable."""
        if not is_reference(text):
            return text
        try:
            reference = _references.decode(text)
        except msgspec.MsgspecError as error:
            raise CodecError(f"the reference to a payload is damaged: {error}") from error
        found = self._cache.get(reference.sha256)
        if found is None:
            found = await asyncio.to_thread(self._read, reference)
            if hashlib.sha256(found).hexdigest() != reference.sha256:
                raise CodecError(f"the payload that {PAYLOADS} has is another than the one that was kept")
            self._remember(reference.sha256, found)
        return found

    async def shown(self, text: bytes) -> bytes:
        """A payload as an answer shows it: one that is lost as its reference. Unavailable."""
        try:
            return await self.whole(text)
        except CodecError as error:
            # Whatever else the answer has is as it should be.
            logger.warning("a payload is shown as its reference: %s", error)
            return text

    def _remember(self, digest: str, text: bytes) -> None:
        with self._lock:
            if digest not in self._cache:
                self._cache[digest] = text
                self._cached_bytes += len(text)
            while self._cached_bytes > _CACHE_BYTES_MAX:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    # --- writing -----------------------------------------------------------------------------------------------------

    def _keep(self, texts: list[bytes]) -> list[bytes]:
        producer = self._connected_producer()
        partition = random.randrange(self._partitions)  # noqa: S311 - it spreads load and keeps no secret
        places: dict[tuple[int, int], int] = {}
        failed: list[KafkaError] = []
        for number, text in enumerate(texts):
            for part, start in enumerate(range(0, len(text), _CHUNK_BYTES)):

                def report(error: KafkaError | None, message: Message, place: tuple[int, int] = (number, part)) -> None:
                    if error is not None:
                        failed.append(error)
                    else:
                        places[place] = message.offset() or 0

                self._produce(producer, partition, text[start : start + _CHUNK_BYTES], report)
        left = producer.flush(_SECONDS_MAX)
        if left or failed:
            why = failed[0].str() if failed else "it does not answer"
            raise Unavailable(f"Kafka does not take a large payload: {why}")
        return [self._reference(text, partition, number, places) for number, text in enumerate(texts)]

    @staticmethod
    def _produce(producer: Producer, partition: int, chunk: bytes, report: Any) -> None:
        ends_at = time.monotonic() + _SECONDS_MAX
        while True:
            try:
                producer.produce(PAYLOADS, chunk, partition=partition, on_delivery=report)
            except BufferError as error:
                if time.monotonic() > ends_at:
                    raise Unavailable("too many records wait for Kafka") from error
                producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise Unavailable(f"Kafka does not take a large payload: {error.args[0].str()}") from error
            else:
                return

    def _reference(self, text: bytes, partition: int, number: int, places: dict[tuple[int, int], int]) -> bytes:
        digest = hashlib.sha256(text).hexdigest()
        self._remember(digest, text)
        reference = _Reference(
            sha256=digest,
            bytes=len(text),
            partition=partition,
            offsets=[offset for place, offset in sorted(places.items()) if place[0] == number],
        )
        try:
            reference.timeout = _timeouts.decode(text).timeout
        except msgspec.MsgspecError:
            # A response may be anything.
            reference.timeout = msgspec.UNSET
        return _PREFIX + msgspec.json.encode(reference)[1:]

    def _connected_producer(self) -> Producer:
        with self._lock:
            if self._producer is None:
                producer = make_producer(
                    self._bootstrap_servers,
                    {"message.timeout.ms": int(_SECONDS_MAX * 900), "compression.type": "zstd"},
                )
                (self._partitions,) = partition_counts(producer, self._bootstrap_servers, PAYLOADS)
                self._producer = producer
            return self._producer

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read(self, reference: _Reference) -> bytes:
        with self._lock:
            if self._consumer is None:
                # Nothing joins this group and nothing is committed: the library wants the name.
                self._consumer = make_consumer(
                    self._bootstrap_servers,
                    "backbeat-payloads",
                    {"auto.offset.reset": "error", "queued.max.messages.kbytes": 4 * _CHUNK_BYTES // 1024},
                )
            consumer, ends_at = self._consumer, time.monotonic() + _SECONDS_MAX
            following, chunks = -1, []
            try:
                for at in reference.offsets:
                    # Where it reads is known here alone: for a while after unassign() the library says where it read.
                    if at != following:
                        consumer.assign([TopicPartition(PAYLOADS, reference.partition, at)])
                    chunks.append(self._chunk(consumer, reference.partition, at, ends_at))
                    following = at + 1
            finally:
                consumer.unassign()
        return b"".join(chunks)

    @staticmethod
    def _chunk(consumer: Consumer, partition: int, offset: int, ends_at: float) -> bytes:
        while time.monotonic() < ends_at:
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001 - the library names it so
                raise CodecError(f"{PAYLOADS} {partition}@{offset} is not there any more")
            if error is not None:
                logger.debug("reading %s: %s", PAYLOADS, error.str())
            elif message.offset() == offset:
                return message.value() or b""
            else:
                raise CodecError(f"{PAYLOADS} {partition}@{offset} is not there any more")
        raise Unavailable(f"Kafka does not give a large payload ({PAYLOADS} {partition}@{offset})")
