"""What the benchmark stands on: a stack of its own, meters of processor time and memory, marks in the log."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import psutil
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat import Client
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.stack import Stack
from backbeat.errors import NotFound, Timeout
from backbeat.schemas.kafka.security import IN_THE_CLEAR, connection
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY, STATE
from backbeat.streams.kafka.registration import add_client

#: A client application that no worker serves: what is sent to it costs nobody else anything.
ALONE = "alone"
#: What `Usage` calls the part of the broker that compiles the rest of it.
COMPILER = "broker compiler"
_GROUP = "backbeat"
#: Of librdkafka: nothing but emergencies. What is lost shows in the figures, and what is stopped at the end is no news.
QUIET = {"log_level": 0}
_LOOK_SECONDS = 0.03
#: How often the parts are looked at while something else waits for them.
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

    `broker compiler` is a part of `broker`: what Java's compiler threads used (0 where the system does not say).
    """

    seconds: dict[str, float]

    def since(self, before: "Usage") -> dict[str, float]:
        """Processor seconds of each process between two looks."""
        return {name: used - before.seconds[name] for name, used in self.seconds.items() if name in before.seconds}


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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.client.stop()
        await asyncio.to_thread(self._stop)

    async def _start(self) -> None:
        while not self.stack.partitions:
            # The stack starts Kafka and makes its topics in a thread of its own.
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
            self.worker = self._make_worker()
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

    def _make_worker(self) -> ChildProcess:
        data_dir = self.stack.data_dir
        return ChildProcess(
            "worker",
            [sys.executable, "-m", "backbeat.compose.bench.worker", self.stack.bootstrap_servers],
            log_path=data_dir / "log" / "worker.log",
            pid_path=data_dir / "log" / "worker.pid",
            env=IN_THE_CLEAR,
        )

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
        """The processes that take part, by what they are; `client` is this one."""
        found = {"client": psutil.Process()}
        if self.stack.kafka is not None and self.stack.kafka.pid:
            found["broker"] = psutil.Process(self.stack.kafka.pid)
        if self.stack.engine_pids and self.stack.engine_pids[0]:
            found["engine"] = psutil.Process(self.stack.engine_pids[0])
        if self.worker is not None and self.worker.pid:
            found["worker"] = psutil.Process(self.worker.pid)
        return found

    def usage(self) -> Usage:
        """Processor seconds used so far."""
        processes = self.processes()
        seconds = {name: _processor_seconds(name, process) for name, process in processes.items()}
        return Usage(seconds | {COMPILER: _compiler_seconds(processes["broker"].pid)})

    def memory(self) -> dict[str, float]:
        """Resident megabytes of each process."""
        return {name: process.memory_info().rss / 1e6 for name, process in self.processes().items()}

    def ends(self, topic: str) -> dict[int, int]:
        """Where each partition of a topic ends."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(topic, number): latest for number in range(self.partitions)}
        found = self._admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {where.partition: future.result().offset for where, future in found.items()}

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
        left = {number for number in begin if begin[number] < until[number]}
        while left:
            for message in consumer.consume(2_000, 1.0):
                partition, offset = message.partition(), message.offset()
                if partition is None or offset is None or partition not in left:
                    continue
                if message.error() is not None or offset >= until[partition]:
                    left.discard(partition)
                    continue
                records += 1
                size += len(message.key() or b"") + len(message.value() or b"")
        consumer.close()
        return records, size

    # --- work ------------------------------------------------------------------------------------------------------

    def publish(self, records: Iterable[Raw]) -> None:
        """Write commands; returns when Kafka has all of them."""
        for record in records:
            while True:
                try:
                    self._producer.produce(COMMANDS, record.value, partition=record.partition)
                except BufferError:
                    self._producer.poll(0.05)
                else:
                    break
        self._producer.flush()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait; a part that died or a wait without end is an error."""
        ends_at = time.monotonic() + _WAIT_SECONDS_MAX
        while not condition():
            self._look_at_parts()
            if time.monotonic() > ends_at:
                raise SetupError(f"{what}: not within {_WAIT_SECONDS_MAX:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    async def looked_after(self, work: Awaitable[T]) -> T:
        """What the work gives. A part that died meanwhile ends it; a wait in vain tells what the parts last wrote."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=_LOOK_AFTER_SECONDS)
                self._look_at_parts()
            return task.result()
        except Timeout as error:
            raise SetupError(f"{error}\n{await asyncio.to_thread(self._standing)}") from error
        finally:
            task.cancel()

    def _standing(self) -> str:
        """How far everything is, for whoever looks for the reason of a wait in vain."""
        where = [TopicPartition(COMMANDS, number) for number in range(self.partitions)]
        committed = {one.partition: one.offset for one in self._offsets.committed(where, 20.0)}
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
        where = [TopicPartition(COMMANDS, number) for number in range(self.partitions)]

        def committed() -> bool:
            ends = self.ends(COMMANDS)
            found = {one.partition: max(one.offset, 0) for one in self._offsets.committed(where, 20.0)}
            return all(found[number] >= end for number, end in ends.items())

        await self.until(committed, "the engine's commit")

    async def hold_and_release(self, records: Sequence[Raw]) -> tuple[float, float]:
        """Let the engine work through commands that are all in the log when it begins.

        It is held (SIGSTOP) while they are written. Each command must leave one record of history. Gives the seconds
        until the last was applied, and the engine's processor seconds until all were committed.
        """
        await self.until_committed()
        wanted = self.count(HISTORY) + len(records)
        self.stack.signal_engine(0, signal.SIGSTOP)
        held_at = time.monotonic()
        try:
            self.publish(records)
        finally:
            before, began = self.usage(), time.monotonic()
            self.stack.signal_engine(0, signal.SIGCONT)
        if began - held_at > _HELD_SECONDS_MAX:
            raise SetupError(f"writing {len(records)} commands took {began - held_at:.1f} s: the machine is too busy")
        await self.until(lambda: self.count(HISTORY) >= wanted, f"{len(records)} commands")
        seconds = time.monotonic() - began
        await self.until_committed()
        return seconds, self.usage().since(before)["engine"]

    def _look_at_parts(self) -> None:
        if self.stack.failure is not None:
            raise SetupError(self.stack.failure)
        if self.worker is not None and not self.worker.running:
            raise SetupError(
                f"the worker died ({self.worker.exit_reason}); its last lines:\n{last_lines(self.worker.output())}"
            )


def _processor_seconds(name: str, process: psutil.Process) -> float:
    """Of a process and its children; of this one alone, since the others are its children."""
    several = [process] if name == "client" else [process, *process.children(recursive=True)]
    return sum(times.user + times.system for times in (one.cpu_times() for one in several))


def _compiler_seconds(pid: int) -> float:
    """Of Java's compiler threads, where the system tells them apart (Linux)."""
    ticks = 0
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            head, _, fields = path.read_text().rpartition(")")
            if "CompilerThre" in head:
                user, system = fields.split()[11:13]
                ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")
