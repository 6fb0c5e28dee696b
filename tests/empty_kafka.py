"""A Kafka without topics: one broker serves one module after the other."""

from __future__ import annotations

import uuid
from typing import Any

from confluent_kafka.admin import AdminClient

from backbeat.compose.local.stack import Stack
from tests.waiting import until

_ASK_SECONDS = 120.0


def delete_topics(kafka: str, prefix: str = "") -> None:
    """Delete all topics but Kafka's own, and wait until they are gone."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})

    def names() -> list[str]:
        known = admin.list_topics(timeout=_ASK_SECONDS).topics
        return [name for name in known if name.startswith(prefix) and not name.startswith("__")]

    if there := names():
        for future in admin.delete_topics(there, operation_timeout=_ASK_SECONDS).values():
            future.result(_ASK_SECONDS)
        until(lambda: not names(), "the topics are deleted")


def stack_on(kafka: str, **words: Any) -> Stack:
    """A stack on a Kafka that others used before, with groups of its own."""
    env = {"BACKBEAT_APPLICATION_ID": f"t{uuid.uuid4().hex[:8]}", **words.pop("env", {})}
    folder = {} if "data_dir" in words else {"ephemeral": True}
    return Stack(bootstrap_servers=kafka, env=env, **folder, **words)


def engine_of(stack: Stack, index: int) -> str:
    """The name of an engine in its group."""
    return f"{stack._prefix()}engine-{index + 1}"


def group_of(stack: Stack) -> str:
    """The group of such a stack's engines."""
    return stack._env["BACKBEAT_APPLICATION_ID"]
