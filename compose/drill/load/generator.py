"""Generator of the load, a process of its own: asks for payments at a rate, over three ways in, and notes what it got.

    python -m backbeat.compose.drill.load.generator SERVERS JOURNAL KNOB PER_SECOND GATEWAY …

As a client application would, it repeats what was not taken, under the same key, until it is. The knob holds another
rate for a while: a number of payments a second. SIGTERM: it asks for nothing new, and ends once all is taken, or after
a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from backbeat import BackbeatError, Client
from backbeat.compose.drill.load.journal import Journal
from backbeat.compose.drill.load.payments import (
    CLIENT,
    DECIDER,
    MAKE,
    RETRIES,
    RETRY_SECONDS,
    RUN_VARIABLE,
    TOKEN_VARIABLE,
    WAYS,
    WEBHOOK_CLIENT,
    WEBHOOK_CLIENT_VARIABLE,
    WORKFLOW,
)
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import signals_topic

_PAUSE_SECONDS = 0.3
#: Between two tries, at most: callers that all repeat at once keep up an overload that is over.
_PAUSE_SECONDS_MAX = 10.0
#: Calls of a way at once, as of an application with so many threads; more wait for their turn.
_AT_ONCE = 128
_TICK_SECONDS = 0.01
_TAKE_SECONDS_MAX = 60.0
_ASK_SECONDS_MAX = 5.0


class Generator:
    """The client application that asks."""

    def __init__(self, servers: str, journal: Journal, knob: Path, per_second: float, gateways: list[str]) -> None:
        self._servers = servers
        self._journal = journal
        self._knob = knob
        self._per_second = per_second
        self._gateways = gateways
        self._stopping = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._turns = {way: asyncio.Semaphore(_AT_ONCE) for way in WAYS}
        self._producer = Producer(
            {**connection(self._servers), "enable.idempotence": True, "message.timeout.ms": 0, "log_level": 0}
        )

    async def run(self) -> None:
        """Ask until SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        async with contextlib.AsyncExitStack() as clients:
            sdk = await clients.enter_async_context(Client(self._servers, client=CLIENT, timeout=_ASK_SECONDS_MAX))
            token = os.environ.get(TOKEN_VARIABLE)
            webhook_client = os.environ.get(WEBHOOK_CLIENT_VARIABLE, WEBHOOK_CLIENT)
            gateways = itertools.cycle(
                [
                    await clients.enter_async_context(
                        Client(url, client=webhook_client, token=token, timeout=_ASK_SECONDS_MAX)
                    )
                    for url in self._gateways
                ]
            )
            ways: dict[str, Callable[[str], Awaitable[None]]] = {
                "sdk": lambda payment: self._signal(lambda: sdk, payment),
                "topic": self._publish,
                "http": lambda payment: self._signal(lambda: next(gateways), payment),
            }
            turns = itertools.cycle([way for way in WAYS if way != "http" or self._gateways])
            print("generator ready", flush=True)
            await self._ask(ways, turns)
            deadline = time.monotonic() + _TAKE_SECONDS_MAX
            while (self._open or self._in_flight) and time.monotonic() < deadline:
                self._producer.poll(0)
                await asyncio.sleep(_TICK_SECONDS)
            for task in self._open:
                task.cancel()

    async def _ask(self, ways: dict[str, Callable[[str], Awaitable[None]]], turns: itertools.cycle[str]) -> None:
        number, due, last = 0, 0.0, time.monotonic()
        run = os.environ.get(RUN_VARIABLE, "")
        while not self._stopping.is_set():
            now = time.monotonic()
            due += (now - last) * self._rate()
            last = now
            while due >= 1:
                due -= 1
                number += 1
                way = next(turns)
                payment = f"{way}-{run}-{number}"
                self._journal.note("asked", payment, way=way)
                task = asyncio.ensure_future(ways[way](payment))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
            self._producer.poll(0)
            await asyncio.sleep(_TICK_SECONDS)

    def _rate(self) -> float:
        try:
            return float(json.loads(self._knob.read_text()))
        except FileNotFoundError:
            return self._per_second

    async def _signal(self, client: Callable[[], Client], payment: str) -> None:
        """Signal until it is taken; its key makes a repeat the same node."""
        way = payment.partition("-")[0]
        pause_seconds = _PAUSE_SECONDS
        while True:
            try:
                async with self._turns[way]:
                    await client().signal(
                        WORKFLOW,
                        payment,
                        MAKE,
                        args=[payment],
                        decider=DECIDER,
                        idempotency_key=payment,
                        retries=RETRIES,
                        backoff=RETRY_SECONDS,
                    )
            except BackbeatError as error:
                self._journal.note("failed", payment, way=way, error=f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                pause_seconds = min(_PAUSE_SECONDS_MAX, 2 * pause_seconds)
            else:
                self._journal.note("taken", payment, way=way)
                return

    async def _publish(self, payment: str) -> None:
        """Publish a record as a service in any language would; taken means that Kafka has it."""
        record = {
            "workflow": WORKFLOW,
            "subject": payment,
            "decider": DECIDER,
            "signal": MAKE,
            "id": payment,
            "client_data": {"name": MAKE, "params": [payment]},
            "retry": RETRIES,
            "retry_interval": RETRY_SECONDS,
        }

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._in_flight -= 1
            if error is None:
                self._journal.note("taken", payment, way="topic")
            else:
                self._journal.note("failed", payment, way="topic", error=str(error)[:200])

        while True:
            try:
                self._producer.produce(
                    signals_topic(CLIENT), msgspec.json.encode(record), payment.encode(), on_delivery=delivered
                )
            except BufferError:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self._in_flight += 1
                return


def main() -> None:
    """Run it until SIGTERM."""
    servers, journal, knob, per_second, *gateways = sys.argv[1:]
    asyncio.run(_run(servers, journal, knob, per_second, gateways))


async def _run(servers: str, journal: str, knob: str, per_second: str, gateways: list[str]) -> None:
    await Generator(servers, Journal(Path(journal)), Path(knob), float(per_second), gateways).run()


if __name__ == "__main__":
    main()
