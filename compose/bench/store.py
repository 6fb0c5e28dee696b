"""Large stores, loaded quickly and by the way that all state takes: through the changelog.

One workflow is run through the rules in memory, as a template. Its records are repeated for every other workflow with
that workflow's ids, encoded by the engine's own store, and written to the changelog in transactions, with the meta
record of the partition's position. The engine that starts then restores them as it would restore its own.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer

from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import QUIET, Rig, produce
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS, STATE, topic_id
from backbeat.schemas.messages import ids
from backbeat.streams.core import apply
from backbeat.streams.core.records import Meta, Node, Workflow
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES, WORKFLOWS
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.state.store import PartitionStore

#: Every so many workflows one is open: its last node is with its worker, and has a deadline.
OPEN_EVERY = 10
_BATCH_WORKFLOWS = 4_000
_TRANSACTION_SECONDS = 60.0
#: Kind of the stored workflows' subjects.
KIND = "s"


class Loaded(NamedTuple):
    """Result of a load."""

    workflows: int
    nodes: int
    seconds: float


class _Template(NamedTuple):
    workflow: Workflow
    nodes: list[Node]


def stored_subjects(workflows: int) -> Iterator[bytes]:
    """Subjects of the stored workflows that are complete: a signal to them starts at once."""
    return (subject_of(number, KIND) for number in range(workflows) if number % OPEN_EVERY)


def load(rig: Rig, workflows: int, nodes_per_workflow: int) -> Loaded:
    """Fill the changelog with workflows of the client application `alone`. No engine may have run yet."""
    began_at = time.monotonic()
    servers = rig.stack.bootstrap_servers
    maker = Maker(rig.user_id, rig.partitions)
    complete, still_open = (_template(maker, nodes_per_workflow, is_open=is_open) for is_open in (False, True))
    meta = Meta(topic_id=topic_id(servers, COMMANDS), now=_now())
    folder = rig.stack.data_dir / "load"
    # The stores only encode: nothing is ever written to their files.
    stores = [PartitionStore(folder / str(number), number) for number in range(rig.partitions)]
    for store in stores:
        store.replace_meta(msgspec.structs.replace(meta))
    producer = Producer(
        {
            **connection(servers),
            "transactional.id": "bench-load",
            "transaction.timeout.ms": int(_TRANSACTION_SECONDS * 1000),
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            **QUIET,
        }
    )
    producer.init_transactions(_TRANSACTION_SECONDS)
    for first in range(0, workflows, _BATCH_WORKFLOWS):
        for number in range(first, min(first + _BATCH_WORKFLOWS, workflows)):
            _put(stores, maker, still_open if number % OPEN_EVERY == 0 else complete, subject_of(number, KIND))
        _write(producer, stores)
    for store in stores:
        store.close()
    return Loaded(workflows, workflows * nodes_per_workflow, time.monotonic() - began_at)


def _template(maker: Maker, nodes: int, *, is_open: bool) -> _Template:
    """Records of one workflow, made by the rules themselves."""
    store = MemoryStore()
    now = _now()
    commands = list(maker.commands(subject_of(0, "template"), nodes - 1))
    for command in commands[:-1] if is_open else commands:
        now += 1
        apply(command, now, store)
    (workflow,) = store[WORKFLOWS].values()
    assert len(store[NODES]) == nodes, "a template whose nodes were not made"
    return _Template(workflow, list(store[NODES].values()))


def _put(stores: list[PartitionStore], maker: Maker, template: _Template, subject: bytes) -> None:
    workflow_id = maker.workflow_id(subject)
    new_ids = {node.id: ids.node_id(workflow_id, node.id, 0) for node in template.nodes}
    template_workflow = template.workflow
    transaction = Transaction(stores[ids.partition_of(workflow_id, len(stores))])
    replace = msgspec.structs.replace
    transaction.add(
        WORKFLOWS,
        workflow_id,
        replace(
            template_workflow,
            id=workflow_id,
            subject=subject,
            first_child=_replaced(new_ids, template_workflow.first_child),
            last_child=_replaced(new_ids, template_workflow.last_child),
            first_active_child=_replaced(new_ids, template_workflow.first_active_child),
            cursor=_replaced(new_ids, template_workflow.cursor),
        ),
    )
    for node in template.nodes:
        transaction.add(
            NODES,
            new_ids[node.id],
            replace(
                node,
                id=new_ids[node.id],
                workflow_id=workflow_id,
                parent_id=_replaced(new_ids, node.parent_id),
                first_child=_replaced(new_ids, node.first_child),
                last_child=_replaced(new_ids, node.last_child),
                first_active_child=_replaced(new_ids, node.first_active_child),
                cursor=_replaced(new_ids, node.cursor),
                next_sibling=_replaced(new_ids, node.next_sibling),
            ),
        )
    transaction.commit()


def _replaced(new_ids: dict[bytes, bytes], old_id: bytes | None) -> bytes | None:
    return None if old_id is None else new_ids[old_id]


def _write(producer: Producer, stores: list[PartitionStore]) -> None:
    producer.begin_transaction()
    for store in stores:
        for key, value in store.snapshot().records:
            produce(producer, STATE, value, store.partition, key=key)
        store.mark_durable()
    producer.commit_transaction(_TRANSACTION_SECONDS)


def _now() -> int:
    return int(time.time() * 1000)
