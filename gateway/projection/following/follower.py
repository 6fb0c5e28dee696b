"""The thread that follows the changelog into the tables, from where it stopped or, if that is no more, from the start.

    look        the tables are of this version, of this topic, within the log, and nobody asked for others; else: anew
    read        committed records, some thousand at a time
    apply       rows and offsets, in one transaction
    say so      whoever waits for an offset looks again

One process follows at a time (`database.Writer`); the others look how far it has come. Whatever fails (no broker, no
database) is said once and tried again. Records of a newer Backbeat end it: trying again does not help.
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
from backbeat.gateway.projection.following.changelog import Changelog, Ends
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.database import ProjectionError, Writer
from backbeat.gateway.projection.storage.facts import Facts
from backbeat.observe.histograms import SECONDS, Buckets
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.topics import STATE_DELETE_RETENTION_MS, TopicError
from backbeat.streams.engine.ports import NewerRecordError

logger = logging.getLogger(__name__)

_RECORDS_AT_ONCE = 5_000
_WAIT_SECONDS = 0.5
#: How long more is gathered while nobody waits for it.
_GATHER_SECONDS = 0.1
#: After which whoever follows looks whether another projection is wanted, and says that it is up to date.
_LOOK_SECONDS = 1.0
#: How often those who do not follow look how far the one has come who does, while somebody waits for that.
_WATCH_SECONDS = 0.02
_AGAIN_SECONDS_MIN = 0.05
_AGAIN_SECONDS_MAX = 5.0
_EXPECTED = (SQLAlchemyError, KafkaException, UnreachableError, TopicError, ProjectionError)


class Progress:
    """How far the tables are, for those who wait. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reached: dict[int, int] = {}
        self.whole = False
        #: why it does not follow; empty: it does
        self.trouble = "it has not begun"
        self.records = 0
        self._listeners: list[Callable[[], None]] = []
        #: whether somebody waits
        self.awaited = threading.Event()

    def listen(self, changed: Callable[[], None]) -> None:
        """Have a function called, on the follower's thread, after every change."""
        with self._changed:
            self._listeners.append(changed)
            self.awaited.set()

    def unlisten(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        with self._changed:
            self._listeners.remove(changed)
            if not self._listeners:
                self.awaited.clear()

    def positions(self) -> dict[int, int]:
        """Partition -> the offset up to which the tables hold everything."""
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
        """The tables have come further, or something else has changed."""
        with self._changed:
            if anew:
                self._reached = {}
            self._reached.update(reached or {})
            self.whole = self.whole if whole is None else whole
            self.trouble = self.trouble if trouble is None else trouble
            listeners = list(self._listeners)
            self._changed.notify_all()
        for changed in listeners:
            changed()

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds, looked at after every change."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)


class Follower:
    """Follows from `start()` to `stop()`, or until it meets what a newer Backbeat has written."""

    def __init__(
        self, bootstrap_servers: str, engine: Engine, *, refuse: Callable[[NewerRecordError], object] = lambda _: None
    ) -> None:
        """`refuse` is called, on the follower's thread, when it gives up; then the process should end."""
        self._bootstrap_servers = bootstrap_servers
        self._engine = engine
        self._refuse = refuse
        #: Why it follows no more and never will; null: it does.
        self.refusal: NewerRecordError | None = None
        self._writer = Writer(engine)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projection", daemon=True)
        self.progress = Progress()
        #: What the batches took to be written.
        self.batch_seconds = Buckets(SECONDS)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        """Whether its thread is at work, which it is from start to stop unless it gave up."""
        return self._thread.is_alive()

    @property
    def follows(self) -> bool:
        """Whether it is this process that follows, and not another one that shares the tables."""
        return self._writer.connection is not None

    def _run(self) -> None:
        pause = _AGAIN_SECONDS_MIN
        said = ""
        while not self._stopping.is_set():
            try:
                self._work()
                pause, said = _AGAIN_SECONDS_MIN, ""
            except _EXPECTED as error:
                reason = str(error).splitlines()[0]
                if reason != said:
                    logger.warning("the projection does not follow at the moment: %s", reason)
                said = reason
                self.progress.report(trouble=reason)
                self._stopping.wait(pause)
                pause = min(pause * 2, _AGAIN_SECONDS_MAX)
            except NewerRecordError as error:
                self.refusal = error
                self.progress.report(trouble=str(error), whole=False)
                self._refuse(error)
                return
            except Exception:
                # A defect of ours, perhaps one record's: it is seen in health, and the rest of the gateway goes on.
                logger.exception("the projection does not follow any more")
                self.progress.report(trouble="it failed; see the log", whole=False)
                self._stopping.wait(_AGAIN_SECONDS_MAX)
            finally:
                self._writer.release()

    def _work(self) -> None:
        """Follow, or watch the one who does, until told to stop."""
        while (connection := self._writer.acquire()) is None:
            look_at = time.monotonic() + _LOOK_SECONDS
            while time.monotonic() < look_at:
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
            known = facts.read_facts(connection)
            if known.schema_version == tables.SCHEMA_VERSION:
                reached = facts.read_positions(connection)
                self.progress.report(reached, whole=known.whole, trouble="", anew=True)

    def _follow(self, connection: Connection, changelog: Changelog) -> None:
        """One generation of the projection, from where it stands until another is wanted."""
        ends = changelog.ends()
        with connection.begin():
            known, positions = _prepare(connection, changelog.topic_id, ends)
            projector = Projector(connection)
        self.progress.report(positions, whole=known.whole, trouble="", anew=True)
        changelog.seek(positions)
        goal = {} if known.whole else {number: each.end for number, each in ends.items()}
        look_at = time.monotonic() + _LOOK_SECONDS
        while not self._stopping.is_set():
            # A commit comes in parts, partition by partition, and each transaction of ours has its own cost.
            gather = 0.0 if self.progress.awaited.is_set() else _GATHER_SECONDS
            found = changelog.read(_RECORDS_AT_ONCE, _WAIT_SECONDS, gather)
            positions.update(found.reached)
            whole = all(positions[number] >= end for number, end in goal.items())
            if found.reached:
                began_at = time.perf_counter()
                _write(connection, projector, found.records, found.reached, whole=whole and not known.whole)
                self.batch_seconds.observe(time.perf_counter() - began_at)
                if whole and not known.whole:
                    logger.info("the projection is whole")
                    _analyze(connection)
                    known = msgspec.structs.replace(known, whole=True)
                    goal = {}
                self.progress.records += len(found.records)
                self.progress.report(found.reached, whole=whole)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_SECONDS
                if _another_is_wanted(connection, projector, known):
                    self.progress.report(whole=False)
                    return


def _prepare(connection: Connection, topic_id: str, ends: dict[int, Ends]) -> tuple[Facts, dict[int, int]]:
    """Go on with what is there, or begin anew."""
    known = facts.read_facts(connection)
    positions = facts.read_positions(connection) if known.schema_version == tables.SCHEMA_VERSION else {}
    why = _why_anew(known, positions, topic_id, ends)
    if why is not None:
        logger.info("the projection is built: %s", why)
        known = facts.build_anew(connection, topic_id)
        positions = {}
    return known, {number: positions.get(number, each.first) for number, each in ends.items()}


def _why_anew(known: Facts, positions: dict[int, int], topic_id: str, ends: dict[int, Ends]) -> str | None:
    """Why the tables cannot be gone on with; null: they can."""
    if known.schema_version != tables.SCHEMA_VERSION:
        return "there is none of this version"
    if known.topic_id != topic_id:
        return "the one that is there is of another changelog topic"
    if known.wanted > known.generation:
        return "another one was asked for"
    for number, offset in positions.items():
        if number not in ends or not ends[number].first <= offset <= ends[number].end:
            return f"its offset {offset} of partition {number} is outside the changelog"
    if facts.now_ms() - known.current_at > STATE_DELETE_RETENTION_MS // 2 and known.whole:
        return "it was left aside so long that it may have missed deletions"
    return None


def _write(
    connection: Connection,
    projector: Projector,
    records: list[tuple[bytes, bytes | None]],
    reached: dict[int, int],
    *,
    whole: bool,
) -> None:
    with connection.begin():
        projector.apply(records)
        facts.put_positions(projector.statements, reached)
        if whole:
            facts.put_facts(projector.statements, whole=True, current_at=facts.now_ms())


def _another_is_wanted(connection: Connection, projector: Projector, known: Facts) -> bool:
    """Look whether an operator asked for another projection; else write down that this one is up to date."""
    with connection.begin():
        wanted = facts.read_known_facts(connection).wanted
        if wanted > known.generation:
            return True
        facts.put_facts(projector.statements, current_at=facts.now_ms())
    return False


def _analyze(connection: Connection) -> None:
    with connection.begin():
        facts.analyze(connection)
