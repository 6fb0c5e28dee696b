"""The real engine with one part that hangs, as a file says; the next start finds that file gone and is healthy."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from backbeat.compose.cli.main import main
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.commit import KafkaTransaction
from backbeat.streams.state.restore import KafkaChangelog

FILE = "hangs"


def command(bootstrap_servers: str, instance_id: str, data_dir: Path) -> list[str]:
    """What starts it."""
    return [
        *(sys.executable, __file__, str(data_dir.parent / FILE), "engine", "--development"),
        *("--bootstrap-servers", bootstrap_servers, "--instance-id", instance_id, "--data-dir", str(data_dir)),
    ]


def _loop() -> None:
    def blocked(*_: object) -> None:
        threading.Event().wait()

    EngineProcess._command = blocked


def _agent() -> None:
    async def asleep(*_: object) -> None:
        await asyncio.Event().wait()

    EngineProcess.commands = asleep


def _commit() -> None:
    async def never(self: EngineProcess, **_: object) -> None:
        if self.member is not None:
            await asyncio.Event().wait()

    EngineProcess.commit = never


def _transaction() -> None:
    def blocked(*_: object, **__: object) -> None:
        threading.Event().wait()

    KafkaTransaction.run = blocked


def _revoke() -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    EngineProcess.commit = never


def _restore() -> None:
    def nothing(_: object, __: int, offset: int) -> tuple[list[object], int]:
        return [], offset

    KafkaChangelog.read = nothing


HANGS: dict[str, Callable[[], None]] = {
    "loop": _loop,
    "agent": _agent,
    "commit": _commit,
    "revoke": _revoke,
    "transaction": _transaction,
    "restore": _restore,
}

if __name__ == "__main__":
    asked = Path(sys.argv.pop(1))
    if asked.exists():
        HANGS[asked.read_text()]()
        asked.unlink()
    main()
