"""The small parts: tables, retry, history, ids, records, routes."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas import routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.status import MODE_WORDS, ClientStatus, Mode, ServerStatus, word
from backbeat.schemas.messages.values import Backoff
from backbeat.streams.core import retry
from backbeat.streams.core.tree import history, status
from tests.streams.core import naive
from tests.streams.core.rig import CAMERA, CAMERA_ID, new, running
from tests.streams.core.world import USER


def test_the_tables_are_those_of_the_document():
    for machine, table, mine in [
        (ClientStatus, status.CLIENT_TRANSITIONS, naive.CLIENT),
        (ServerStatus, status.SERVER_TRANSITIONS, naive.SERVER),
    ]:
        assert {word(x): {word(y) for y in to} for x, to in table.items()} == mine
        assert set(table) == set(machine)
    assert MODE_WORDS["fire_and_forget"] is Mode.FIRE_AND_FORGET


def test_no_node_leaves_deactivated():
    assert status.SERVER_TRANSITIONS[ServerStatus.DEACTIVATED] == {ServerStatus.DEACTIVATED}


# --- retry -----------------------------------------------------------------------------------------------------------


@given(node=st.binary(min_size=16, max_size=16), attempt=st.integers(0, 2**40))
def test_jitter_is_within_a_fifth_and_is_always_the_same(node, attempt):
    assert 0.8 <= retry.jitter(node, attempt, 0.2) < 1.2
    assert retry.jitter(node, attempt, 0.2) == retry.jitter(node, attempt, 0.2)


@given(interval=st.floats(0, 1e308), left=st.integers(0, 1_000))
def test_a_delay_is_bounded(interval, left):
    delay = retry.delay_ms(b"n" * 16, 1, interval, left)
    assert isinstance(delay, int)
    assert 0 <= delay <= 10 * 365 * 86_400_000


def test_jitter_is_spread():
    factors = [retry.jitter(bytes([n]) * 16, 1, 0.2) for n in range(200)]
    assert max(factors) > 1.15
    assert min(factors) < 0.85


@given(
    first=st.floats(0, 1e308),
    spent=st.integers(-3, 2**31),
    factor=st.floats(1, 1e308),
    longest=st.floats(0, 1e308),
    share=st.floats(0, 1),
)
def test_a_wait_of_a_backoff_is_bounded(first, spent, factor, longest, share):
    wait = retry.backoff_ms(b"n" * 16, 1, first, spent, Backoff(factor, longest, share))
    assert isinstance(wait, int)
    assert 0 <= wait <= min(10 * 365 * 86_400_000, longest * 2_000)


@pytest.mark.parametrize(("first", "backoff", "waits"), [
    (60.0, Backoff(2.0, 3600.0, 0.0), [60, 120, 240, 480, 960, 1920, 3600, 3600]),
    (7200.0, Backoff(2.0, 3600.0, 0.0), [3600, 3600]),
    (0.0, Backoff(2.0, 3600.0, 0.0), [0, 0]),
    (5.0, Backoff(1.0, 3600.0, 0.0), [5, 5]),
    (0.5, Backoff(3.0, 10.0, 0.0), [0.5, 1.5, 4.5, 10, 10]),
])  # fmt: skip
def test_the_first_wait_is_the_interval_and_each_is_longer_up_to_the_longest(first, backoff, waits):
    intervals = [retry.backoff_ms(b"n" * 16, 1, first, spent, backoff) for spent in range(1, len(waits) + 1)]
    assert intervals == [wait * 1_000 for wait in waits]


# --- history ---------------------------------------------------------------------------------------------------------

ENTRIES = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 7),
        st.integers(0, 7),
        st.integers(-(2**62), 2**62),
        st.none() | st.binary(min_size=1),
    ),
    max_size=8,
)


@given(entries=ENTRIES)
def test_history_comes_back_as_it_was_packed(entries):
    packed = b"".join(
        history.pack(int(server), before, to, at, response) for server, before, to, at, response in entries
    )
    unpacked = [(x.server, x.from_status, x.to_status, x.at, x.response) for x in history.unpack(packed)]
    assert unpacked == entries


def test_a_response_that_is_the_same_is_stored_once():
    response = b'"' + b"x" * 1_000 + b'"'
    change = history.pack(history.CLIENT, 2, 4, 5, response)
    two = history.pack(history.SERVER, 3, 4, 5, response, same=True)
    assert len(two) < 20
    client, server = history.unpack(change + two)
    assert client.response == server.response == response
    assert (client.status_type, server.status_type) == ("current_client_status", "current_server_status")


def test_a_long_history_goes_to_chunks_and_stays_whole():
    rig = running(new("a", retries=100, retry_interval_seconds=0.0))
    for number in range(40):
        rig.error("a", response=b'{"error":"%d %s"}' % (number, b"x" * 100))
        rig.due("a")
    errors = [entry for entry in rig.history(rig["a"]) if entry[2] == "errored"]
    assert [entry[4].split(b" ")[0] for entry in errors] == [b'{"error":"%d' % number for number in range(40)]
    assert rig.row("a").history_chunks > 2
    assert len(rig.row("a").history) <= history.INLINE_BYTES_MAX


# --- ids and routes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "expected"), [
    # From Kafka's own UtilsTest.
    (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
])  # fmt: skip
def test_murmur2_is_kafkas(data, expected):
    assert ids.murmur2(data) == expected % 2**32


@given(
    subject=st.binary(),
    name=st.text(max_size=5),
    command=st.binary(min_size=16, max_size=16),
    index=st.integers(0, 10**6),
)
def test_a_node_lies_where_its_workflow_lies(subject, name, command, index):
    workflow = ids.workflow_id(USER, name, subject)
    node = ids.node_id(workflow, command, index)
    assert node[: ids.PREFIX_BYTES] == workflow[: ids.PREFIX_BYTES]
    assert node != workflow
    assert ids.is_ours(node)
    assert ids.is_ours(workflow)
    for partitions in (1, 3, 8):
        assert ids.partition_of(node, partitions) == (ids.murmur2(subject) & 0x7FFFFFFF) % partitions
        assert ids.partition_of(routes.route_of_subject(subject), partitions) == ids.partition_of(node, partitions)


def test_ids_differ_in_every_part():
    made = [
        ids.workflow_id(u, n, s) for u, n, s in itertools.product([b"u" * 16, b"v" * 16], ["a", "ab"], [b"1", b"b1"])
    ]
    made += [ids.node_id(CAMERA_ID, bytes([n]) * 16, i) for n in range(3) for i in range(3)]
    made += [ids.command_id(b"a", b"bc"), ids.command_id(b"ab", b"c")]
    assert len(set(made)) == len(made)


def test_ids_that_were_not_made_here_are_recognised():
    assert not ids.is_ours(b"")
    assert not ids.is_ours(b"\0" * 16)
    assert not ids.is_ours(bytes.fromhex("0123456789ab4cdef0123456789abcde")[:16])
    assert not ids.is_ours(CAMERA_ID[:8] + b"\xff" + CAMERA_ID[9:])


def test_every_command_has_a_route():
    assert set(routes.ROUTES) == set(get_args(c.AnyCommand))


def test_routes():
    node, carried = b"n" * 16, {"id": b"i" * 16}
    assert routes.route(c.CreateWorkflow(**carried, workflow=CAMERA)) == CAMERA_ID[:4]
    by_workflow = {"workflow_id": node}
    assert routes.route(c.Signal(**carried, **by_workflow, node=new("a"))) == node
    assert routes.route(c.ChangeWorkflow(**carried, **by_workflow, change="pause")) == node
    assert routes.route(c.Continue(**carried, **by_workflow, tasks=())) == node
    assert routes.route(c.OpenLink(**carried, target_id=node, child_id=b"c" * 16)) == node
    assert routes.route(c.CloseLink(**carried, target_id=node, child_id=b"c" * 16)) == node
    assert routes.route(c.ChangeSettings(**carried, settings=Settings())) is None
    for command in (
        c.ChangeNode(**carried, node_id=node, status="completed"), c.AddChildren(**carried, node_id=node, children=()),
        c.RestartNode(**carried, node_id=node), c.ResetNode(**carried, node_id=node),
        c.ScheduleNode(**carried, node_id=node), c.Heartbeat(**carried, node_id=node, attempt=1),
        c.DeliveryFailed(**carried, node_id=node, attempt=1, response=b"{}"),
        c.FailNode(**carried, node_id=node, message=""),
    ):  # fmt: skip
        assert routes.route(command) == node


# --- records ---------------------------------------------------------------------------------------------------------


def test_every_record_survives_its_encoding():
    rig = running(new("a"), new("b"), partitions=4)
    rig.error("a")
    for row in [*rig.nodes().values(), *rig.workflows().values(), *(store.meta for store in rig.stores)]:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=type(row)) == row
