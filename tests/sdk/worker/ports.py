"""A worker on ports: activities come from the test, and what the worker says of them is kept."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from backbeat import Worker
from backbeat.delivery.records import ConsumerState, Delivery, Owner, key_of
from backbeat.schemas.codec import decode_command
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from tests.integration.at_work import activity
from tests.waiting import until_async

USER = b"u" * 16


class Receipt:
    """A record that is the worker's until the test says otherwise."""

    revoked = False

    def accept(self) -> None: ...
    def release(self) -> None: ...


def label_of(delivery: Delivery) -> str:
    label: str = msgspec.json.decode(delivery.record.node.subject)
    return label


class Consumer:
    """A worker's consumer (`ActivityConsumer`)."""

    def __init__(self, owner: Owner[Delivery]) -> None:
        self.accept, self.fail, self.joined = owner
        #: Commands by the activity's label (`Bench.put`), in the order in which they came.
        self.answers: dict[str, list[Any]] = {}
        #: Activities that were settled without an answer: True where they are done.
        self.settled: dict[str, bool] = {}
        #: Words for what happened, in order.
        self.log: list[str] = []
        self.room = 0
        self.is_started = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.send_error: BaseException | None = None

    async def start(self) -> None:
        self.is_started.set()
        await self.may_start.wait()
        self.joined()

    def send(self, answers: Sequence[tuple[bytes, bytes]], delivery: Delivery) -> None:
        if self.send_error is not None:
            raise self.send_error
        self.answers[label_of(delivery)] = [decode_command(value) for _, value in answers]

    def settle(self, delivery: Delivery, *, answered: bool) -> None:
        self.settled[label_of(delivery)] = answered

    def set_aside(self, delivery: Delivery) -> None:
        self.log.append(f"aside {label_of(delivery)}")

    def has_room(self, count: int) -> None:
        self.room = count

    def drain(self) -> None:
        self.log.append("drain")

    def state(self) -> ConsumerState:
        return ConsumerState(0, 0, 0, 0, 0, 1.0, alive=True)

    def lag(self) -> dict[int, int | None]:
        return {}

    async def stop(self) -> None:
        self.log.append("stop")


class Environment:
    """The engine and the clients as activities know them (`WorkerEnvironment`)."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.answers_at_once = False
        self.start_error: BaseException | None = None
        #: Called for each command and query that is sent; an exception is its answer.
        self.command: Callable[[Any], Any] = lambda _: None
        self.query: Callable[[Any], Any] = lambda _: None
        self._loop = asyncio.get_running_loop()
        self.time = 1_700_000_000.0

    async def start(self, client: str) -> None:
        self.log.append(f"start {client}")
        if self.start_error is not None:
            raise self.start_error

    async def stop(self) -> None:
        self.log.append("stop")

    async def connected(self) -> Any:
        return Transport(self)

    def user_id(self, client: str | None) -> bytes:
        return USER if client is None else client.encode().ljust(16, b"-")

    def now(self) -> float:
        return self.time

    def ask(self, question: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(question(Transport(self)), self._loop)


class Transport:
    """The way to the engine."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def now(self) -> float:
        return self._environment.now()

    async def command(self, command: Any, timeout: float, operation: str) -> Any:
        return self._environment.command(command)

    async def query(self, query: Any, timeout: float, operation: str) -> list[Any]:
        # Others run meanwhile, as they do while an engine answers.
        await asyncio.sleep(0.001)
        return [self._environment.query(query)]


class Bench:
    """A worker, its ports, and what is put into them."""

    def __init__(self, concurrency: int = 100, **options: Any) -> None:
        self.worker = Worker("127.0.0.1:1", "shop", concurrency, **options)
        self.environment = Environment()
        self.worker._connect(self.environment, Consumer, concurrency)
        self.consumer: Consumer = self.worker._consumer  # type: ignore[assignment]
        self._numbers = itertools.count()

    def put(
        self, *labels: str, kind: ActivityKind = ActivityKind.ACTIVITY, receipt: Any = None, **changes: Any
    ) -> list[Delivery]:
        """Hand over activities, each by its label: its name, or, where there are several, `name:more`."""
        deliveries = []
        for label in labels:
            node = activity(label.partition(":")[0], label, next(self._numbers), USER)
            record = ActivityRecord(msgspec.structs.replace(node, client_data=b"{}", **changes), kind)
            deliveries.append(Delivery(record, key_of(record), receipt or Receipt()))
        self.consumer.accept(deliveries)
        return deliveries

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the worker, and stop it at the end."""
        task = asyncio.create_task(self.worker.run(handle_signals=False))
        try:
            await self.is_up()
            yield task
        finally:
            self.worker.stop()
            await asyncio.wait_for(task, 60)

    async def is_up(self) -> None:
        await until_async(lambda: self.worker._watcher.came_round_at, 60)

    async def is_settled(self, *labels: str) -> None:
        await until_async(lambda: set(labels) <= self.consumer.answers.keys() | self.consumer.settled.keys(), 60)

    def status(self, label: str) -> str:
        return str(self.consumer.answers[label][-1].status)

    def error(self, label: str) -> str:
        message = msgspec.json.decode(self.consumer.answers[label][-1].response)["error"]["message"]
        assert isinstance(message, str)
        return message

    @property
    def is_idle(self) -> bool:
        """True: nothing runs, and nothing is left of what ran."""
        worker = self.worker
        return worker._slots.running == 0 and not worker._watcher._runs and not worker._attempts._tasks
