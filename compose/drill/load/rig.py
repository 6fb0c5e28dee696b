"""Rig of the load: generator, workers and endpoint beside an installation, and the account of what they did."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.faults.at_work import STEPS_KNOB
from backbeat.compose.drill.load.account import Account
from backbeat.compose.drill.load.payments import (
    CLIENT,
    RUN_VARIABLE,
    STEPS_VARIABLE,
    TOKEN_VARIABLE,
    WEBHOOK_CLIENT,
    WEBHOOK_CLIENT_VARIABLE,
)
from backbeat.compose.drill.load.retention import keep_for_ever
from backbeat.compose.drill.runs import aborted_by
from backbeat.compose.drill.topology.keeper import Keeper, Part
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.stage import module_command
from backbeat.compose.drill.topology.topology import Topology, TopologyError
from backbeat.compose.drill.topology.wheel import PYTHON_KNOB, by_knob
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import LOOPBACK, free_port
from backbeat.schemas.kafka.clients import hash_token, make_token
from backbeat.schemas.kafka.security import IN_THE_CLEAR
from backbeat.streams.kafka.registration import add_client

_FIRST_SECONDS_MAX = 120.0
_ORDER = 3
_ENDPOINT, _GENERATOR = "endpoint", "generator"


def check_names(installation: Topology, workers: int) -> None:
    """TopologyError: services of an installation are named as those that the load adds to them."""
    if taken := [name for name in (*_worker_names(workers), _ENDPOINT, _GENERATOR) if name in installation.services]:
        raise TopologyError(
            f"services of the installation are named as the drill's own: {', '.join(taken)}. What to do: give them "
            "other names in the topology file (a unit or a pod: as a [[service]], or not discovered at all)."
        )


def _worker_names(count: int) -> list[str]:
    return [f"worker-{number}" for number in range(1, count + 1)]


class Rig:
    """The load, from `start()` until `stop()`."""

    def __init__(
        self,
        folder: Path,
        keeper: Keeper,
        *,
        bootstrap_servers: str,
        gateways: Sequence[str],
        per_second: float,
        workers: int,
        partitions: int,
        plain: bool,
        listen_address: str = LOOPBACK,
        python_before: Path | None = None,
    ) -> None:
        """`plain`: Kafka is one that was started here, without encryption, whatever the environment says.

        `listen_address`: of this host, where the endpoint listens, and under which gateways post to it.
        `python_before`: of the version before, as which workers begin; callers stay with it: clients are upgraded last.
        """
        self.folder = folder
        self.account = Account(folder / "journal")
        self.services: list[Service] = []
        self._keeper = keeper
        self._servers = bootstrap_servers
        self._gateways = list(gateways)
        self._per_second = per_second
        self._workers = workers
        self._listen_address = listen_address
        self._python_before = python_before
        self._partitions = partitions
        self._env = {**(IN_THE_CLEAR if plain else {}), "PYTHONUNBUFFERED": "1"}
        self._generator: ChildProcess

    def start(self) -> None:
        """Start all of it and wait for the first payments over each way in, unless somebody aborts the run."""
        for name in ("log", "hold", "knob", "journal"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        add_client(self._servers, CLIENT, partitions=self._partitions)
        # Gateways may ask for it. Never on a command line, which everybody on this machine may read.
        token = make_token()
        self._env |= {TOKEN_VARIABLE: token, RUN_VARIABLE: secrets.token_hex(4)}
        port = free_port()
        address = f"[{self._listen_address}]" if ":" in self._listen_address else self._listen_address
        url = f"http://{address}:{port}"
        registered = add_client(
            self._servers,
            WEBHOOK_CLIENT,
            decision_endpoint=f"{url}/decision",
            activity_endpoint=f"{url}/activity",
            notification_endpoint=f"{url}/notification",
            token_hash=hash_token(token),
            partitions=self._partitions,
        )
        self._env |= {WEBHOOK_CLIENT_VARIABLE: registered.id}
        parts = [self._make_worker(name) for name in _worker_names(self._workers)]
        if self._gateways:
            knob = self.folder / "knob" / "endpoint.json"
            place = [self._listen_address, str(port)]
            arguments = [registered.id, *place, self._journal("endpoint"), str(knob), *self._gateways]
            parts.append(self._part(_ENDPOINT, "endpoint", "endpoint", arguments, knobs={"endpoint": str(knob)}))
        self._keeper.add(parts)
        self._keeper.wait_ready(parts)
        # A soak that was killed has left its retention, and a run asks for its payments when they are complete.
        keep_for_ever(self._servers)
        knob = self.folder / "knob" / "load.json"
        arguments = [self._servers, self._journal("generator"), str(knob), str(self._per_second), *self._gateways]
        generator = self._part(_GENERATOR, "load", "generator", arguments, knobs={"load": str(knob)})
        assert isinstance(generator.process, ChildProcess), "it is one of ours"
        generator.process.stop_seconds = 75.0
        self._generator = generator.process
        self._hold = generator.hold
        self._keeper.add([generator])
        self._wait_first()

    def check(self) -> None:
        """SetupError: what was started for the drill is not kept any more."""
        if self._keeper.failure is not None:
            raise SetupError(self._keeper.failure)

    def stop_asking(self) -> None:
        """Ask for nothing more; what was asked for is taken first."""
        self._hold.touch()
        self._generator.stop()

    def wait_paid(self, seconds: float) -> bool:
        """Wait until everything that was taken is paid. False: it is not in time."""

        def is_paid() -> bool:
            self.account.read()
            return not self.account.totals().lost

        return until(is_paid, seconds)

    def _wait_first(self) -> None:
        ways = {"sdk", "topic", *(["http"] if self._gateways else [])}

        def unpaid() -> set[str]:
            self.account.read()
            payments = self.account.payments.values()
            # Those of a run that was cut off are done by today's workers, too.
            return ways - {payment.way for payment in payments if payment.asked_at and payment.paid_at}

        def is_over() -> bool:
            self.check()
            return not unpaid() or bool(aborted_by(self.folder))

        if not until(is_over, _FIRST_SECONDS_MAX):
            raise SetupError(
                f"no payment over {', '.join(sorted(unpaid()))} was paid within {_FIRST_SECONDS_MAX:.0f} s. "
                f"What to do: look into {self.folder / 'log'}."
            )

    def _make_worker(self, name: str) -> Part:
        port = free_port()
        arguments = [self._servers, self._journal(name), str(port)]
        knob = str(self.folder / "knob" / f"{name}.steps")
        return self._part(
            name,
            "worker",
            "worker",
            arguments,
            metrics_url=f"http://{LOOPBACK}:{port}/metrics",
            knobs={STEPS_KNOB: knob},
            # Not an argument: workers of the version before may not know it.
            env={STEPS_VARIABLE: knob},
        )

    def _journal(self, name: str) -> str:
        return str(self.folder / "journal" / f"{name}.jsonl")

    def _part(
        self,
        name: str,
        role: str,
        module: str,
        arguments: list[str],
        *,
        metrics_url: str = "",
        knobs: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
    ) -> Part:
        log = self.folder / "log" / f"{name}.log"
        knobs = dict(knobs or {})
        command = module_command(f"backbeat.compose.drill.load.{module}", *arguments)
        if self._python_before is not None and role in ("worker", "load"):
            knob = self.folder / "knob" / f"{name}.python"
            command = by_knob(command, self._python_before, knob)
            knobs |= {PYTHON_KNOB: str(knob)}
        process = ChildProcess(
            name, command, log_path=log, pid_path=log.with_suffix(".pid"), env={**self._env, **(env or {})}
        )
        hold = self.folder / "hold" / name
        self.services.append(
            Service(
                name=name,
                role=role,
                metrics_url=metrics_url,
                depends_on=(),
                pid_file=str(process.pid_path),
                stop=("touch", str(hold)),
                start=("rm", "-f", str(hold)),
                log=str(log),
                knobs=knobs,
            )
        )
        is_ready = (lambda: "ready" in process.output()) if role in ("endpoint", "load") else (lambda: True)
        return Part(name, process, hold, is_ready=is_ready, order=_ORDER)
