"""The real engine with one port that hangs, as a file says; the next start finds that file gone and is healthy."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backbeat.compose.cli.processes.engine import engine
from backbeat.compose.cli.processes.engine_options import named_settings
from backbeat.observe.status_server import Address
from backbeat.schemas.kafka.topics import check_topics
from backbeat.streams.observe import logs
from backbeat.streams.process.composition import Ports
from backbeat.streams.process.faust_app import run_engine
from backbeat.streams.process.settings import EngineSettings

FILE = "hangs"


def command(bootstrap_servers: str, instance_id: str, data_dir: Path) -> list[str]:
    """What starts it."""
    return [
        *(sys.executable, __file__, str(data_dir.parent / FILE), "--development"),
        *("--bootstrap-servers", bootstrap_servers, "--instance-id", instance_id, "--data-dir", str(data_dir)),
    ]


class _With:
    """A port as it is, but for some of its methods."""

    def __init__(self, port: Any, **given: Callable[..., Any]) -> None:
        self._port = port
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class _NoThread(Executor):
    """A thread that never comes to what it is given."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return Future()


def _blocked(*_: object) -> None:
    threading.Event().wait()


def _threads(count: int, name: str) -> Executor:
    return _NoThread() if name == "commit" else ThreadPoolExecutor(count, name)


#: Port, by what hangs: what stands in for it.
HANGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "loop": ("rules", lambda _: _blocked),
    "reader": ("reader", lambda reader: _With(reader, read_commands=lambda *_: None)),
    "commit": ("threads", lambda _: _threads),
    "transaction": (
        "transactional_producer",
        lambda make: lambda config: _With(make(config), begin_transaction=_blocked),
    ),
    "restore": (
        "changelog",
        lambda connect: lambda: _With(connect(), read=lambda _, offset: ([], offset)),
    ),
}


def main(hangs: Path, arguments: list[str]) -> None:
    """Run it as `backbeat engine` does."""

    def stand_in(ports: Ports) -> Ports:
        if not hangs.exists():
            return ports
        port, made_of = HANGS[hangs.read_text()]
        hangs.unlink()
        return dataclasses.replace(ports, **{port: made_of(getattr(ports, port))})

    given = engine.make_context("engine", arguments).params
    logs.to_stderr(given["log_format"])
    check_topics(given["bootstrap_servers"], development=given["development"])
    fields = {field.name for field in dataclasses.fields(EngineSettings)}
    settings = EngineSettings(**named_settings({name: value for name, value in given.items() if name in fields}))
    port = given["status_port"]
    run_engine(settings, status=None if port is None else Address(given["status_host"], port), stand_in=stand_in)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
