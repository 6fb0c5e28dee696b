"""Composition root of an engine: builds its parts and hands each what it needs. Nothing else makes a part.

Ports               all that lies outside of the parts: Kafka, the disk, the host's clock, threads, the process's end
kafka_ports         the ports on a real Kafka
compose             an engine's process on any ports; the simulator and the tests give their own
EngineService       the whole engine but for Faust: the process, signals, watchdog and status
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Producer

from backbeat.observe.status_server import Address
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.brokers import describe, reach
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.clients import Clients
from backbeat.schemas.kafka.produce_counts import ProduceCounts
from backbeat.streams.engine.loop import Engine, Rules
from backbeat.streams.input.ingest import Ingest
from backbeat.streams.input.reader import Reader
from backbeat.streams.kafka.clock import BrokerClock
from backbeat.streams.kafka.log_tail import first_data
from backbeat.streams.kafka.reachability import Reachability
from backbeat.streams.observe import tracing
from backbeat.streams.observe.histograms import CommitHistograms, WorkHistograms
from backbeat.streams.output.commands import CommandSender
from backbeat.streams.output.deliveries import Deliveries
from backbeat.streams.output.outbox import EffectsProducer, Outbox
from backbeat.streams.output.slice_outbox import SliceOutbox
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.process.background import Background
from backbeat.streams.process.backlog import Backlog
from backbeat.streams.process.committer import Committer
from backbeat.streams.process.gate import Gate
from backbeat.streams.process.holder import InstanceHolder
from backbeat.streams.process.lease import Lease
from backbeat.streams.process.lifecycle import EngineProcess, Holder, LogReader
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.process.termination import End, end
from backbeat.streams.process.unknown_clients import UnknownClients, activities_topics
from backbeat.streams.process.watch.engine_view import describe_as
from backbeat.streams.process.watch.health import Watch
from backbeat.streams.process.watch.stalls import Stalls
from backbeat.streams.state.commit import KafkaTransaction, TransactionalProducer
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.local_stores import LocalStores
from backbeat.streams.state.restore import Changelog, KafkaChangelog
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore

_RESTORES_AT_ONCE = 2
_CACHE_RECORDS_MIN = 256


@dataclass(frozen=True, kw_only=True)
class Ports:
    """All that lies outside of an engine's parts."""

    reader: LogReader
    clients: Clients
    holder: Holder
    effects_producer: Callable[[dict[str, Any]], EffectsProducer]
    transactional_producer: Callable[[dict[str, Any]], TransactionalProducer]
    #: connects a restore to the topics; blocks
    changelog: Callable[[], Changelog]
    state_topic_id: str
    #: offset of the first data record of a partition's commands from an offset on (`kafka.log_tail`); blocks
    first_data: Callable[[int, int], int]
    #: opens a partition's store, with a number of decoded records in memory
    open_store: Callable[[int, int], PartitionStore]
    rules: Rules
    #: true when no broker answered at some time since then; deadlines then begin anew. May block
    was_away: Callable[[float], bool]
    host_clock: HostClock
    #: makes threads: their count and name
    threads: Callable[[int, str], Executor]
    announce: Callable[[str], object]
    end: End
    loop: Callable[..., Engine] = Engine  #: makes the loop


def kafka_ports(
    settings: EngineSettings,
    state_topic_id: str,
    reader: LogReader,
    clients: Clients,
    was_away: Callable[[float], bool],
) -> Ports:
    """The ports of an engine on its Kafka."""
    servers, group = settings.bootstrap_servers, settings.application_id
    return Ports(
        reader=reader,
        clients=clients,
        holder=InstanceHolder(settings),
        effects_producer=Producer,
        transactional_producer=Producer,
        changelog=lambda: KafkaChangelog(servers, group, settings.transactional_id),
        state_topic_id=state_topic_id,
        first_data=partial(first_data, servers, group),
        open_store=lambda number, cache_records: PartitionStore(
            settings.data_dir / f"partition-{number}", number, cache_records
        ),
        rules=tracing.rules(),
        was_away=was_away,
        host_clock=time,
        threads=ThreadPoolExecutor,
        announce=announce,
        end=end,
    )


