"""A real Apache Kafka on this machine: one node, KRaft, all of its data in one directory.

For development, tests and the benchmark. It listens on loopback only, with as little memory and as few threads as serve
one engine; the rest is as in production. Alone, or as a member of a cluster (`kafka_cluster`).
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Say
from backbeat.compose.local.child_process import ChildProcess, last_lines, read_tail, stop_left_over
from backbeat.compose.local.jars.jars import jars_folder, kafka_jars
from backbeat.compose.local.jars.java import Java, find_java
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.storage import format_storage, make_id, read_cluster_id
from backbeat.schemas.kafka.security import Brokers, connection

#: A broker that dies is noticed at once; a machine that others use, too, may take minutes.
START_SECONDS_MAX = 300.0
#: Java's heap. Kafka keeps its logs in the page cache; the heap is for requests in flight.
HEAP_MEGABYTES = 384

_LOG4J = Path(__file__).with_name("log4j2.xml")

# Settings that differ from Kafka's own defaults, and why.
_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    # There is one node: nothing can be replicated.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # 50 partitions of each internal topic cost files and start-up time, and spread nothing over one node.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    # Topics are made by the program, with their settings; a misspelt one must be an error.
    "auto.create.topics.enable": "false",
    # The first member need not wait three seconds for others; tests use short sessions.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A dead owner's transaction holds back every reader of the changelog: look for them every second, not every ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # The cleaner allocates this at its start; 128 MiB of it would be a third of the heap.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    # An idle controller writes a record twice a second, to show how far it is: a third of an idle broker's work.
    "metadata.max.idle.interval.ms": "5000",
    # A request goes from one kind of thread to the other and back: more of them than there are cores only wait on each
    # other. With 2 and 4, many small requests cost a quarter more.
    "num.network.threads": "1",
    "num.io.threads": "2",
    "background.threads": "2",
}


#: The first Java that makes an AOT cache at its exit (JEP 514); an older one makes an archive (JEP 350).
AOT_MAJOR = 25
#: Further options for Java, split as a shell would.
JAVA_OPTIONS_VARIABLE = "BACKBEAT_KAFKA_JAVA_OPTIONS"


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A node's place in its cluster: the same for all of its nodes but for `node_id`."""

    cluster_id: str
    #: Node id -> the port on which that node's controller listens, of every node.
    controller_ports: Mapping[int, int]
    node_id: int
    #: Kafka settings instead of those for one node alone.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Port of a second listener, and the port that its clients are told, of a proxy that leads there. None: no such.
    proxied: tuple[int, int] | None = None
    #: Further listeners, name -> port, whose protocols `settings` have.
    listeners: Mapping[str, int] = field(default_factory=dict)


