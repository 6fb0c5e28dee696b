"""The registry of clients: who may send signals, who runs activities, and where.

One compacted topic, a record per client, keyed by its id. Small: every part that needs it reads it whole and follows
it, so a client added later is known within moments, without a restart. It is consulted at the doors only, never while
a command is applied (what is applied depends on the log of commands alone).
"""

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.streams.brokers import describe, reach
from backbeat.streams.topics import (
    CLIENTS,
    PARTITIONS_DEFAULT,
    REPLICATION_DEFAULT,
    ensure_client_topics,
    has_topics,
)

READ_SECONDS_MAX = 30.0
NAME_CHARACTERS_MAX = 255

_POLL_SECONDS = 0.2
_TRANSIENT = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")

logger = logging.getLogger(__name__)

Delivery = Literal["topic", "webhook"]


class RegistryError(Exception):
    """The registry cannot be read, or a client cannot be added; the text says why."""


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A client application: what the registry knows of it."""

    #: UUID, as text of 36 characters.
    id: str
    #: Unique.
    name: str
    #: Where decisions are posted to; None: to the activity endpoint.
    decision_endpoint: str | None = None
    #: Where activities are posted to.
    activity_endpoint: str | None = None
    #: Where notifications are posted to.
    notification_endpoint: str | None = None
    #: SHA-256 of the client's token, as hexadecimal text; empty: it has none.
    token_hash: str = ""
    #: Whether its work goes to workers on its topic, or to its endpoints.
    delivery: Delivery = "topic"

    @property
    def id_bytes(self) -> bytes:
        """The id as its 16 bytes."""
        return uuid.UUID(self.id).bytes


class Registry:
    """All clients, as they are now: read whole by `start()`, followed by a thread until `stop()`."""

    def __init__(self, bootstrap_servers: str, *, on_change: Callable[[RegisteredClient], None] | None = None) -> None:
        self._bootstrap_servers = bootstrap_servers
        #: Called for each client that is new or changed after `start()`, on the registry's thread.
        self._on_change = on_change
        self._lock = threading.Lock()
        self._by_id: dict[bytes, RegisteredClient] = {}
        self._by_name: dict[str, RegisteredClient] = {}
        self._stopping = threading.Event()
        self._consumer: Consumer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, seconds: float = READ_SECONDS_MAX) -> Self:
        """Read the whole topic, then follow it in a thread."""
        assert self._thread is None, "a registry is started once"
        if CLIENTS not in describe(reach(self._bootstrap_servers), [CLIENTS]):
            raise RegistryError(f"there is no topic {CLIENTS}. What to do: run `backbeat topics create`.")
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                # Required by the library; nothing joins the group and nothing is committed.
                "group.id": "backbeat-registry",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "auto.offset.reset": "earliest",
                # What fails while it starts is raised, what fails later comes as an error event.
                "log_level": 2,
                "error_cb": _note_error,
            }
        )
        try:
            self._read_all(self._consumer, seconds)
        except BaseException:
            self._consumer.close()
            raise
        self._thread = threading.Thread(target=self._follow, args=(self._consumer,), name="registry", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop following; what was read stays readable."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        """The client with this id (16 bytes)."""
        with self._lock:
            return self._by_id.get(client_id)

    def by_name(self, name: str) -> RegisteredClient | None:
        """The client of this name."""
        with self._lock:
            return self._by_name.get(name)

    def all(self) -> list[RegisteredClient]:
        """Every client, sorted by name."""
        with self._lock:
            return sorted(self._by_id.values(), key=lambda client: client.name)

    def _read_all(self, consumer: Consumer, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        partition = TopicPartition(CLIENTS, 0, OFFSET_BEGINNING)
        try:
            low, high = _ends(consumer, partition, deadline)
        except KafkaException as error:
            reason = error.args[0].str()
            raise RegistryError(f"Kafka at {self._bootstrap_servers} does not answer: {reason}.") from error
        consumer.assign([partition])
        position = low
        while position < high:
            message = consumer.poll(_POLL_SECONDS)
            if message is not None and self._take(message) is not None:
                position = _offset(message) + 1
            elif consumer.position([partition])[0].offset >= high:
                # Compaction may have left no record at the end.
                return
            if time.monotonic() > deadline:
                raise RegistryError(f"{CLIENTS} was read up to {position} of {high} only, within {seconds:.0f} s.")

    def _follow(self, consumer: Consumer) -> None:
        try:
            while not self._stopping.is_set():
                message = consumer.poll(_POLL_SECONDS)
                client = self._take(message) if message is not None else None
                if client and self._on_change is not None:
                    try:
                        self._on_change(client)
                    except Exception:
                        logger.exception("what follows the registry failed on client %s", client.name)
        finally:
            consumer.close()

    def _take(self, message: Message) -> RegisteredClient | Literal[False] | None:
        """Put a record into the tables: the client, False for one that is no client, None where nothing was read."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                logger.error("topic %s is gone", CLIENTS)
            return None
        key, value = message.key() or b"", message.value()
        try:
            client_id = uuid.UUID(key.decode()).bytes
            client = msgspec.json.decode(value, type=RegisteredClient) if value is not None else None
        except (ValueError, msgspec.DecodeError) as reason:
            # One bad record must not keep every part from starting.
            logger.warning("%s at %s is no client: %s", CLIENTS, message.offset(), reason)
            return False
        with self._lock:
            old = self._by_id.pop(client_id, None)
            if old is not None and self._by_name.get(old.name) is old:
                del self._by_name[old.name]
            if client is not None:
                self._by_id[client_id] = client
                # Two with one name (two wrote at once): the first keeps it, for everybody alike.
                self._by_name.setdefault(client.name, client)
        return client or False


