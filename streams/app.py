"""Faust: reads, assigns, runs the agents. It commits nothing and keeps no table. The only file that imports it.

What is set here and why: acknowledgements are off (switched-off commits leak otherwise), the co-partitioning assignor
stays on (queries must be with the commands of their partition), the membership is taken on the consumer's thread, once
an assignment (docs/engine.md).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

import uvloop

os.environ.setdefault("F_DATADIR", os.devnull)

import faust
from aiokafka.errors import IllegalStateError
from aiokafka.protocol.group import HeartbeatRequest
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport.drivers.aiokafka import Consumer, ConsumerRebalanceListener
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from backbeat.streams import memory, topics
from backbeat.streams.brokers import describe, reach
from backbeat.streams.commit import Member
from backbeat.streams.engine import Record
from backbeat.streams.ingest import Ingest
from backbeat.streams.ownership import Ownership
from backbeat.streams.process import EngineProcess, end
from backbeat.streams.registry import Registry
from backbeat.streams.settings import EngineSettings

logger = logging.getLogger(__name__)

#: What a store that grows leaves in malloc's hands is some 15 MiB a million commands, never used again.
_GIVE_BACK_SECONDS = 30.0


class BalancedAssignor(PartitionAssignor):
    """Faust's co-partitioning assignor without standbys: with them it leaves the newest engine idle.

    Commands and queries of a partition stay together; nobody has more than one partition more than another.
    """

    def __init__(self, app: Any, **_: Any) -> None:
        # Faust takes this assignor only while standbys are set, and then asks for as many.
        super().__init__(app, replicas=0)


def make_app(settings: EngineSettings, partitions_count: int) -> faust.App:
    """The Faust app, without agents."""
    return faust.App(
        settings.application_id,
        broker=";".join(f"aiokafka://{server}" for server in settings.bootstrap_servers.split(",")),
        store="memory://",
        topic_partitions=partitions_count,
        topic_replication_factor=1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        processing_guarantee="at_least_once",
        datadir=str(settings.data_dir / "faust"),
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=64,
        broker_commit_every=10**9,
        broker_commit_interval=3600.0,
        broker_max_poll_records=1000,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.heartbeat_interval_seconds,
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        consumer_auto_offset_reset="earliest",
        PartitionAssignor=BalancedAssignor,
        table_standby_replicas=1,
        consumer_group_instance_id=settings.instance_id,
    )


def lock_data_dir(data_dir: Path) -> IO[str]:
    """Hold the data directory for this process; raises BlockingIOError where another has it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    handle = (data_dir / "lock").open("w")
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def run_engine(settings: EngineSettings) -> None:
    """Run an engine until it is told to stop. Returns after a clean stop; ends the process otherwise."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    memory.bound()
    lock = lock_data_dir(settings.data_dir)
    found = describe(reach(settings.bootstrap_servers), [topics.COMMANDS])
    partitions_count = found[topics.COMMANDS].partitions
    registry = Registry(settings.bootstrap_servers).start()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    process = EngineProcess(settings, registry, partitions_count)
    process.start()
    ingest = Ingest(
        settings.bootstrap_servers,
        registry,
        application_id=settings.application_id,
        failed=lambda error: end(f"ingest: {error}"),
    )
    ingest.start()
    app = make_app(settings, partitions_count)
    _attach(app, process)
    memory.calm_collector()
    worker = faust.Worker(
        app, loop=loop, loglevel="WARN", console_port=None, redirect_stdouts=False, override_logging=False
    )
    try:
        worker.execute_from_commandline()
    finally:
        ingest.stop()
        registry.stop()
        lock.close()


class Batch(ConsumerMessage):
    """The records of one partition that came together, on their way to an agent as one event."""

    __slots__ = ("records",)

    records: list[Any]


class BatchConsumer(Consumer):
    """Faust's consumer, handing over what was fetched by the batch.

    Faust gives every record two tasks, a lock and a queue place of its own, which costs more than all that the engine
    does with it. The path is the same (conductor, stream, agent), taken once a batch.
    """

    async def _drain_messages(self, fetcher: Any) -> None:
        while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as the method it replaces
            fetched, _ = await self._wait_next_records(1.0)
            if self.should_stop or fetched is None:
                continue
            if not self.flow_active:
                # A rebalance goes on. What was fetched may be of the old assignment or of the new one: the engine
                # knows its positions, passes over what it has and reads again what it lacks.
                await self.wait(self.can_resume_flow)
            for partition, records in fetched.items():
                await self.callback(self._batch(partition, records))
            if not fetched:
                await asyncio.sleep(0)

    def _batch(self, partition: TP, records: list[Any]) -> Batch:
        first = records[0]
        batch = Batch(
            first.topic,
            first.partition,
            first.offset,
            first.timestamp,
            first.timestamp_type,
            [],
            b"",
            b"",
            None,
            0,
            0,
            partition,
            generation_id=self.app.consumer_generation_id,
        )
        batch.records = records
        return batch


def _attach(app: faust.App, process: EngineProcess) -> None:
    settings = process.settings

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_assigned(self, assigned: Any) -> None:
            coordinator = self._thread._ensure_consumer()._coordinator  # noqa: SLF001 - nobody else knows
            process.joined(
                Member(settings.application_id, settings.instance_id, coordinator.generation, coordinator.member_id)
            )
            _listen(coordinator, process.ownership)
            # At once: until the first one is answered nothing is done.
            await coordinator._do_heartbeat()  # noqa: SLF001 - nobody else does
            await super().on_partitions_assigned(assigned)

    BatchConsumer.RebalanceListener = Listener
    app.transport.Consumer = BatchConsumer

    commands = _topic(app, topics.COMMANDS)
    queries = _topic(app, topics.QUERIES)

    @app.on_partitions_assigned.connect
    async def assigned(_: Any, partitions: set[TP], **__: Any) -> None:
        await process.assigned(each.partition for each in partitions if each.topic == topics.COMMANDS)

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        await process.revoked()

    @app.on_before_shutdown.connect
    async def stopping(*_: Any, **__: Any) -> None:
        # Told to stop in order: commit now, so that nothing has to be done again.
        await process.revoked()

    process.pause = lambda number: app.consumer.pause_partitions({TP(topics.COMMANDS, number)})
    process.resume = lambda number: app.consumer.resume_partitions({TP(topics.COMMANDS, number)})

    async def seek(partition: TP, offset: int) -> None:
        try:
            await app.consumer.seek(partition, offset)
        except IllegalStateError:
            logger.info("%s was taken away before it could be read again", partition)

    process.seek = lambda number, offset: process.spawn(seek(TP(topics.COMMANDS, number), offset))

    @app.agent(commands)
    async def run_commands(stream: Any) -> None:
        async for event in stream.events():
            await process.commands(_record(each) for each in event.message.records)

    @app.agent(queries)
    async def run_queries(stream: Any) -> None:
        async for event in stream.events():
            for each in event.message.records:
                await process.query(_record(each))

    @app.task
    async def tick() -> None:
        await process.tick()

    @app.task
    async def commit() -> None:
        await process.commit_regularly()

    @app.task
    async def give_back() -> None:
        while True:
            await asyncio.sleep(_GIVE_BACK_SECONDS)
            await asyncio.to_thread(memory.give_back)

    @app.task
    async def watch() -> None:
        def end_of_log(number: int) -> int | None:
            partition = TP(topics.COMMANDS, number)
            return app.consumer.highwater(partition) if partition in app.consumer.assignment() else None

        await process.watch(end_of_log)


def _listen(coordinator: Any, ownership: Ownership) -> None:
    """Note every heartbeat that the group has answered."""
    send = coordinator._send_req  # noqa: SLF001 - aiokafka keeps no time of a heartbeat
    if isinstance(send, _Listening):
        return
    coordinator._send_req = _Listening(send, ownership)  # noqa: SLF001 - as above


class _Listening:
    """A coordinator's way of sending, watched for heartbeats."""

    def __init__(self, send: Any, ownership: Ownership) -> None:
        self._send = send
        self._ownership = ownership

    async def __call__(self, request: Any) -> Any:
        sent_at = time.monotonic()
        response = await self._send(request)
        # While the group rebalances a heartbeat keeps the member, but not for longer than the rebalance may take.
        if isinstance(request, HeartbeatRequest) and response.error_code == 0:
            self._ownership.heard(sent_at)
        return response


def _topic(app: faust.App, name: str) -> Any:
    return app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False, internal=False
    )


def _record(record: Any) -> Record:
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)
