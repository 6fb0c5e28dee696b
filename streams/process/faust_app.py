"""The Faust app: group membership, assignments, agents. It commits nothing and has no table. Only this file imports it.

Its settings, and why: acknowledgements are off (switched-off commits leak otherwise), the co-partitioning assignor
stays on (queries must be with the commands of their partition), the membership is taken on the consumer's thread, once
an assignment (docs/explanation/engine.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import uvloop

from backbeat.streams.process.unused_imports import unused_imports

os.environ.setdefault("F_DATADIR", os.devnull)

with unused_imports():
    import faust
    from faust.app import App
    from faust.assignor.partition_assignor import PartitionAssignor
    from faust.tables.manager import TableManager
    from faust.transport.drivers.aiokafka import Consumer, ConsumerRebalanceListener
    from faust.types import TP
    from faust.worker import Worker

from aiokafka.protocol.group import HeartbeatRequest
from confluent_kafka import KafkaError

from backbeat.observe.status_server import Address, StatusError
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.broker_log import quiet_aiokafka
from backbeat.schemas.kafka.security import KafkaSecurity, security_of
from backbeat.streams.input.reader import Reader
from backbeat.streams.process import memory
from backbeat.streams.process.composition import EngineService, Ports
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.process.termination import ENDED, EXIT_INCONSISTENT_STATE, end
from backbeat.streams.process.watch.stalls import Stalls
from backbeat.streams.state.commit import Member
from backbeat.streams.state.data_dir import DataDirError, lock_data_dir

logger = logging.getLogger(__name__)

#: A growing store leaves some 15 MiB a million commands free in malloc, never used again.
_GIVE_BACK_SECONDS = 30.0
#: For tasks that are cancelled when the process ends.
_END_SECONDS_MAX = 1.0
#: Answers to a heartbeat of a member that the group does not have (any more).
_NO_MEMBER = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID)


class BalancedAssignor(PartitionAssignor):
    """Faust's co-partitioning assignor without standbys: with them it leaves the newest engine idle.

    Commands and queries of a partition stay together; no engine has more than one partition more than another.
    """

    def __init__(self, app: Any, **_: Any) -> None:
        # Faust takes this assignor only while standbys are set, and then asks for as many.
        super().__init__(app, replicas=0)

    def _get_external_topic_distribution(self, _: Any) -> dict[str, Any]:
        """Nothing. Faust tells each engine which others have which partitions, for requests that nobody makes here.

        Each would send it back when it joins again, and the group keeps it: engines times partitions. With a hundred
        engines and a thousand partitions Kafka could not write it into one record.
        """
        return {}

    _get_changelog_distribution = _get_external_topic_distribution


class NoTables(TableManager):
    """Faust's tables, of which there are none. Its own manager lets a second pass for them to be defined."""

    async def on_start(self) -> None:
        """Begin."""
        await self._update_channels()
        await self.recovery.start()


def make_app(settings: EngineSettings, partitions_count: int) -> App:
    """The Faust app, without agents."""
    return App(
        settings.application_id,
        broker_credentials=_credentials(security_of(settings.bootstrap_servers)),
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
        broker_commit_every=10**9,
        broker_commit_interval=3600.0,
        # Faust's consumer is never polled, and must not leave its group for that.
        broker_max_poll_interval=2_000_000.0,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.heartbeat_interval_seconds,
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        consumer_auto_offset_reset="earliest",
        PartitionAssignor=BalancedAssignor,
        TableManager=NoTables,
        # Its default is imported, which takes a tenth of a start; no request is ever made.
        HttpClient=object,
        table_standby_replicas=1,
        consumer_group_instance_id=settings.instance_id,
    )


def _credentials(security: KafkaSecurity) -> Any:
    """Credentials as aiokafka takes them; null: none are needed."""
    context = security.ssl_context()
    if security.protocol.authenticates:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            ssl_context=context,
            mechanism=security.mechanism.value,
        )
    return None if context is None else faust.SSLCredentials(context)


def run_engine(
    settings: EngineSettings, *, status: Address | None = None, stand_in: Callable[[Ports], Ports] = lambda ports: ports
) -> None:
    """Run an engine until it is stopped. Returns after a clean stop; ends the process otherwise.

    `status`: address of metrics, liveness and readiness; null: they are not served. `stand_in`: changes the ports of
    the engine's parts, for tests.
    """
    for library in ("faust", "mode"):
        logging.getLogger(library).setLevel(logging.WARNING)
    quiet_aiokafka()
    memory.bound()
    try:
        lock = lock_data_dir(settings.data_dir)
    except DataDirError as error:
        end(str(error), ENDED if error.may_pass else EXIT_INCONSISTENT_STATE)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        service = EngineService(settings, loop, status, stand_in)
    except StatusError as error:
        end(str(error), EXIT_INCONSISTENT_STATE)
    app = make_app(settings, service.partitions_count)
    _attach(app, service)
    service.start()
    memory.calm_collector()
    worker = EngineWorker(
        app, loop=loop, loglevel="WARN", console_port=None, redirect_stdouts=False, override_logging=False
    )
    try:
        worker.execute_from_commandline()
    finally:
        service.stop()
        lock.close()


