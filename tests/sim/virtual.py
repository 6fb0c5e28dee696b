"""Virtual time: one clock that only the simulation moves, behind what the engine takes for `time` and the broker's."""

from __future__ import annotations

import asyncio

#: Where every run begins, milliseconds since the epoch.
BEGIN_MS = 1_700_000_000_000


class VirtualTime:
    """What has passed, how wrong the host's clock is, and how wrong the brokers' clocks are."""

    def __init__(self) -> None:
        self.passed_ms = 0
        self.host_skew_ms = 0
        self.broker_skew_ms: dict[int, int] = {}  #: by partition: each may be led by another broker

    def host_now(self) -> int:
        return BEGIN_MS + self.passed_ms + self.host_skew_ms

    def broker_now(self, partition: int) -> int:
        return BEGIN_MS + self.passed_ms + self.broker_skew_ms.get(partition, 0)

    # --- as the module `time` -------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.passed_ms / 1000

    def time(self) -> float:
        return self.host_now() / 1000


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that is run one round at a time, and sleeps by the virtual clock."""

    def __init__(self, virtual: VirtualTime) -> None:
        super().__init__()
        self._virtual = virtual
        # What is logged of tasks that a crash cut off says nothing.
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self._virtual.passed_ms / 1000

    def one_round(self) -> None:
        """Run what is ready now."""
        self.call_soon(self.stop)
        self.run_forever()
