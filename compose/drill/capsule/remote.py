"""Capsules as the tower sees them: sent to a target's host, asked, told to end, taken back where they died."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.drill.capsule.door import Abortion, ask
from backbeat.compose.drill.capsule.order import Order
from backbeat.compose.drill.capsule.state import EXIT_NOTHING, CapsuleState
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host
from backbeat.compose.drill.waiting import until
from backbeat.schemas.requests.decoding import from_json, prepare

#: Silence of the tower after which a capsule ends its fault.
TOWER_SILENCE_SECONDS = 10.0
#: Beyond its time an order is valid for so long: processes take time to start.
_START_SECONDS_MAX = 60.0
#: A fault that takes longer to inject is acting already.
_INJECT_SECONDS_MAX = 120.0
#: What another process takes to take a fault back and to look for what is left.
_UNDO_SECONDS_MAX = 180.0
#: What a capsule takes to end once somebody has read its last state.
_END_SECONDS_MAX = 20.0

# The tower ends several in threads.
prepare(CapsuleState)


class CapsuleError(Exception):
    """A capsule could not be started, or refused its order; the text says why."""


class UnfitError(CapsuleError):
    """The fault cannot be injected on this host; nothing was changed."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Launch of a capsule, kept in the run's folder for whoever ends it where its tower is gone."""

    order: Order
    host: Host
    #: the key's file on this machine
    key_file: str

    def write(self, folder: Path) -> None:
        """Keep it, for its owner only: the order is signed."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.order.id}.order"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(self))


def read_launches(folder: Path) -> list[Launch]:
    """All launches of a folder, oldest first."""
    paths = sorted(folder.glob("*.order"), key=lambda path: path.stat().st_mtime)
    return [from_json(path.read_bytes(), Launch) for path in paths]


class RemoteCapsule:
    """A capsule on a host, from `launch` until it has ended."""

    def __init__(
        self,
        fault: str,
        targets: Sequence[Service],
        arguments: dict[str, Any],
        *,
        host: Host,
        seconds: float,
        seed: int,
        key: bytes,
        key_file: Path,
        folder: Path,
    ) -> None:
        """`folder`, of this path on both hosts, keeps its state there and its output here."""
        now = time.time()
        order = Order(
            id=uuid.uuid4().hex[:16],
            fault=fault,
            arguments=arguments,
            targets=tuple(targets),
            seed=seed,
            host=host.own_name,
            issued_at=now,
            until=now + seconds + _START_SECONDS_MAX,
            seconds=seconds,
            tower_silence_seconds=TOWER_SILENCE_SECONDS,
            address=host.address,
        ).signed(key)
        self._set(Launch(order=order, host=host, key_file=str(key_file)), key, folder)

    @classmethod
    def launched(cls, launch: Launch, key: bytes, folder: Path) -> RemoteCapsule:
        """The capsule that another process has launched."""
        capsule = cls.__new__(cls)
        capsule._set(launch, key, folder)  # noqa: SLF001 - instead of a new order
        return capsule

    def _set(self, launch: Launch, key: bytes, folder: Path) -> None:
        self._launch, self._key, self._folder = launch, key, folder
        self.order, self._host = launch.order, launch.host
        self._process: subprocess.Popen[bytes] | None = None
        self._output = folder / f"{self.order.id}.log"
        names = [each.name for each in self.order.targets]
        self.state = CapsuleState(id=self.order.id, fault=self.order.fault, targets=names, host=self._host.name)
        if self._output.exists():
            self._read()

    def launch(self) -> None:
        """Start it and wait until its fault is injected. CapsuleError, UnfitError: it does not begin."""
        self._launch.write(self._folder)
        self._process = self._start()
        process = self._process
        until(lambda: self.look().phase != "begun" or process.poll() is not None, _START_SECONDS_MAX)
        if self.look().phase == "begun":
            process.kill()
            process.wait()
            raise CapsuleError(f"the capsule on {self._host.name} did not begin: {self._words()}")
        until(lambda: bool(self.look().injected_at) or process.poll() is not None, _INJECT_SECONDS_MAX)
        if self.state.phase == "refused":
            self.wait(_START_SECONDS_MAX)
            raise UnfitError(f"{self.state.fault} on {', '.join(self.state.targets)}: {self.state.reason}")

    def look(self) -> CapsuleState:
        """Its state now, which also tells it that the tower is there; where it died, its fault is taken back."""
        if not self.state.url:
            self._read()
        if self.state.url and self.state.left is None:
            try:
                self.state = msgspec.convert(ask(self._key, self.state.url, "/state"), CapsuleState)
            except OSError:
                # One that another process has launched shows by its door alone that it is there.
                if self._process is None or self._process.poll() is not None:
                    self._undo()
        return self.state

    def abort(self, by: str, reason: str) -> None:
        """Tell it to end."""
        try:
            ask(self._key, self.state.url, "/abort", Abortion(by, reason))
        except OSError:
            self.look()

    def wait(self, seconds: float) -> CapsuleState:
        """Wait until it has ended and has looked for what is left."""
        deadline = time.monotonic() + seconds
        until(lambda: self.look().left is not None, seconds)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(_END_SECONDS_MAX, deadline - time.monotonic()))
        if self.state.left is None:
            self.state.left = [f"the capsule {self.order.id} did not end within {seconds:.0f} s"]
        return self.state

    def take_back(self, by: str, reason: str, seconds: float) -> CapsuleState:
        """Tell it to end and wait until it has; where it has told no address of its door, take its fault back."""
        if self.state.left is None and not self.state.url and self._output.exists():
            self._undo()
        if self.state.left is None and self.state.url:
            self.abort(by, reason)
            self.wait(seconds)
        return self.state

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "backbeat.compose"] if not self._host.run else ["backbeat"]
        command = [*self._host.run, *program, "drill", "capsule", "--key-file"]
        command += [self._host.key_file or self._launch.key_file, "--folder", str(self._folder), *words]
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=os.environ,
                # It survives the tower, and Ctrl-C in the tower's terminal.
                start_new_session=True,
            )
        assert process.stdin is not None, "it is a pipe"
        # One that has ended has said why; whoever waits for it reads that.
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(msgspec.json.encode(self.order))
        return process

    def _undo(self) -> None:
        """Take back what a capsule that died has injected, unless it had ended before."""
        self._read()
        if self.state.left is not None:
            return
        process = self._start("--undo")
        try:
            exit_code = process.wait(_UNDO_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.state.left = [f"it could not be taken back within {_UNDO_SECONDS_MAX:.0f} s"]
            return
        self._read()
        if exit_code == EXIT_NOTHING:
            self.state.left = []
        elif self.state.left is None:
            self.state.left = [f"it could not be taken back: {self._words()}"]

    def _read(self) -> None:
        """Read the newest state that it has printed."""
        states = [line for line in self._lines() if line.startswith("{")]
        if states:
            self.state = from_json(states[-1], CapsuleState)

    def _words(self) -> str:
        return (self._lines() or ["it said nothing"])[-1]

    def _lines(self) -> list[str]:
        return self._output.read_text(errors="replace").splitlines()
