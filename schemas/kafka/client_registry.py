"""Registry of clients: names, ids, endpoints, tokens, delivery.

One compacted topic, a record per client, keyed by its id. Small: every part that needs it reads it whole and follows
it, so a client added later is known within moments, without a restart. It is read at the edges only, never while a
command is applied (that depends on the log of commands alone).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Literal, NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.brokers import describe, reach
from backbeat.schemas.kafka.clients import ClientError, Delivery, RegisteredClient, decode_client
from backbeat.schemas.kafka.ends import read_ends
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import CLIENTS

__all__ = [
    "BadRecord",
    "ClientRegistry",
    "ClientRegistryError",
    "Delivery",
    "RegisteredClient",
]

READ_SECONDS_MAX = 30.0

#: Longest wait for a record, thus for `catch_up` to be noticed.
_POLL_SECONDS = 0.05
#: Interval and timeout of the request whether the topic can still be read.
_LOOK_SECONDS = 3.0
_LOOK_SECONDS_MAX = 1.0
_REASON_CHARACTERS_MAX = 500

logger = logging.getLogger(__name__)


class ClientRegistryError(Exception):
    """The registry cannot be read, or a client cannot be added; the text says why."""


class BadRecord(NamedTuple):
    """A registry record that is no valid client: skipped, and kept until its key is written again."""

    key: bytes
    offset: int
    reason: str


class ClientRegistry:
    """Clients by id and name: read whole by `start()`, followed by a thread until `stop()`."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        on_change: Callable[[RegisteredClient], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        #: Called once, on the registry's thread, with a fatal error: nothing is followed from then on.
        self._failed = failed
        #: The fatal error; None: the registry is alive.
        self.failure: Exception | None = None
        #: Invalid records by key.
        self._bad: dict[bytes, BadRecord] = {}
        #: Called for each client that is new or changed after `start()`, on the registry's thread.
        self._on_change = on_change
        self._changed = threading.Condition()
        self._by_id: dict[bytes, RegisteredClient] = {}
        #: Usually one of each name; several if two added it at once.
        self._by_name: dict[str, dict[bytes, RegisteredClient]] = {}
        self._stopping = threading.Event()
        self._consumer: Consumer | None = None
        self._thread: threading.Thread | None = None
        #: Grows with every change: caches of anything made from the clients compare it.
        self.version = 0
        #: Position in the topic, and its end as of the newest look that `catch_up` asked for.
        self._position = self._end = 0
        self._asked = self._looked = 0
        #: True while up to date: it was read, and the brokers answer.
        self.followed = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, seconds: float = READ_SECONDS_MAX) -> Self:
        """Read the whole topic, then follow it in a thread."""
        assert self._thread is None, "a registry is started once"
        if CLIENTS not in describe(reach(self.bootstrap_servers), [CLIENTS]):
            raise ClientRegistryError(f"there is no topic {CLIENTS}. What to do: run `backbeat topics create`.")
        self._consumer = Consumer(
            {
                **connection(self.bootstrap_servers),
                # Required by the library; nothing joins the group and nothing is committed.
                "group.id": "backbeat-registry",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "auto.offset.reset": "earliest",
                # Failures at the start are raised, later ones come as an error event.
                "log_level": 2,
                "error_cb": _note_error,
            }
        )
        try:
            self._read_all(self._consumer, seconds)
        except BaseException:
            self._consumer.close()
            raise
        self.followed = True
        self._thread = threading.Thread(target=self._follow, args=(self._consumer,), name="registry", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop following; the clients stay readable."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def bad_records(self) -> list[BadRecord]:
        """Invalid records in the order of the topic."""
        with self._changed:
            return sorted(self._bad.values(), key=lambda record: record.offset)

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        """The client with this id (16 bytes)."""
        with self._changed:
            return self._by_id.get(client_id)

    def catch_up(self, seconds: float) -> bool:
        """Read up to the topic's present end, within `seconds`; True if it got there."""
        with self._changed:
            self._asked += 1
            request = self._asked
            return self._changed.wait_for(lambda: self._looked >= request and self._position >= self._end, seconds)

    def by_name(self, name: str) -> RegisteredClient | None:
        """Client of this name. Of several, the one with the smallest id, on every reader alike."""
        with self._changed:
            candidates = self._by_name.get(name)
            return min(candidates.values(), key=lambda client: client.id) if candidates else None

    def all(self) -> list[RegisteredClient]:
        """Every client, sorted by name."""
        with self._changed:
            return sorted(self._by_id.values(), key=lambda client: client.name)

    def wait_for(self, expected: Mapping[bytes, RegisteredClient | None], seconds: float = READ_SECONDS_MAX) -> bool:
        """Wait until these ids (16 bytes) have these clients, or none; False on timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(self._by_id.get(key) == client for key, client in expected.items()), seconds
            )

    def wait_until_gone(self, records: Iterable[BadRecord], seconds: float = READ_SECONDS_MAX) -> bool:
        """Wait until these invalid records are replaced or deleted; False on timeout."""
        records = list(records)
        with self._changed:
            return self._changed.wait_for(
                lambda: all(self._bad.get(record.key) != record for record in records), seconds
            )

    def _read_all(self, consumer: Consumer, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        partition = TopicPartition(CLIENTS, 0, OFFSET_BEGINNING)
        try:
            low, high = read_ends(consumer, CLIENTS, 0, seconds)
        except KafkaException as error:
            reason = error.args[0].str()
            raise ClientRegistryError(f"Kafka at {self.bootstrap_servers} does not answer: {reason}.") from error
        consumer.assign([partition])
        position = low
        while position < high:
            message = consumer.poll(_POLL_SECONDS)
            if message is not None and self._take(message) is not None:
                position = _offset(message) + 1
            elif consumer.position([partition])[0].offset >= high:
                # Compaction may have left no record at the end.
                break
            if time.monotonic() > deadline:
                raise ClientRegistryError(
                    f"{CLIENTS} was read up to {position} of {high} only, within {seconds:.0f} s."
                )
        self._position = high

    def _follow(self, consumer: Consumer) -> None:
        looked_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                message = consumer.poll(_POLL_SECONDS)
                if time.monotonic() - looked_at > _LOOK_SECONDS or self._asked > self._looked:
                    self._look(consumer)
                    looked_at = time.monotonic()
                if message is not None:
                    self._follow_one(message)
        except Exception as error:
            logger.exception("the registry of clients is followed no more")
            self.failure = error
            if self._failed is not None:
                self._failed(error)
        finally:
            self.followed = False
            consumer.close()

    def _follow_one(self, message: Message) -> None:
        client = self._take(message)
        if client is None:
            return
        with self._changed:
            self._position = _offset(message) + 1
            self._changed.notify_all()
        if client and self._on_change is not None:
            try:
                self._on_change(client)
            except Exception:
                logger.exception("what follows the registry failed on client %s", client.name)

    def _look(self, consumer: Consumer) -> None:
        """Ask whether the topic can be read: the library reports brokers that go, not those that come back."""
        request = self._asked
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(CLIENTS, 0), timeout=_LOOK_SECONDS_MAX)
        except KafkaException as error:
            if self.followed:
                logger.warning("the registry of clients is not followed at the moment: %s", error.args[0].str())
            self.followed = False
        else:
            if not self.followed:
                logger.info("the registry of clients is followed again")
            self.followed = True
            with self._changed:
                self._looked, self._end = request, end
                self._changed.notify_all()

    def _take(self, message: Message) -> RegisteredClient | Literal[False] | None:
        """Apply a record to the tables: its client, False for an invalid or deleted one, None if nothing was read."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                logger.error("topic %s is gone", CLIENTS)
            return None
        key, value = message.key() or b"", message.value()
        try:
            client_id, client = decode_client(key, value)
        except Exception as reason:  # noqa: BLE001 - whatever it is: one record must keep no part from starting
            self._take_bad(key, value, _offset(message), reason)
            return False
        with self._changed:
            self._bad.pop(key, None)
            old = self._by_id.pop(client_id, None)
            if old is not None:
                del self._by_name[old.name][client_id]
            if client is not None:
                self._by_id[client_id] = client
                self._by_name.setdefault(client.name, {})[client_id] = client
            self.version += 1
            self._changed.notify_all()
        return client or False

    def _take_bad(self, key: bytes, value: bytes | None, offset: int, reason: Exception) -> None:
        with self._changed:
            if value is None:
                # A tombstone under an invalid key: the record is gone.
                self._bad.pop(key, None)
            else:
                text = str(reason) if isinstance(reason, ClientError) else f"{type(reason).__name__}: {reason}"
                self._bad[key] = BadRecord(key, offset, text[:_REASON_CHARACTERS_MAX])
                logger.warning("%s at %d is no client, and is passed over: %s", CLIENTS, offset, self._bad[key].reason)
            self._changed.notify_all()


def _note_error(error: KafkaError) -> None:
    # librdkafka retries by itself; each single connection that fails is not worth a line.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 -- librdkafka's own codes have this name
        OUTAGES.tell(logger, f"the registry of clients is not followed at the moment, {error.str()}")


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset
