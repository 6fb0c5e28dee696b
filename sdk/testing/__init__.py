"""Backbeat without a broker: the same engine, clients and handlers in memory, on a clock that a test moves.

    async with testing.Backbeat(worker) as backbeat:
        node = await backbeat.client().signal("Sales", "Camera 703", "Make Purchase", args=["Ann"])
        assert await node.result() == {"buyer": "Ann"}

The engine is `backbeat.streams.engine` with its rules (`backbeat.streams.core`), its checks and its codec. Only the
topics, the records and the time are in memory.
"""

from backbeat.testing.blocking import PlainBackbeat
from backbeat.testing.environment import Backbeat

from .errors import NothingDue
from .faults import FaultKind, Faults, Injected
from .queued import Queued
from .topics import DeadLetter

__all__ = ["Backbeat", "DeadLetter", "FaultKind", "Faults", "Injected", "NothingDue", "PlainBackbeat", "Queued"]
