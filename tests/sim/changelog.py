"""The changelog that a restore reads, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.streams.ports.transaction_ids import instance_of
from backbeat.streams.state.restore import Ends

from .broker import Broker
from .group import Group

if TYPE_CHECKING:
    from .host import Host

STATE_TOPIC_ID = "state-topic"
COMMANDS_TOPIC_ID = "commands-topic"


class SimChangelog:
    """The topics as one restoring thread sees them."""

    state_topic_id = STATE_TOPIC_ID
    commands_topic_id = COMMANDS_TOPIC_ID

    def __init__(self, broker: Broker, group: Group, host: Host) -> None:
        self._broker = broker
        self._group = group
        self._host = host

    def state_ends(self, partition: int) -> Ends:
        self._host.point("restore")
        return Ends(0, self._broker.log(STATE, partition).end)

    def command_ends(self, partition: int) -> Ends:
        self._host.point("restore")
        return Ends(0, self._broker.log(COMMANDS, partition).end)

    def committed_position(self, partition: int) -> int | None:
        return self._broker.group_offsets.get((COMMANDS, partition))

    def read(self, partition: int, offset: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        self._host.point("restore")
        entries, reached = self._broker.log(STATE, partition).committed(offset)
        some = self._host.world.chance.choice((3, 20, 500))
        if len(entries) > some:
            reached = entries[some].offset
            entries = entries[:some]
        return [(entry.key or b"", entry.value) for entry in entries], reached

    def abort_open_transaction(self, transactional_id: str) -> bool:
        self._host.point("restore")
        if transactional_id == self._host.settings.transactional_id:
            return False
        if instance_of(self._host.settings.application_id, transactional_id) in self._group.members:
            return False
        self._broker.init(transactional_id)
        return True

    def close(self) -> None:
        pass