class EngineWorker(Worker):
    """Faust's worker without the pauses of its own, a second and more, before it closes the loop."""

    def _gather_all(self) -> None:
        """Cancel what is left on the loop."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()

    async def _sentinel_task(self) -> None:
        """Wait until that has ended."""
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=_END_SECONDS_MAX)


class MemberConsumer(Consumer):
    """Faust's consumer, for its membership and assignments; records go from the reader to the engine's backlog.

    For every record Faust needs two tasks, a lock and a queue entry, which costs more than all of the engine's work on
    it; a batch would take three turns of the event loop.
    """

    reader: Reader
    process: EngineProcess

    async def _drain_messages(self, fetcher: Any) -> None:
        self.reader.start()
        while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as the method it replaces
            batch = await self.reader.next(self.process.backlog)
            if not self.flow_active:
                # A rebalance goes on. The batch may be of the old assignment or of the new one: the engine
                # knows by the number of the read.
                await self.wait(self.can_resume_flow)
            self.process.take(batch)

    def verify_all_partitions_active(self) -> None:
        """Nothing: Faust fetches no records, and `stalls` watches partitions that do not move."""


def _attach(app: App, service: EngineService) -> None:
    process, settings = service.process, service.process.settings
    coordinators: list[Any] = []

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_assigned(self, assigned: Any) -> None:
            consumer = self._thread._ensure_consumer()  # noqa: SLF001 - Faust has no other way
            # It is the group's member, and fetches nothing.
            consumer.pause(*assigned)
            coordinator = consumer._coordinator  # noqa: SLF001 - as above
            process.joined(
                Member(settings.application_id, settings.instance_id, coordinator.generation, coordinator.member_id)
            )
            _watch_heartbeats(coordinator, process)
            coordinators[:] = [coordinator]
            # At once: until the first heartbeat is answered the engine does nothing.
            await coordinator._do_heartbeat()  # noqa: SLF001 - as above
            await super().on_partitions_assigned(assigned)

    MemberConsumer.RebalanceListener = Listener
    MemberConsumer.reader, MemberConsumer.process = service.reader, process
    app.transport.Consumer = MemberConsumer

    @app.on_partitions_assigned.connect
    async def assigned(_: Any, partitions: set[TP], **__: Any) -> None:
        numbers = [item.partition for item in partitions if item.topic == topics.COMMANDS]
        await process.assigned(numbers)

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        await process.revoked()

    @app.on_before_shutdown.connect
    async def stopping(*_: Any, **__: Any) -> None:
        # A clean stop: commit now, so that no command has to be applied again.
        hands_over = process.hands_over
        await process.revoked()
        if hands_over:
            for coordinator in coordinators:
                # A static member does not leave when it is closed, and its partitions would wait for its session's end.
                coordinator._group_instance_id = None  # noqa: SLF001 - aiokafka has no other way

    _run(app, process, service.stalls)


def _run(app: App, process: EngineProcess, stalls: Stalls) -> None:
    for name in (topics.COMMANDS, topics.QUERIES):
        # Agents have the group subscribe to their topics. Nothing comes to them.
        app.agent(_topic(app, name), name=name)(_idle)

    @app.task
    async def apply_commands() -> None:
        await process.apply_commands()

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
        await stalls.watch()


async def _idle(stream: Any) -> None:
    async for _ in stream.events():
        raise AssertionError("records come from the reader")


def _watch_heartbeats(coordinator: Any, process: EngineProcess) -> None:
    """Renew the lease with every heartbeat that the group has answered."""
    send = coordinator._send_req  # noqa: SLF001 - aiokafka keeps no time of a heartbeat
    if isinstance(send, _WatchedSend):
        return
    coordinator._send_req = _WatchedSend(send, coordinator, process)  # noqa: SLF001 - as above


class _WatchedSend:
    """A coordinator's send function, watched for heartbeats."""

    def __init__(self, send: Any, coordinator: Any, process: EngineProcess) -> None:
        self._send = send
        self._coordinator = coordinator
        self._process = process

    async def __call__(self, request: Any) -> Any:
        sent_at, member_id = time.monotonic(), self._coordinator.member_id
        response = await self._send(request)
        if not isinstance(request, HeartbeatRequest):
            return response
        # While the group rebalances a heartbeat keeps the member, but not for longer than the rebalance may take.
        if response.error_code == 0:
            self._process.lease.heard(sent_at)
        elif response.error_code in _NO_MEMBER and member_id == self._coordinator.member_id:
            self._process.replaced()
        return response


def _topic(app: App, name: str) -> Any:
    return app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False, internal=False
    )
