"""Fault of load: one client application floods, by records and by calls, as fast as it can and as often as it may."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.faults.fault import Fault, FaultError
from backbeat.compose.drill.faults.flooder import FLUSH_SECONDS, READY_LINE, REFUSED_PREFIX, Attained, Order
from backbeat.compose.drill.load.payments import TOKEN_VARIABLE
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.child_process import ChildProcess, last_lines, stop_left_over
from backbeat.schemas.kafka.client_registry import ClientRegistryError
from backbeat.schemas.kafka.clients import hash_token, make_token
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import signals_topic
from backbeat.schemas.requests.decoding import from_json
from backbeat.streams.kafka.registration import add_client

_ASK_SECONDS = 20.0
_START_SECONDS_MAX = 60.0
#: Time in which records that were on their way may still come, and are deleted, too.
_DELETE_SECONDS_MAX = 60.0
_PARTITIONS = 4
_FIRST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Flood(Fault):
    """Signals as `client` at `per_second` by records, and with so many `callers` at the targets, gateways, at once.

    `bootstrap_servers` says where; `plain`: without encryption, whatever the environment says. Nobody runs what is
    asked for. In the end the records that were not taken yet are deleted.
    """

    _process: ChildProcess | None = None

    def inject(self) -> None:
        """Add the client application, and start it."""
        # Gateways may ask for it. As of the load's client applications it is another one each time.
        token = make_token()
        try:
            client = add_client(
                self._servers(), self.arguments["client"], token_hash=hash_token(token), partitions=_PARTITIONS
            )
        except (SetupError, ClientRegistryError, KafkaException) as error:
            raise FaultError(f"the client {self.arguments['client']} cannot be added: {error}") from error
        order = Order(
            bootstrap_servers=str(self.arguments["bootstrap_servers"]),
            plain=bool(self.arguments.get("plain")),
            client=client.name,
            client_id=client.id,
            per_second=float(self.arguments["per_second"]),
            callers=int(self.arguments["callers"]),
            urls=[target.metrics_url.removesuffix("/metrics") for target in self.targets],
        )
        command = [sys.executable, "-m", "backbeat.compose.drill.faults.flooder", msgspec.json.encode(order).decode()]
        self._process = process = ChildProcess(
            "flooder",
            command,
            log_path=self._path(".log"),
            pid_path=self._path(".pid"),
            env={TOKEN_VARIABLE: token},
            stop_seconds=FLUSH_SECONDS + _ASK_SECONDS,
        )
        process.start()
        if not until(lambda: READY_LINE in process.output() or not process.running, _START_SECONDS_MAX):
            raise FaultError("the flooder has not begun")
        self.act()

    def act(self) -> None:
        """See that it goes on."""
        assert self._process is not None, "inject() comes first"
        if not self._process.running:
            for line in self._process.output().splitlines():
                if line.startswith(REFUSED_PREFIX):
                    raise FaultError(f"the flood is {line}")
            raise FaultError(f"the flooder died ({self._process.exit_reason}):\n{last_lines(self._process.output())}")

    def abort(self) -> None:
        """End the flooder, and delete the records that were not taken yet."""
        if self._process is not None:
            self._process.stop()
            for line in self._process.output().splitlines():
                if line.startswith("{"):
                    self.note(str(from_json(line.encode(), Attained)))
        else:
            stop_left_over(self._path(".pid"))
        # What a broker had got and not written yet comes behind what was deleted.
        until(self._is_deleted, _DELETE_SECONDS_MAX)

    def _is_deleted(self) -> bool:
        """Delete the records of the flood; true where none has come meanwhile."""
        try:
            if ends := self._offsets(_LATEST):
                # Kept until it has answered: one that is gone answers nobody.
                admin = self._admin()
                for deleted in admin.delete_records(ends, request_timeout=_ASK_SECONDS).values():
                    deleted.result()
            return not self.check()
        except KafkaException as error:
            # Brokers that have been flooded may be slow for a while.
            self.note(f"records are not deleted yet: {error.args[0].str()}")
            return False

    def check(self) -> list[str]:
        """Records that are there still."""
        count = sum(end.offset for end in self._offsets(_LATEST)) - sum(each.offset for each in self._offsets(_FIRST))
        return [f"{count} records of the flood are there"] if count else []

    def _path(self, suffix: str) -> Path:
        return Path(self.arguments["folder"]) / f"{self.arguments['order']}.flooder{suffix}"

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
