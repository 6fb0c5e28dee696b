"""All parts on this machine as one object: Kafka, its topics, the default client, engines and gateways kept alive.

`backbeat dev` is a thin layer over it; the demo, the tests and the benchmark start the same stack:

    with Stack(ephemeral=True, engines=2, gateways=[[]]) as stack:
        client = Client(stack.bootstrap_servers)
        stack.kill_engine(0)
        requests.get(stack.http_urls[0] + "/health")

One thread starts the parts and looks after them. It has to be one, and to stay: the kernel ends a part when the
*thread* that started it ends.
"""

import contextlib
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self

from confluent_kafka import KafkaException

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Say
from backbeat.compose.local.child_process import ON_OWN_KAFKA, ChildProcess, last_lines, stop_left_over
from backbeat.compose.local.data_dir_lock import lock_data_dir
from backbeat.compose.local.jars.class_archive import prepare_kafka
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.ports import LOOPBACK, choose_port, free_port, port_is_free
from backbeat.compose.local.programs import EngineCommand, engine_command, gateway_command
from backbeat.compose.local.supervisor import Supervisor
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.client_registry import ClientRegistryError
from backbeat.schemas.kafka.topics import COMMANDS, TopicError, ensure_topics
from backbeat.streams.kafka.registration import add_client

KAFKA_PORT_DEFAULT = 9092
HTTP_PORT_DEFAULT = 9292
CLIENT_DEFAULT = "default"
#: Lines that an engine and a gateway write when they can be used.
ENGINE_READY_LINE = "backbeat engine ready"
STATUS_PATTERN = r"backbeat engine status: (http://\S+)"
GATEWAY_READY_LINE = "backbeat gateway ready"
#: A part that dies is noticed at once; a machine that others use, too, may take minutes.
READY_SECONDS_MAX = 180.0

_LOOK_SECONDS = 0.05
#: A gateway waits for requests to endpoints: the default times of docs/reference/webhooks.md.
_GATEWAY_STOP_SECONDS = 100.0
#: Their logs are files that people read.
_ENV = {"PYTHONUNBUFFERED": "1", "BACKBEAT_LOG_FORMAT": "text"}
_LOG_BYTES_MAX = 10 * 1024 * 1024


