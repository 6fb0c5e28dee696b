"""One run: engines, broker, clients and faults, stepped by one random number generator from one seed.

Two phases. Safety: anything may go wrong, and the invariants (`checks`) hold all along. Liveness: nothing goes wrong
any more, and everything ends as it has to.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, STATE, activities_topic
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.status import CLOSED
from backbeat.streams.core.tables import ARCHIVE_QUEUE, TOMBSTONES, WORKFLOWS
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE

from .broker import Broker, Entry, PartitionLog
from .changelog import COMMANDS_TOPIC_ID
from .checks import Checks, StuckError, ViolationError, unprocessed
from .clients import Clients
from .faults import Faults
from .group import Group
from .host import REBALANCE_SECONDS, SESSION_SECONDS, Host
from .plain import PlainRun, outcome
from .plan import CLIENT_NAMES, PASSING, Plan
from .reference import Reference
from .strands import Crashed
from .virtual import BEGIN_MS, VirtualTime

_LIVENESS_ROUNDS_MAX = 20_000
_ASKED_MAX = 4
_ASK_ROUNDS = 1_500
_JUMP_STEP_MS = 1_500
_JUMP_MS_MAX = 100_000
#: Ends of a process that faults explain. Any other end is a defect.
_EXPECTED_ENDS = ("the commit failed:",)


class Simulation:
    """The world of one run."""

    def __init__(
        self, seed: int, folder: Path, *, verbose: bool = False, rates: Mapping[str, float] | None = None
    ) -> None:
        self.seed = seed
        self.chance = random.Random(f"run {seed}")
        self.faults = Faults(self.chance)
        self.faults.rates.update(rates or {})
        self._safety_only = rates is not None  # A hunt for a certain defect.
        # What may be removed need not be found: that would hide defects in what is found.
        self.plan = Plan(seed, retains=not self._safety_only)
        self.virtual = VirtualTime()
        self.partitions_count = self.plan.partitions_count
        # Brokers look for what has timed out only now and then: it may take longer than a member is waited for.
        timeout_ms = self.chance.choice((2_000, 2_000, 8_000))
        self.broker = Broker(self.virtual, self.partitions_count, transaction_timeout_ms=timeout_ms)
        self.group = Group(
            self.virtual,
            session_ms=int(SESSION_SECONDS * 1000),
            rebalance_ms=int(REBALANCE_SECONDS * 1000),
            assign=self._assign,
        )
        self.reference = Reference(self.partitions_count, COMMANDS_TOPIC_ID, CLIENT_NAMES)
        self.registry = SimpleNamespace(
            by_id=lambda identity: (
                SimpleNamespace(topic=activities_topic(CLIENT_NAMES[identity])) if identity in CLIENT_NAMES else None
            ),
            catch_up=lambda _: True,
        )
        self.topics_missing = {activities_topic("ghost")}
        self.nodes_known: dict[bytes, None] = {}  #: nodes whose making was answered
        self.queries_answered: set[int] = set()
        self.violation: str | None = None
        self.running: Host | None = None
        self.safety = True
        self.checks = Checks(self)
        self.broker.on_command = self._taken
        self.broker.on_commit = self.checks.committed
        self.clients = Clients(self)
        self.steps = 0
        self._digest = blake2b(digest_size=8)
        self._verbose = verbose
        self.hosts = [Host(self, number, folder) for number in range(self.chance.choice((1, 2, 2, 3)))]

    def _taken(self, log: PartitionLog, entry: Entry) -> None:
        standing = self.checks.not_due(log.number, entry)
        self.reference.take(log.number, entry)
        self.checks.none_early(log.number, entry, standing)
        self.checks.limits(log.number)

    # --- who is who -------------------------------------------------------------------------------------------------

    def note(self, event: str) -> None:
        """Something that two runs of one seed must have in common."""
        line = f"{self.steps} {self.virtual.passed_ms} {event}"
        self._digest.update(line.encode())
        if self._verbose:
            sys.stdout.write(line + "\n")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def _assign(self, instances: list[str]) -> dict[str, list[int]]:
        parts: dict[str, list[int]] = {instance: [] for instance in instances}
        for number in range(self.partitions_count):
            parts[self.chance.choice(instances)].append(number)
        return parts

    # --- the two phases ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Both phases. Raises ViolationError."""
        try:
            self._begin()
            for _ in range(self.chance.randrange(1_000, 4_000)):
                self._step()
            if self._safety_only:
                return
            self._heal()
            self._until_settled()
            self._check_end()
        finally:
            self._clear_away()

    def _begin(self) -> None:
        for number in range(self.partitions_count):
            settings = c.ChangeSettings(id=self.clients.new_id(), settings=self.plan.settings)
            self.broker.append(COMMANDS, number, None, codec.encode_command(settings))
        for activity, concurrency in self.plan.limits.items():
            self.clients.limit(activity, concurrency)
        for number in range(self.partitions_count):
            if self.faults.happens("lag"):
                self.virtual.broker_skew_ms[number] = self.chance.randrange(-3_000, 3_000)

    def _step(self) -> None:
        """One thing happens, somewhere."""
        self.virtual.passed_ms += self.chance.choice((0, 0, 1, 2, 5, 20))
        kind = self.chance.random()
        if kind < 0.6:
            for _ in range(3):
                host = self.chance.choice(self.hosts)
                if host.up:
                    host.step()
                else:
                    self._start(host)
        elif kind < 0.85:
            self.clients.step()
        elif kind < 0.95:
            self._broker_step()
        else:
            self._mischief()
        self._stepped()

    def _fair_round(self) -> None:
        """Everybody gets a turn."""
        self.virtual.passed_ms += 5
        for host in self.hosts:
            self._start(host)
            host.fair_round()
        self.running = None
        self.clients.fair_round()
        self._broker_step()
        self._stepped()

    def _start(self, host: Host) -> None:
        if host.state == "down" and self.virtual.passed_ms >= host.restart_at_ms:
            host.start()

    def _stepped(self) -> None:
        self.steps += 1
        self.running = None
        if self.steps % 40 == 0:
            for host in self.hosts:
                if host.process is not None:
                    self.running = host
                    with suppress(Crashed):
                        self.checks.memory(host)
            self.note(f"{[log.end for log in self._logs()]}")
        if self.violation is not None:
            raise ViolationError(self.violation)

    def _logs(self) -> list[object]:
        numbers = range(self.partitions_count)
        return [self.broker.log(topic, number) for topic in (COMMANDS, STATE) for number in numbers]

    def _broker_step(self) -> None:
        if not self.faults.happens("lag"):
            self.group.step()
            self.broker.sweep()
            if self.broker.ended and not self.faults.happens("late markers"):
                self.broker.mark(self.chance.choice(self.broker.ended))

    def _mischief(self) -> None:
        faults, chance, virtual = self.faults, self.chance, self.virtual
        host = chance.choice(self.hosts)
        if faults.happens("stop"):
            virtual_until = virtual.passed_ms + chance.choice((500, 2_500, 6_000))
            host.stopped_until_ms = virtual_until
            self.note(f"{host.instance_id} is stopped until {virtual_until}")
        if faults.happens("rebalance"):
            self.group.rebalance()
        if faults.happens("clock jump"):
            jump = chance.choice((-90_000, -5_000, 3_000, 70_000))
            virtual.broker_skew_ms[chance.randrange(self.partitions_count)] = jump
        if faults.happens("host clock jump"):
            virtual.host_skew_ms = chance.choice((-600_000, -1_000, 0, 1_000, 600_000))
        if faults.happens("compaction"):
            self.broker.log(STATE, chance.randrange(self.partitions_count)).compact()
        if faults.happens("long sleep"):
            self._sleep()

    def _sleep(self) -> None:
        """Everybody is down for a day or so, and the changelog is compacted meanwhile."""
        for host in self.hosts:
            self._kill(host, asleep=True)
        self.virtual.passed_ms += self.chance.choice((11, 13, 25, 49)) * 3_600_000
        self.group.step()
        self.broker.sweep()
        for number in range(self.partitions_count):
            self.broker.log(STATE, number).compact()

    def _kill(self, host: Host, *, asleep: bool = False) -> None:
        if host.process is not None:
            host.dead = True
            host.bury(asleep=asleep)

    def _heal(self) -> None:
        self.note("liveness")
        self.safety = False
        self.faults.stop()
        self.virtual.broker_skew_ms.clear()
        for host in self.hosts:
            host.stopped_until_ms = 0
            host.restart_at_ms = min(host.restart_at_ms, self.virtual.passed_ms + 100)
        if self.plan.retention is not None:
            self.clients.set_retention()
        # Whoever was fenced, or lost its place, ends as it finds out and is started again.

    def _until_settled(self) -> None:
        settled = 0
        for _ in range(_LIVENESS_ROUNDS_MAX):
            self._fair_round()
            if self.steps % 4 or self._moving():
                continue
            if self._open() or self._timers():
                settled += 1
                if settled % 3 == 0:
                    self.clients.settle(at_last=settled > 100)
                self._jump()
            else:
                return
        raise StuckError(f"not settled after {_LIVENESS_ROUNDS_MAX} rounds: {self._open()[:3]}")

    def _moving(self) -> bool:
        """Whether something goes on without any time passing."""
        if self.clients.signals_left or self.clients.next_answer_ms <= self.virtual.passed_ms:
            return True
        if any(host.state != "assigned" or host.strands or any(map(len, host.outboxes)) for host in self.hosts):
            return True
        for number in range(self.partitions_count):
            position = self._position(number)
            if position is None or unprocessed(self.broker.log(COMMANDS, number), position):
                return True
        return self.clients.busy and self.clients.next_answer_ms <= self.virtual.passed_ms

    def _position(self, number: int) -> int | None:
        """How far the owner of a partition is."""
        for host in self.hosts:
            if host.process is not None and number in host.process.engine.partitions:
                store = host.process.engine.partitions[number].store
                return None if store is None else store.meta.next_offset
        return None

    def _open(self) -> list[str]:
        removes = () if self.plan.retention is None else self.plan.loud
        nodes = self.reference.nodes(
            lambda node: (node.parent_id is None or node.workflow_id in removes) and node.server not in CLOSED
        )
        waiting = [f"{node.name} {node.server.name}" for node in nodes]
        waiting += ["to be archived" for store in self.reference.stores for _ in store[ARCHIVE_QUEUE]]
        return waiting + ["answers under way"] * self.clients.busy

    def _timers(self) -> bool:
        return any(store.timers for store in self.reference.stores)

    def _jump(self) -> None:
        """Let the time pass in which nothing happens, in steps small enough that no watch barks."""
        timers = [key[0] - BEGIN_MS for store in self.reference.stores for key in store.timers]
        until = min([*timers, self.clients.next_answer_ms, self.virtual.passed_ms + _JUMP_MS_MAX])
        while True:
            self.virtual.passed_ms += _JUMP_STEP_MS
            for host in self.hosts:
                host.idle()
            if self.virtual.passed_ms >= until or self._moving():
                return

    # --- the end ----------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        """All has ended as in a run without faults; a last commit finds everything delivered; queries are answered."""
        expected, actual = PlainRun(self.plan).run(), outcome(self.reference.stores)
        if expected != actual:
            raise StuckError(f"ended otherwise: too many {actual - expected}, missing {expected - actual}")
        left = [row for store in self.reference.stores for row in store[WORKFLOWS].values() if row.name == PASSING]
        if left or any(store[TOMBSTONES] for store in self.reference.stores):
            raise StuckError(f"never removed, or never forgotten: {left}")
        if self.seed % 3 == 0:
            self._end_with_markers()
        for _ in range(_ASKED_MAX):
            # Who gets no answer asks again: an owner may have been too sure of the time.
            asked = [self.clients.ask(node_id) for node_id in list(self.nodes_known)[:5]]
            for _ in range(_ASK_ROUNDS):
                self._fair_round()
                if self.queries_answered.issuperset(asked) and self._all_committed():
                    return
        if not self._all_committed():
            raise StuckError(f"not committed: {self.checks.positions}")
        raise StuckError("a query was never answered")

    def _end_with_markers(self) -> None:
        """Every log of commands ends with a marker, behind which nothing comes, and owners begin there."""
        for number in range(self.partitions_count):
            self.broker.log(COMMANDS, number).append(None, None, control=True)
        self.group.rebalance()
        for _ in range(50):
            self._fair_round()

    def _all_committed(self) -> bool:
        return all(
            not unprocessed(self.broker.log(COMMANDS, number), self.checks.positions.get(number, 0))
            for number in range(self.partitions_count)
        )

    def _clear_away(self) -> None:
        for host in self.hosts:
            self._kill(host)

    def ended(self, reason: str, code: int = 3) -> None:
        """A process ends itself."""
        assert self.running is not None
        if not reason.startswith(_EXPECTED_ENDS) or code == EXIT_INCONSISTENT_STATE:
            self.checks.fail(f"{self.running.instance_id} ended itself: {reason}")
        self.running.die(reason)
