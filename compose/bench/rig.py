"""Stack of the benchmark: meters of processor time and memory, marks in the log."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import psutil
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat import Client
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.stack import Stack
from backbeat.errors import NotFound, Timeout
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY, STATE
from backbeat.streams.kafka.registration import add_client

#: A client application that no worker serves: activities that are sent to it cost nobody anything.
ALONE = "alone"
#: Name in `Usage` of the part of the broker that compiles the rest of it.
COMPILER = "broker compiler"
_GROUP = "backbeat"
#: Setting of librdkafka: only emergencies are logged. Losses show in the figures, and stopping is no news.
QUIET = {"log_level": 0}
_LOOK_SECONDS = 0.03
#: Interval of looking at the parts while something else waits for them.
_LOOK_AFTER_SECONDS = 1.0
_WAIT_SECONDS_MAX = 180.0
#: An engine that hangs for longer than its session is thrown out.
_HELD_SECONDS_MAX = 6.0

Say = Callable[[str], None]
T = TypeVar("T")


class Raw(NamedTuple):
    """A record for the commands topic."""

    partition: int
    value: bytes


class Usage(NamedTuple):
    """Processor seconds of each process so far, its children included.

    `broker compiler` is a part of `broker`: the time of Java's compiler threads (0 where the system does not tell).
    """

    seconds: dict[str, float]

    def since(self, earlier: "Usage") -> dict[str, float]:
        """Processor seconds of each process between two readings."""
        return {name: used - earlier.seconds[name] for name, used in self.seconds.items() if name in earlier.seconds}


class Rig:
    """A throw-away stack with two client applications: `default`, with an SDK worker if asked for, and `alone`."""

    def __init__(
        self, *, engine: bool = True, worker: bool = False, before_engine: Callable[["Rig"], None] | None = None
    ) -> None:
        self.stack = Stack(ephemeral=True, long_lived=True, engines=0)
        self._with_engine = engine
        self._with_worker = worker
        #: Called when the topics are there and no engine is: to load a store.
        self._before_engine = before_engine
        self.worker: ChildProcess | None = None
        self.user_id = b""
        self.client: Client
        self._admin: AdminClient
        self._offsets: Consumer
        self._producer: Producer

    async def __aenter__(self) -> Self:
        self.stack.start()
        try:
            await self._start()
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()
        await asyncio.to_thread(self._stop)

    async def _start(self) -> None:
        while not self.stack.partitions:
            # The stack starts Kafka and makes its topics in another thread.
            self._look_at_parts()
            await asyncio.sleep(_LOOK_SECONDS)
        servers = self.stack.bootstrap_servers
        self.user_id = add_client(servers, ALONE, partitions=self.partitions).id_bytes
        self._admin = AdminClient({**connection(servers), **QUIET})
        self._offsets = Consumer({**connection(servers), "group.id": _GROUP, "enable.auto.commit": False, **QUIET})
        self._producer = Producer(
            {**connection(servers), "linger.ms": 5, "queue.buffering.max.messages": 1_000_000, **QUIET}
        )
        self.client = Client(servers, timeout=_WAIT_SECONDS_MAX)
        # The stack adds the default client application last of all.
        await self._connect_client()
        if self._before_engine is not None:
            await asyncio.to_thread(self._before_engine, self)
        if not self._with_engine:
            return
        self.stack.add_engine()
        await asyncio.to_thread(self.stack.wait_ready, 0, _WAIT_SECONDS_MAX)
        if self._with_worker:
            self.worker = self.stack.module_process("worker", "backbeat.compose.bench.worker", servers)
            self.worker.start()

    async def _connect_client(self) -> None:
        ends_at = time.monotonic() + _WAIT_SECONDS_MAX
        while True:
            try:
                await self.client.start()
            except NotFound:
                if time.monotonic() > ends_at:
                    raise
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    def _stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
        self.stack.stop()

    @property
    def partitions(self) -> int:
        """Partitions of the commands topic."""
        return self.stack.partitions

    # --- meters ----------------------------------------------------------------------------------------------------

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that take part, by their roles; `client` is this one."""
        processes = {"client": psutil.Process()}
        if self.stack.kafka is not None and self.stack.kafka.pid:
            processes["broker"] = psutil.Process(self.stack.kafka.pid)
        if self.stack.engine_pids and self.stack.engine_pids[0]:
            processes["engine"] = psutil.Process(self.stack.engine_pids[0])
        if self.worker is not None and self.worker.pid:
            processes["worker"] = psutil.Process(self.worker.pid)
        return processes

    def usage(self) -> Usage:
        """Processor seconds used so far."""
        processes = self.processes()
        # This one alone, since the others are its children.
        seconds = {name: processor_seconds(process, children=name != "client") for name, process in processes.items()}
        return Usage(seconds | {COMPILER: _compiler_seconds(processes["broker"].pid)})

    def memory(self) -> dict[str, float]:
        """Resident megabytes of each process."""
        return {name: process.memory_info().rss / 1e6 for name, process in self.processes().items()}

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of each partition of a topic."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        partitions = {TopicPartition(topic, number): latest for number in range(self.partitions)}
        futures = self._admin.list_offsets(partitions, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {partition.partition: future.result().offset for partition, future in futures.items()}

    def count(self, topic: str) -> int:
        """Records ever written to a topic (and, in a transactional one, its marks)."""
        return sum(self.ends(topic).values())

    def state_records(self, begin: dict[int, int], until: dict[int, int]) -> tuple[int, int]:
        """Committed records of the changelog between two marks, and their bytes (keys and values)."""
        consumer = Consumer(
            {
                **connection(self.stack.bootstrap_servers),
                "group.id": "bench-state",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                **QUIET,
            }
        )
        consumer.assign([TopicPartition(STATE, number, offset) for number, offset in begin.items()])
        records = size = 0
        unread = {number for number in begin if begin[number] < until[number]}
        while unread:
            for message in consumer.consume(2_000, 1.0):
                partition, offset = message.partition(), message.offset()
                if partition is None or offset is None or partition not in unread:
                    continue
                if message.error() is not None or offset >= until[partition]:
                    unread.discard(partition)
                    continue
                records += 1
                size += len(message.key() or b"") + len(message.value() or b"")
        consumer.close()
        return records, size

    # --- work ------------------------------------------------------------------------------------------------------

    def publish(self, records: Iterable[Raw]) -> None:
        """Write commands; returns when Kafka has all of them."""
        for record in records:
            produce(self._producer, COMMANDS, record.value, record.partition)
        self._producer.flush()

    async def until(self, condition: Callable[[], bool], label: str) -> None:
        """Wait for a condition; a part that died or a wait without end is a SetupError."""
        ends_at = time.monotonic() + _WAIT_SECONDS_MAX
        while not condition():
            self._look_at_parts()
            if time.monotonic() > ends_at:
                raise SetupError(f"{label}: not within {_WAIT_SECONDS_MAX:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    async def supervise(self, awaitable: Awaitable[T]) -> T:
        """Result of an awaitable. A part that died meanwhile ends it; a wait in vain tells the parts' last lines."""
        task = asyncio.ensure_future(awaitable)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=_LOOK_AFTER_SECONDS)
                self._look_at_parts()
            return task.result()
        except Timeout as error:
            raise SetupError(f"{error}\n{await asyncio.to_thread(self._progress_report)}") from error
        finally:
            task.cancel()

    def _progress_report(self) -> str:
        """Report of every part's progress, for the reason of a wait in vain."""
        partitions = [TopicPartition(COMMANDS, number) for number in range(self.partitions)]
        committed = {partition.partition: partition.offset for partition in self._offsets.committed(partitions, 20.0)}
        parts = {"engine": last_lines("\n".join(path.read_text(errors="replace") for path in self.stack.engine_logs))}
        if self.worker is not None:
            parts["worker"] = last_lines(self.worker.output())
        return "\n".join(
            (
                f"The commands end at {self.ends(COMMANDS)}, committed are {committed}.",
                *(f"The {name}'s last lines:\n{lines}" for name, lines in parts.items()),
            )
        )

    async def until_committed(self) -> None:
        """Wait until the engine has committed everything that is in the log."""
        partitions = [TopicPartition(COMMANDS, number) for number in range(self.partitions)]

        def committed() -> bool:
            ends = self.ends(COMMANDS)
            offsets = {
                partition.partition: max(partition.offset, 0) for partition in self._offsets.committed(partitions, 20.0)
            }
            return all(offsets[number] >= end for number, end in ends.items())

        await self.until(committed, "the engine's commit")

    async def hold_and_release(self, records: Sequence[Raw]) -> tuple[float, float]:
        """Let the engine work through commands that are all in the log when it begins.

        It is held (SIGSTOP) while they are written. Each command must leave one record of history. Returns the seconds
        until the last was applied, and the engine's processor seconds until all were committed.
        """
        await self.until_committed()
        records_wanted = self.count(HISTORY) + len(records)
        self.stack.signal_engine(0, signal.SIGSTOP)
        held_at = time.monotonic()
        try:
            self.publish(records)
        finally:
            usage_before, began_at = self.usage(), time.monotonic()
            self.stack.signal_engine(0, signal.SIGCONT)
        if began_at - held_at > _HELD_SECONDS_MAX:
            raise SetupError(
                f"writing {len(records)} commands took {began_at - held_at:.1f} s: the machine is too busy"
            )
        await self.until(lambda: self.count(HISTORY) >= records_wanted, f"{len(records)} commands")
        seconds = time.monotonic() - began_at
        await self.until_committed()
        return seconds, self.usage().since(usage_before)["engine"]

    def _look_at_parts(self) -> None:
        if self.stack.failure is not None:
            raise SetupError(self.stack.failure)
        if self.worker is not None:
            self.worker.check()


def produce(producer: Producer, topic: str, value: bytes | None, partition: int, *, key: bytes | None = None) -> None:
    """Produce a record, as soon as there is room."""
    while True:
        try:
            producer.produce(topic, value, key, partition)
        except BufferError:
            producer.poll(0.05)
        else:
            return


def processor_seconds(process: psutil.Process, *, children: bool = False) -> float:
    """Processor seconds of a process, with or without its children's."""
    processes = [process, *(process.children(recursive=True) if children else ())]
    return float(sum(times.user + times.system for times in (member.cpu_times() for member in processes)))


def _compiler_seconds(pid: int) -> float:
    """Processor seconds of Java's compiler threads, where the system tells them apart (Linux)."""
    ticks = 0
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            head, _, fields = path.read_text().rpartition(")")
            if "CompilerThre" in head:
                user, system = fields.split()[11:13]
                ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")
