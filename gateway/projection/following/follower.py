"""Thread that applies the changelog to the tables, from the stored offsets or, if those are lost, from the start.

    check       tables of this version and topic, offsets within the log, no rebuild requested; else: rebuild
    read        committed records, some thousand at a time
    apply       rows and offsets, in one transaction
    report      those who wait for an offset look again

One process follows at a time (`database.Writer`); the others watch its progress. Any failure (no broker, no database)
is logged once and retried. Records of a newer Backbeat end it: a retry would not help.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec
from confluent_kafka import KafkaException
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.following.changelog import Changelog, OffsetRange
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.database import ProjectionError, Writer
from backbeat.gateway.projection.storage.facts import Facts
from backbeat.observe.histograms import SECONDS, Buckets
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.topics import STATE_DELETE_RETENTION_MS, TopicError
from backbeat.streams.ports.errors import NewerRecordError

logger = logging.getLogger(__name__)

_RECORDS_AT_ONCE = 5_000
_WAIT_SECONDS = 0.5
#: Time to gather more records while nobody waits for them.
_GATHER_SECONDS = 0.1
#: Interval at which the follower looks for a requested rebuild, and records that it is up to date.
_LOOK_SECONDS = 1.0
#: Interval at which other processes look at the follower's progress while somebody waits for it.
_WATCH_SECONDS = 0.02
_AGAIN_SECONDS_MIN = 0.05
_AGAIN_SECONDS_MAX = 5.0
_EXPECTED = (SQLAlchemyError, KafkaException, UnreachableError, TopicError, ProjectionError)


_NOT_BEGUN = "it has not begun"


class Progress:
    """Progress of the tables, for those who wait. Thread safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reached: dict[int, int] = {}
        self.whole = False
        #: Why it does not follow; empty: it does.
        self.trouble = _NOT_BEGUN
        self.records = 0
        self._listeners: list[Callable[[], None]] = []
        #: Set while somebody waits.
        self.awaited = threading.Event()

    @property
    def has_begun(self) -> bool:
        """False: nothing is known yet of the tables."""
        return self.trouble != _NOT_BEGUN

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, on the follower's thread."""
        with self._changed:
            self._listeners.append(listener)
            self.awaited.set()

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Remove a listener."""
        with self._changed:
            self._listeners.remove(listener)
            if not self._listeners:
                self.awaited.clear()

    def positions(self) -> dict[int, int]:
        """Next offset by partition: the tables hold everything before it."""
        with self._changed:
            return dict(self._reached)

    def report(
        self,
        reached: dict[int, int] | None = None,
        *,
        whole: bool | None = None,
        trouble: str | None = None,
        anew: bool = False,
    ) -> None:
        """Record progress or another change, and call the listeners."""
        with self._changed:
            if anew:
                self._reached = {}
            self._reached.update(reached or {})
            self.whole = self.whole if whole is None else whole
            self.trouble = self.trouble if trouble is None else trouble
            listeners = list(self._listeners)
            self._changed.notify_all()
        for listener in listeners:
            listener()

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds, checked after every change; False on timeout."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)


class Follower:
    """Follower from `start()` to `stop()`, or until it reads a newer Backbeat's record."""

    def __init__(
        self, bootstrap_servers: str, engine: Engine, *, refuse: Callable[[NewerRecordError], object] = lambda _: None
    ) -> None:
        """`refuse` is called, on the follower's thread, when it gives up; the process should end then."""
        self._bootstrap_servers = bootstrap_servers
        self._engine = engine
        self._refuse = refuse
        #: Error that ended the follower for good; None: it runs.
        self.refusal: NewerRecordError | None = None
        self._writer = Writer(engine)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projection", daemon=True)
        self.progress = Progress()
        #: Seconds to write a batch.
        self.batch_seconds = Buckets(SECONDS)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current batch."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        """True from start to stop, unless it gave up."""
        return self._thread.is_alive()

    @property
    def follows(self) -> bool:
        """True if this process follows, and not another one with the same tables."""
        return self._writer.connection is not None

    def _run(self) -> None:
        delay_seconds = _AGAIN_SECONDS_MIN
        last_reason = ""
        while not self._stopping.is_set():
            try:
                self._work()
                delay_seconds, last_reason = _AGAIN_SECONDS_MIN, ""
            except _EXPECTED as error:
                reason = str(error).splitlines()[0]
                if reason != last_reason:
                    logger.warning("the projection does not follow at the moment: %s", reason)
                last_reason = reason
                self.progress.report(trouble=reason)
                self._stopping.wait(delay_seconds)
                delay_seconds = min(delay_seconds * 2, _AGAIN_SECONDS_MAX)
            except NewerRecordError as error:
                self.refusal = error
                self.progress.report(trouble=str(error), whole=False)
                self._refuse(error)
                return
            except Exception:
                # A defect, perhaps with one record: shown in health, while the rest of the gateway goes on.
                logger.exception("the projection does not follow any more")
                self.progress.report(trouble="it failed; see the log", whole=False)
                self._stopping.wait(_AGAIN_SECONDS_MAX)
            finally:
                self._writer.release()

    def _work(self) -> None:
        """Follow, or watch the process that does, until stopped."""
        while (connection := self._writer.acquire()) is None:
            next_look_at = time.monotonic() + _LOOK_SECONDS
            while time.monotonic() < next_look_at:
                self._watch()
                if self._stopping.wait(_WATCH_SECONDS):
                    return
                self.progress.awaited.wait(_WAIT_SECONDS)
        changelog = Changelog(self._bootstrap_servers)
        try:
            while not self._stopping.is_set():
                self._follow(connection, changelog)
        finally:
            changelog.close()

    def _watch(self) -> None:
        with self._engine.connect() as connection:
            recorded = facts.read_facts(connection)
            if recorded.schema_version == tables.SCHEMA_VERSION:
                reached = facts.read_positions(connection)
                self.progress.report(reached, whole=recorded.whole, trouble="", anew=True)

    def _follow(self, connection: Connection, changelog: Changelog) -> None:
        """Follow one generation of the projection until a rebuild is requested."""
        ends = changelog.ends()
        with connection.begin():
            recorded, positions = _prepare(connection, changelog.topic_id, ends)
            projector = Projector(connection, is_whole=recorded.whole)
        self.progress.report(positions, whole=recorded.whole, trouble="", anew=True)
        changelog.seek(positions)
        goal = {} if recorded.whole else {partition: offsets.end for partition, offsets in ends.items()}
        next_look_at = time.monotonic() + _LOOK_SECONDS
        while not self._stopping.is_set():
            # A commit arrives partition by partition, and each transaction of ours has a cost.
            gather = 0.0 if self.progress.awaited.is_set() else _GATHER_SECONDS
            batch = changelog.read(_RECORDS_AT_ONCE, _WAIT_SECONDS, gather)
            positions.update(batch.reached)
            if batch.reached:
                began_at = time.perf_counter()
                _write(connection, projector, batch.records, batch.reached)
                self.batch_seconds.observe(time.perf_counter() - began_at)
                self.progress.records += len(batch.records)
            if not recorded.whole and all(positions[partition] >= end for partition, end in goal.items()):
                if not _make_whole(connection, projector, self._stopping.is_set):
                    return
                recorded = msgspec.structs.replace(recorded, whole=True)
                self.progress.report(batch.reached, whole=True)
            elif batch.reached:
                self.progress.report(batch.reached, whole=recorded.whole)
            if time.monotonic() >= next_look_at:
                next_look_at = time.monotonic() + _LOOK_SECONDS
                if _rebuild_is_requested(connection, projector, recorded):
                    self.progress.report(whole=False)
                    return


def _prepare(connection: Connection, topic_id: str, ends: dict[int, OffsetRange]) -> tuple[Facts, dict[int, int]]:
    """Resume from the tables, or rebuild them."""
    recorded = facts.read_facts(connection)
    positions = facts.read_positions(connection) if recorded.schema_version == tables.SCHEMA_VERSION else {}
    reason = _rebuild_reason(recorded, positions, topic_id, ends)
    if reason is not None:
        logger.info("the projection is built: %s", reason)
        recorded = facts.build_anew(connection, topic_id)
        tables.drop_search_indexes(connection)
        positions = {}
    return recorded, {partition: positions.get(partition, offsets.first) for partition, offsets in ends.items()}


def _rebuild_reason(
    recorded: Facts, positions: dict[int, int], topic_id: str, ends: dict[int, OffsetRange]
) -> str | None:
    """Reason to rebuild the tables; None: they can be resumed."""
    if recorded.schema_version != tables.SCHEMA_VERSION:
        return "there is none of this version"
    if recorded.topic_id != topic_id:
        return "the one that is there is of another changelog topic"
    if recorded.wanted > recorded.generation:
        return "another one was asked for"
    for partition, offset in positions.items():
        if partition not in ends or not ends[partition].first <= offset <= ends[partition].end:
            return f"its offset {offset} of partition {partition} is outside the changelog"
    if facts.now_ms() - recorded.current_at > STATE_DELETE_RETENTION_MS // 2 and recorded.whole:
        return "it was left aside so long that it may have missed deletions"
    return None


def _write(
    connection: Connection,
    projector: Projector,
    records: list[tuple[bytes, bytes | None]],
    reached: dict[int, int],
) -> None:
    with connection.begin():
        projector.apply(records)
        facts.put_positions(projector.statements, reached)


def _make_whole(connection: Connection, projector: Projector, is_stopping: Callable[[], bool]) -> bool:
    """Create the indexes of searches, and record that the projection is whole; False: it was stopped in between."""
    for create_index in tables.index_steps(connection.dialect.name):
        if is_stopping():
            return False
        with connection.begin():
            create_index(connection)
    with connection.begin():
        projector.become_whole()
        facts.put_facts(projector.statements, whole=True, current_at=facts.now_ms())
    logger.info("the projection is whole")
    with connection.begin():
        facts.analyze(connection)
    return True


def _rebuild_is_requested(connection: Connection, projector: Projector, recorded: Facts) -> bool:
    """True if an operator requested a rebuild; else record that the projection is up to date."""
    with connection.begin():
        requested = facts.read_known_facts(connection).wanted
        if requested > recorded.generation:
            return True
        facts.put_facts(projector.statements, current_at=facts.now_ms())
    return False