def announce(line: str) -> None:
    """Print a line for whoever waits for it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def compose(
    settings: EngineSettings, partitions_count: int, ports: Ports, loop: asyncio.AbstractEventLoop
) -> EngineProcess:
    """An engine's process on these ports; `loop` is the event loop that it will run on.

    Fences an earlier process with this instance id: its open transaction is aborted. Blocks.
    """
    clock = BrokerClock(ports.host_clock)
    lease = Lease(settings.session_timeout_seconds, ports.host_clock)
    gate, background = Gate(loop), Background(ports.end)
    produced = ProduceCounts()
    outbox = Outbox(
        settings.bootstrap_servers,
        f"{settings.transactional_id}-effects",
        make_producer=lambda config: ports.effects_producer({**config, **produced.settings}),
        host_clock=ports.host_clock,
    )
    commands = CommandSender(outbox, partitions_count)
    deliveries = Deliveries(outbox, commands, hold_back=gate.hold_back, was_away=ports.was_away)
    effects, histograms = SliceOutbox(outbox), CommitHistograms()
    stores = _stores(settings, partitions_count, ports, gate, histograms)
    engine = ports.loop(
        partitions_count=partitions_count,
        transactional_id=settings.transactional_id,
        outbox=effects,
        activities_topic=activities_topics(ports.clients),
        seek=ports.reader.read_commands,
        is_owner=lease.is_certain,
        sample=clock.sample,
        rules=ports.rules,
        describe=describe_as(settings.instance_id, stores.restorer, ports.host_clock),
    )
    unknown_clients = UnknownClients(engine, ports.clients, stores, ports.threads(1, "find"))
    other_holder = ports.holder.other()
    committer = Committer(
        settings,
        engine,
        stores,
        flush=deliveries.flush,
        transaction=_transaction(settings, ports, clock),
        unknown_clients=unknown_clients,
        gate=gate,
        histograms=histograms,
        state_topic_id=ports.state_topic_id,
        thread=ports.threads(1, "commit"),
        host_clock=ports.host_clock,
        end=ports.end,
    )
    return EngineProcess(
        settings=settings,
        partitions_count=partitions_count,
        host_clock=ports.host_clock,
        clock=clock,
        lease=lease,
        holder=ports.holder,
        other_holder=other_holder,
        reader=ports.reader,
        engine=engine,
        effects=effects,
        produced=produced,
        deliveries=deliveries,
        stores=stores,
        committer=committer,
        unknown_clients=unknown_clients,
        work=WorkHistograms(clock.now),
        gate=gate,
        backlog=Backlog(),
        background=background,
        announce=ports.announce,
        end=ports.end,
    )


def _stores(
    settings: EngineSettings, partitions_count: int, ports: Ports, gate: Gate, histograms: CommitHistograms
) -> LocalStores:
    disk = DiskSpace(settings.data_dir, gate.hold_back)
    cache_records = max(_CACHE_RECORDS_MIN, settings.cache_records // partitions_count)
    restorer = Restorer(
        settings.data_dir,
        lambda number: ports.open_store(number, cache_records),
        ports.changelog,
        disk,
        took=histograms.restored,
        host_clock=ports.host_clock,
    )
    return LocalStores(restorer, disk, ports.threads(_RESTORES_AT_ONCE, "restore"), ports.host_clock)


def _transaction(settings: EngineSettings, ports: Ports, clock: BrokerClock) -> KafkaTransaction:
    transaction = KafkaTransaction(
        settings.bootstrap_servers,
        settings.transactional_id,
        settings.transaction_timeout_seconds,
        clock.sample,
        ports.was_away,
        make_producer=ports.transactional_producer,
    )
    transaction.init(settings.commit_timeout_seconds)
    return transaction


def stalls_of(process: EngineProcess, ports: Ports) -> Stalls:
    """The watch over partitions of a process that do not move."""
    return Stalls(
        process.engine,
        process.stores.threads,
        end_of_log=ports.reader.end_of_commands,
        first_data=ports.first_data,
        is_held_back=lambda: process.gate.is_held,
        timeout_seconds=process.settings.stall_timeout_seconds,
        host_clock=ports.host_clock,
        end=ports.end,
    )


class EngineService:
    """A whole engine but for its group membership (`faust_app`): process, signals, watchdog, status."""

    def __init__(
        self,
        settings: EngineSettings,
        loop: asyncio.AbstractEventLoop,
        address: Address | None,
        stand_in: Callable[[Ports], Ports],
    ) -> None:
        """`address`: of the status server; null: none. `stand_in`: changes the ports, for tests. Blocks.

        StatusError: the address cannot be used.
        """
        servers = settings.bootstrap_servers
        self._registry = ClientRegistry(servers, failed=lambda error: end(f"the registry of clients: {error}"))
        with ThreadPoolExecutor(1, "start") as thread:
            # A start is mostly requests to brokers, one after the other.
            reading = thread.submit(self._registry.start)
            self._compose(settings, loop, address, stand_in)
            reading.result()

    def _compose(
        self,
        settings: EngineSettings,
        loop: asyncio.AbstractEventLoop,
        address: Address | None,
        stand_in: Callable[[Ports], Ports],
    ) -> None:
        servers = settings.bootstrap_servers
        described = describe(reach(servers), [topics.COMMANDS, topics.STATE])
        self.partitions_count = described[topics.COMMANDS].partitions
        reachability = Reachability(servers, self.partitions_count)
        self.reader = Reader(
            servers,
            settings.application_id,
            ended=end,
            stall_seconds=settings.stall_timeout_seconds,
            is_held_back=lambda: self.process.gate.is_held,
        )
        ports = stand_in(
            kafka_ports(settings, described[topics.STATE].topic_id, self.reader, self._registry, reachability.was_away)
        )
        self.process = compose(settings, self.partitions_count, ports, loop)
        self.stalls = stalls_of(self.process, ports)
        self._ingest = Ingest(
            servers,
            self._registry,
            application_id=settings.application_id,
            instance_id=settings.instance_id,
            session_timeout_seconds=settings.session_timeout_seconds,
            heartbeat_interval_seconds=settings.heartbeat_interval_seconds,
            produced=self.process.produced,
            applied=self.process.applied,
            turn_seconds=settings.signals_turn_seconds,
            failed=lambda error: end(f"ingest: {error}"),
        )
        self._watch = Watch(
            self.process,
            self._ingest,
            reachability,
            end_of_log=self.reader.end_of_commands,
            first_data=ports.first_data,
            loop=loop,
            address=address,
        )

    def start(self) -> None:
        """Start what has a thread of its own; the reader starts with the group membership."""
        self._ingest.start()
        self._watch.start()

    def stop(self) -> None:
        """Stop the threads."""
        self._watch.stop()
        self.reader.stop()
        self._ingest.stop()
        self._registry.stop()
