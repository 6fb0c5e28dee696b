"""Fault of load: one client application floods, by records and by calls, as fast as it can and as often as it may."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.schemas.kafka.client_registry import ClientRegistryError
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import signals_topic
from backbeat.streams.kafka.registration import add_client

_ASK_SECONDS = 20.0
_FLUSH_SECONDS = 30.0
_CALL_SECONDS_MAX = 30.0
#: Pause of a caller whom a gateway does not answer.
_PAUSE_SECONDS = 0.5
_PARTITIONS = 4
_WORKFLOW = "Flood"
_FIRST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Flood(Fault):
    """Signals as `client` at `per_second` by records, and with so many `callers` at the targets, gateways, at once.

    `bootstrap_servers` says where; `plain`: without encryption, whatever the environment says. Callers call again as
    soon as they are answered, whatever the answer. Nobody runs what is asked for. In the end the records that were not
    taken yet are deleted.
    """

    _sent = 0
    _began_at = 0.0
    _producer: Producer | None = None
    _callers: Sequence[threading.Thread] = ()

    def inject(self) -> None:
        """Add the client application, and begin to call."""
        try:
            client = add_client(self._servers(), self.arguments["client"], partitions=_PARTITIONS)
        except (SetupError, ClientRegistryError, KafkaException) as error:
            raise FaultError(f"the client {self.arguments['client']} cannot be added: {error}") from error
        self._producer = Producer({**connection(self._servers()), "message.timeout.ms": 600_000, "log_level": 0})
        self._ending = threading.Event()
        self._statuses: Counter[str] = Counter()
        self._lock = threading.Lock()
        urls = [target.metrics_url.removesuffix("/metrics") for target in self.targets]
        self._callers = [
            threading.Thread(target=self._call, args=(urls[number % len(urls)], client.id), daemon=True)
            for number in range(int(self.arguments["callers"]))
        ]
        for caller in self._callers:
            caller.start()
        self._began_at = time.monotonic()

    def act(self) -> None:
        """Write as many records as are due."""
        assert self._producer is not None, "inject() comes first"
        due = (time.monotonic() - self._began_at) * float(self.arguments["per_second"])
        while self._sent < due:
            record = {"workflow": _WORKFLOW, "subject": uuid.uuid4().hex, "decider": _WORKFLOW, "signal": _WORKFLOW}
            try:
                self._producer.produce(signals_topic(self.arguments["client"]), msgspec.json.encode(record))
            except BufferError:
                # More than Kafka takes: that is a flood, too.
                break
            self._sent += 1
        self._producer.poll(0)

    def abort(self) -> None:
        """Call no more, and delete the records that were not taken yet."""
        if self._producer is not None:
            self._ending.set()
            for caller in self._callers:
                caller.join()
            # What is not on its way yet would arrive behind the end that is deleted to.
            self._producer.purge(in_queue=True, in_flight=False)
            self._producer.flush(_FLUSH_SECONDS)
            self.note(f"{self._sent} records; answers to calls: {json.dumps(self._statuses)}")
        if ends := self._offsets(_LATEST):
            # Kept until it has answered: one that is gone answers nobody.
            admin = self._admin()
            for deleted in admin.delete_records(ends, request_timeout=_ASK_SECONDS).values():
                deleted.result()

    def check(self) -> list[str]:
        """Records that are there still."""
        count = sum(end.offset for end in self._offsets(_LATEST)) - sum(each.offset for each in self._offsets(_FIRST))
        return [f"{count} records of the flood are there"] if count else []

    def _call(self, url: str, client_id: str) -> None:
        """Call until the end; the next call as soon as the one before is answered."""
        address = urllib.parse.urlsplit(url)
        headers = {"Client-Id": client_id, "Content-Type": "application/json"}
        connection: http.client.HTTPConnection | None = None
        while not self._ending.is_set():
            body = {"name": _WORKFLOW, "subject": uuid.uuid4().hex, "decider": _WORKFLOW}
            try:
                connection = connection or http.client.HTTPConnection(address.netloc, timeout=_CALL_SECONDS_MAX)
                connection.request("POST", "/workflows", msgspec.json.encode(body), headers)
                response = connection.getresponse()
                response.read()
                status = str(response.status)
            except (OSError, http.client.HTTPException) as error:
                status, connection = type(error).__name__, None
                self._ending.wait(_PAUSE_SECONDS)
            with self._lock:
                self._statuses[status] += 1
        if connection is not None:
            connection.close()

    def _servers(self) -> str:
        servers = str(self.arguments["bootstrap_servers"])
        return Brokers(servers) if self.arguments.get("plain") else servers

    def _admin(self) -> AdminClient:
        return AdminClient({**connection(self._servers()), "log_level": 0})

    def _offsets(self, spec: Any) -> list[TopicPartition]:
        """Offsets of the flood's topic; none where there is no such topic."""
        admin, topic = self._admin(), signals_topic(self.arguments["client"])
        metadata = admin.list_topics(topic, timeout=_ASK_SECONDS).topics[topic]
        if metadata.error is not None:
            if metadata.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(metadata.error)
            return []
        places = {TopicPartition(topic, number): spec for number in metadata.partitions}
        offsets = admin.list_offsets(places, request_timeout=_ASK_SECONDS)
        return [TopicPartition(topic, place.partition, each.result().offset) for place, each in offsets.items()]
