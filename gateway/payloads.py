"""Payloads of old clients too large for a record: stored in chunks, with a reference in their place.

Old clients send arguments and results of megabytes. Such a payload is cut into chunks on the topic `backbeat.payloads`,
and the engine gets a JSON object with their offsets and SHA-256. Answers and webhooks have the whole payload again.
Payloads that fit a record, nearly all of them, are not touched.
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
from typing import Annotated, Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.codecs import MARK
from backbeat.delivery.kafka import make_consumer, make_producer, partition_counts
from backbeat.errors import CodecError, Unavailable
from backbeat.schemas.kafka.topics import PAYLOADS
from backbeat.schemas.messages.bounds import Settings

logger = logging.getLogger(__name__)

#: Largest payload accepted.
PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
#: Largest payload sent inline, and largest sum of those of one call.
INLINE_BYTES_MAX = Settings().payload_bytes_max
CALL_BYTES_MAX = 512 * 1024

#: Largest sum of such payloads in one answer.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

_KEPT = "kept"
_PREFIX = f'{{"{MARK}":"{_KEPT}",'.encode()
_CHUNK_BYTES = 1024 * 1024
_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.1
#: Payloads written or read lately: mostly they are posted next.
_CACHE_BYTES_MAX = 32 * 1024 * 1024


_Offset = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Reference(msgspec.Struct):
    """A reference, within the bounds of those that are written here: a client may send what looks like one."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, msgspec.Meta(ge=1, le=PAYLOAD_BYTES_MAX)]
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    #: of its chunks
    offsets: Annotated[list[_Offset], msgspec.Meta(max_length=-(-PAYLOAD_BYTES_MAX // _CHUNK_BYTES))]
    #: Timeout of the node, which the engine reads.
    timeout: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Timeout(msgspec.Struct):
    timeout: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_references = msgspec.json.Decoder(_Reference)
_timeouts = msgspec.json.Decoder(_Timeout)


def is_reference(text: bytes | None) -> bool:
    """True if this is a reference to a stored payload."""
    return text is not None and text.startswith(_PREFIX)


def size_of(text: bytes) -> int:
    """Size of the payload of a reference."""
    try:
        return _references.decode(text).bytes
    except msgspec.MsgspecError:
        return len(text)


def too_many(texts: Sequence[bytes]) -> list[int]:
    """Indexes of a call's payloads to store elsewhere: the large ones, and as many that the rest fits a record."""
    remaining_bytes = sum(map(len, texts))
    if remaining_bytes <= INLINE_BYTES_MAX:
        return []
    indexes = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index]), reverse=True):
        if remaining_bytes <= CALL_BYTES_MAX and len(texts[index]) <= INLINE_BYTES_MAX:
            break
        indexes.append(index)
        remaining_bytes -= len(texts[index])
    return indexes


