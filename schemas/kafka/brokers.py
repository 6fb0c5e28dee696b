"""Requests to the brokers about topics: reachability, description, configuration."""

import base64
import logging
import re
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.security import CONNECT_AT_ONCE, SecurityError, connection

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

logger = logging.getLogger(__name__)

#: librdkafka's own codes have such names.
_UNREACHABLE = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001
#: Errors of a coordinator that is starting or has moved to another broker.
COORDINATOR_MOVES = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
#: Errors of a partition whose leader is being elected, or is new and not known to all yet.
LEADER_MOVES = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    # One of broker and client knows of a new leader and the other does not yet.
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
}
_MAY_PASS = _UNREACHABLE | COORDINATOR_MOVES | LEADER_MOVES
_REFUSALS = {KafkaError._AUTHENTICATION, KafkaError._SSL}  # noqa: SLF001
_TIMES = re.compile(r"\((?:after \d+ms in state \w+)[^)]*\)")
_SILENT = 2
_REACH_TRY_SECONDS = 1.0
#: The first answer takes longest: names are looked up and connections made.
REACH_SECONDS_MAX = 10.0
ASK_SECONDS_MAX = 20.0


class UnreachableError(Exception):
    """No broker answers."""

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__(
            f"Kafka at {bootstrap_servers} does not answer within {REACH_SECONDS_MAX:.0f} s. "
            "What to do: see that it runs, that this is host:port of its listener (as given, or of "
            "BACKBEAT_BOOTSTRAP_SERVERS; a gateway's is an http:// URL), and that the listener speaks "
            "BACKBEAT_KAFKA_SECURITY_PROTOCOL."
        )


class RefusedError(UnreachableError):
    """A broker answers and refuses the connection: a retry helps only after somebody has changed something."""

    def __init__(self, bootstrap_servers: str, reason: str) -> None:
        Exception.__init__(
            self,
            f"Kafka at {bootstrap_servers} cannot be entered: {reason}. What to do: see that "
            "--kafka-security-protocol, --kafka-ca-file, --kafka-user and the password (or BACKBEAT_KAFKA_…) are "
            "those of its listener.",
        )


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the brokers describe it."""

    name: str
    #: Kafka's id, a UUID as text: another one after the topic was deleted and made again.
    topic_id: str
    partitions: int
    #: Smallest number of replicas of a partition.
    replication: int
    #: Settings; empty where they were not requested.
    config: Mapping[str, str] = field(default_factory=dict)


def reach(bootstrap_servers: str) -> "AdminClient":
    """Admin client of brokers that answer. UnreachableError, RefusedError, SecurityError."""
    # A package of its own, and half of what the import of confluent_kafka takes.
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    refusals: list[KafkaError] = []

    def note(error: KafkaError) -> None:
        # The reason for a certificate refused comes after the handshake, and the connection is closed then.
        if error.code() in _REFUSALS or "SSL alert" in error.str():
            refusals.append(error)

    # Failures are raised; librdkafka's own lines on the terminal would repeat them.
    settings = {**connection(bootstrap_servers), **CONNECT_AT_ONCE, "log_level": _SILENT, "error_cb": note}
    try:
        admin = AdminClient(settings)
    except KafkaException as error:
        # The library has read the files and cannot use them.
        raise SecurityError(f"{error.args[0].str()}. What to do: see that the files are PEM, and whole.") from error
    deadline = time.monotonic() + REACH_SECONDS_MAX
    while True:
        try:
            admin.list_topics(timeout=_REACH_TRY_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in _UNREACHABLE:
                raise
            # Reasons for a failed connection come beside the error, which only says that no broker answered.
            admin.poll(0)
            if refusals:
                raise RefusedError(bootstrap_servers, _reason(refusals[-1])) from error
            if time.monotonic() >= deadline:
                raise UnreachableError(bootstrap_servers) from error
        else:
            return admin


def wait_until_reached(bootstrap_servers: str) -> None:
    """Wait without limit for the brokers, with a line in the log. RefusedError, SecurityError: waiting is no use."""
    while True:
        try:
            reach(bootstrap_servers)
        except RefusedError:
            raise
        except UnreachableError as error:
            OUTAGES.tell(logger, str(error))
        else:
            return


def may_pass(error: Exception) -> bool:
    """True if a retry may succeed: no broker answered, or a leader or a coordinator was changing."""
    if not isinstance(error, KafkaException):
        return not isinstance(error, RefusedError)
    reason: KafkaError = error.args[0]
    # The library says `retriable` of errors of transactions alone.
    return bool(reason.retriable()) or reason.code() in _MAY_PASS


def _reason(error: KafkaError) -> str:
    """Text of a refusal without the connection's name and age."""
    text = error.str().partition(": ")[2] or error.str()
    return _TIMES.sub("", text).strip().rstrip(".")


def describe(admin: "AdminClient", names: list[str], seconds: float = ASK_SECONDS_MAX) -> dict[str, TopicDescription]:
    """Descriptions of topics by name, without those that do not exist."""
    descriptions = {}
    for name, future in admin.describe_topics(TopicCollection(names), request_timeout=seconds).items():
        try:
            topic = result(future)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise
        replicas = [len(partition.replicas) for partition in topic.partitions]
        descriptions[name] = TopicDescription(name, _uuid_text(topic.topic_id), len(replicas), min(replicas, default=0))
    return descriptions


def with_configs(admin: "AdminClient", descriptions: Mapping[str, TopicDescription]) -> dict[str, TopicDescription]:
    """The same descriptions with settings."""
    from confluent_kafka.admin import ConfigResource, ResourceType  # noqa: PLC0415 - as in `reach`

    if not descriptions:
        # The library refuses to ask for none.
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in descriptions]
    settings = {}
    for resource, future in admin.describe_configs(resources, request_timeout=ASK_SECONDS_MAX).items():
        settings[resource.name] = {key: str(entry.value) for key, entry in result(future).items()}
    return {
        name: TopicDescription(name, topic.topic_id, topic.partitions, topic.replication, settings[name])
        for name, topic in descriptions.items()
    }


def result(future: "Future[Any]") -> Any:
    """Result of an admin request; the library's own timeout comes first."""
    return future.result(timeout=ASK_SECONDS_MAX * 1.5)


def _uuid_text(topic_id: object) -> str:
    # Kafka's own text form of an id is base64 of its 16 bytes.
    return str(uuid.UUID(bytes=base64.b64decode(f"{topic_id}==")))