class Stack:
    """All parts, from `start()` (or `with`) to `stop()`."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        ephemeral: bool = False,
        engines: int = 1,
        gateways: Sequence[Sequence[str]] = (),
        partitions: int | None = None,
        bootstrap_servers: str | None = None,
        kafka_port: int | None = None,
        long_lived: bool = False,
        http_port: int | None = None,
        env: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
        engine: EngineCommand = engine_command,
    ) -> None:
        """Nothing happens before `start()`.

        Without a Kafka (`bootstrap_servers`) it runs one of its own. Without `partitions`: as many as the topics have,
        else 8. `gateways` has the extra arguments of each gateway (`[[]]` is one without any); the first listens on
        `http_port` (without: 9292 if that is free). `env` is added to the environment of engines and gateways. `say`
        gets a line for all that a user should know. `long_lived`: its own Kafka is set up for hours, not minutes.
        `engine` is another program to run as an engine, for tests.
        """
        assert data_dir is None or not ephemeral, "a throw-away stack makes its own directory"
        self._ephemeral = ephemeral
        self._engine_count = engines
        self._gateway_arguments = [list(arguments) for arguments in gateways]
        self._partitions = partitions
        self._kafka_port = kafka_port
        self._long_lived = long_lived
        self._http_port = http_port
        self._env: dict[str, str | None] = {**(ON_OWN_KAFKA if bootstrap_servers is None else {}), **(env or {})}
        self._say = say
        self._engine_command = engine
        self.data_dir = (data_dir or Path(".backbeat")).absolute()
        #: The Kafka that it runs; None where one was named.
        self.kafka: KafkaBroker | None = None
        self._own_kafka = bootstrap_servers is None
        self.bootstrap_servers = bootstrap_servers or ""
        #: Ports of the gateways.
        self.http_ports: list[int] = []
        #: Partitions of the commands topic.
        self.partitions = 0
        self._engines: list[Supervisor] = []
        self._gateways: list[Supervisor] = []
        self._lock_file: IO[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        #: Reason why all of it stopped by itself.
        self.failure: str | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds: float = READY_SECONDS_MAX) -> Self:
        """Start all parts and wait until they can be used."""
        assert self._thread is None, "a stack is started once"
        if self._own_kafka:
            # Here, since the first time takes long and has a bound of its own.
            prepare_kafka(self._say)
        self._open_data_dir()
        self._thread = threading.Thread(target=self._run, name="stack")
        self._thread.start()
        try:
            self._wait_for_all(seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all parts in their order; state stays in the data directory, unless it is a throw-away one."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
            if self._ephemeral:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def kill_all(self) -> None:
        """Kill all parts instead of stopping them in order."""
        self._stopping.set()
        for supervisor in self._parts():
            supervisor.process.kill()
        if self.kafka is not None:
            self.kafka.kill()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all of it has stopped by itself (then `failure` is the reason). False: it has not in time."""
        return self._ended.wait(seconds)

    def module_process(self, name: str, module: str, *arguments: str) -> ChildProcess:
        """A program that uses the stack, with this Python, to be started; its log is beside those of the parts."""
        log = self.data_dir / "log" / name.replace(" ", "-")
        return ChildProcess(
            name,
            [sys.executable, "-m", module, *arguments],
            log_path=log.with_suffix(".log"),
            pid_path=log.with_suffix(".pid"),
            env=self._env,
        )

    # --- Engines ---------------------------------------------------------------------------------------------

    @property
    def engine_pids(self) -> list[int]:
        """The engines' process ids; 0 for one that is not there at the moment."""
        return [supervisor.process.pid or 0 if supervisor.process.running else 0 for supervisor in self._engines]

    @property
    def engine_logs(self) -> list[Path]:
        """The engines' log files."""
        return [supervisor.process.log_path for supervisor in self._engines]

    @property
    def status_urls(self) -> list[str]:
        """Addresses of the engines' status, as of their newest starts; empty: they have none."""
        return [(["", *re.findall(STATUS_PATTERN, supervisor.process.output())])[-1] for supervisor in self._engines]

    def kill_engine(self, index: int = 0) -> None:
        """Kill an engine (SIGKILL), as a crash would; it is started again at once."""
        self._engines[index].kill()

    def stop_engine(self, index: int = 0) -> None:
        """Stop an engine in order; it stays stopped until `start_engine`."""
        self._engines[index].stop()

    def start_engine(self, index: int = 0) -> None:
        """Start an engine that was stopped; `wait_ready` waits for it."""
        self._engines[index].start()

    def signal_engine(self, index: int, number: int) -> None:
        """Send a signal to an engine: SIGSTOP and SIGCONT let it hang for a while."""
        self._engines[index].process.signal(number)

    def add_engine(self) -> int:
        """Add an engine; its index is returned."""
        self._engines.append(self._make_engine(len(self._engines)))
        return len(self._engines) - 1

    def wait_ready(self, index: int = 0, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until an engine is ready, as of its newest start."""
        self._wait_ready(self._engines[index], seconds)

    def _wait_ready(self, supervisor: Supervisor, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not supervisor.ready:
            self._raise_failure()
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{supervisor.name} was not ready within {seconds:.0f} s; its last lines "
                    f"({supervisor.process.log_path}):\n{last_lines(supervisor.process.output())}"
                )
            time.sleep(_LOOK_SECONDS / 2)

    # --- Gateways --------------------------------------------------------------------------------------------

    @property
    def http_urls(self) -> list[str]:
        """The gateways' addresses."""
        return [f"http://{LOOPBACK}:{port}" for port in self.http_ports]

    @property
    def gateway_pids(self) -> list[int]:
        """The gateways' process ids; 0 for one that is not there at the moment."""
        return [supervisor.process.pid or 0 if supervisor.process.running else 0 for supervisor in self._gateways]

    @property
    def gateway_logs(self) -> list[Path]:
        """The gateways' log files."""
        return [supervisor.process.log_path for supervisor in self._gateways]

    def kill_gateway(self, index: int = 0) -> None:
        """Kill a gateway (SIGKILL), as a crash would; it is started again at once."""
        self._gateways[index].kill()

    def stop_gateway(self, index: int = 0) -> None:
        """Stop a gateway in order; it stays stopped until `start_gateway`."""
        self._gateways[index].stop()

    def start_gateway(self, index: int = 0) -> None:
        """Start a gateway that was stopped; `wait_gateway_ready` waits for it."""
        self._gateways[index].start()

    def wait_gateway_ready(self, index: int = 0, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until a gateway is ready, as of its newest start."""
        self._wait_ready(self._gateways[index], seconds)

    # --- The thread that starts the parts and looks after them -------------------------------------------------

    def _run(self) -> None:
        try:
            self._start_kafka()
            self._prepare()
            for index in range(self._engine_count):
                self._engines.append(self._make_engine(index))
            for index in range(len(self._gateway_arguments)):
                self._gateways.append(self._make_gateway(index))
            while not self._stopping.wait(_LOOK_SECONDS):
                self._check_parts()
        except (SetupError, UnreachableError, TopicError, ClientRegistryError) as error:
            self.failure = str(error)
        except KafkaException as error:
            self.failure = f"Kafka at {self.bootstrap_servers}: {error.args[0].str()}"
        except BaseException as error:
            self.failure = f"defect in the supervisor: {error!r}"
            raise
        finally:
            self._stop_parts()
            self._ended.set()

    def _check_parts(self) -> None:
        if self.kafka is not None and not self.kafka.running:
            raise SetupError(f"Kafka died ({self.kafka.exit_reason}); its last lines:\n{self.kafka.tail()}")
        for supervisor in self._parts():
            reason = supervisor.check()
            if reason is not None:
                raise SetupError(reason)

    def _start_kafka(self) -> None:
        if not self._own_kafka:
            return
        port = choose_port(self._kafka_port, KAFKA_PORT_DEFAULT, "--kafka-port")
        try:
            self._start_kafka_on(port)
        except SetupError:
            # Two that start at once find the same port free; only one gets it.
            if self._kafka_port is not None or port_is_free(port) or self._stopping.is_set():
                raise
            self._start_kafka_on(free_port())

    def _start_kafka_on(self, port: int) -> None:
        self.kafka = KafkaBroker(self.data_dir / "kafka", port=port, say=self._say, long_lived=self._long_lived)
        self.bootstrap_servers = self.kafka.bootstrap_servers
        self.kafka.start()

    def _prepare(self) -> None:
        topics = ensure_topics(self.bootstrap_servers, self._partitions, replication=1, development=True)
        self.partitions = topics[COMMANDS].partitions
        add_client(self.bootstrap_servers, CLIENT_DEFAULT, partitions=self.partitions)

    def _make_engine(self, index: int) -> Supervisor:
        name = f"engine-{index + 1}"
        process = ChildProcess(
            name,
            self._engine_command(self.bootstrap_servers, f"{self._prefix()}{name}", self.data_dir / name),
            log_path=self.data_dir / "log" / f"{name}.log",
            pid_path=self.data_dir / "log" / f"{name}.pid",
            # A status port of its own: several engines on one machine cannot have the default one.
            env={**_ENV, "BACKBEAT_STATUS_PORT": "0", **self._env},
        )
        return self._supervised(process, ENGINE_READY_LINE)

    def _make_gateway(self, index: int) -> Supervisor:
        avoid = [*self.http_ports, *([self.kafka.port] if self.kafka else [])]
        asked_port, default = (self._http_port, HTTP_PORT_DEFAULT) if index == 0 else (None, free_port(avoid))
        port = choose_port(asked_port, default, "--http-port", avoid)
        self.http_ports.append(port)
        name = f"gateway-{index + 1}"
        process = ChildProcess(
            name,
            gateway_command(self.bootstrap_servers, port, self.data_dir / name, self._gateway_arguments[index]),
            log_path=self.data_dir / "log" / f"{name}.log",
            pid_path=self.data_dir / "log" / f"{name}.pid",
            env={**_ENV, **self._env},
            stop_seconds=_GATEWAY_STOP_SECONDS,
        )
        return self._supervised(process, GATEWAY_READY_LINE)

    def _supervised(self, process: ChildProcess, ready_line: str) -> Supervisor:
        left_over = stop_left_over(process.pid_path)
        if left_over is not None:
            self._say(f"Stopped {process.name}, which an earlier run had left behind (pid {left_over}).")
        with contextlib.suppress(FileNotFoundError):
            if process.log_path.stat().st_size > _LOG_BYTES_MAX:
                process.log_path.replace(process.log_path.with_suffix(".log.old"))
        return Supervisor(process, ready_line, self._say)

    def _parts(self) -> list[Supervisor]:
        return [*self._engines, *self._gateways]

    def _prefix(self) -> str:
        """Prefix that makes engine names unique on a Kafka that others use too: a word of this data directory's own."""
        if self._own_kafka:
            return ""
        path = self.data_dir / "installation"
        if not path.exists():
            path.write_text(uuid.uuid4().hex[:8])
        return f"{path.read_text().strip()}-"

    def _stop_parts(self) -> None:
        # Gateways first: clients that work inside a request go on calling until they have answered it.
        for supervisors in (self._gateways, self._engines):
            # At the same time: each of them has a commit to make.
            with ThreadPoolExecutor(max(1, len(supervisors))) as pool:
                list(pool.map(lambda supervisor: supervisor.process.stop(), supervisors))
        if self.kafka is not None:
            # Thrown away, it need not end in order: that takes half a second of processor time.
            (self.kafka.kill if self._ephemeral else self.kafka.stop)()

    # --- Start ---------------------------------------------------------------------------------------------------

    def _wait_for_all(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self._engines) < self._engine_count or len(self._gateways) < len(self._gateway_arguments):
            self._raise_failure()
            if time.monotonic() > deadline:
                raise SetupError(f"Kafka and its topics were not ready within {seconds:.0f} s.")
            time.sleep(_LOOK_SECONDS / 2)
        for index in range(self._engine_count):
            self.wait_ready(index, deadline - time.monotonic())
        for index in range(len(self._gateway_arguments)):
            self.wait_gateway_ready(index, deadline - time.monotonic())

    def _raise_failure(self) -> None:
        if self._ended.is_set():
            raise SetupError(self.failure or "all of it was stopped.")

    def _open_data_dir(self) -> None:
        if self._ephemeral:
            self.data_dir = Path(tempfile.mkdtemp(prefix="backbeat-"))
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_data_dir(self.data_dir)
        except OSError as error:
            raise SetupError(
                f"the data directory {self.data_dir} cannot be used: {error.strerror}. "
                "What to do: name another with --data-dir."
            ) from error
