"""A whole installation on a Kafka that others used before: its own topics, group and data directory; one engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.stack import Stack
from backbeat.schemas.kafka import topics
from backbeat.schemas.messages.commands import AddChildren
from backbeat.schemas.messages.ids import partition_of
from backbeat.schemas.messages.queries import GetTree
from backbeat.schemas.messages.replies import Made
from backbeat.schemas.messages.values import NewNode
from backbeat.streams.state.store import PartitionStore
from tests.empty_kafka import delete_topics, stack_on
from tests.integration.caller import result
from tests.integration.rig import PARTITIONS, Rig, running
from tests.integration.topic import ends

_ASK_SECONDS = 120.0
_CHILDREN_MAX = 1_000


class Installation(Rig):
    """A rig whose engine is started and killed by the test itself, and what the test does to its topics and files."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self._admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})

    @property
    def part(self) -> ChildProcess:
        """The engine's process."""
        return self.stack._engines[0].process

    def stop(self) -> None:
        """End the engine in order: everything is committed, nothing is open."""
        self.stack.stop_engine()

    def start_refused(self) -> str:
        """Start the engine, which must end itself with the exit code of a misfit; its last line."""
        self.part.start()
        assert self.part.wait(180), "the engine runs"
        assert self.part.exit_reason == "exit code 4", self.part.output()
        return self.part.output().splitlines()[-1]

    # --- its files -------------------------------------------------------------------------------------------------

    def path(self, partition: int) -> Path:
        """Where the engine keeps a partition's records."""
        return self.stack.data_dir / "engine-1" / f"partition-{partition}"

    @contextmanager
    def store(self, partition: int) -> Iterator[PartitionStore]:
        """A partition's local store, while the engine does not run."""
        store = PartitionStore(self.path(partition), partition)
        try:
            yield store
        finally:
            store.close()

    def scan(self, partition: int) -> dict[bytes, bytes]:
        """Every record of a local store, timers included, but where it came from."""
        with self.store(partition) as store:
            return {key: value for key, value in store._db.items() if key != b"o"}

    def partition_of(self, identity: bytes) -> int:
        return partition_of(identity, PARTITIONS)

    # --- its topics ------------------------------------------------------------------------------------------------

    def recreate(self, topic: str) -> None:
        """Delete a topic and make it again, empty."""
        delete_topics(self.kafka, topic)
        topics.ensure_topics(self.kafka, PARTITIONS, 1, development=True)

    def cut(self, topic: str) -> None:
        """Delete all records that a topic has now."""
        places = [TopicPartition(topic, *place) for place in ends(self.kafka, topic).items()]
        for future in self._admin.delete_records(places).values():
            future.result(_ASK_SECONDS)


@contextmanager
def install(kafka: str, data_dir: Path, **env: str) -> Iterator[Installation]:
    """Fresh topics, a fresh group, and one engine that runs."""
    delete_topics(kafka, "backbeat.")
    env = {"BACKBEAT_COMMIT_INTERVAL_SECONDS": "0.3", **env}
    with running(stack_on(kafka, data_dir=data_dir, partitions=PARTITIONS, env=env)) as stack:
        system = Installation(stack)
        try:
            yield system
        finally:
            system.close()


def restart_with_nodes(system: Installation, count: int) -> None:
    """Store so many nodes, kill the engine, and print how long it takes to its first command after that."""
    parent = system.signal(b'"many"')
    children = tuple(NewNode(name=f"child {number}", user_id=system.user) for number in range(_CHILDREN_MAX))
    for _ in range(count // _CHILDREN_MAX):
        command = AddChildren(id=uuid.uuid4().bytes, user_id=system.user, node_id=parent.id, children=children)
        assert isinstance(system.caller.ask(command), Made)
    for partition in range(PARTITIONS):
        system.caller.commit(partition)
    system.kill()
    waiting = system.caller.begin(result(parent))
    system.caller.flush()
    began = time.monotonic()
    system.part.start()
    system.caller.wait(waiting)
    seconds = time.monotonic() - began
    print(f"\n{count} nodes stored: first command answered {seconds:.2f} s after the start of the process")
    _, *parts = system.caller.query_once(GetTree, workflow_id=parent.workflow_id, seconds=120)
    assert sum(len(part.nodes) for part in parts) == count + 1
    system.part.stop()
