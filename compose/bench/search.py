"""Time of a search over a million nodes: tables filled straight, then every kind of filter, many times.

The rows are as the follower writes them, only quicker. The filters match nearly all, few and no rows,
alone and together, also such that match many each and none together.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, text

from backbeat.gateway.projection.reading import search
from backbeat.gateway.projection.reading.filters import NodeFilters, WorkflowFilters
from backbeat.gateway.projection.reading.grams import METADATA, SUBJECTS, grams_of
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from backbeat.gateway.projection.storage.facts import analyze, build_anew
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus

USER = blake2b(b"bench user", digest_size=16).digest()
OTHER = blake2b(b"another user", digest_size=16).digest()
NODES_PER_WORKFLOW = 10
_OTHER_EVERY = 10  #: one workflow of so many is the other user's
_NAMES = 40
_WORKFLOW_NAMES = 20
_PLACES = 500
_KEYS = 7
_SPAN_MS = 30 * 86_400_000
_BEGIN_MS = 1_700_000_000_000
_BATCH_WORKFLOWS = 2_000
_LONG = 0.01  #: of all nodes take days

_S, _C = ServerStatus, ClientStatus
_encode = msgspec.msgpack.Encoder().encode

#: Histories of nodes: weight (of 10,000), current statuses, and the changes that led there.
_DISPATCHED: list[ServerStatus | ClientStatus] = [_S.STARTED, _S.SENT_TO_CLIENT, _C.RECEIVED]
_DONE: list[ServerStatus | ClientStatus] = [_C.COMPLETE, _S.PROCESSING_CHILDREN, _S.COMPLETE]
_FAILED: list[ServerStatus | ClientStatus] = [_C.ERRORED, _S.RETRYING, _S.READY, _C.READY]
_MADE: list[ServerStatus | ClientStatus] = [_S.READY, _C.READY]
_PATHS: list[tuple[int, ServerStatus, ClientStatus, list[ServerStatus | ClientStatus]]] = [
    (6000, _S.COMPLETE, _C.COMPLETE, _MADE + _DISPATCHED + _DONE),
    (2600, _S.COMPLETE, _C.COMPLETE, _MADE + _DISPATCHED + [_C.PROCESSING] + _DONE),
    (700, _S.COMPLETE, _C.COMPLETE, _MADE + _DISPATCHED + _FAILED + _DISPATCHED + _DONE),
    (300, _S.DEACTIVATED, _C.READY, [*_MADE, _S.DEACTIVATED]),
    (150, _S.SENT_TO_CLIENT, _C.PROCESSING, _MADE + _DISPATCHED + [_C.PROCESSING]),
    (140, _S.PENDING, _C.PENDING, []),
    (100, _S.RETRYING, _C.ERRORED, _MADE + _DISPATCHED + [_C.ERRORED, _S.RETRYING]),
    (
        9,
        _S.RETRIES_EXHAUSTED,
        _C.ERRORED,
        _MADE + _DISPATCHED + _FAILED + _DISPATCHED + [_C.ERRORED, _S.RETRIES_EXHAUSTED],
    ),
    (1, _S.PAUSED, _C.READY, [*_MADE, _S.STARTED, _S.PAUSED]),
    (150, _S.STARTED, _C.READY, [*_MADE, _S.STARTED]),
]


def measure_search(database_url: str, nodes: int = 1_000_000, repeats: int = 20, seed: int = 1) -> dict[str, Any]:
    """Fill the database (what a projection has there is dropped), then search it.

    Returns, by the search's name, p50, worst and first (not warm yet) in milliseconds and the rows found; the worst of
    all p50; the duration of the load, in seconds.
    """
    engine = open_engine(parse_url(database_url))
    began_at = time.monotonic()
    load(engine, nodes, seed)
    seconds = time.monotonic() - began_at
    searches = {name: _time(engine, filters, repeats) for name, filters in all_filters().items()}
    engine.dispose()
    return {
        "database": engine.dialect.name,
        "nodes": nodes,
        "load_seconds": round(seconds, 1),
        "p50_worst_ms": max(figure["p50_ms"] for figure in searches.values()),
        "worst_ms": max(figure["worst_ms"] for figure in searches.values()),
        "searches": searches,
    }


def all_filters() -> dict[str, NodeFilters | WorkflowFilters]:
    """The filters of every search, by its name."""
    return {
        **{f"activities: {name}": NodeFilters(**fields) for name, fields in _node_filters().items()},
        **{f"workflows: {name}": WorkflowFilters(**fields) for name, fields in _workflow_filters().items()},
    }


def _node_filters() -> dict[str, dict[str, Any]]:
    middle = _BEGIN_MS + _SPAN_MS // 2
    day = 86_400_000
    return {
        "all": {"status_start_ms": 0},
        "name": {"name": "step-3"},
        "name, page 1000": {"name": "step-3", "page": 1000},
        "name, none": {"name": "nothing"},
        "metadata in most": {"metadata_contains": '"order":'},
        "metadata in few": {"metadata_contains": '"order":123456'},
        "metadata in one": {"metadata_contains": '"order":1234567'},
        "metadata in none": {"metadata_contains": "never-there"},
        "metadata, its trigrams are common": {"metadata_contains": '"place":"place"'},
        "metadata, two letters": {"metadata_contains": "zz"},
        "complete": {"current_status": "complete"},
        "complete, page 400": {"current_status": "complete", "page": 400},
        "exhausted": {"current_status": "retries_exhausted"},
        "paused": {"current_status": "paused"},
        "past errored": {"past_status": "errored"},
        "complete, past errored": {"current_status": "complete", "past_status": "errored"},
        "ready, past complete: none": {"current_status": "ready", "past_status": "complete"},
        "a day": {"status_start_ms": middle, "status_end_ms": middle + day},
        "since the middle": {"status_start_ms": middle},
        "since yesterday": {"status_start_ms": _BEGIN_MS + _SPAN_MS - day},
        "until the middle": {"status_end_ms": middle},
        "before all": {"status_end_ms": _BEGIN_MS - 1},
        "after all": {"status_start_ms": _BEGIN_MS + 2 * _SPAN_MS},
        "errored on a day": {"past_status": "errored", "status_start_ms": middle, "status_end_ms": middle + day},
        "name, errored since the middle": {"name": "step-3", "past_status": "errored", "status_start_ms": middle},
        "name, complete, place": {"name": "step-3", "current_status": "complete", "metadata_contains": '"shop-77"'},
        "name, metadata of other names": {"name": "step-3", "metadata_contains": '"half":"odd","step":"4'},
        "name, half of all: none": {"name": "step-0", "metadata_contains": '"half":"odd"'},
        "paused, half": {"current_status": "paused", "metadata_contains": '"half":"odd"'},
        "exhausted, place": {"current_status": "retries_exhausted", "metadata_contains": '"shop-77"'},
        "complete, place, a day": {
            "current_status": "complete",
            "metadata_contains": '"shop-77"',
            "status_start_ms": middle,
            "status_end_ms": middle + day,
        },
        "all filters": {
            "name": "step-3",
            "metadata_contains": "shop-7",
            "current_status": "complete",
            "past_status": "errored",
            "status_start_ms": middle,
            "status_end_ms": middle + 5 * day,
        },
        "below a node": {"parent_id": node_id(50_010)},
        "of a workflow, failing": {"workflow_id": workflow_id(5_001), "current_status": "failing"},
        "by a transaction": {"tid": _tid(5_001)},
        "at a slot": {"slot": "step-3"},
        "at a slot of a key": {"slot": "step-3", "slot_key": _key(3)},
        "at a slot of a key, none": {"slot": "step-3", "slot_key": "none"},
        "failing": {"current_status": "failing"},
        "running": {"current_status": "running"},
        "made on a day": {"created_start_ms": middle, "created_end_ms": middle + day},
        "made on a day, failing": {
            "current_status": "failing",
            "created_start_ms": middle,
            "created_end_ms": middle + day,
        },
        "last_id": {"name": "step-13", "last_id": node_id(50_013)},
        "last_id, complete": {"current_status": "complete", "last_id": node_id(500_013)},
    }


def _workflow_filters() -> dict[str, dict[str, Any]]:
    middle = _BEGIN_MS + _SPAN_MS // 2
    day = 86_400_000
    return {
        "name": {"name": "flow-3"},
        "name, page 100": {"name": "flow-3", "page": 100},
        "subject in all": {"subject_contains": "Order"},
        "subject in one": {"subject_contains": '"id":54321}'},
        "subject in none": {"subject_contains": "never-there"},
        "complete": {"current_status": "complete"},
        "complete, page 400": {"current_status": "complete", "page": 400},
        "paused": {"current_status": "paused"},
        "exhausted, past retrying": {"current_status": "retries_exhausted", "past_status": "retrying"},
        "ready, past complete: none": {"current_status": "ready", "past_status": "complete"},
        "a day": {"status_start_ms": middle, "status_end_ms": middle + day},
        "until the middle": {"status_end_ms": middle},
        "since the middle": {"status_start_ms": middle},
        "before all": {"status_end_ms": _BEGIN_MS - 1},
        "after all": {"status_start_ms": _BEGIN_MS + 2 * _SPAN_MS},
        "errored on a day": {"past_status": "errored", "status_start_ms": middle, "status_end_ms": middle + day},
        "exhausted until the middle": {"current_status": "retries_exhausted", "status_end_ms": middle},
        "name, subject, complete": {"name": "flow-3", "subject_contains": '"id":4', "current_status": "complete"},
        "all filters": {
            "name": "flow-3",
            "subject_contains": '"id":4',
            "current_status": "complete",
            "past_status": "errored",
            "status_start_ms": middle,
            "status_end_ms": middle + 5 * day,
        },
        "by a transaction": {"tid": _tid(5_001)},
        "at a slot": {"slot": "step-3"},
        "at a slot of a key": {"slot": "step-3", "slot_key": _key(3)},
        "failing": {"current_status": "failing"},
        "made on a day": {"created_start_ms": middle, "created_end_ms": middle + day},
        "last_id": {"current_status": "errored", "last_id": workflow_id(40_003)},
    }


def _time(engine: Engine, filters: NodeFilters | WorkflowFilters, repeats: int) -> dict[str, Any]:
    latencies_ms: list[float] = []
    row_count = 0
    with engine.connect() as connection:
        for _ in range(repeats + 1):
            began_at = time.perf_counter()
            with connection.begin():
                if isinstance(filters, NodeFilters):
                    row_count = len(search.search_nodes(connection, USER, filters))
                else:
                    row_count = len(search.search_workflows(connection, USER, filters))
            latencies_ms.append((time.perf_counter() - began_at) * 1000)
    first, *warm = latencies_ms
    return {
        "p50_ms": round(statistics.median(warm), 2),
        "worst_ms": round(max(warm), 2),
        "first_ms": round(first, 2),
        "rows": row_count,
    }


# --- the rows --------------------------------------------------------------------------------------------------------


def _subject(number: int) -> bytes:
    return b'{"class":"Order","id":%d}' % number


def _owner(number: int) -> bytes:
    return OTHER if number % _OTHER_EVERY == 0 else USER


def workflow_id(number: int) -> bytes:
    """The id of a workflow that is loaded."""
    return ids.workflow_id(_owner(number), f"flow-{number % _WORKFLOW_NAMES}", _subject(number))


def node_id(number: int) -> bytes:
    """The id of a node that is loaded."""
    return ids.node_id(workflow_id(number // NODES_PER_WORKFLOW), b"bench", number)


def _tid(workflow: int) -> str:
    return f"{workflow:07x}"


def _key(number: int) -> str:
    return f'"bank-{number % _KEYS}"'


def load(engine: Engine, nodes: int, seed: int) -> None:
    """Fill the tables with so many nodes, and a tenth as many workflows."""
    with engine.begin() as connection:
        build_anew(connection, "bench")
        tables.drop_search_indexes(connection)
    totals: Counter[int] = Counter()
    grams: dict[int, set[str]] = {METADATA: set(), SUBJECTS: set()}
    rng = random.Random(seed)  # noqa: S311 - it is to be the same every time
    workflows = nodes // NODES_PER_WORKFLOW
    for first in range(0, workflows, _BATCH_WORKFLOWS):
        batch = _Rows(rng, _SPAN_MS / max(1, nodes))
        for number in range(first, min(first + _BATCH_WORKFLOWS, workflows)):
            batch.add(number)
        with engine.begin() as connection:
            batch.write(connection)
        totals.update(batch.totals)
        grams[METADATA].update(grams_of(row[1] for row in batch.bodies))
        grams[SUBJECTS].update(grams_of(row[8] for row in batch.workflows))
    with engine.begin() as connection:
        _insert(connection, tables.node_states, list(totals.items()))
        _insert(
            connection,
            tables.text_grams,
            [(kind, gram) for kind, grams_of_kind in grams.items() for gram in grams_of_kind],
        )
        tables.create_indexes(connection)
    with engine.begin() as connection:
        analyze(connection)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


class _Rows:
    """Rows of some workflows and all that belongs to them."""

    def __init__(self, rng: random.Random, step_ms: float) -> None:
        self._rng = rng
        self._step_ms = step_ms
        self._paths = list(_PATHS)
        self._weights = [path[0] for path in _PATHS]
        self.workflows: list[tuple[Any, ...]] = []
        self.nodes: list[tuple[Any, ...]] = []
        self.bodies: list[tuple[Any, ...]] = []
        self.changes: list[tuple[Any, ...]] = []
        self.states: list[tuple[Any, ...]] = []
        self.totals: Counter[int] = Counter()

    def add(self, number: int) -> None:
        """Add a workflow with its nodes."""
        user = _owner(number)
        name = f"flow-{number % _WORKFLOW_NAMES}"
        identity = workflow_id(number)
        user_key, name_key = states.user_key(user), states.name_key(user, name)
        created = _BEGIN_MS + int(number * NODES_PER_WORKFLOW * self._step_ms)
        body = _encode(rows.WorkflowBody(user, name, "D", created, False, None))
        subject = _subject(number).decode()
        self.workflows.append((number + 1, identity, user_key, name_key, created, 1, 0, 0, subject, body))
        state_counts: Counter[int] = Counter()
        for place in range(NODES_PER_WORKFLOW):
            state_counts[self._add_node(number, place, created, identity, user, user_key)] += 1
        for state, count in state_counts.items():
            self.states.append((number + 1, state, count, user_key, name_key, created, identity))
        self.totals.update(state_counts)

    def _add_node(self, workflow: int, place: int, begin: int, workflow_id: bytes, user: bytes, user_key: int) -> int:
        number = workflow * NODES_PER_WORKFLOW + place
        _, server, client, changes = self._rng.choices(self._paths, self._weights)[0]
        created = begin + int(place * self._step_ms)
        identity = ids.node_id(workflow_id, b"bench", number)
        step = number % _NAMES
        status_bits = 0
        at = created
        # Most are done within minutes, some take days.
        pace = 40_000_000 if self._rng.random() < _LONG else 20_000
        for ordinal, change in enumerate(changes):
            at += int(self._rng.expovariate(1 / pace))
            code = int(change) + (states.SERVER_CODES if isinstance(change, ServerStatus) else 0)
            status_bits |= 1 << code
            self.changes.append((number + 1, ordinal, code, at, user_key, None))
        state = states.pack(server, client, waits=False, had=status_bits)
        node_rest = _encode(rows.NodeRest(created, 1, None, 6))
        key = states.name_key(user, f"step-{step}")
        # The first node of a workflow is above the others; some wait for a slot of a key.
        parent_id = node_id(workflow * NODES_PER_WORKFLOW) if place else None
        tid_key = states.tid_key(_tid(workflow))
        is_at_pool = server is _S.STARTED
        pool_key = states.pool_key(ids.pool_id(user, f"step-{step}", _key(number))) if is_at_pool else None
        node_columns = (number + 1, identity, workflow + 1, user_key, key, created, place + 1, parent_id, tid_key)
        self.nodes.append((*node_columns, pool_key, state, at, 0, len(changes), 0, node_rest))
        body = rows.NodeBody(
            None, user, f"step-{step}", Mode.BLOCKING, "activity", b'{"name":"pay","params":[]}', 1200.0, None, 1, ""
        )
        self.bodies.append((number + 1, _metadata(number), _encode(body)))
        return state

    def write(self, connection: Connection) -> None:
        """Insert all rows, and the texts' trigrams where the database does not make them itself."""
        _insert(connection, tables.workflows, self.workflows)
        _insert(connection, tables.nodes, self.nodes)
        _insert(connection, tables.node_bodies, self.bodies)
        _insert(connection, tables.status_changes, self.changes)
        _insert(connection, tables.workflow_states, self.states)
        if connection.dialect.name == "sqlite":
            _insert_texts(connection, "node_texts", [(row[0], row[1]) for row in self.bodies])
            _insert_texts(connection, "workflow_texts", [(row[0], row[8]) for row in self.workflows])


def _metadata(number: int) -> str:
    step = number % _NAMES
    if step % 4 == 2:  # noqa: PLR2004 - a quarter of the nodes carry none
        return "{}"
    half = "odd" if step % 2 else "even"
    return f'{{"half":"{half}","step":"{step}","place":"shop-{number * 7919 % _PLACES}","order":{number}}}'


def _insert(connection: Connection, table: Table, values: list[tuple[Any, ...]]) -> None:
    if not values:
        return
    cursor = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(table.columns))
        cursor.executemany(f"INSERT INTO {table.name} VALUES ({marks})", values)  # noqa: S608 - our own names
    else:
        with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
            for row in values:
                copy.write_row(row)
    cursor.close()


def _insert_texts(connection: Connection, name: str, values: list[tuple[int, str]]) -> None:
    cursor = connection.connection.cursor()
    cursor.executemany(f"INSERT INTO {name}(rowid, words) VALUES (?, ?)", values)  # noqa: S608 - our own names
    cursor.close()
