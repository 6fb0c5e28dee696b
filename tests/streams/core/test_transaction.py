"""A command is done whole or leaves no trace: wherever it is refused, and wherever the rules or the store fail."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.replies import Reason
from backbeat.streams import core
from backbeat.streams.compiled import is_compiled
from backbeat.streams.core import apply
from backbeat.streams.core.effects import DeadLetter
from backbeat.streams.core.records import Meta, Node
from backbeat.streams.core.step import Refused, refuse
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import JOBS, LIMITS, NODES, STORED_REPLIES
from backbeat.streams.core.transaction import Transaction
from tests.streams.core.every_command import Story, child, fill, go_on, try_the_rest
from tests.streams.core.storing import encoded, put
from tests.streams.state.test_versions import NODE

CORE = Path(core.__file__).parent


class Broken(Exception):  # noqa: N818 - stands for any defect, and for a store that cannot be read
    """What no rule expects."""


class Fragile(MemoryStore):
    """A store that fails when it is read for the so-and-so-many-th time."""

    def __init__(self) -> None:
        super().__init__()
        self.reads_left = -1
        self.was_written = False

    def _read(self) -> None:
        if self.reads_left == 0:
            raise Broken
        self.reads_left -= 1

    def get(self, table, key):
        self._read()
        return super().get(table, key)

    def keys(self, table):
        self._read()
        return super().keys(table)

    def scan(self, table, after, count):
        self._read()
        return super().scan(table, after, count)

    def merge(self, rows, meta, rearmed):
        self.was_written = True
        super().merge(rows, meta, rearmed)

    def state(self):
        """Everything but where the partition is."""
        meta = self.meta
        entries = (meta.settings, meta.limits, meta.pools, meta.refill_cursors, meta.limits_ordered)
        return encoded(self), dict(self.timers), repr((entries, meta.limit_revision, meta.retention, meta.removed))


def every_command():
    """The commands of a story in which each kind comes, and when."""
    story = Story(MemoryStore())
    for part in (fill, go_on, try_the_rest):
        part(story)
    return story.commands


COMMANDS = every_command()


of_python = pytest.mark.skipif(is_compiled(), reason="lines of compiled code are not traced")


@contextmanager
def failing_at(line, error, store):
    """Raise at this line of the rules that is run, unless the store has been given the changes by then."""
    left = line

    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(str(CORE)):
            return None
        if event == "line" and not store.was_written:
            left -= 1
            if left == 0:
                raise error()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_every_kind_of_command_comes_in_the_story():
    assert {type(command) for command, _ in COMMANDS} == set(get_args(c.AnyCommand))


def walk(first, stride, error):
    """Each command fails at one line after the other, then is done."""
    store, failures = Fragile(), 0
    for command, now in COMMANDS:
        if error is refusal and isinstance(command, c.WorkJob):
            apply(command, now, store)  # It goes on with its next change.
            continue
        line = first
        while True:
            before, store.was_written = store.state(), False
            high_water, effects = dict(store.meta.high_water), None
            try:
                with failing_at(line, error, store):
                    effects = apply(command, now, store)
            except (Broken, Refused):
                assert store.state() == before, f"a failed {type(command).__name__} left a trace, line {line}"
            else:
                if not (error is refusal and any(isinstance(effect, DeadLetter) for effect in effects)):
                    break
                put(store, STORED_REPLIES, command.id, None)
                # One that an engine has sent is taken by now, and would be ignored from here on.
                store.meta.high_water = high_water
                assert store.state() == before, f"a refused {type(command).__name__} left a trace, line {line}"
                if line > 5_000:
                    break  # It is refused anyway.
            failures += 1
            line += stride
    return failures


def refusal():
    return refuse(Reason.NOT_FOUND, "refused in the middle")


@of_python
@pytest.mark.parametrize("error", [Broken, refusal], ids=["fails", "is refused"])
@settings(max_examples=3)
@given(first=st.integers(1, 150), stride=st.integers(100, 200))
def test_a_command_that_fails_or_is_refused_at_any_line_leaves_no_trace(error, first, stride):
    assert walk(first, stride, error) > len(COMMANDS)


@of_python
def test_a_change_of_a_job_that_is_refused_at_any_line_leaves_no_trace():
    store = Fragile()
    story = Story(store)
    node_id = story.signal("buy", b'"a"')
    story.complete(node_id, child("pay"), child("send"))
    targets = JobFilter(name="buy", current_status="processing_children")
    begin = c.StartJob(id=story.new_id(), partition=0, action="cancel", filter=targets)
    (work,) = [effect.command for effect in apply(begin, story.now, store)]
    job, refused = copy(store[JOBS][begin.id]), 0
    for line in range(1, 10_000):
        before, store.was_written = store.state(), False
        with suppress(Refused), failing_at(line, refusal, store):
            apply(work, story.now, store)
        outcome = store[JOBS][begin.id]
        if outcome.done:
            break
        refused += outcome.refused
        put(store, JOBS, begin.id, copy(job))
        assert store.state() == before, f"a refused change left a trace, line {line}"
    assert refused > 100


@pytest.mark.prove
@pytest.mark.timeout(0)
@pytest.mark.parametrize("error", [Broken, refusal], ids=["fails", "is refused"])
def test_every_line_once(error):
    assert walk(1, 1, error) > 100 * len(COMMANDS)


def test_a_command_whose_store_fails_at_any_access_leaves_no_trace():
    store, failures = Fragile(), 0
    for command, now in COMMANDS:
        for reads in range(10_000):
            before, store.reads_left = store.state(), reads
            try:
                apply(command, now, store)
            except Broken:
                assert store.state() == before, f"{type(command).__name__} left a trace, access {reads}"
                failures += 1
            else:
                break
    assert failures > 2 * len(COMMANDS)


# --- the transaction itself ------------------------------------------------------------------------------------------


def node(number: int, seq: int) -> Node:
    return Node(**{name: getattr(NODE, name) for name in Node.__struct_fields__} | {"id": key(number), "seq": seq})


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "edit", "put", "delete", "begin", "commit", "rollback"]),
        st.integers(0, 9),
        st.integers(1, 1_000),
    ),
    max_size=60,
)


@given(operations=OPERATIONS)
def test_what_is_read_is_what_a_plain_dictionary_would_have(operations):
    """Transactions within transactions: each sees what it did itself, and what those around it did before."""
    store = MemoryStore()
    stack, plain = [Transaction(store)], [{}, {}]
    for operation, number, seq in operations:
        transaction, rows = stack[-1], plain[-1]
        match operation:
            case "add" if number not in rows:
                transaction.add(NODES, key(number), node(number, seq))
                rows[number] = seq
            case "edit" if number in rows:
                transaction.edit(NODES, key(number)).seq = rows[number] = seq
            case "put":
                transaction.put(NODES, key(number), node(number, seq))
                rows[number] = seq
            case "delete":
                transaction.delete(NODES, key(number))
                rows.pop(number, None)
            case "begin":
                stack.append(Transaction(transaction))
                plain.append(dict(rows))
            case "commit" | "rollback":
                if operation == "commit":
                    transaction.commit()
                    plain[-2] = rows
                plain.pop()
                stack.pop()
                if not stack:
                    stack, plain = [Transaction(store)], [plain[-1], dict(plain[-1])]
        assert {n: stack[-1].get(NODES, key(n)).seq for n in range(10) if stack[-1].get(NODES, key(n))} == plain[-1]
        for after, count in ((None, 3), (key(seq % 10), 2), (None, 100)):
            scanned = [(node_id[-1], row.seq) for node_id, row in stack[-1].scan(NODES, after, count)]
            expected = [(n, plain[-1][n]) for n in sorted(plain[-1]) if after is None or key(n) > after]
            assert scanned == expected[:count]
        assert {node_id[-1]: row.seq for node_id, row in store[NODES].items()} == plain[0]


def test_the_meta_record_is_changed_with_the_rest():
    store = MemoryStore(Meta(removed=1))
    outer = Transaction(store)
    inner = Transaction(outer)
    inner.edit_meta().removed += 1
    inner.put(LIMITS, b"key", "limit")
    assert (store.meta.removed, outer.meta.removed, outer.keys(LIMITS), inner.keys(LIMITS)) == (1, 1, set(), {b"key"})
    inner.commit()
    assert (store.meta.removed, outer.meta.removed, outer.get(LIMITS, b"key")) == (1, 2, "limit")
    assert store.meta.limits == {}
    outer.commit()
    assert (store.meta.removed, store.meta.limits) == (2, {b"key": "limit"})
