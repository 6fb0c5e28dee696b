"""A bank that takes three connections, and payments to it by several worker processes that are killed, end and join."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

from backbeat import Client
from backbeat.compose.local.stack import Stack
from tests.waiting import until_async

LINES = 3
_SCRIPT = Path(__file__).with_name("bank_worker.py")
_WORKERS = 4


class Bank:
    """Takes a transfer on each connection, and some time for it. Counts who is connected."""

    def __init__(self, transfer_seconds: float) -> None:
        self._transfer_seconds = transfer_seconds
        self.transfers: Counter[str] = Counter()
        self.begun = 0
        self.run_sync = 0
        self.at_once_max = 0
        #: Line-seconds that were used since `begin`.
        self._used_seconds = 0.0
        self._changed_at = 0.0
        self._began_at = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count(1)
        self.begun += 1
        try:
            node_id = (await reader.readline()).decode().strip()
            # A caller that goes away in the middle has not made its transfer.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._transfer_seconds):
                    await reader.read()
                return
            self.transfers[node_id] += 1
            writer.write(b"done\n")
            await writer.drain()
            await reader.read()
        except ConnectionError:
            return
        finally:
            self._count(-1)
            writer.close()

    def _count(self, change: int) -> None:
        now = time.monotonic()
        self._used_seconds += self.run_sync * (now - self._changed_at)
        self._changed_at = now
        self.run_sync += change
        self.at_once_max = max(self.at_once_max, self.run_sync)

    def begin(self) -> None:
        """Count from here how much of its lines is used."""
        self._count(0)
        self._used_seconds, self._began_at = 0.0, time.monotonic()

    def used(self) -> float:
        """How much of its lines was used since."""
        self._count(0)
        return self._used_seconds / (LINES * (time.monotonic() - self._began_at))


class Tellers:
    """Worker processes of one client application."""

    def __init__(self, stack: Stack, name: str, bank: Bank) -> None:
        self._command = [sys.executable, str(_SCRIPT), stack.bootstrap_servers, name, str(bank.port)]
        self._processes = [self._start() for _ in range(_WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command)

    async def disturb(self, chance: random.Random) -> str:
        """Kill one (another takes its place), end one, or have one join."""
        word = chance.choice(("kill", "end", "join"))
        if word == "join" or len(self._processes) < _WORKERS:
            self._processes.append(self._start())
            return "join"
        process = self._processes.pop(chance.randrange(len(self._processes)))
        if word == "kill":
            process.kill()
            self._processes.append(self._start())
        else:
            process.terminate()
        await asyncio.to_thread(process.wait)
        return word

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


async def pay(
    stack: Stack, name: str, bank: Bank, *, merchants: int, disturbances: int, engine_kills: int, seed: int
) -> float:
    """Pay so many merchants through the bank, and disturb it all meanwhile. How much of the bank's lines was used."""
    chance = random.Random(seed)
    print(f"SEED={seed}")
    tellers = Tellers(stack, name, bank)
    try:
        async with Client(stack.bootstrap_servers, name, timeout=120) as client:
            await client.limits.set("Send to Bank", concurrency=LINES)
            node = await client.signal("Payments", "today", "Pay merchants", args=[merchants])
            await _until(bank, 1)
            bank.begin()
            moments = sorted(chance.sample(range(2, merchants - 2 * LINES), disturbances + engine_kills))
            kills = set(chance.sample(moments, engine_kills))
            for at in moments:
                await _until(bank, at)
                if at in kills:
                    index = chance.randrange(len(stack.engine_pids))
                    stack.kill_engine(index)
                    await asyncio.to_thread(stack.wait_ready, index)
                else:
                    await tellers.disturb(chance)
            await _until(bank, merchants - LINES)
            used = bank.used()
            await node.result(300)
            tree = await client.tree(node.workflow_id)
            paid = [below for _, below in tree.walk() if below.name == "Send to Bank"]
            assert len(paid) == merchants
            assert {below.status for below in paid} == {"complete"}
            assert {below.attempt for below in paid} == {1}, "nobody was tried again for an error"
            assert set(bank.transfers) == {below.id for below in paid}
            limit = await client.limits.get("Send to Bank")
            assert limit is not None
            assert (limit.out, limit.waiting) == (0, 0), "a slot was lost"
            assert bank.at_once_max <= LINES, f"{bank.at_once_max} connections at once"
            return used
    finally:
        tellers.stop()


async def _until(bank: Bank, begun: int) -> None:
    """Wait until so many connections were made: other processes make them."""
    await until_async(lambda: bank.begun >= begun)