def _note_error(error: KafkaError) -> None:
    # librdkafka tries again by itself; each single connection that fails is not worth a line.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 -- librdkafka's own codes have this name
        logger.warning("the registry of clients is not followed at the moment: %s", error.str())


def _ends(consumer: Consumer, partition: TopicPartition, deadline: float) -> tuple[int, int]:
    while True:
        try:
            low, high = consumer.get_watermark_offsets(partition, timeout=deadline - time.monotonic())
        except KafkaException as error:
            # A topic that was made a moment ago is known before it can be read; a leader may be changing.
            if not error.args[0].retriable() and error.args[0].code() not in _TRANSIENT:
                raise
            if time.monotonic() > deadline - _POLL_SECONDS:
                raise
            time.sleep(_POLL_SECONDS / 4)
        else:
            return low, high


def add_client(
    bootstrap_servers: str,
    name: str,
    *,
    client_id: str | None = None,
    decision_endpoint: str | None = None,
    activity_endpoint: str | None = None,
    notification_endpoint: str | None = None,
    token_hash: str = "",
    delivery: Delivery | None = None,
    partitions: int = PARTITIONS_DEFAULT,
    replication: int = REPLICATION_DEFAULT,
    development: bool = False,
) -> RegisteredClient:
    """Add a client and make its topics; the same call again gives the same client.

    Without `delivery`, a client with an activity endpoint is served by webhook, any other on its topic.
    """
    if delivery is None:
        delivery = "webhook" if activity_endpoint else "topic"
    _check_name(name, delivery)
    with Registry(bootstrap_servers) as registry:
        same_name = registry.by_name(name)
    if same_name is not None and client_id is not None and uuid.UUID(client_id) != uuid.UUID(same_name.id):
        raise RegistryError(f"there is a client {name!r} already: it has the id {same_name.id}, not {client_id}.")
    client = RegisteredClient(
        id=str(uuid.UUID(client_id)) if client_id else (same_name.id if same_name else str(uuid.uuid4())),
        name=name,
        decision_endpoint=decision_endpoint,
        activity_endpoint=activity_endpoint,
        notification_endpoint=notification_endpoint,
        token_hash=token_hash or (same_name.token_hash if same_name else ""),
        delivery=delivery,
    )
    if has_topics(name):
        # Before it is known: whoever learns of the client finds its topics.
        ensure_client_topics(bootstrap_servers, name, partitions, replication, development=development)
    if client != same_name:
        _write(bootstrap_servers, client)
    return client


def _check_name(name: str, delivery: Delivery) -> None:
    if not _PRINTABLE.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX:
        raise RegistryError(f"{name!r} cannot be a client's name: 1 to {NAME_CHARACTERS_MAX} printable characters.")
    if delivery == "topic" and not has_topics(name):
        raise RegistryError(
            f"client {name!r} cannot be served on a topic: its name must be 1 to 100 of A-Z a-z 0-9 . _ -. "
            "What to do: choose such a name, or give it endpoints."
        )


def _write(bootstrap_servers: str, client: RegisteredClient) -> None:
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    producer.produce(
        CLIENTS, key=client.id.encode(), value=msgspec.json.encode(client), partition=0, on_delivery=delivered
    )
    left = producer.flush(READ_SECONDS_MAX)
    if failed or left:
        reason = failed[0].str() if failed else f"not acknowledged within {READ_SECONDS_MAX:.0f} s"
        raise RegistryError(f"client {client.name!r} could not be written to {CLIENTS}: {reason}.")


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset
