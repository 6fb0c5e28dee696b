"""A consumer group's coordinator: generations, static members, what it accepts in a transaction (KIP-345, KIP-447)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .virtual import VirtualTime


class Joiner(Protocol):
    """A process that wants to be a member."""

    instance_id: str

    def on_assigned(self, generation: int, member_id: str, numbers: list[int]) -> None:
        """The rebalance is over, and this is the process's part."""


@dataclass(slots=True)
class MemberState:
    """One member as the coordinator knows it."""

    instance_id: str
    member_id: str
    seen_ms: int
    process: Joiner | None  #: set while it waits for the rebalance to end
    numbers: list[int] = field(default_factory=list)


class Group:
    """The coordinator of one group."""

    def __init__(
        self,
        virtual: VirtualTime,
        session_ms: int,
        rebalance_ms: int,
        assign: Callable[[list[str]], dict[str, list[int]]],
    ) -> None:
        self._virtual = virtual
        self._session_ms = session_ms
        self._rebalance_ms = rebalance_ms
        self._assign = assign
        self.generation = 0
        self.members: dict[str, MemberState] = {}
        self.deadline_ms: int | None = None  #: of the rebalance that goes on
        self._ids = 0

    @property
    def rebalancing(self) -> bool:
        return self.deadline_ms is not None

    def rebalance(self) -> None:
        """Ask every member to give back what it has and to join again."""
        if not self.rebalancing:
            self.deadline_ms = self._virtual.passed_ms + self._rebalance_ms

    def join(self, process: Joiner, member_id: str) -> None:
        """A process joins; with the id that it had, or without one."""
        member = self.members.get(process.instance_id)
        if member is None or (member_id and member.member_id != member_id):
            member = self._new(process.instance_id)
            self.rebalance()
        elif not member_id:
            # A static member that was started again: a new id for it, no rebalance, and the old process is fenced.
            member.member_id = self._next_id(process.instance_id)
            member.seen_ms = self._virtual.passed_ms
            if not self.rebalancing:
                process.on_assigned(self.generation, member.member_id, member.numbers)
                return
        member.process = process
        member.seen_ms = self._virtual.passed_ms

    def _next_id(self, instance_id: str) -> str:
        self._ids += 1
        return f"{instance_id}-{self._ids}"

    def _new(self, instance_id: str) -> MemberState:
        member = MemberState(instance_id, self._next_id(instance_id), self._virtual.passed_ms, None)
        self.members[instance_id] = member
        return member

    def heartbeat(self, instance_id: str, member_id: str) -> bool:
        """Whether it is a member still."""
        member = self.members.get(instance_id)
        if member is None or member.member_id != member_id:
            return False
        member.seen_ms = self._virtual.passed_ms
        return True

    def step(self) -> None:
        """Throw out who is silent; end a rebalance when all have joined or its time is over."""
        now = self._virtual.passed_ms
        silent = [other for other in self.members.values() if now - other.seen_ms > self._session_ms]
        for member in silent:
            del self.members[member.instance_id]
        if silent:
            self.rebalance()
        if self.deadline_ms is None:
            return
        late = [other for other in self.members.values() if other.process is None]
        if late and now < self.deadline_ms:
            return
        for member in late:
            del self.members[member.instance_id]
        self.deadline_ms = None
        if self.members:
            self._complete()

    def _complete(self) -> None:
        self.generation += 1
        parts = self._assign(sorted(self.members))
        for instance_id, member in sorted(self.members.items()):
            member.numbers = parts.get(instance_id, [])
            process, member.process = member.process, None
            assert process is not None
            process.on_assigned(self.generation, member.member_id, member.numbers)

    def why_refused(self, generation: int, member_id: str, instance_id: str) -> str | None:
        """Why offsets are not accepted from this member; null: they are. It is not asked who owns the partition."""
        if generation < 0 and not member_id:
            return None
        member = self.members.get(instance_id)
        if member is None:
            return "unknown member"
        if member.member_id != member_id:
            return "fenced instance id"
        if generation != self.generation:
            return "illegal generation"
        return None
