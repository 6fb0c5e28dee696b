"""Who has an instance id: this data directory's own last process, which is dead, or one elsewhere that may be alive.

Kafka lets the newest process with an instance id take over at once. That is what a restart needs; it is wrong where two
machines were given the same id. The one before finds out by its next heartbeat, and ends. Until then, and when it wakes
up where it was stopped, it may answer from its state; so the new one waits as long as the other may (`lease`).
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
    """Where another process than this directory's last one has the instance id; null: nobody has it.

    The directory is locked by this process, so whoever was the member that it names is no more.
    """
    admin = AdminClient({**connection(settings.bootstrap_servers), "log_level": 2})
    group = settings.application_id
    for member in _describe(admin, group).members:
        if member.group_instance_id == settings.instance_id and member.member_id != _last_member(settings.data_dir):
            return str(member.host)
    return None


def _describe(admin: AdminClient, group: str) -> ConsumerGroupDescription:
    """The group, as soon as a coordinator knows it: one that has just started answers with an error, or not at all."""
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
    """Why a process ends whose instance id another one has taken."""
    return (
        f"it was replaced: another process has the instance id {instance_id}. "
        "What to do: give each engine an --instance-id of its own"
    )


def note_member(data_dir: Path, member_id: str) -> None:
    """This directory's process is this member of its group."""
    _path(data_dir).write_text(member_id, encoding="utf-8")


def _last_member(data_dir: Path) -> str:
    path = _path(data_dir)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _path(data_dir: Path) -> Path:
    return data_dir / "member"