class KafkaBroker:
    """A Kafka, from `start()` to `stop()`; the same data directory gives the same topics again."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        say: Say = print,
        heap_megabytes: int = HEAP_MEGABYTES,
        java_options: Sequence[str] | None = None,
        long_lived: bool = False,
        stop_seconds: float = 20.0,
        membership: Membership | None = None,
    ) -> None:
        """Nothing happens before `start()`. Without a `membership` it is a cluster of one."""
        self.data_dir = data_dir.absolute()
        #: The port to listen on. None: any free one. It may be another at each start: clients are told at start.
        self.port = port if port is not None else free_port()
        self.log_path = self.data_dir / "kafka.log"
        self._storage = self.data_dir / "log"
        self._temporary = self.data_dir / "tmp"
        self._say = say
        self._heap_megabytes = heap_megabytes
        #: Java's options instead of the class archive's.
        self._java_options = java_options
        #: True: Java's optimising compiler is worth its cost in the beginning.
        self._long_lived = long_lived
        self._membership = membership or Membership(
            cluster_id=make_id(), controller_ports={1: free_port(avoid=[self.port])}, node_id=1
        )
        self._process = ChildProcess(
            "Kafka",
            [],
            log_path=self.data_dir / "kafka.out",
            pid_path=self.data_dir / "kafka.pid",
            stop_seconds=stop_seconds,
            # In order also when the parent was killed: the next start then need not check every log.
            orphan_signal=signal.SIGTERM,
        )

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients: in plain text, whatever the environment says of another Kafka."""
        return Brokers(f"{LOOPBACK}:{self.port}")

    @property
    def pid(self) -> int | None:
        """The broker's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while the broker's process is there."""
        return self._process.running

    @property
    def exit_reason(self) -> str:
        """The end of the broker's process, in words."""
        return self._process.exit_reason

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds: float = START_SECONDS_MAX) -> None:
        """Start the broker and wait until it answers a metadata request."""
        self.prepare()
        self.launch()
        self.wait_ready(seconds)

    def prepare(self) -> None:
        """Prepare its directory, from any thread."""
        java = find_java()
        jars = kafka_jars(self._say)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        left_over = stop_left_over(self._process.pid_path)
        if left_over is not None:
            self._say(f"Stopped a Kafka that an earlier run had left behind (pid {left_over}).")
        # Libraries that Java unpacks: a broker that is killed leaves them, in the system's folder for good.
        if self._temporary.exists():
            shutil.rmtree(self._temporary)
        self._temporary.mkdir()
        settings = self._write_settings()
        common_options = [
            f"-Djava.io.tmpdir={self._temporary}",
            f"-Dlog4j2.configurationFile={_LOG4J}",
            f"-Dbackbeat.kafka.log={self.log_path}",
            "-cp",
            f"{jars}/*",
        ]
        format_storage(
            self._storage,
            self._membership.cluster_id,
            self._membership.node_id,
            lambda: self._run_storage_tool(java, common_options, settings),
        )
        self._process.command = [
            java.command,
            f"-Xmx{self._heap_megabytes}m",
            # Few small objects live long here: the simplest collector costs the least memory and the fewest threads.
            "-XX:+UseSerialGC",
            # The optimising compiler takes half of the broker's time for its first 80,000 records, and a core of two
            # away from engine and workers; later it gives back a seventh of what a batch costs, and a third of what
            # many small requests do.
            *([] if self._long_lived else ["-XX:TieredStopAtLevel=1"]),
            "-Djava.awt.headless=true",
            *(_archive_options(java) if self._java_options is None else self._java_options),
            # Like Kafka's own KAFKA_OPTS: other options for this machine's broker.
            *shlex.split(os.environ.get(JAVA_OPTIONS_VARIABLE, "")),
            *common_options,
            "kafka.Kafka",
            str(settings),
        ]

    def launch(self) -> None:
        """Start the process of a broker that was prepared; the kernel ends it with the thread that does this."""
        self._process.start()

    def wait_ready(self, seconds: float = START_SECONDS_MAX, brokers: int = 1) -> None:
        """Wait until the broker answers and knows so many brokers; it is stopped where it does not come to that."""
        try:
            self._wait_until_ready(seconds, brokers)
        except BaseException:
            self._process.stop()
            raise

    def stop(self) -> None:
        """Stop the broker in order; what it holds stays in the data directory."""
        self._process.stop()

    def kill(self) -> None:
        """End the broker as a crash would."""
        self._process.kill()

    def suspend(self) -> None:
        """Let the broker hang (SIGSTOP) until `resume()`."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended broker go on."""
        self._process.signal(signal.SIGCONT)

    def tail(self) -> str:
        """Last lines of the broker's output, for messages about its death."""
        return last_lines(f"{read_tail(self.log_path)}\n{self._process.output()}")

    def _write_settings(self) -> Path:
        membership = self._membership
        voters = [f"{node}@{LOOPBACK}:{port}" for node, port in membership.controller_ports.items()]
        controller_port = membership.controller_ports[membership.node_id]
        listeners, advertised = [f"PLAINTEXT://{LOOPBACK}:{self.port}"], [f"PLAINTEXT://{LOOPBACK}:{self.port}"]
        if membership.proxied is not None:
            port, advertised_port = membership.proxied
            listeners.append(f"PROXIED://{LOOPBACK}:{port}")
            advertised.append(f"PROXIED://{LOOPBACK}:{advertised_port}")
        for name, port in membership.listeners.items():
            listeners.append(f"{name}://{LOOPBACK}:{port}")
            advertised.append(f"{name}://{LOOPBACK}:{port}")
        settings = {
            **_SETTINGS,
            **membership.settings,
            "node.id": str(membership.node_id),
            "controller.quorum.voters": ",".join(voters),
            "listeners": ",".join([*listeners, f"CONTROLLER://{LOOPBACK}:{controller_port}"]),
            "advertised.listeners": ",".join(advertised),
            "log.dirs": str(self._storage),
        }
        path = self.data_dir / "server.properties"
        # A backslash is an escape in Java's properties; a path may have one.
        path.write_text("".join(f"{key}={value}\n".replace("\\", "\\\\") for key, value in settings.items()))
        return path

    def _run_storage_tool(self, java: Java, common_options: list[str], settings: Path) -> None:
        # Runs for a second: optimising its code would cost more than it saves.
        command = [
            java.command,
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            *_archive_options(java),
            *common_options,
        ]
        command += [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self._membership.cluster_id}",
            "-c",
            str(settings),
            "--ignore-formatted",
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)
        if result.returncode != 0:
            raise SetupError(
                f"Kafka's storage cannot be made in {self.data_dir}:\n{last_lines(result.stdout + result.stderr)}"
            )

    def _wait_until_ready(self, seconds: float, brokers: int) -> None:
        deadline = time.monotonic() + seconds
        # A bare connection first: librdkafka waits longer after every failed try.
        while not _accepts_connections(self.port):
            self._check_alive(deadline, seconds)
            time.sleep(0.02)
        admin = AdminClient({**connection(self.bootstrap_servers), "log_level": 0})
        while True:
            try:
                metadata = admin.list_topics(timeout=2)
                # Another Kafka may have taken the port since we looked: ours, which cannot listen, ends in a moment.
                if len(metadata.brokers) >= brokers and str(metadata.cluster_id) == read_cluster_id(self._storage):
                    return
            except KafkaException:
                pass  # not yet: it accepts connections before it has its part in the cluster
            self._check_alive(deadline, seconds)
            time.sleep(0.02)

    def _check_alive(self, deadline: float, seconds: float) -> None:
        if not self._process.running:
            raise SetupError(f"Kafka did not start ({self._process.exit_reason}); its last lines:\n{self.tail()}")
        if time.monotonic() > deadline:
            raise SetupError(f"Kafka was not ready within {seconds:.0f} s; its last lines:\n{self.tail()}")


def archive_path(java: Java) -> Path:
    """This Java's archive of the classes that Kafka loads (`jars.class_archive` makes it)."""
    return jars_folder() / f"kafka-java-{java.major}-{java.build}.jsa"


def _archive_options(java: Java) -> list[str]:
    archive = archive_path(java)
    if not archive.exists() or archive.stat().st_size == 0:
        return []
    # Java does not use an archive that does not fit, and what it logs about that helps nobody.
    if java.major >= AOT_MAJOR:
        return [f"-XX:AOTCache={archive}", "-Xlog:aot*=off", "-Xlog:cds*=off"]
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds*=off"]


def _accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