class Payloads:
    """Store of large payloads. Used from one event loop; connects on first use."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None
        self._partitions = 0
        #: A read may take long: whoever writes, or has a payload in the cache, does not wait for it.
        self._writing, self._reading, self._caching = threading.Lock(), threading.Lock(), threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await asyncio.to_thread(self._consumer.close)

    async def store(self, texts: Iterable[bytes]) -> list[bytes]:
        """Payloads of a call for the engine: inline, or as references. Unavailable."""
        results = list(texts)
        indexes = too_many(results)
        if indexes:
            references = await asyncio.to_thread(self._store, [results[index] for index in indexes])
            for index, reference in zip(indexes, references, strict=True):
                results[index] = reference
        return results

    async def load(self, text: bytes) -> bytes:
        """The payload of a reference, or the text itself. CodecError: it is lost. Unavailable."""
        if not is_reference(text):
            return text
        try:
            reference = _references.decode(text)
        except msgspec.MsgspecError as error:
            raise CodecError(f"the reference to a payload is damaged: {error}") from error
        payload = self._cache.get(reference.sha256)
        if payload is None:
            payload = await asyncio.to_thread(self._read, reference)
            if len(payload) != reference.bytes or hashlib.sha256(payload).hexdigest() != reference.sha256:
                raise CodecError(f"the payload that {PAYLOADS} has is another than the one that was kept")
            self._cache_payload(reference.sha256, payload)
        return payload

    async def load_or_reference(self, text: bytes) -> bytes:
        """A payload in an answer: a lost one as its reference. Unavailable."""
        try:
            return await self.load(text)
        except CodecError as error:
            # The rest of the answer is unaffected.
            logger.warning("a payload is shown as its reference: %s", error)
            return text

    def _cache_payload(self, digest: str, text: bytes) -> None:
        with self._caching:
            if digest not in self._cache:
                self._cache[digest] = text
                self._cached_bytes += len(text)
            while self._cached_bytes > _CACHE_BYTES_MAX:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    # --- writing -----------------------------------------------------------------------------------------------------

    def _store(self, texts: list[bytes]) -> list[bytes]:
        producer = self._connected_producer()
        partition = random.randrange(self._partitions)  # noqa: S311 - it spreads load and keeps no secret
        offsets: dict[tuple[int, int], int] = {}
        errors: list[KafkaError] = []
        for index, text in enumerate(texts):
            for part, start in enumerate(range(0, len(text), _CHUNK_BYTES)):

                def report(error: KafkaError | None, message: Message, chunk: tuple[int, int] = (index, part)) -> None:
                    if error is not None:
                        errors.append(error)
                    else:
                        offsets[chunk] = message.offset() or 0

                self._produce(producer, partition, text[start : start + _CHUNK_BYTES], report)
        unacknowledged = producer.flush(_SECONDS_MAX)
        if unacknowledged or errors:
            reason = errors[0].str() if errors else "it does not answer"
            raise Unavailable(f"Kafka does not take a large payload: {reason}")
        return [self._reference(text, partition, index, offsets) for index, text in enumerate(texts)]

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

    def _reference(self, text: bytes, partition: int, index: int, offsets: dict[tuple[int, int], int]) -> bytes:
        digest = hashlib.sha256(text).hexdigest()
        self._cache_payload(digest, text)
        reference = _Reference(
            sha256=digest,
            bytes=len(text),
            partition=partition,
            offsets=[offset for chunk, offset in sorted(offsets.items()) if chunk[0] == index],
        )
        try:
            reference.timeout = _timeouts.decode(text).timeout
        except msgspec.MsgspecError:
            # A response may be any JSON value.
            reference.timeout = msgspec.UNSET
        return _PREFIX + msgspec.json.encode(reference)[1:]

    def _connected_producer(self) -> Producer:
        with self._writing:
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
        with self._reading:
            if self._consumer is None:
                # Required by the library; nothing joins the group and nothing is committed.
                self._consumer = make_consumer(
                    self._bootstrap_servers,
                    "backbeat-payloads",
                    {"auto.offset.reset": "error", "queued.max.messages.kbytes": 4 * _CHUNK_BYTES // 1024},
                )
            consumer, ends_at = self._consumer, time.monotonic() + _SECONDS_MAX
            self._check_partition(consumer, reference.partition)
            next_offset, chunks = -1, []
            try:
                for offset in reference.offsets:
                    # The position is tracked here: for a while after unassign() the library still reports the old one.
                    if offset != next_offset:
                        consumer.assign([TopicPartition(PAYLOADS, reference.partition, offset)])
                    chunks.append(self._chunk(consumer, reference.partition, offset, ends_at))
                    next_offset = offset + 1
            finally:
                consumer.unassign()
        return b"".join(chunks)

    def _check_partition(self, consumer: Consumer, partition: int) -> None:
        """CodecError: the topic has no such partition. Unavailable."""
        if partition >= self._partitions:
            (self._partitions,) = partition_counts(consumer, self._bootstrap_servers, PAYLOADS)
        if partition >= self._partitions:
            raise CodecError(f"{PAYLOADS} has no partition {partition}")

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
