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
from backbeat.compose.drill.capsule.state import CapsuleState
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host

#: Silence of the tower after which a capsule ends its fault.
TOWER_SILENCE_SECONDS = 10.0
#: Beyond its time an order is valid for so long: processes take time to start.
_START_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.1
#: What a capsule takes to end once somebody has read its last state.
_END_SECONDS_MAX = 20.0


class CapsuleError(Exception):
    """A capsule could not be started, or refused its order; the text says why."""


class UnfitError(CapsuleError):
    """The fault cannot be injected on this host; nothing was changed."""


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
        self._key, self._host, self._folder = key, host, folder
        self._key_file = host.key_file or str(key_file)
        self.order = Order(
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
        self._process: subprocess.Popen[bytes] | None = None
        self._output = folder / f"{self.order.id}.log"
        self.state = CapsuleState(
            id=self.order.id, fault=fault, targets=[each.name for each in targets], host=host.name
        )

    def launch(self) -> None:
        """Start it and wait until it acts. CapsuleError, UnfitError: it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = self._start()
        deadline = time.monotonic() + _START_SECONDS_MAX
        while self.state.phase == "begun":
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise CapsuleError(f"the capsule on {self._host.name} did not begin: {self._words()}")
            time.sleep(_LOOK_SECONDS)
            self.look()
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
                assert self._process is not None, "launch() comes first"
                if self._process.poll() is not None:
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
        while self.look().left is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        assert self._process is not None, "launch() comes first"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(_END_SECONDS_MAX, deadline - time.monotonic()))
        if self.state.left is None:
            self.state.left = [f"the capsule {self.order.id} did not end within {seconds:.0f} s"]
        return self.state

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "backbeat.compose"] if not self._host.run else ["backbeat"]
        command = [*self._host.run, *program, "drill", "capsule", "--key-file", self._key_file]
        command += ["--folder", str(self._folder), *words]
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
        if self.state.left is None:
            self._start("--undo").wait(_START_SECONDS_MAX)
            self._read()

    def _read(self) -> None:
        """Read the newest state that it has printed."""
        states = [line for line in self._lines() if line.startswith("{")]
        if states:
            self.state = msgspec.json.decode(states[-1], type=CapsuleState)

    def _words(self) -> str:
        return (self._lines() or ["it said nothing"])[-1]

    def _lines(self) -> list[str]:
        return self._output.read_text(errors="replace").splitlines()
