"""Faults for the engines of a stack, drawn from a seed: killed, stopped for longer than their session, ended."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from backbeat.compose.local.stack import Stack
from tests.empty_kafka import engine_of, group_of

#: Settings of engines under a storm: what a dead one leaves behind is over soon.
ENGINE_ENV = {
    "BACKBEAT_SESSION_TIMEOUT_SECONDS": "4",
    "BACKBEAT_HEARTBEAT_INTERVAL_SECONDS": "0.8",
    "BACKBEAT_REBALANCE_TIMEOUT_SECONDS": "6",
    "BACKBEAT_TRANSACTION_TIMEOUT_SECONDS": "5",
    "BACKBEAT_COMMIT_INTERVAL_SECONDS": "0.5",
    "BACKBEAT_TOUCH_INTERVAL_SECONDS": "1",
}
_SECONDS_MAX = 180.0
#: The supervisor gives up after five deaths a minute; a stopped engine that wakes up as a zombie ends itself.
_STOPS_PER_MINUTE_MAX = 3


class Storm:
    """Goes over the engines in a thread of its own, until it is told to end."""

    def __init__(self, stack: Stack, seed: int, *, pause_seconds: tuple[float, float] = (1.0, 5.0)) -> None:
        self._stack = stack
        self._random = random.Random(seed)
        self._pause_seconds = pause_seconds
        self._group = group_of(stack)
        self._admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers, "log_level": 0})
        self._ending = threading.Event()
        self._stops: dict[int, list[float]] = {}
        self._began = time.monotonic()
        self.faults: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._blow, name="storm")
        self._thread.start()

    def end(self) -> None:
        """Leave every engine running, and raise what went wrong."""
        self._ending.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _blow(self) -> None:
        try:
            while not self._ending.wait(self._random.uniform(*self._pause_seconds)):
                index = self._random.randrange(len(self._stack.engine_pids))
                kind = self._random.choice(["kill", "kill", "stop", "terminate"])
                if kind == "stop" and not self._may_stop(index):
                    kind = "kill"
                print(f"{time.monotonic() - self._began:6.1f} s  {kind} engine {index + 1}", flush=True)
                self.faults[kind] += 1
                faults: dict[str, Callable[[int], None]] = {
                    "kill": self._stack.kill_engine,
                    "stop": self._let_hang,
                    "terminate": self._terminate,
                }
                faults[kind](index)
        except BaseException as error:  # noqa: BLE001 - `end` raises it
            self.error = error

    def _may_stop(self, index: int) -> bool:
        now = time.monotonic()
        self._stops[index] = [at for at in self._stops.get(index, []) if at > now - 60.0]
        if len(self._stops[index]) >= _STOPS_PER_MINUTE_MAX:
            return False
        self._stops[index].append(now)
        return True

    def _terminate(self, index: int) -> None:
        self._stack.stop_engine(index)
        self._ending.wait(self._random.uniform(0.0, 3.0))
        self._stack.start_engine(index)

    def _let_hang(self, index: int) -> None:
        """Longer than its session: somebody else has its partitions when it wakes up."""
        self._stack.signal_engine(index, signal.SIGSTOP)
        deadline = time.monotonic() + _SECONDS_MAX
        while engine_of(self._stack, index) in self.members() and time.monotonic() < deadline:
            self._ending.wait(0.2)
            if self._ending.is_set():
                break
        self._ending.wait(self._random.uniform(0.0, 2.0))
        self._stack.signal_engine(index, signal.SIGCONT)

    def members(self) -> set[str | None]:
        """The instances that the group knows."""
        group = self._admin.describe_consumer_groups([self._group], request_timeout=120)[self._group].result()
        return {member.group_instance_id for member in group.members}
