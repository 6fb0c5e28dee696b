"""Deliberate defects, one at a time, to see that the simulator can fail at all: wrong code in place of right code."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from backbeat.schemas.kafka.topics import STATE
from backbeat.streams.core import dispatch
from backbeat.streams.core.schedules import runs
from backbeat.streams.engine import loop
from backbeat.streams.engine.loop import Engine
from backbeat.streams.output.outbox import Outbox
from backbeat.streams.output.slice_outbox import SliceOutbox
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.process import committer
from backbeat.streams.process.lease import Lease
from backbeat.streams.process.unknown_clients import UnknownClients
from backbeat.streams.state import commit, restore, store
from backbeat.streams.state.layers import Layers
from backbeat.streams.state.restore import Ends
from backbeat.streams.state.timers import Timers

from .changelog import SimChangelog
from .faults import CRASH_POINTS, OTHERS


def _write_first(
    snapshots: Any,
    stores: Any,
    member: Any,
    deadline: Any,
    *,
    flush: Any,
    transaction: Any,
    state_topic_id: str,
    host_clock: Any,
    passed: Any,
    **_: Any,
) -> Any:
    """A commit whose steps 2 and 3 are the wrong way round."""
    flush(deadline)
    passed("flush")
    for snapshot in snapshots:
        origin = stores[snapshot.partition].origin
        begin = origin.next_offset if origin else 0
        stores[snapshot.partition].write(snapshot, ChangelogPosition(state_topic_id, begin, store.host_now(host_clock)))
    return transaction.run(snapshots, member, deadline)


def _no_flush(*given: Any, **named: Any) -> Any:
    return commit.commit(*given, **{**named, "flush": lambda _: None})


async def _find_nobody(clients: UnknownClients) -> None:
    """Drops the activities of clients that nobody knows."""
    clients._engine.unknown.clear()


def _fresh_in_flight(table: Layers[Any, Any], key: Any) -> None:
    """Takes a record that is being committed for one that nobody has written."""
    if key in table._in_flight:
        table._young.pop(key, None)
        table._changed.pop(key, None)
        table._in_flight[key] = None
    else:
        _DELETE(table, key)


_DELETE = Layers.delete


def _no_tombstone(table: Layers[Any, Any], key: Any) -> None:
    table._young.pop(key, None)
    table._old.pop(key, None)
    table._changed.pop(key, None)


def _stable_ends(changelog: SimChangelog, partition: int) -> Ends:
    """Takes the end that a read_committed reader sees for the end."""
    return Ends(0, changelog._broker.log(STATE, partition).stable_end)


def _forget_in_flight(timers: Timers) -> Iterator[Any]:
    """A timer cleared while its setting is being committed stays in RocksDB."""
    kept = [(key, change) for key, change in timers._changed.items() if change is not None]
    timers._in_flight, timers._changed = dict(kept), {}
    for key, change in kept:
        yield key, change[0]


def _half_undone(engine: Engine, record: Any, command: Any, store_: Any) -> list[Any]:
    """Effects that depend on how often a process has run a command."""
    effects = _APPLY(engine, record, command, store_)
    return effects[1:] if engine.counts["commands"] % 23 == 22 else effects


_APPLY = Engine._apply


def _rest_dropped(outbox: Outbox, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
    """Takes what a full queue refuses of a batch for sent."""
    if outbox._waiting:
        _SEND_BATCH(outbox, topic, partition, messages)
    else:
        outbox._at_once.produce_batch(topic, messages, partition, outbox._reported)


def _rest_overtaken(outbox: Outbox, topic: str, partition: int, messages: list[dict[str, Any]]) -> None:
    """Does not mind what waits for room."""
    waiting, outbox._waiting = outbox._waiting, deque()
    _SEND_BATCH(outbox, topic, partition, messages)
    outbox._waiting = waiting + outbox._waiting


_SEND_BATCH = Outbox.send_batch


def _sent_late(effects: SliceOutbox, *_: Any) -> None:
    """Effects of a slice leave with the next one, behind a snapshot that has their commands."""
    effects._is_open = False
    for (topic, partition), messages in effects._late:
        effects._outbox.send_batch(topic, partition, messages)
    effects._late, effects._gathered = list(effects._gathered.items()), defaultdict(list)


SliceOutbox._late = []  # type: ignore[attr-defined]  # of `_sent_late`


#: name -> what is replaced by what
BREAKS: dict[str, list[tuple[Any, str, Callable[..., Any]]]] = {
    "the local store is written before the transaction": [(committer, "commit", _write_first)],
    "a commit does not wait for its effects": [(committer, "commit", _no_flush)],
    "what a full queue refuses of a batch is dropped": [(Outbox, "send_batch", _rest_dropped)],
    "a batch overtakes what waits for room": [(Outbox, "send_batch", _rest_overtaken)],
    "a slice's effects leave after its snapshot": [(SliceOutbox, "__exit__", _sent_late)],
    "a commit forgets what waits for the registry": [(UnknownClients, "search", _find_nobody)],
    "a record in flight counts as never written": [(Layers, "delete", _fresh_in_flight)],
    "deletions leave no mark": [(Layers, "delete", _no_tombstone)],
    "cleared timers stay": [(Timers, "snapshot", _forget_in_flight)],
    "timers are lost in a restore": [(store, "timer_of", lambda *_: None)],
    "a restore stops before an open transaction": [(SimChangelog, "state_ends", _stable_ends)],
    "stale stores are used": [(restore, "_why_stale", lambda *_: None)],
    "commits name no member": [(commit.Member, "metadata", lambda _: b"CGMDv2:\xff\xff\xff\xffsim\0\0\0\0")],
    "a stopped process does not mind": [(Lease, "is_certain", lambda _: True)],
    "what an earlier read brings late is taken": [(Engine, "is_reading", lambda *_: True)],
    "timers fire by the clock of whoever sends them": [
        (dispatch, "fired_early", lambda *_: False),
        (runs, "fired_early", lambda *_: False),
    ],
    "a damaged store is used on": [(Engine, "lose", lambda *_: None)],
    "effects depend on more than the log": [(Engine, "_apply", _half_undone)],
    "what a record raises ends the process": [(loop, "NOT_OF_A_RECORD", Exception)],
    "commands are applied as they come": [(loop, "check_command", lambda *_: None)],
}


_NOTHING = {**{f"crash: {point}": 0.0 for point in CRASH_POINTS}, **dict.fromkeys(OTHERS, 0.0)}

#: Faults that bring a defect to light, more often than they come in a usual run.
RATES: dict[str, dict[str, float]] = {
    "timers are lost in a restore": {"store lost": 0.5, "crash: loop": 0.005},
    "a restore stops before an open transaction": {"late markers": 0.97, "rebalance": 0.2, "crash: loop": 0.003},
    "stale stores are used": {
        "store stale": 0.8,
        "long sleep": 0.03,
        "compaction": 0.1,
        "crash: loop": 0.002,
        "store lost": 0.0,
        "stop": 0.0,
    },
    "commits name no member": {"stop": 0.2, "lag": 0.0, "long sleep": 0.0, "crash: loop": 0.0},
    # Whatever else goes wrong ends the process before it can answer too late: this one is rare enough.
    "a stopped process does not mind": {**_NOTHING, "stop": 0.3},
    "timers fire by the clock of whoever sends them": {**_NOTHING, "clock jump": 0.1},
    "what a record raises ends the process": {**_NOTHING, "garbage": 0.3},
    "commands are applied as they come": {**_NOTHING, "garbage": 0.3},
    "a batch overtakes what waits for room": {**_NOTHING, "queue full": 0.2},
    "a damaged store is used on": {"store damaged": 0.003, "store damaged, seen by a commit": 0.1},
    "what an earlier read brings late is taken": {"late batch": 0.9, "rebalance": 0.2},
}

#: Seeds in which a defect has shown early: they are tried first. Where the engine changes others may show it sooner.
SEEDS = {
    "a commit does not wait for its effects": 1,
    "what a full queue refuses of a batch is dropped": 4,
    "a batch overtakes what waits for room": 9,
    "a slice's effects leave after its snapshot": 1,
    "a commit forgets what waits for the registry": 96,
    "a record in flight counts as never written": 14,
    "deletions leave no mark": 3,
    "cleared timers stay": 1,
    "timers are lost in a restore": 1,
    "a restore stops before an open transaction": 1,
    "stale stores are used": 14,
    "commits name no member": 31,
    "a stopped process does not mind": 26,
    "what an earlier read brings late is taken": 5,
    "a damaged store is used on": 3,
    "effects depend on more than the log": 1,
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Have the defect of this name for a while."""
    patches = [mock.patch.object(where, attribute, by) for where, attribute, by in BREAKS[name]]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
