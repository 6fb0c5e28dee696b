"""A client's way to the engine in memory: the same commands and queries, answered at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from backbeat.delivery.changes import Change, Place, changes_in
from backbeat.errors import Timeout, Unavailable, rejected
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.queries import ALL_PARTITIONS, AnyQuery, WaitNode
from backbeat.schemas.messages.replies import Rejection, ReplyRecord
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.routes import route
from backbeat.testing.memory_registry import MemoryRegistry

from .clock import Clock
from .engine import NEVER, MemoryEngine
from .errors import NothingDue
from .faults import Faults

C = TypeVar("C", bound=AnyCommand)


class Replies:
    """Answers that are awaited, by the number of the request."""

    def __init__(self) -> None:
        self._number = 0
        self._ids = 0
        self._parts: dict[int, list[Any]] = {}
        self._whole: set[int] = set()

    def expect(self) -> ReplyTo:
        """Return address of a new request."""
        self._number += 1
        self._parts[self._number] = []
        return ReplyTo(0, bytes(16), self._number)

    def next_id(self) -> bytes:
        """An id for a command without a key."""
        self._ids += 1
        return ids.command_id(b"testing", self._ids.to_bytes(8, "big"))

    def take(self, reply: ReplyRecord) -> None:
        """Add one part of an answer, if it is still awaited."""
        parts = self._parts.get(reply.number)
        if parts is not None and reply.part == len(parts):
            parts.append(reply.answer)
            if reply.last:
                self._whole.add(reply.number)

    def is_whole(self, number: int) -> bool:
        """True once all parts of the answer are there."""
        return number in self._whole

    def forget(self, number: int) -> list[Any]:
        """Parts of the answer, which is awaited no more."""
        self._whole.discard(number)
        return self._parts.pop(number)


class MemoryTransport:
    """Speaks to an engine in memory. Waiting for a node runs the activities that it needs (`until`)."""

    def __init__(
        self,
        *,
        engine: MemoryEngine,
        clock: Clock,
        registry: MemoryRegistry,
        replies: Replies,
        faults: Faults,
        until: Callable[[Callable[[], bool], bytes], Awaitable[None]],
        end_attempts: Callable[[], None],
        gives_way: bool,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._registry = registry
        self._replies = replies
        self._faults = faults
        self._until = until
        self._end_attempts = end_attempts
        self._gives_way = gives_way

    async def start(self) -> None:
        """Nothing has to be connected."""

    async def stop(self) -> None:
        """Nothing has to be closed."""

    def now(self) -> float:
        """The time of the test's clock."""
        return self._clock.seconds()

    @property
    def partitions(self) -> int:
        """Number of partitions that commands have."""
        return len(self._engine.partitions)

    def user_id(self, client: str) -> bytes:
        """The id of a client application by its name."""
        return self._registry.find(client).id_bytes

    def users(self) -> Mapping[str, bytes]:
        """The ids of all client applications by their names."""
        return {client.name: client.id_bytes for client in self._registry}

    async def refresh(self) -> None:
        """The registry is always the newest."""

    async def command(self, command: AnyCommand, timeout: float, operation: str, *, key: str | None = None) -> Any:
        """Apply a command and give its answer; Timeout where the test has its reply lost."""
        every = [number.to_bytes(4, "big") for number in range(self.partitions)] if route(command) is None else [None]
        answers = [self._apply(command, key, route_key) for route_key in every]
        self._end_attempts()
        await self._travel()
        if self._faults.loses_reply(operation):
            raise Timeout(
                f"{operation}: no answer within {timeout:g} s (a reply lost by the test). It may still be applied; "
                "to ask again without doing it twice, use the same idempotency key"
            )
        first, *_ = [_checked(parts)[0] for parts in answers]
        return first

    def _apply(self, command: AnyCommand, key: str | None, route_key: bytes | None) -> list[Any]:
        """The parts of the answer to a command, as the partition of `route_key` has it; None: its own."""
        reply_to = self._replies.expect()
        try:
            command = msgspec.structs.replace(command, reply_to=reply_to)
            self._engine.send(command if key is not None else self._numbered(command), route_key)
            self._engine.settle()
        finally:
            answers = self._replies.forget(reply_to.number)
        return answers

    async def query(self, query: AnyQuery, timeout: float, operation: str) -> list[Any]:
        """Ask, and give all parts of the answer; of all partitions, where the query says so."""
        if getattr(query, "partition", None) == ALL_PARTITIONS:
            queries = [msgspec.structs.replace(query, partition=number) for number in range(self.partitions)]
            return [part for single in queries for part in await self.query(single, timeout, operation)]
        del timeout, operation
        reply_to = self._replies.expect()
        addressed = msgspec.structs.replace(query, reply_to=reply_to, deadline=NEVER)
        try:
            self._engine.ask(addressed)
            await self._travel()
            if isinstance(addressed, WaitNode):
                await self._until(lambda: self._replies.is_whole(reply_to.number), addressed.node_id)
        finally:
            answers = self._replies.forget(reply_to.number)
        return _checked(answers)

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Apply a signal whose answer nobody waits for; what is refused becomes a dead letter."""
        if key is None:
            command = self._numbered(command)
        self._engine.send(command)
        self._engine.settle()
        return ids.node_id(command.workflow_id, command.id, 0)

    def under_way(self) -> int:
        """Everything published is applied already."""
        return 0

    async def flush(self, timeout: float) -> None:
        """Everything published is applied already."""
        del timeout

    async def _travel(self) -> None:
        """Give other tasks a turn, as they would have while the answer travels."""
        if self._gives_way:
            await asyncio.sleep(0)

    def _numbered(self, command: C) -> C:
        """The command with a serial id, random on Kafka: so nodes have the same ids, and jitter, in every run."""
        return msgspec.structs.replace(command, id=self._replies.next_id())

    async def follow(self, workflow_id: bytes, after: str | None) -> AsyncIterator[Change]:
        """The changes of a workflow, while anything is left to run that could bring about some."""
        place = Place(self._engine.history_count, -1) if after is None else Place.parse(after)
        offset = place.offset
        while True:
            while offset < self._engine.history_count:
                record = self._engine.history_at(offset)
                for at, change in changes_in(offset, record) if record.workflow_id == workflow_id else ():
                    if at > place:
                        yield change
                offset += 1
            try:
                await self._until(partial(self._engine.has_history_behind, offset), workflow_id)
            except NothingDue:
                return

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """Searches are a gateway's, and there is none in memory."""
        del filters, timeout
        raise Unavailable(
            f"A search of {call} is answered by a gateway, and in memory there is none: look at "
            "`backbeat.sent()`, `backbeat.queued` or the client's `tree`, or test it with `backbeat dev`"
        )


def _checked(answers: list[Any]) -> list[Any]:
    assert answers, "a question that the engine has not answered"
    if isinstance(answers[-1], Rejection):
        raise rejected(answers[-1])
    return answers
