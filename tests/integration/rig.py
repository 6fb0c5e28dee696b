"""A stack of the tests' own, somebody who asks, and a worker that waits to be told what to say."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backbeat.compose.local.stack import CLIENT_DEFAULT, Stack
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.messages import views
from backbeat.schemas.messages.status import ServerStatus
from tests.empty_kafka import stack_on
from tests.integration.caller import Caller, node_of, result
from tests.integration.hand import Hand
from tests.waiting import until

PARTITIONS = 4
#: How long an engine may take until it can be used.
START_SECONDS_MAX = 180.0


def user_of(kafka: str, name: str = CLIENT_DEFAULT) -> bytes:
    """A client's id."""
    with ClientRegistry(kafka) as registry:
        client = registry.by_name(name)
    assert client is not None
    return client.id_bytes


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """The stack from start to stop; patient, since a machine that runs other tests is slow."""
    try:
        yield stack.start(START_SECONDS_MAX)
    finally:
        stack.stop()


class Rig:
    """One stack and what the tests do with it. The hand answers nothing by itself."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.kafka = stack.bootstrap_servers
        self.user = user_of(self.kafka)
        self.caller = Caller(self.kafka, self.user, stack.partitions)
        self.hand = Hand(self.caller, CLIENT_DEFAULT, lambda _: [])

    def close(self) -> None:
        self.hand.close()
        self.caller.close()

    def dispatched(self, node_id: bytes, attempt: int = 1) -> views.NodeView:
        """The node as it came to the worker."""
        (activity,) = self.hand.wait_for(lambda record: record.node.id == node_id and record.node.attempt == attempt)
        return activity.node

    def signal(self, subject: bytes, **more: Any) -> views.NodeView:
        """Signal, and give the node as it came to the worker."""
        sent = self.caller.signal(subject, **more)
        self.caller.send(sent)
        return self.dispatched(node_of(sent))

    def say(self, node: views.NodeView, status: str = "completed", **more: Any) -> Any:
        """Answer an activity; what the engine said to that."""
        return self.caller.ask(result(node, status, **more))

    def statuses(self, node_id: bytes) -> tuple[str, str]:
        """Client and server status."""
        node = self.caller.node(node_id)
        return node.client.name.lower(), node.server.name.lower()

    def wait_for_server(self, node_id: bytes, *statuses: ServerStatus) -> views.NodeView:
        """The node, once it has one of these statuses."""

        def reached() -> views.NodeView | None:
            node = self.caller.node(node_id)
            return node if isinstance(node, views.NodeView) and node.server in statuses else None

        node: views.NodeView = until(reached, f"{node_id.hex()} is {[status.name for status in statuses]}")
        return node

    # --- engines ---------------------------------------------------------------------------------------------------

    def log(self, index: int = 0) -> str:
        return self.stack.engine_logs[index].read_text(errors="replace")

    def kill(self, index: int = 0) -> None:
        """Kill an engine (SIGKILL) and leave it dead."""
        # The supervisor would start it again at once.
        supervised = self.stack._engines[index]
        supervised._is_wanted = False
        os.kill(self.stack.engine_pids[index], signal.SIGKILL)
        supervised.process.wait(120)

    def start(self, index: int = 0) -> None:
        """Start an engine that was stopped or killed, and wait until it can be used."""
        self.stack._engines[index]._has_been_ready = False
        self.stack.start_engine(index)
        self.stack.wait_ready(index, START_SECONDS_MAX)


@contextmanager
def rig(kafka: str, data_dir: Path, *, engines: int = 1, partitions: int = PARTITIONS, **env: str) -> Iterator[Rig]:
    """A stack on a Kafka that others used before."""
    with running(stack_on(kafka, data_dir=data_dir, engines=engines, partitions=partitions, env=env)) as stack:
        system = Rig(stack)
        try:
            yield system
        finally:
            system.close()
