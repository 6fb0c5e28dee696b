"""A world of the core in memory whose commands are kept as the records of a log, and the judge's view of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.verify.avro import Commands
from backbeat.compose.verify.beside import compare_beside
from backbeat.compose.verify.compare import Comparison, Difference
from backbeat.compose.verify.fold import Fold
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.records import first_state
from backbeat.compose.verify.sends import Mismatch, mismatches
from backbeat.compose.verify.spill import Spill
from backbeat.schemas import codec
from backbeat.schemas.messages import commands as c
from backbeat.streams.core import dispatch
from backbeat.streams.engine.defects import failure_of
from tests.streams.core.storing import encoded
from tests.streams.core.world import Happened, World

READER = Commands()


class LoggedWorld(World):
    """A world that keeps its log, and goes on behind a defect as the engine does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.first_settings = self.stores[0].meta.settings
        #: offset, time and value, by partition
        self.records: list[list[tuple[int, int, bytes]]] = [[] for _ in self.stores]

    def _apply(self, number: int, command: c.AnyCommand, happened: Happened) -> None:
        self.records[number].append((len(self.records[number]), self.now, codec.encode_command(command)))
        try:
            super()._apply(number, command, happened)
        except (AssertionError, LookupError, AttributeError, TypeError):
            failure = failure_of(command)
            if failure is not None:
                with contextlib.suppress(AssertionError, LookupError, AttributeError, TypeError):
                    dispatch.apply(failure, self.now, self.stores[number])


class Findings:
    """What the judge has found in a world's log and its stores."""

    def __init__(self, world: Any, nodes_max: int = 20_000, strange: Any = ()) -> None:
        self.differences: list[Difference] = []
        self.unjudged: Counter[str] = Counter()
        self._strange = dict(strange)  #: more records
        with tempfile.TemporaryDirectory() as folder:
            spill = Spill(Path(folder) / "judge.sqlite", nodes_max)
            for number in range(len(world.stores)):
                self._fold(world, number, spill)
            positions = {number: log[-1][0] + 1 if log else 0 for number, log in enumerate(world.records)}
            self.sends: list[Mismatch] = mismatches(spill, positions, {})
            spill.close()

    def _fold(self, world: Any, number: int, spill: Spill) -> None:
        store = world.stores[number]
        rows = [(number, key, value) for key, value in encoded(store).items()]
        rows += [(number, key, value) for key, value in self._strange.items()]
        rows.append((number, b"m", msgspec.msgpack.encode(store.meta)))
        spill.db.executemany("INSERT INTO stored VALUES (?, ?, ?)", rows)
        state = first_state()
        state.settings = {name: getattr(world.first_settings, name) for name in state.settings}
        partition = Partition(number, len(world.stores), spill, state)
        fold = Fold(partition, READER)
        for record in world.records[number]:
            fold.take(*record)
        for (_, target), queue in world.under_way.items():
            for command in queue if target == number else ():
                fold.look(codec.encode_command(command))
        comparison = Comparison(partition)
        self.differences += comparison.run()
        self.differences += compare_beside(comparison, partition, None)
        self.unjudged.update(partition.unjudged)

    @property
    def nothing(self) -> bool:
        """True where all agrees."""
        return not self.differences and not self.sends
