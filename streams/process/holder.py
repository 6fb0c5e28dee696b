"""Holder of an instance id: this data directory's own last process, which is dead, or another one that may be alive.

Kafka lets the newest process with an instance id take over at once. A restart needs that; it is wrong where two
machines have the same id. The earlier process finds out by its next heartbeat, and ends. Until then, also when it wakes
up after a pause, it may answer from its state; so the new one waits for as long as the earlier one's lease (`lease`).
"""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.groups import Group, describe_group
from backbeat.streams.process.settings import EngineSettings

logger = logging.getLogger(__name__)

_REFUSALS = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_ASK_AGAIN_SECONDS = 0.5


class InstanceHolder:
    """Holder of an instance id. The data directory is locked, so the member that it names is dead."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._path = settings.data_dir / "member"

    def other(self) -> str | None:
        """The host of another process with the instance id; null: there is none. Blocks."""
        settings = self._settings
        last_member = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        for member in _describe(settings.bootstrap_servers, settings.application_id).members:
            if member.instance_id == settings.instance_id and member.id != last_member:
                return member.host
        return None

    def note(self, member_id: str) -> None:
        """Store the member id of this directory's process."""
        self._path.write_text(member_id, encoding="utf-8")


def _describe(bootstrap_servers: str, group: str) -> Group:
    """The group's description. Waits for a coordinator that has just started and does not know the group."""
    while True:
        try:
            return describe_group(bootstrap_servers, group)
        except KafkaException as error:
            if error.args[0].code() in _REFUSALS:
                raise
            OUTAGES.tell(logger, f"the group {group} is not known yet, {error.args[0].str()}")
            time.sleep(_ASK_AGAIN_SECONDS)


def replaced_text(instance_id: str) -> str:
    """The reason for which a process ends when another one has taken its instance id."""
    return (
        f"it was replaced: another process has the instance id {instance_id}. "
        "What to do: give each engine an --instance-id of its own"
    )
