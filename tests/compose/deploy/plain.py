"""A compose file's services as plain processes on loopback: the same commands, environments and Kafka settings.

What differs is what containers would have given them: names in a network become ports on loopback, volumes become
directories, and the images of Kafka and PostgreSQL become the same programs of this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.kafka_cluster import KafkaCluster
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.postgresql import postgresql
from tests.compose.deploy.files import PASSWORDS, image, services
from tests.waiting import until

#: The containers' own paths.
_DATA = "/var/lib/backbeat"
_HTTP_PORT = 9292
_STATUS_PORT = 9301
#: Where a broker listens and what it is called is this machine's matter; its heap is a container's.
_KAFKA_OURS = {
    "advertised.listeners",
    "controller.listener.names",
    "controller.quorum.voters",
    "heap.opts",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dirs",
    "node.id",
}
SECONDS_MAX = 240.0


def kafka_settings(service: Mapping[str, Any]) -> dict[str, str]:
    """Kafka's settings as its image takes them: the variable KAFKA_NODE_ID is the setting node.id."""
    given = service["environment"].items()
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in given
        if name.startswith("KAFKA_")
    }


class PlainStack:
    """The services of one compose file. Used from one thread, the one that starts it."""

    def __init__(self, path: Path, folder: Path, **given: str) -> None:
        """`given`: what an operator would write into `.env`, beside the passwords."""
        self.services = services(path, {**PASSWORDS, **given})
        self._folder = folder
        self._image = image()
        self._stack = contextlib.ExitStack()
        #: `name:port` in the containers' network -> `host:port` here
        self._addresses: dict[str, str] = {}
        self.parts: dict[str, ChildProcess] = {}
        brokers = [name for name in self.services if "kafka" in self.services[name]["image"]]
        given = kafka_settings(self.services[brokers[0]])
        ours = {key: value for key, value in given.items() if key not in _KAFKA_OURS}
        self.kafka = KafkaCluster(folder / "kafka", len(brokers), settings=ours)
        for name, broker in zip(brokers, self.kafka.brokers, strict=True):
            self._addresses[f"{name}:9092"] = broker.bootstrap_servers
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        with self._stack:
            # What the brokers hold is thrown away: they need not end in order.
            for broker in self.kafka.brokers:
                self._stack.callback(broker.kill)
            self.kafka.start()
            if "postgres" in self.services:
                url = self._stack.enter_context(postgresql(shared_buffers="64MB"))
                self._addresses["postgres:5432"] = re.search(r"@([^/]+)/", url)[1]
            # Before what it stands on, and all at the same time: each has something to finish.
            self._stack.callback(self._stop_parts)
            self.run("setup", *self.services["setup"].get("command", []))
            for name, service in self.services.items():
                if "backbeat" in service["image"] and name != "setup":
                    self._add(name)
            started = [name for name in self.parts if "profiles" not in self.services[name]]
            for name in started:
                self.parts[name].start()
            for name in started:
                if not self.services[name].get("healthcheck", {}).get("disable"):
                    self.wait_healthy(name)
            # From here on it is for `__exit__` to end it.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, name: str) -> str:
        """Where a gateway answers."""
        return f"http://{LOOPBACK}:{self._ports[name]}"

    def status_url(self, name: str) -> str:
        """Where a part says how it is: its health check's address, without the path."""
        return self._environment(name)["BACKBEAT_HEALTH_URL"].removesuffix("/ready")

    def run(self, service: str, *words: str) -> str:
        """Run the image's program with other words, in a service's environment, to its end; what it wrote."""
        done = subprocess.run(
            [*self._entrypoint(service), *self._here(service, words)],
            env={**os.environ, **self._environment(service)},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise SetupError(f"{service} {' '.join(words)}:\n{last_lines(done.stdout + done.stderr)}")
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """What the image's health check says of a service."""
        check = [sys.executable if word == "python" else word for word in self._image["HEALTHCHECK"]]
        environment = {**os.environ, **self._environment(name)}
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

    def wait_healthy(self, name: str, seconds: float = SECONDS_MAX) -> None:
        """Wait until the health check is content; SetupError with the last lines where the process ends instead."""

        def healthy() -> bool:
            part = self.parts[name]
            if not part.running:
                raise SetupError(f"{name} ended ({part.exit_reason}):\n{last_lines(part.output())}")
            return self.is_healthy(name)

        until(healthy, f"{name} is healthy", seconds)

    def until(self, condition: Callable[[], Any], goal: str, shown: Callable[[], Any], seconds: float) -> None:
        """Wait for a condition; in vain: an error with what is shown then, and the last lines of each part."""
        try:
            until(condition, goal, seconds)
        except AssertionError as error:
            lines = [f"{name}:\n{last_lines(part.output())}" for name, part in self.parts.items()]
            raise AssertionError("\n".join((str(error), str(shown()), *lines))) from error

    def tend(self, *names: str) -> None:
        """What `restart: unless-stopped` does: start again what has ended."""
        for name in names:
            assert self.services[name]["restart"] == "unless-stopped"
            if not self.parts[name].running:
                self.parts[name].start()

    def _stop_parts(self) -> None:
        with ThreadPoolExecutor(max(1, len(self.parts))) as pool:
            list(pool.map(ChildProcess.stop, self.parts.values()))

    # --- From container to process -----------------------------------------------------------------------------------

    def _add(self, name: str) -> None:
        words = [*self._entrypoint(name), *self._here(name, self.services[name].get("command", []))]
        part = ChildProcess(
            name,
            words,
            log_path=self._folder / "log" / f"{name}.log",
            pid_path=self._folder / "log" / f"{name}.pid",
            env=self._environment(name),
        )
        self.parts[name] = part

    def _entrypoint(self, name: str) -> list[str]:
        words = self.services[name].get("entrypoint", self._image["ENTRYPOINT"])
        programs = {"backbeat": [sys.executable, "-m", "backbeat.compose"], "python": [sys.executable]}
        return [*programs[words[0]], *self._here(name, words[1:])]

    def _environment(self, name: str) -> dict[str, str]:
        given = {**self._image["ENV"], **self.services[name].get("environment", {})}
        # The image's Python is not this one.
        del given["PATH"]
        # Alone in a container each has its usual port; here they are many.
        port = str(self._ports.setdefault(name, free_port(self._ports.values())))
        ports = {"BACKBEAT_HTTP_PORT": port, "BACKBEAT_STATUS_PORT": port}
        return {key: self._here(name, [str(value)])[0] for key, value in given.items()} | ports

    def _here(self, name: str, words: list[str] | tuple[str, ...]) -> list[str]:
        """Names and paths of the containers as they are on this machine."""
        translated = list(words)
        for there, here in self._addresses.items():
            translated = [word.replace(there, here) for word in translated]
        port = self._ports.setdefault(name, free_port(self._ports.values()))
        for usual in (_HTTP_PORT, _STATUS_PORT):
            translated = [word.replace(f"127.0.0.1:{usual}", f"{LOOPBACK}:{port}") for word in translated]
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        translated = [re.sub(r"^0\.0\.0\.0$", LOOPBACK, word) for word in translated]
        return [re.sub(rf"^({_DATA}|/tmp(?=/))", str(folder), word) for word in translated]
