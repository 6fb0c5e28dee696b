"""What a restore and the check of a gap read: the topics in memory behind the interfaces that the engine has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.streams.process.settings import EngineSettings, instance_of
from backbeat.streams.state.restore import Ends

if TYPE_CHECKING:
    from .simulation import Simulation

STATE_TOPIC_ID = "state-topic"
COMMANDS_TOPIC_ID = "commands-topic"


class SimChangelog:
    """The topics as one restoring thread sees them."""

    state_topic_id = STATE_TOPIC_ID
    commands_topic_id = COMMANDS_TOPIC_ID

    def __init__(self, world: Simulation, settings: EngineSettings) -> None:
        self._world = world
        self._settings = settings
        self._host = world.host_of(settings.transactional_id)

    def state_ends(self, partition: int) -> Ends:
        self._host.point("restore")
        return Ends(0, self._world.broker.log(STATE, partition).end)

    def command_ends(self, partition: int) -> Ends:
        self._host.point("restore")
        return Ends(0, self._world.broker.log(COMMANDS, partition).end)

    def committed_position(self, partition: int) -> int | None:
        return self._world.broker.group_offsets.get((COMMANDS, partition))

    def read(self, partition: int, offset: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        self._host.point("restore")
        entries, reached = self._world.broker.log(STATE, partition).committed(offset)
        some = self._world.chance.choice((3, 20, 500))
        if len(entries) > some:
            reached = entries[some].offset
            entries = entries[:some]
        return [(entry.key or b"", entry.value) for entry in entries], reached

    def abort_open_transaction(self, transactional_id: str) -> bool:
        self._host.point("restore")
        if transactional_id == self._settings.transactional_id:
            return False
        if instance_of(self._settings.application_id, transactional_id) in self._world.group.members:
            return False
        self._world.broker.init(transactional_id)
        return True

    def close(self) -> None:
        pass


class Found:
    """A message, or the end of the partition."""

    def __init__(self, offset: int, *, is_end: bool = False) -> None:
        self._offset = offset
        self._is_end = is_end

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._is_end else None

    def offset(self) -> int:
        return self._offset


class SimConsumer:
    """A consumer that looks for the next data record of the commands."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._from: Any = None

    def assign(self, where: list[Any]) -> None:
        (self._from,) = where

    def poll(self, _seconds: float) -> Found:
        log = self._world.broker.log(self._from.topic, self._from.partition)
        for entry in log.entries[self._from.offset :]:
            if entry is not None and not entry.control:
                return Found(entry.offset)
        return Found(log.end, is_end=True)

    def close(self) -> None:
        pass
