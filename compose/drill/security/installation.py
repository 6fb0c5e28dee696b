"""Secured installation: broker, engine and gateway over TLS, each part as a user with the rights that it needs.

with SecuredInstallation(folder) as installation:
    installation.run("topics", "check")
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import httpx2

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.show.progress import Say
from backbeat.compose.drill.load.payments import CLIENT, WEBHOOK_CLIENT
from backbeat.compose.drill.security.broker import ADMIN, SecuredBroker
from backbeat.compose.drill.security.trap import Trap
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.child_process import ChildProcess, last_lines
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.compose.local.stack import ENGINE_READY_LINE, GATEWAY_READY_LINE
from backbeat.schemas.environment import PREFIX
from backbeat.schemas.kafka.clients import hash_token, make_token
from backbeat.streams.kafka.registration import add_client

ENGINE, GATEWAY = "engine", "gateway"
OPERATOR, WORKER, SHARE_WORKER, GENERATOR = "operator", "worker", "share-worker", "generator"
#: The client application that attacks, and its users: what is not its own belongs to `CLIENT`.
RIVAL = "rival"
RIVAL_SERVICE, RIVAL_WORKER, RIVAL_SHARE_WORKER = "rival-service", "rival-worker", "rival-share-worker"
#: Client applications whose endpoints are where none may be.
LURED, PROBER = "lured", "prober"
READER, CHANGER = "reader", "changer"
#: User -> parts that it is, as `backbeat acls` is told.
USERS: dict[str, list[list[str]]] = {
    OPERATOR: [["operator"]],
    ENGINE: [["engine"]],
    GATEWAY: [["console"]],
    WORKER: [["worker", "--client", CLIENT]],
    SHARE_WORKER: [["share-worker", "--client", CLIENT]],
    GENERATOR: [["caller"], ["service", "--client", CLIENT]],
    RIVAL_SERVICE: [["service", "--client", RIVAL]],
    RIVAL_WORKER: [["worker", "--client", RIVAL]],
    RIVAL_SHARE_WORKER: [["share-worker", "--client", RIVAL]],
}
#: Options of the gateway that the promises ask for.
PROTECTION = ("--require-auth-token=all", "--endpoint-networks=public", "--ui=on")
#: Environment of this process that reaches those of the drill.
_KEPT = (f"{PREFIX}KAFKA_JAVA_OPTIONS", f"{PREFIX}PURE")
_PARTITIONS = 2
_ENDPOINTS = ("decision", "activity", "notification")
_COMMAND_SECONDS_MAX = 180.0
_READY_SECONDS_MAX = 180.0
_HTTP_SECONDS_MAX = 60.0


class Access(NamedTuple):
    """Id and token of a client application."""

    id: str
    token: str


class SecuredInstallation:
    """Installation under attack, from `start()` to `stop()` or `with`; all of its files are in its folder."""

    def __init__(self, folder: Path, *, protection: Sequence[str] = PROTECTION, say: Say = lambda _: None) -> None:
        """`protection`: other options of the gateway, to see that an attack succeeds without them."""
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.broker = SecuredBroker(self.folder / "kafka", say=say)
        self.trap = Trap()
        self.clients: dict[str, Access] = {}
        #: person of the console -> token
        self.people: dict[str, str] = {}
        self.parts: dict[str, ChildProcess] = {}
        #: command -> what it printed, but for what shows a secret to whoever may see it
        self.outputs: dict[str, str] = {}
        self.endpoint_password = secrets.token_hex(12)
        self.endpoint_port = free_port()
        self.status_url = f"http://{LOOPBACK}:{free_port()}"
        self.gateway_port = free_port()
        self.url = f"https://{LOOPBACK}:{self.gateway_port}"
        self._certificate_file, self._key_file = self.broker.authority.issue(GATEWAY)
        self._session_secret_file = self.folder / "session-secret"
        self._session_secret_file.touch(mode=0o600)
        self._session_secret_file.write_text(secrets.token_hex(32))
        self._protection = tuple(protection)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def secrets(self) -> dict[str, str]:
        """All secrets of it, by what they are."""
        keys = (self._key_file, self.broker.key_file)
        return {
            **{f"password of {user}": password for user, password in self.broker.passwords.items()},
            **{f"token of {name}": access.token for name, access in self.clients.items()},
            **{f"token of {name}": token for name, token in self.people.items()},
            "password of the endpoint": self.endpoint_password,
            "secret of sessions": self._session_secret_file.read_text(),
            # The first line of what is encoded.
            **{f"key {path.name}": path.read_text().splitlines()[1] for path in keys},
        }

    # --- Start and end -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, with all users, rights, client applications and people."""
        try:
            self.trap.start()
            self.broker.start()
            for user, parts in USERS.items():
                self.broker.add_user(user)
                for words in parts:
                    self.run("acls", *words, "--principal", f"User:{user}", "--apply", user=ADMIN)
            self.run("topics", "create", "--partitions", str(_PARTITIONS), "--replication", "1", "--development")
            self._add_clients()
            for name, role in ((READER, "reader"), (CHANGER, "operator")):
                added = self.run("person", "add", name, "--role", role, "--json", shows_secret=True)
                self.people[name] = json.loads(added)["token"]
            status_port = self.status_url.rpartition(":")[2]
            words = ["engine", "--instance-id", "engine-1", "--data-dir", str(self.folder / ENGINE)]
            words += ["--development", "--status-port", status_port]
            self.start_part(ENGINE, words, ENGINE_READY_LINE, user=ENGINE)
            self.start_gateway(*self._protection)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all of it; the folder stays."""
        for part in reversed(self.parts.values()):
            part.stop()
        self.broker.stop()
        self.trap.stop()

    def start_gateway(self, *protection: str) -> None:
        """Start the gateway with these options, in place of the one that runs."""
        if GATEWAY in self.parts:
            self.parts[GATEWAY].stop()
        words = ["gateway", "--http-port", str(self.gateway_port), "--data-dir", str(self.folder / GATEWAY)]
        words += ["--http-certificate-file", str(self._certificate_file), "--http-key-file", str(self._key_file)]
        words += ["--ui-secret-file", str(self._session_secret_file), "--connection-error-wait-seconds", "1"]
        self.start_part(GATEWAY, [*words, *protection], GATEWAY_READY_LINE, user=GATEWAY)

    def name_network(self, network: str) -> None:
        """Restart the gateway with one more network that endpoints may be in."""
        self.start_gateway(*self._protection, f"--endpoint-networks=public,{network}")

    def start_part(
        self, name: str, words: Sequence[str], ready_line: str, *, user: str, env: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start a process as this user and wait until it is ready; words are Backbeat's, or those of a module."""
        command = [sys.executable, "-m", *(words if words[0].startswith("backbeat.") else ("backbeat.compose", *words))]
        log = self.folder / "log" / f"{name}.log"
        part = ChildProcess(
            name, command, log_path=log, pid_path=log.with_suffix(".pid"), env={**self._env(user), **(env or {})}
        )
        part.start()
        self.parts[name] = part
        if not until(lambda: ready_line in part.output() or not part.running, _READY_SECONDS_MAX):
            raise SetupError(f"the {name} was not ready within {_READY_SECONDS_MAX:.0f} s: {last_lines(part.output())}")
        part.check()
        return part

    # --- Commands and calls --------------------------------------------------------------------------------------

    def run(
        self, *words: str, user: str = OPERATOR, env: Mapping[str, str] | None = None, shows_secret: bool = False
    ) -> str:
        """Run a command to its end, and give what it prints. SetupError: it fails."""
        code, output, errors = self.attempt(*words, user=user, env=env, shows_secret=shows_secret)
        if code:
            raise SetupError(f"backbeat {' '.join(words)}, as {user}, ended with {code}: {errors}")
        return output

    def attempt(
        self, *words: str, user: str, env: Mapping[str, str] | None = None, shows_secret: bool = False
    ) -> tuple[int, str, str]:
        """Run a command to its end: exit code, output and errors. SetupError: it comes to none."""
        variables = {**os.environ, **self._env(user), **(env or {})}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "backbeat.compose", *words],
                env={name: value for name, value in variables.items() if value is not None},
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SetupError(f"backbeat {' '.join(words)}, as {user}, has not ended: {error}") from error
        self.outputs[f"backbeat {' '.join(words)}, as {user}"] = done.stderr + ("" if shows_secret else done.stdout)
        return done.returncode, done.stdout, done.stderr

    def http(self, client: str = "", token: str | None = None) -> httpx2.Client:
        """Caller of the gateway as this client application, with its token or another."""
        headers = {"Accept": "application/json"}
        if client:
            headers |= {"Client-Id": self.clients[client].id}
            token = self.clients[client].token if token is None else token
        if token:
            headers |= {"Authorization": f'Token token="{token}"'}
        trusting = ssl.create_default_context(cafile=self.broker.authority.ca_file)
        return httpx2.Client(
            base_url=self.url, headers=headers, verify=trusting, trust_env=False, timeout=_HTTP_SECONDS_MAX
        )

    def _env(self, user: str) -> dict[str, str | None]:
        """Environment of a process of this user: nothing of another installation."""
        return {
            **{name: None for name in os.environ if name.startswith(PREFIX) and not name.startswith(_KEPT)},
            **self.broker.variables(user),
            # By which whoever calls the gateway knows it.
            "SSL_CERT_FILE": str(self.broker.authority.ca_file),
            "PYTHONUNBUFFERED": "1",
            "BACKBEAT_LOG_FORMAT": "text",
        }

    def _add_clients(self) -> None:
        """Add client applications: of the load, the rival, and two whose endpoints are where none may be."""
        endpoints = {
            CLIENT: "",
            RIVAL: "",
            WEBHOOK_CLIENT: f"http://{LOOPBACK}:{self.endpoint_port}",
            LURED: f"http://shop:{self.endpoint_password}@localhost:{self.trap.port}",
            PROBER: "http://169.254.169.254/latest/meta-data",
        }
        for name, url in endpoints.items():
            # By no command: everybody on this machine may read its line.
            token = make_token()
            decision, activity, notification = (f"{url}/{kind}" if url else None for kind in _ENDPOINTS)
            client = add_client(
                self.broker.brokers(OPERATOR),
                name,
                decision_endpoint=decision,
                activity_endpoint=activity,
                notification_endpoint=notification,
                token_hash=hash_token(token),
                partitions=_PARTITIONS,
            )
            self.clients[name] = Access(client.id, token)
