"""Holder of an instance id: this data directory's own last process, which is dead, or another one that may be alive.

Kafka lets the newest process with an instance id take over at once. A restart needs that; it is wrong where two
machines have the same id. The earlier process finds out by its next heartbeat, and ends. Until then, also when it wakes
up after a pause, it may answer from its state; so the new one waits for as long as the earlier one's lease (`lease`).
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, result
from backbeat.schemas.kafka.security import connection
from backbeat.streams.process.settings import EngineSettings

logger = logging.getLogger(__name__)

_REFUSALS = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_ASK_AGAIN_SECONDS = 0.5


def other_holder(settings: EngineSettings) -> str | None:
    """The host of another process with the instance id; null: there is none.

    This process has locked the directory, so the member that it names is dead.
    """
    admin = AdminClient({**connection(settings.bootstrap_servers), "log_level": 2})
    group = settings.application_id
    for member in _describe(admin, group).members:
        if member.group_instance_id == settings.instance_id and member.member_id != _last_member(settings.data_dir):
            return str(member.host)
    return None


def _describe(admin: AdminClient, group: str) -> ConsumerGroupDescription:
    """The group's description. Waits for a coordinator that has just started and does not know the group."""
    while True:
        described = admin.describe_consumer_groups([group], request_timeout=ASK_SECONDS_MAX)
        try:
            group_now: ConsumerGroupDescription = result(described[group])
        except KafkaException as error:
            if error.args[0].code() in _REFUSALS:
                raise
            OUTAGES.tell(logger, f"the group {group} is not known yet, {error.args[0].str()}")
            time.sleep(_ASK_AGAIN_SECONDS)
        else:
            return group_now


def replaced_text(instance_id: str) -> str:
    """The reason for which a process ends when another one has taken its instance id."""
    return (
        f"it was replaced: another process has the instance id {instance_id}. "
        "What to do: give each engine an --instance-id of its own"
    )


def note_member(data_dir: Path, member_id: str) -> None:
    """Store the member id of this directory's process."""
    _path(data_dir).write_text(member_id, encoding="utf-8")


def _last_member(data_dir: Path) -> str:
    path = _path(data_dir)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _path(data_dir: Path) -> Path:
    return data_dir / "member"
