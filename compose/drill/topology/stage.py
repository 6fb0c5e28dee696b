"""Stage: a whole installation on loopback for a drill: brokers, engines, gateways, and proxies before one engine.

with Stage(folder) as stage:
    stage.topology
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from backbeat.compose.cli.show.progress import Say
from backbeat.compose.drill.faults.clock import CLOCK_VARIABLE, build_clock
from backbeat.compose.drill.topology.disk import mount_disk, unmount_disk
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Topology
from backbeat.compose.drill.topology.wheel import PYTHON_KNOB, by_knob, install_wheel
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.jars.class_archive import prepare_kafka
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.kafka_cluster import KafkaCluster
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.programs import engine_command, gateway_command
from backbeat.compose.local.stack import ENGINE_READY_LINE, GATEWAY_READY_LINE
from backbeat.schemas.environment import PREFIX
from backbeat.schemas.kafka.security import IN_THE_CLEAR, Brokers
from backbeat.schemas.kafka.security import PREFIX as KAFKA_PREFIX
from backbeat.schemas.kafka.topics import ensure_topics

_REPLICAS = 3
#: Variables of this process that are not about an installation.
_KEPT = tuple(f"{PREFIX}{name}" for name in ("KAFKA_JAVA_OPTIONS", "MAVEN_REPOSITORY", "PURE", "TEST_"))
#: Endpoints are given up sooner than in production: a play lasts seconds.
_GATEWAY = ("--endpoint-timeout-seconds", "5", "--connection-error-wait-seconds", "5")
_GATEWAY_STOP_SECONDS = 15.0
_BROKER, _SERVER = 0, 1
#: Room of a broker and of an engine that have a disk of their own.
_BROKER_MEBIBYTES, _ENGINE_MEBIBYTES = 768, 256


class Stage:
    """An installation, from `start()` (or `with`) to `stop()`; everything lies below its folder."""

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 3,
        engines: int = 2,
        gateways: int = 2,
        partitions: int = 4,
        bootstrap_servers: str | None = None,
        wheel: Path | None = None,
        env: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
    ) -> None:
        """Nothing happens before `start()`. `bootstrap_servers`: a Kafka that is there, instead of brokers.

        `wheel`: of the version before, as which engines and gateways start; the added engine is today's.
        """
        self.folder = folder.absolute()
        self.keeper = Keeper()
        self._brokers = 0 if bootstrap_servers else brokers
        self._engines, self._gateways, self._partitions = engines, gateways, partitions
        # A shell of production's would have these gateways write into its search.
        kept = (*_KEPT, KAFKA_PREFIX) if bootstrap_servers else _KEPT
        self._env: dict[str, str | None] = {
            **{name: None for name in os.environ if name.startswith(PREFIX) and not name.startswith(kept)},
            **({} if bootstrap_servers else IN_THE_CLEAR),
            "PYTHONUNBUFFERED": "1",
            "BACKBEAT_LOG_FORMAT": "text",
            **(env or {}),
        }
        self._say = say
        self._wheel = wheel
        #: runs the version before; none: it is all today's
        self.python_before: Path | None = None
        self._disks: list[Path] = []
        #: the first engine's way to the brokers, through proxies; empty: as everybody's
        self._proxied_servers = ""
        self.bootstrap_servers = bootstrap_servers or ""
        self._services: list[Service] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def topology(self) -> Topology:
        """The services that were started."""
        return Topology(self._services, bootstrap_servers=self.bootstrap_servers)

    @property
    def http_urls(self) -> list[str]:
        """Addresses of the gateways."""
        return [each.metrics_url.removesuffix("/metrics") for each in self._services if each.role == "gateway"]

    def start(self) -> None:
        """Start all of it and wait until it can be used."""
        for name in ("log", "hold", "knob"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if self._wheel is not None:
            self._say(f"installing {self._wheel.name}, the version before")
            self.python_before = install_wheel(self._wheel, self.folder / "before")
        self.keeper.start()
        try:
            if self._brokers:
                self._start_brokers()
            ensure_topics(
                self.bootstrap_servers,
                self._partitions,
                replication=_REPLICAS if self._brokers >= _REPLICAS else 1,
                development=self._brokers < _REPLICAS,
            )
            parts = [self._make_engine(number) for number in range(1, self._engines + 2)]
            # The last one is for plays that add an engine: held until then.
            parts[-1].hold.touch()
            ready = parts[:-1] + [self._make_gateway(number) for number in range(1, self._gateways + 1)]
            self.keeper.add([*ready, parts[-1]])
            self.keeper.wait_ready(ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all of it; the folder stays."""
        self.keeper.stop()
        for disk in self._disks:
            unmount_disk(disk)
        self._disks.clear()

    def child(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> ChildProcess:
        """A process beside the others, to be kept as a part; its log is with theirs."""
        log = self.folder / "log" / f"{name}.log"
        return ChildProcess(
            name, command, log_path=log, pid_path=log.with_suffix(".pid"), env={**self._env, **(env or {})}
        )

    def part(self, process: ChildProcess, ready_line: str, order: int = _SERVER + 1) -> Part:
        """A part of a process that is ready when it has said so."""
        return Part(
            process.name,
            process,
            self.folder / "hold" / process.name,
            is_ready=lambda: ready_line in process.output(),
            order=order,
        )

    def service(self, part: Part, role: str, *, log: Path | None = None, **more: object) -> Service:
        """The service of a part, as faults see it: its hold file is what keeps it away."""
        process = part.process
        pid_file = process.data_dir / "kafka.pid" if isinstance(process, KafkaBroker) else process.pid_path
        service = Service(
            name=part.name,
            role=role,
            pid_file=str(pid_file),
            stop=("touch", str(part.hold)),
            start=("rm", "-f", str(part.hold)),
            log=str(log or process.log_path),
            **more,  # type: ignore[arg-type]
        )
        self._services.append(service)
        return service

    # --- Brokers and proxies --------------------------------------------------------------------------------------

    def _start_brokers(self) -> None:
        prepare_kafka(self._say)
        ports: list[int] = []
        while len(ports) < 3 * self._brokers:
            ports.append(free_port(avoid=ports))
        own, inner, outer = (ports[index::3] for index in range(3))
        folder = self.folder / "kafka"
        # The last broker's records have a small disk of their own, where one can be mounted: a play fills it.
        self._mount(folder / f"kafka-{self._brokers}" / "log", _BROKER_MEBIBYTES)
        cluster = KafkaCluster(
            folder, self._brokers, ports=own, proxied=list(zip(inner, outer, strict=True)), say=self._say
        )
        with ThreadPoolExecutor(self._brokers) as pool:
            list(pool.map(KafkaBroker.prepare, cluster.brokers))
        parts = []
        for number, broker in enumerate(cluster.brokers, 1):
            name = f"broker-{number}"
            part = Part(name, broker, self.folder / "hold" / name, order=_BROKER)
            self.service(part, "broker", log=broker.log_path, data_dir=str(broker.data_dir / "log"))
            parts.append(part)
        self.keeper.add(parts)
        self.keeper.wait_ready(parts)
        for broker in cluster.brokers:
            broker.wait_ready(brokers=self._brokers)
        self.bootstrap_servers = cluster.bootstrap_servers
        self._start_proxy(list(zip(outer, inner, strict=True)))

    def _start_proxy(self, routes: list[tuple[int, int]]) -> None:
        knob = self.folder / "knob" / "proxy.json"
        words = [f"{outer}:{inner}" for outer, inner in routes]
        process = self.child("proxy", module_command("backbeat.compose.drill.faults.proxy", str(knob), *words))
        part = self.part(process, "proxy ready", order=_BROKER)
        self.service(part, "proxy", depends_on=("broker",), knobs={"proxy": str(knob)})
        self.keeper.add([part])
        self.keeper.wait_ready([part])
        self._proxied_servers = Brokers(",".join(f"{LOOPBACK}:{outer}" for outer, _ in routes))

    def _mount(self, folder: Path, mebibytes: int) -> None:
        if mount_disk(folder, mebibytes):
            self._disks.append(folder)

    # --- Engines and gateways --------------------------------------------------------------------------------------

    def _make_engine(self, number: int) -> Part:
        name = f"engine-{number}"
        port = free_port()
        servers = self._proxied_servers if number == 1 and self._proxied_servers else self.bootstrap_servers
        data_dir = self.folder / name
        env = {"BACKBEAT_STATUS_PORT": str(port)}
        knobs: dict[str, str] = {}
        if number == 2:  # noqa: PLR2004 - the second has what the first, behind its proxy, has not
            self._mount(data_dir, _ENGINE_MEBIBYTES)
            knob = self.folder / "knob" / "clock"
            if (library := build_clock(self.folder / "clock.so")) is not None:
                env |= {"LD_PRELOAD": str(library), CLOCK_VARIABLE: str(knob)}
                knobs["clock"] = str(knob)
        command = engine_command(servers, name, data_dir)
        if number <= self._engines:
            command = self._of_before(name, command, knobs)
        process = self.child(name, command, env=env)
        part = self.part(process, ENGINE_READY_LINE, order=_SERVER)
        self.service(
            part,
            "engine" if number <= self._engines else "spare",
            metrics_url=f"http://{LOOPBACK}:{port}/metrics",
            depends_on=("proxy",) if servers != self.bootstrap_servers else self._needs_brokers(),
            data_dir=str(data_dir),
            knobs=knobs,
        )
        return part

    def _make_gateway(self, number: int) -> Part:
        name = f"gateway-{number}"
        port = free_port()
        data_dir = self.folder / name
        knobs: dict[str, str] = {}
        command = self._of_before(name, gateway_command(self.bootstrap_servers, port, data_dir, _GATEWAY), knobs)
        process = self.child(name, command)
        process.stop_seconds = _GATEWAY_STOP_SECONDS
        part = self.part(process, GATEWAY_READY_LINE, order=_SERVER)
        self.service(
            part,
            "gateway",
            metrics_url=f"http://{LOOPBACK}:{port}/metrics",
            depends_on=(*self._needs_brokers(), "engine"),
            data_dir=str(data_dir),
            knobs=knobs,
        )
        return part

    def _of_before(self, name: str, command: list[str], knobs: dict[str, str]) -> list[str]:
        """The command as the version before until its knob, which is added, is turned; where there is a wheel of it."""
        if self.python_before is None:
            return command
        knob = self.folder / "knob" / f"{name}.python"
        knobs[PYTHON_KNOB] = str(knob)
        return by_knob(command, self.python_before, knob)

    def _needs_brokers(self) -> tuple[str, ...]:
        return ("broker",) if self._brokers else ()


def module_command(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours, with this Python."""
    return [sys.executable, "-m", name, *arguments]
