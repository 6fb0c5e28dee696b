"""One machine: the real engine process, its local stores, its consumer, and what can happen to it."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbeat.streams.process.backlog import Backlog
from backbeat.streams.process.composition import Ports, compose, stalls_of
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.state.commit import Member

from .changelog import STATE_TOPIC_ID, SimChangelog
from .checks import CheckedEngine, CheckedStore
from .producer import SimProducer
from .reader import SimReader, first_data
from .reference import Sent, rules
from .strands import Crashed, Strand, pause
from .virtual import VirtualLoop

if TYPE_CHECKING:
    from .simulation import Simulation

APPLICATION = "sim"
SESSION_SECONDS = 2.0
REBALANCE_SECONDS = 3.0
_IDLE_ROUNDS_MAX = 200


class StrandExecutor:
    """Threads of the process, each call a strand."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def submit(self, call: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._host.strands.append((Strand(lambda: call(*given)), future))
        return future


class NobodyElse:
    """The group knows each engine by its own directory: nobody else has its id."""

    def other(self) -> None:
        return None

    def note(self, member_id: str) -> None:
        pass


class Host:
    """Starts, runs a little at a time, stops, dies, starts again."""

    def __init__(self, world: Simulation, number: int, data_dir: Path) -> None:
        self.world = world
        self.instance_id = f"engine-{number}"
        self.settings = EngineSettings(
            instance_id=self.instance_id,
            data_dir=data_dir / self.instance_id,
            application_id=APPLICATION,
            # As the simulated group has them.
            session_timeout_seconds=SESSION_SECONDS,
            rebalance_timeout_seconds=REBALANCE_SECONDS,
            commit_interval_seconds=0.3,
            touch_interval_seconds=1.0,
            commit_records_max=world.chance.choice((10, 50, 50_000)),
            commit_timeout_seconds=5.0,
            cache_records=world.chance.choice((16, 24_000)),
            pending_records_max=world.chance.choice((5, 2_000)),
        )
        self.state = "down"  #: down, joining, assigning, assigned, revoking
        self.restart_at_ms = 0
        self.stopped_until_ms = 0
        self._blank()

    def _blank(self) -> None:
        self.loop: VirtualLoop | None = None
        self.process: EngineProcess | None = None
        self.dead = False
        self.strands: list[tuple[Strand, Future[Any]]] = []
        self.outboxes: list[SimProducer] = []
        self.stores: list[CheckedStore] = []
        self.captured: list[Sent] | None = None
        #: values that the engine has sent and that have not left, by topic and partition, in order
        self.under_way: dict[tuple[str, int], deque[bytes | None]] = {}
        self.reader = SimReader(self.world.broker, self.world.chance, self.world.faults)
        self.member_id = ""
        self.generation = -1
        self._inbox: tuple[int, str, list[int]] | None = None
        self._handler: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._blank()
        self.world.running = self
        self.loop = VirtualLoop(self.world.virtual)
        ports = self._ports()
        self.process = compose(self.settings, self.world.partitions_count, ports, self.loop)
        self.process.backlog = Backlog(self.world.chance.choice((5, 4_000)))
        self.loop.create_task(self.process.apply_commands())
        self.loop.create_task(self.process.tick())
        self.loop.create_task(self.process.commit_regularly())
        self.loop.create_task(stalls_of(self.process, ports).watch())
        self._join()

    def _ports(self) -> Ports:
        """The simulation where an engine has Kafka, threads and time."""
        world = self.world

        def producer(config: dict[str, Any]) -> SimProducer:
            return SimProducer(self, config)

        def open_store(number: int, cache_records: int) -> CheckedStore:
            return CheckedStore(self, self.settings.data_dir / f"partition-{number}", number, cache_records)

        return Ports(
            reader=self.reader,
            clients=world.registry,
            holder=NobodyElse(),
            effects_producer=producer,
            transactional_producer=producer,
            changelog=lambda: SimChangelog(world.broker, world.group, self),
            state_topic_id=STATE_TOPIC_ID,
            first_data=partial(first_data, world.broker),
            open_store=open_store,
            rules=rules,
            was_away=lambda _: False,
            host_clock=world.virtual,
            threads=lambda *_: StrandExecutor(self),
            announce=lambda _: None,
            end=world.ended,
            loop=partial(CheckedEngine, self),
        )

    def point(self, name: str) -> bool:
        """A point where the process can die, and, in a thread of its own, where others go on. Whether they did."""
        self.may_die(name)
        paused = pause()
        if self.dead:
            raise Crashed
        return paused

    def may_die(self, name: str) -> None:
        """A point where the process can die, also while it has a lock."""
        if self.dead:
            raise Crashed
        if self.world.faults.happens(f"crash: {name}"):
            self.die(f"crash: {name}")

    def die(self, why: str) -> None:
        """End here and now."""
        self.world.note(f"{self.instance_id} dies: {why}")
        self.dead = True
        raise Crashed(why)

    def bury(self, *, asleep: bool = False) -> None:
        """What is left of a dead process is cleared away; the local store stays, or not quite."""
        world = self.world
        for outbox in self.outboxes:
            while outbox and world.chance.random() < 0.7:
                outbox.transmit(1)  # It was on its way already.
        for strand, _ in self.strands:
            strand.kill()
        assert self.loop is not None
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for _ in range(4):
            try:
                self.loop.one_round()
            except Crashed:
                continue
        self.loop.close()
        for store in self.stores:
            store.put_away()
        self._blank()
        self.state = "down"
        self.restart_at_ms = world.virtual.passed_ms + world.chance.choice((0, 50, 500, 5_000))
        self._damage(asleep=asleep)

    def _damage(self, *, asleep: bool) -> None:
        """The disk is not what it was."""
        chance, faults = self.world.chance, self.world.faults
        for path in sorted(self.settings.data_dir.glob("partition-*")):
            aside = path.with_name(f"aside-{path.name}")
            if not path.is_dir() or ".damaged-" in path.name:
                continue
            if faults.happens("store lost"):
                shutil.rmtree(path)
            elif faults.happens("store stale"):
                if aside.exists() and (asleep or chance.random() < 0.5):
                    shutil.rmtree(path)
                    shutil.copytree(aside, path)
                else:
                    shutil.rmtree(aside, ignore_errors=True)
                    shutil.copytree(path, aside)

    # --- what runs --------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        return self.state != "down" and self.world.virtual.passed_ms >= self.stopped_until_ms

    def step(self) -> None:
        """Do one thing."""
        self.world.running = self
        kinds = ["loop", "loop", "deliver", "membership", "network"] + ["strand"] * min(3, len(self.strands))
        match self.world.chance.choice(kinds):
            case "loop":
                self._guarded(self._round)
            case "deliver":
                self._guarded(self._deliver)
            case "membership":
                self._guarded(self._membership)
            case "network":
                self._transmit()
            case "strand":
                self._guarded(self._resume)

    def fair_round(self) -> None:
        """Do a little of everything."""
        self.world.running = self
        for work in (self._membership, self._deliver, self._round, self._transmit, self._round, self._resume):
            if self.up:
                self._guarded(work)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run code of the process, which may end it."""
        try:
            work()
        except Crashed:
            assert self.dead, "only a dead process ends"
        if self.dead:
            self.bury()

    def idle(self) -> None:
        """Time passes: what a loop, a heartbeat and the commits do then."""
        self.world.running = self
        for _ in range(_IDLE_ROUNDS_MAX):
            if not self.up:
                return
            self.heartbeat()
            self._transmit()
            self._guarded(self._resume if self.strands else self._round)
            if not self.strands:
                return

    def _round(self) -> None:
        assert self.loop is not None
        self.point("loop")
        self.loop.one_round()

    def _transmit(self) -> None:
        for outbox in self.outboxes:
            outbox.transmit(self.world.chance.choice((1, 5, 100)))

    def _resume(self) -> None:
        if not self.strands:
            return
        index = self.world.chance.randrange(len(self.strands))
        strand, future = self.strands[index]
        strand.resume()
        if strand.done:
            del self.strands[index]
            if isinstance(strand.error, Crashed):
                raise strand.error
            if future.set_running_or_notify_cancel():
                if strand.error is not None:
                    future.set_exception(strand.error)
                else:
                    future.set_result(strand.result)

    # --- the consumer: membership, assignment, records --------------------------------------------------------------

    def _join(self) -> None:
        self.state = "joining"
        self.world.group.join(self, self.member_id)

    def on_assigned(self, generation: int, member_id: str, numbers: list[int]) -> None:
        self._inbox = (generation, member_id, numbers)

    def heartbeat(self) -> bool:
        alive = self.world.group.heartbeat(self.instance_id, self.member_id)
        if alive and not self.world.group.rebalancing and self.process is not None:
            self.process.lease.heard(self.world.virtual.monotonic())
        return alive

    def _membership(self) -> None:
        assert self.loop is not None
        assert self.process is not None
        group = self.world.group
        match self.state:
            case "joining":
                if self._inbox is not None:
                    self._assigned(*self._inbox)
                elif self.instance_id not in group.members:
                    self.member_id = ""
                    self._join()
                else:
                    group.members[self.instance_id].seen_ms = self.world.virtual.passed_ms
            case "assigned" | "assigning":
                alive = self.heartbeat()
                busy = self._handler is not None and not self._handler.done()
                if not busy:
                    self.state = "assigned"
                if (not alive or group.rebalancing) and not busy:
                    self._handler = self.loop.create_task(self.process.revoked())
                    self.state = "revoking"
            case "revoking":
                alive = self.heartbeat()
                assert self._handler is not None
                if self._handler.done():
                    self.member_id = self.member_id if alive else ""
                    self._join()

    def _assigned(self, generation: int, member_id: str, numbers: list[int]) -> None:
        assert self.loop is not None
        assert self.process is not None
        self._inbox = None
        self.member_id, self.generation = member_id, generation
        if not self.heartbeat():
            self.member_id = ""
            self._join()
            return
        self.world.note(f"{self.instance_id} gets {numbers} in generation {generation}")
        self.process.joined(Member(APPLICATION, self.instance_id, generation, member_id))
        self._handler = self.loop.create_task(self.process.assigned(numbers))
        self.state = "assigning"

    def _deliver(self) -> None:
        assert self.loop is not None
        assert self.process is not None
        if self.state == "assigned" and self.process.backlog.has_room:
            self.loop.call_soon(self.process.take, self.reader.take())
            self._round()
