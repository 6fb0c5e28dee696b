"""Backbeat in memory: no Kafka, no threads, no files, and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from backbeat.client.client import Client
from backbeat.errors import BackbeatError
from backbeat.payload.values import from_json, id_text, to_datetime
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.activities import error_of
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.status import ClientStatus, ServerStatus, word
from backbeat.schemas.messages.views import NodeView
from backbeat.schemas.requests.fields import Headers
from backbeat.streams.input.signal_command import admit_request
from backbeat.testing.clock import Clock
from backbeat.testing.engine import MemoryEngine
from backbeat.testing.errors import NothingDue
from backbeat.testing.faults import Faults
from backbeat.testing.memory_registry import MemoryRegistry
from backbeat.testing.progress_event import ProgressEvent
from backbeat.testing.queued import Queued
from backbeat.testing.run_sync import run_sync
from backbeat.testing.topics import DeadLetter, Topics
from backbeat.testing.transport import MemoryTransport, Replies
from backbeat.testing.workers import MemoryWorkers
from backbeat.worker.worker import Worker

CLIENT_DEFAULT = "default"
#: Two, so that what goes from one partition to another does so here.
_PARTITIONS = 2
_ACTIVITIES_MAX = 100_000
#: Time for which the test's other tasks may be silent while a node is awaited: host's time.
_PATIENCE_SECONDS = 5.0
_SHOWN_MAX = 5


class Backbeat:
    """A Backbeat that lives as long as a test.

        async with testing.Backbeat(worker) as backbeat:
            node = await backbeat.client().signal("Sales", "Camera 703", "Make Purchase")
            await backbeat.run()

    `workers` run the activities of their clients; `clients` are further client applications. The clock
    begins at `start` (without: now) and stands still until `advance`; with `skip_time` it jumps to the next timer
    whenever nothing is left to run. `settings` are the engine's limits and defaults.
    """

    def __init__(
        self,
        *workers: Worker,
        clients: Iterable[str] = (),
        start: datetime | None = None,
        skip_time: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.skip_time = skip_time
        #: Time for which a wait for a node lets the test's other tasks be silent before it gives up: host's time.
        self.patience_seconds = _PATIENCE_SECONDS
        #: Faults to inject.
        self.faults = Faults()
        self._clock = Clock(start)
        self._registry = MemoryRegistry()
        self._progress = ProgressEvent()
        self._topics = Topics(_PARTITIONS, lambda: self._clock.milliseconds, self._progress.tell)
        self._engine = MemoryEngine(
            _PARTITIONS, self._clock, self._topics, self._registry.topic, settings or Settings()
        )
        self._replies = Replies()
        self._workers = MemoryWorkers(self._engine, self._clock, self._registry, self.faults)
        self._published = 0
        self._workers.transport = self.transport(gives_way=False)
        self._topics.on_activity = self._workers.take
        self._topics.on_reply = self._replies.take
        self._topics.times = self.faults.times
        self._engine.choose = self.faults.choose
        self.register(CLIENT_DEFAULT, *clients)
        self.add(*workers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the handlers that still run; `async with` does it."""
        await self._workers.stop()

    def add(self, *workers: Worker) -> None:
        """Add workers: from now on their handlers run the activities of their client."""
        for worker in workers:
            self._workers.add(worker)

    def register(self, *names: str) -> None:
        """Register client applications, as `backbeat user add` does."""
        for name in names:
            self._registry.add(name)

    def client(self, name: str = CLIENT_DEFAULT, **options: Any) -> Client:
        """A client, ready to be used, of the client application of this name, which is added if there is none.

        `options` are those of `Client`.
        """
        self.register(name)
        client = Client(client=name, transport=self.transport(), **options)
        run_sync(client.start())
        return client

    def transport(self, *, gives_way: bool = True) -> MemoryTransport:
        """Transport for a `Client` that is made elsewhere: `Client(client=…, transport=…)`.

        `gives_way`: other tasks get a turn while an answer "travels", as they would on Kafka.
        """
        return MemoryTransport(
            engine=self._engine,
            clock=self._clock,
            registry=self._registry,
            replies=self._replies,
            faults=self.faults,
            until=self._until,
            end_attempts=self._workers.end_attempts,
            gives_way=gives_way,
        )

    def publish(self, value: bytes | Mapping[str, Any], client: str = CLIENT_DEFAULT, headers: Headers = ()) -> None:
        """A record of `backbeat.signals.<client>` (docs/reference/signals.md): a mapping for JSON, or its bytes.

        It passes the same checks as on Kafka; what is refused is in `dead_letters`.
        """
        record = value if isinstance(value, bytes) else msgspec.json.encode(value)
        self._published += 1
        try:
            signal = admit_request(
                record,
                headers,
                client,
                by_name=self._registry.by_name,
                by_id=self._registry.by_id,
                place=lambda: (f"signals of {client}", 0, self._published),
            )
        except DecodeError as refused:
            self._topics.dead_letters.append(DeadLetter(str(refused), record))
        else:
            self._engine.admit(signal)

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now

    @property
    def queued(self) -> list[Queued]:
        """The activities that wait to be run, in the order in which they came."""
        return list(self._workers.queue)

    def sent(self, name: str | None = None) -> list[Queued]:
        """The activities that were ever sent to workers, all or those of one name; each attempt is one."""
        return [queued for queued in self._workers.sent if name in (None, queued.name) and not queued.is_notification]

    def notified(self, name: str | None = None) -> list[Queued]:
        """The notifications that workers were ever sent: of nodes whose retries were exhausted, or that failed."""
        return [queued for queued in self._workers.sent if name in (None, queued.name) and queued.is_notification]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Records that the engine refused where no answer was awaited."""
        return list(self._topics.dead_letters)

    @property
    def history(self) -> list[StatusChangesRecord]:
        """Every status change so far: what is on the topic `backbeat.history`."""
        return self._topics.history

    @property
    def next_due(self) -> datetime | None:
        """Due time of the next timer (a start, a retry, a deadline, a schedule); None: no timer is set."""
        due = self._engine.next_due()
        return None if due is None else to_datetime(due)

    # --- running ---------------------------------------------------------------------------------------------------

    async def run(self, *, activities_max: int = _ACTIVITIES_MAX) -> None:
        """Run until nothing is left to run now; with `skip_time`, until no node waits for a time either.

        BackbeatError when more than `activities_max` have run: a workflow that goes on for ever.
        """
        begun = self._workers.begun
        while await self._step():
            if self._workers.begun - begun > activities_max:
                raise BackbeatError(
                    f"more than {activities_max} activities have run and there is no end: does a workflow start itself "
                    "again? Use run_one(), or advance() in steps"
                )

    async def run_one(self, activity: Queued | str | None = None) -> Queued:
        """Run one activity that waits, and return it: the first one, the first of a name, or this one.

        BackbeatError where there is none, or its client has no worker here.
        """
        queued = self._find(activity)
        task = self._workers.begin(queued)
        await self._wait({task})
        return queued

    async def advance(
        self,
        /,
        by: timedelta | None = None,
        *,
        to: datetime | None = None,
        run: bool = True,
        outage: bool = False,
        **units: float,
    ) -> None:
        """Move the clock: by a timedelta, `to` a time, or by units (`hours=3`). Timers on the way fire in order.

        After each, what has come is run, so retries of hours follow one another; `run=False` leaves it in the queue.
        With `outage` no engine is there meanwhile: all that was due on the way is due, late, at the end.
        """
        target = self._target(by, to, units)
        if outage:
            self._clock.move(target)
        elif run:
            await self._settle()
        while (due := self._engine.next_due()) is not None and due <= target:
            self._clock.move(due)
            self._fire()
            if run:
                await self._settle()
        self._clock.move(target)
        self._fire()

    def _find(self, activity: Queued | str | None) -> Queued:
        waiting = self._workers.queue
        for queued in waiting:
            if activity is None or activity is queued or activity == queued.name:
                return queued
        names = ", ".join(sorted({queued.name for queued in waiting})) or "nothing"
        name = "an activity" if activity is None else repr(activity)
        raise BackbeatError(f"{name} does not wait to be run; what waits: {names}")

    def _target(self, by: timedelta | None, to: datetime | None, units: dict[str, float]) -> int:
        if sum((by is not None, to is not None, bool(units))) != 1:
            raise TypeError("advance takes one of: a timedelta, to=a time, units such as hours=3")
        if to is None:
            by = timedelta(**units) if by is None else by
            target = self._clock.milliseconds + round(by / timedelta(milliseconds=1))
        else:
            target = Clock(to).milliseconds
        if target < self._clock.milliseconds:
            raise BackbeatError(f"the clock does not go back: it is {self.now.isoformat()}")
        return target

    async def _step(self) -> bool:
        """Bring the workflows forward a little. False: nothing is left to do."""
        if await self._advance_handlers():
            return True
        due = self._engine.next_due()
        # Schedules go on for ever: only a node that waits is something to skip time for.
        if due is None or not (self.skip_time and self._engine.node_waits()):
            return False
        self._clock.move(due)
        self._fire()
        return True

    def _fire(self) -> None:
        """Fire the timers that are due; a deadline that passes ends an attempt that runs."""
        while self._engine.fire():
            self._workers.end_attempts()

    async def _settle(self) -> None:
        while await self._advance_handlers():
            pass

    async def _advance_handlers(self) -> bool:
        """Begin what waits, and let the handlers come to the next one's end. False: no handler runs."""
        self._fire()
        has_begun = self._workers.begin_all()
        if not self._workers.others:
            return has_begun
        await self._wait(self._workers.others)
        return True

    async def _wait(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Await the end of one of these handlers."""
        await asyncio.wait(set(tasks), return_when=asyncio.FIRST_COMPLETED)
        self._workers.check()

    async def _until(self, is_done: Callable[[], bool], node_id: bytes) -> None:
        """Run until the node is done. NothingDue where nothing in memory can bring that about."""
        current = asyncio.current_task()
        # A handler that waits here is not what others wait for.
        self._workers.waiting.add(current)
        try:
            while not is_done():
                if await self._step() or is_done():
                    continue
                if self._engine.is_exhausted(node_id):
                    # As at the end of a wait's slice on Kafka: it is answered with the node as it is.
                    self._engine.end_waits()
                else:
                    others = asyncio.all_tasks() - {current}
                    if not others or not await self._progress.wait(
                        others - self._workers.waiting, self.patience_seconds
                    ):
                        raise NothingDue(self._why_not_done(node_id))
        finally:
            self._workers.waiting.discard(current)

    def _failing(self, node: NodeView) -> str:
        """Text: the steps that have failed and wait, a node itself or those of its workflow, with their errors."""
        errors: dict[bytes, bytes | None] = {}
        waits_below = node.server is ServerStatus.PROCESSING_CHILDREN
        for record in self.history if waits_below or node.client is ClientStatus.ERRORED else ():
            if record.workflow_id == node.workflow_id:
                for entry in record.changes:
                    change = entry.change
                    is_meant = waits_below or entry.node_id == node.id
                    if is_meant and not change.server and change.to_status is ClientStatus.ERRORED:
                        errors[entry.node_id] = change.response
        text = ""
        shown = 0
        for identity, response in errors.items():
            step = self._engine.node(identity)
            # A deactivated step below holds nothing up: its group allows that it has failed, for example.
            waits = step is not None and (identity == node.id or step.server is not ServerStatus.DEACTIVATED)
            if step is not None and waits and step.client is ClientStatus.ERRORED and shown < _SHOWN_MAX:
                reason = from_json(error_of(response)).get("message", "no reason was given")
                text += f" {step.name!r} is {word(step.server)}: {reason}."
                shown += 1
        return text

    def _why_not_done(self, node_id: bytes) -> str:
        """Text: why a node is not done, and what would help."""
        node = self._engine.node(node_id)
        name, status = ("?", "unknown") if node is None else (node.name, word(node.server))
        text = f"{name!r} ({id_text(node_id)}) is {status}, and nothing is left to run at {self.now.isoformat()}."
        if self.next_due is not None:
            text += (
                f" The next timer is due at {self.next_due.isoformat()}: `await backbeat.advance(…)` goes there, "
                "Backbeat(skip_time=True) does it by itself."
            )
        if node is not None:
            text += self._failing(node)
        if self._workers.queue:
            text += f" Without a worker wait: {', '.join(repr(queued) for queued in self._workers.queue[:_SHOWN_MAX])}."
        return text
