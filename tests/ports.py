"""Ports of an engine in memory, for tests of its process and parts: `composition` builds the same parts as on Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec
from confluent_kafka import KafkaError

from backbeat.streams.core import apply
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY
from backbeat.streams.process.composition import Ports, compose
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.state.restore import Ends
from backbeat.streams.state.store import PartitionStore


class Ended(Exception):  # noqa: N818 - stands for the process's end
    """The process has ended; the text says why."""


def end(reason: str, _code: int = 3) -> NoReturn:
    raise Ended(reason)


class Log:
    """A changelog, as compaction leaves it: of every key the newest record, at its offset."""

    state_topic_id = "state"
    commands_topic_id = "commands"

    def __init__(self, position: int = 0) -> None:
        """`position`: of the commands, all of which are applied."""
        self.end = 0
        self.position = position
        self._newest: dict[bytes, tuple[int, bytes | None]] = {}
        if position:
            meta = Meta(topic_id=self.commands_topic_id, next_offset=position)
            self.append([(META_KEY, msgspec.msgpack.encode(meta))])

    def append(self, records: list[tuple[bytes, bytes | None]]) -> int:
        for key, value in records:
            self._newest.pop(key, None)
            self._newest[key] = (self.end, value)
            self.end += 1
        return self.end

    def state_ends(self, _partition: int) -> Ends:
        return Ends(0, self.end)

    def command_ends(self, _partition: int) -> Ends:
        return Ends(0, self.position)

    def committed_position(self, _partition: int) -> int:
        return self.position

    def read(self, _partition: int, offset: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        rest = [(at, key, value) for key, (at, value) in self._newest.items() if at >= offset]
        some = rest[:50]
        return [(key, value) for _, key, value in some], (some[-1][0] + 1 if len(rest) > len(some) else self.end)

    def abort_open_transaction(self, _transactional_id: str) -> bool:
        return False

    def close(self) -> None:
        pass


class Reader:
    """Keeps librdkafka's rule: what is paused stays so from one assignment to the next."""

    def __init__(self) -> None:
        self.paused: set[int] = set()
        self.reads: list[tuple[int, int, int]] = []

    def forget(self) -> None:
        pass

    def read_queries(self, numbers: Iterable[int]) -> None:
        pass

    def read_commands(self, number: int, offset: int, read_number: int) -> None:
        self.reads.append((number, offset, read_number))

    def pause(self, number: int) -> None:
        self.paused.add(number)

    def resume(self, number: int) -> None:
        self.paused.discard(number)

    def end_of_commands(self, _number: int) -> None:
        return None


class Producer:
    """A producer whose records are acknowledged at once; full for as often as it is told."""

    def __init__(self, *, full: int = 0) -> None:
        self.full = full
        self.sent: list[bytes | str | None] = []  #: values of records, and steps of transactions
        self.waits: list[float] = []  #: timeouts that it was given
        self.on_flush: Callable[[], object] = lambda: None

    def __len__(self) -> int:
        return 0

    def produce(
        self,
        _topic: str,
        value: bytes | None,
        _key: bytes | None,
        partition: int,
        _report: Any = None,
        *,
        on_delivery: Any = None,
        **_: Any,
    ) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append(value)
        if on_delivery is not None:
            on_delivery(None, SimpleNamespace(offset=lambda: 7, partition=lambda: partition, timestamp=lambda: (2, 1)))

    def produce_batch(
        self, _topic: str, messages: list[dict[str, Any]], _partition: int = 0, _report: Any = None
    ) -> int:
        for count, message in enumerate(messages):
            try:
                self.produce("", message["value"], None, 0)
            except BufferError:
                for refused in messages[count:]:
                    refused["_error"] = KafkaError(KafkaError._QUEUE_FULL)
                return count
        return len(messages)

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, seconds: float) -> int:
        self.waits.append(seconds)
        self.on_flush()
        return 0

    def list_topics(self, _topic: str, _seconds: float) -> None:
        pass

    def init_transactions(self, _seconds: float) -> None:
        pass

    def begin_transaction(self) -> None:
        self.sent.append("begin")

    def abort_transaction(self, _seconds: float) -> None:
        self.sent.append("abort")

    def send_offsets_to_transaction(self, _positions: Any, _metadata: bytes, seconds: float) -> None:
        self.waits.append(seconds)

    def commit_transaction(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.sent.append("commit")


def memory_ports(folder: Path, **given: Any) -> Ports:
    """Ports in memory, with stores in a folder; `given` stand in for some of them."""
    log = given.pop("log", None) or Log()
    ports: dict[str, Any] = {
        "reader": Reader(),
        "clients": SimpleNamespace(by_id=lambda _: None, by_name=lambda _: None, catch_up=lambda _: True),
        "holder": SimpleNamespace(other=lambda: None, note=lambda _: None),
        "effects_producer": lambda _: Producer(),
        "transactional_producer": lambda _: Producer(),
        "changelog": lambda: log,
        "state_topic_id": log.state_topic_id,
        "first_data": lambda _number, begin: begin,
        "open_store": lambda number, cache: PartitionStore(folder / f"partition-{number}", number, cache),
        "rules": apply,
        "was_away": lambda _: False,
        "host_clock": time,
        "threads": ThreadPoolExecutor,
        "announce": lambda _: None,
        "end": end,
    }
    return Ports(**{**ports, **given})


def engine_process(folder: Path, *, partitions: int = 1, settings: Any = None, **given: Any) -> EngineProcess:
    """An engine's process on ports in memory, on the running event loop; `given`: see `memory_ports`."""
    settings = settings or EngineSettings(instance_id="a", data_dir=folder)
    return compose(settings, partitions, memory_ports(folder, **given), asyncio.get_running_loop())


async def settled(process: EngineProcess) -> None:
    """All that was begun in the background has ended; what failed fails here."""
    while tasks := list(process.background._tasks):
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks)
