"""Causes: which errors are one, and what the tables say of failed nodes whatever comes in which order."""

from __future__ import annotations

import random
import uuid
from collections import Counter

import msgspec
import pytest
from sqlalchemy import func, select

from backbeat.gateway.api.shapes.reports import FAILURE_GROUPS
from backbeat.gateway.projection import NodeFilters
from backbeat.gateway.projection.following.batch import Projector
from backbeat.gateway.projection.reading import causes, failures, search
from backbeat.gateway.projection.storage import facts, tables
from backbeat.gateway.projection.storage.cause import CHARACTERS_MAX, cause_of, fixed_piece
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.core.tree import history
from tests.gateway.projection import records

USER, OTHER = uuid.UUID(int=7).bytes, uuid.UUID(int=8).bytes
S, C = ServerStatus, ClientStatus
FAILED = (S.RETRYING, S.RETRIES_EXHAUSTED, S.ERRORED)


@pytest.mark.parametrize(
    ("error", "cause", "fixed"),
    [
        ("connection refused by bank-7:443", "connection refused by bank-#", "connection refused by bank-"),
        ("order 5b0c6a52-9a3d-8f2b-9c47-2f6f0a1b3c4d is gone", "order # is gone", "is gone"),
        ("550 mailbox <ann@example.org>", "# mailbox <ann@example.org>", "mailbox <ann@example.org>"),
        ("KeyError: 'card'", "KeyError: #", "KeyError:"),
        ("can't take it, don't know", "can't take it, don't know", "can't take it, don't know"),
        ("at 0x7f00aa: deadbeef01 of cafebabe", "at #: # of cafebabe", "of cafebabe"),
        ('no “Grüße” in "a b"', "no # in #", "no"),
        ("10.0.0.7 took 1.5 s at 12:30:01", "# took # s at #", "took"),
        ("no bank 7\nwas found\nby 9", "no bank #\nwas found\nby #", "was found"),
        ("refused by bank\r\n12", "refused by bank\r\n#", "refused by bank"),
        ("12345", "#", ""),
        ("", "", ""),
        ("日本 7", "日本 #", "日本"),
    ],
)  # fmt: skip
def test_what_differs_is_left_out(error, cause, fixed):
    assert cause_of(error).text == cause
    assert cause_of(error).sample == error
    assert fixed_piece(error) == fixed
    assert fixed in error


def test_a_long_error_is_its_beginning():
    error = "word " * 1_000

    assert len(cause_of(error).text) == CHARACTERS_MAX
    assert len(cause_of(error).sample) == 500
    assert fixed_piece(error) in error
    # Nothing that anybody sends makes it slow.
    for hostile in ("'" * 100_000, "a" * 100_000 + "!", "0" * 100_000, '"' + "'" * 99_999):
        assert len(cause_of(hostile).text) <= CHARACTERS_MAX


class World:
    """Workflows whose nodes fail and recover, and a naive account of them."""

    def __init__(self, connection, seed):
        self.connection = connection
        self.chance = random.Random(seed)
        with connection.begin():
            self.projector = Projector(connection)
        self.workflows = [records.workflow(user, f"flow {user[-1]}", b"1", 5) for user in (USER, OTHER)]
        self.nodes = {}
        self.errors = {}
        self.now = 1_000

    def apply(self, *given):
        with self.connection.begin():
            self.projector.apply(given)

    def make(self, number):
        workflow = self.chance.choice(self.workflows)
        node = records.node(workflow, number, 6, name=self.chance.choice(("Charge", "Mail")))
        self.nodes[number] = node
        return node

    def move(self, number):
        """Any change of a node, as an engine would store it: the records of one commit."""
        node = self.nodes[number]
        self.now += 1
        node.server = self.chance.choice([*FAILED, S.SENT_TO_CLIENT, S.COMPLETE])
        node.fires_at = self.now + self.chance.randrange(1_000)
        chunk = []
        if node.server in FAILED:
            word = self.chance.choice(("refused by bank-", "unknown mailbox "))
            error = f"{word}{self.chance.randrange(1_000)}"
            self.errors[number] = (f"{word}#", self.now)
            response = msgspec.json.encode({"error": {"message": error}})
            is_engines = node.server is S.ERRORED
            to = S.ERRORED if is_engines else C.ERRORED
            node.history += history.pack(history.SERVER if is_engines else history.CLIENT, 0, to, self.now, response)
            if not is_engines:
                node.history += history.pack(history.SERVER, 0, node.server, self.now, response, same=True)
        else:
            node.history += history.pack(history.SERVER, 0, node.server, self.now, None)
        if self.chance.random() < 0.3:
            chunk = [records.chunk(node, node.history_chunks, node.history)]
            node.history, node.history_chunks = b"", node.history_chunks + 1
        return [records.record(node), *chunk]

    def expected(self, user_ids):
        account = Counter()
        for number, node in self.nodes.items():
            if node.server in FAILED and node.user_id in user_ids:
                account[node.user_id, node.name, self.errors[number][0], node.server.name.lower()] += 1
        return account

    def next_expected(self, user_ids):
        due = [node.fires_at for node in self.nodes.values() if node.server is S.RETRYING and node.user_id in user_ids]
        return min(due, default=None)

    def next_retry(self, user_ids):
        with self.connection.begin():
            return causes.next_retry(self.connection, user_ids)

    def told(self, user_ids):
        with self.connection.begin():
            answer = causes.causes(self.connection, user_ids, 100)
        return Counter(
            {
                (uuid.UUID(cause.user_id).bytes, cause.activity, cause.cause, word): nodes
                for cause in answer.causes
                for word, nodes in cause.nodes.items()
                if nodes
            }
        )

    def of_cause(self, cause, server=None):
        """Numbers of the nodes that have failed with a cause, as those of a search."""
        user_id = uuid.UUID(cause.user_id).bytes
        return sorted(
            number
            for number, node in self.nodes.items()
            if (node.user_id, node.name) == (user_id, cause.activity)
            and node.server in (FAILED if server is None else (server,))
            and self.errors[number][0] == cause.cause
        )

    def searched(self, cause, user_id=None, **filters):
        """Numbers of the nodes that a search finds by a cause, from several pages."""
        user_id = user_id or uuid.UUID(cause.user_id).bytes
        numbers_of = {node.id: number for number, node in self.nodes.items()}
        rows, page = [], 0
        with self.connection.begin():
            while len(rows) == 2 * page:
                page += 1
                asked = NodeFilters(cause=cause.id, per_page=2, page=page, **filters)
                rows += search.search_nodes(self.connection, user_id, asked)
        return sorted(numbers_of[row.id] for row in rows)

    def grouped(self, by, user_ids, kinds, overdue_until):
        """Numbers of failed nodes by what they are grouped by, and status."""
        account = Counter()
        for node in self.nodes.values():
            is_of_kind = {
                "exhausted": node.server is S.RETRIES_EXHAUSTED,
                "errored": node.server is S.ERRORED,
                "retrying": node.server is S.RETRYING,
                "overdue": node.server is S.RETRYING and node.fires_at <= overdue_until,
            }
            if node.server in FAILED and node.user_id in user_ids and any(map(is_of_kind.get, kinds or is_of_kind)):
                owner = str(uuid.UUID(bytes=node.user_id))
                key = {
                    "activity": (owner, node.name, None),
                    "client": (owner, None, None),
                    "workflow": (owner, None, str(uuid.UUID(bytes=node.workflow_id))),
                }[by]
                account[key, node.server.name.lower()] += 1
        return account


@pytest.mark.parametrize("by", FAILURE_GROUPS)
def test_failures_are_grouped_as_a_naive_account_groups_them(connection, monkeypatch, by):
    world = World(connection, 6)
    world.apply(*map(records.record, world.workflows))
    for number in range(40):
        world.apply(records.record(world.make(number)))
    for _ in range(15):
        world.apply(*(record for number in world.chance.sample(range(40), 10) for record in world.move(number)))
    overdue_until = world.now + 300
    monkeypatch.setattr(facts, "now_ms", lambda: overdue_until + 120_000)
    everybody = [USER, OTHER]
    for user_ids in (None, everybody, [USER], []):
        for kinds in ((), ("exhausted",), ("errored", "retrying"), ("overdue",), ("overdue", "exhausted")):
            with connection.begin():
                answer = failures.failures(connection, user_ids, by, 100, kinds)
                by_cause = causes.causes(connection, user_ids, 100, kinds=kinds)
            expected = world.grouped(by, everybody if user_ids is None else user_ids, kinds, overdue_until)
            told = {
                ((group.user_id, group.activity, group.workflow_id), word): nodes
                for group in answer.groups
                for word, nodes in group.nodes.items()
                if nodes
            }
            assert told == dict(expected)
            assert sum(sum(cause.nodes.values()) for cause in by_cause.causes) == sum(expected.values())
            for kind in answer.kinds:
                asked = everybody if user_ids is None else user_ids
                assert answer.kinds[kind] == sum(world.grouped(by, asked, (kind,), overdue_until).values())
            assert by_cause.kinds == answer.kinds
    assert world.grouped(by, everybody, ("overdue",), overdue_until)
    with connection.begin():
        answer = failures.failures(connection, None, by, 1)
        assert answer.more == len(failures.failures(connection, None, by, 100).groups) - 1
    (group,) = answer.groups
    assert group.first_at <= group.last_at
    assert (group.subject, group.workflows) == ("1", 1) if by == "workflow" else (group.subject is None)


@pytest.mark.parametrize("way", ["candidates", "scan"])
def test_a_search_by_cause_finds_its_nodes_and_no_others(connection, monkeypatch, way):
    if way == "scan":
        for name, bound in (("_FIRST_ROWS", 1), ("_FEW", 1), ("_MANY", 1), ("_ROWS_MORE", 3)):
            monkeypatch.setattr(search, name, bound)
    world = World(connection, 5)
    world.apply(*map(records.record, world.workflows))
    for number in range(40):
        world.apply(records.record(world.make(number)))
    for _ in range(15):
        world.apply(*(record for number in world.chance.sample(range(40), 10) for record in world.move(number)))
    with connection.begin():
        (cause, *_) = shown = causes.causes(connection, None, 100).causes
    assert len(shown) > 4
    for each in shown:
        assert world.searched(each) == world.of_cause(each)
        for server in FAILED:
            assert world.searched(each, current_status=server.name.lower()) == world.of_cause(each, server)
        for workflow in world.workflows:
            wanted = world.of_cause(each) if workflow.user_id == uuid.UUID(each.user_id).bytes else []
            assert world.searched(each, workflow_id=workflow.id) == wanted
        assert world.searched(each, name=each.activity, status_start_ms=0) == world.of_cause(each)
        with connection.begin():
            assert causes.text_of(connection, None, each.id) == each.cause
            assert causes.text_of(connection, [uuid.UUID(each.user_id).bytes], each.id) == each.cause
    assert world.of_cause(cause)
    # Of another activity or client, or at a status that none has failed at, there is none.
    for nothing in ({"name": "Other"}, {"current_status": "complete"}, {"current_status": "nonsense"}):
        assert world.searched(cause, **nothing) == []
    others = OTHER if uuid.UUID(cause.user_id).bytes == USER else USER
    assert world.searched(cause, others) == []
    with connection.begin():
        assert causes.text_of(connection, [others], cause.id) is None
        for no_cause in ("", "x", "0" * 16):
            assert search.search_nodes(connection, USER, NodeFilters(cause=no_cause)) == []
            assert causes.text_of(connection, None, no_cause) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_tables_say_what_a_naive_account_says(connection, seed):
    world = World(connection, seed)
    world.apply(*map(records.record, world.workflows))
    for number in range(60):
        world.apply(records.record(world.make(number)))
    for _ in range(40):
        batch = [record for number in world.chance.sample(range(60), 10) for record in world.move(number)]
        world.apply(*records.shuffled(batch, seed))
        assert world.told([USER, OTHER]) == world.expected({USER, OTHER})
        assert world.next_retry(None) == world.next_expected({USER, OTHER})
        assert world.next_retry([USER]) == world.next_expected({USER})
    assert world.told([USER]) == world.expected({USER})
    assert world.told(None) == world.expected({USER, OTHER})
    assert world.told([]) == Counter()
    for workflow in world.workflows:
        with connection.begin():
            ids = causes.failed_of_workflow(connection, workflow.id, FAILED, 100)
            by_parent = causes.failed_by_parent(connection, workflow.id)
        failed = [node for node in world.nodes.values() if node.workflow_id == workflow.id and node.server in FAILED]
        assert ids == [node.id for node in sorted(failed, key=lambda node: node.seq)]
        assert sum(by_parent[None].values()) == len(failed)
    # Whoever is gone leaves nothing.
    world.apply(*((records.record(node)[0], None) for node in world.nodes.values()))
    assert world.told(None) == Counter()
    with connection.begin():
        for table in (tables.failed_nodes, tables.causes):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_cause_says_since_when_of_how_many_workflows_and_how_many_lately(connection, monkeypatch):
    world = World(connection, 1)
    world.apply(*map(records.record, world.workflows))
    hour = 3_600_000
    monkeypatch.setattr(facts, "now_ms", lambda: 2 * hour)
    for number, at in enumerate((5, hour + 1, 2 * hour - 1, 2 * hour + 5_000)):
        node = records.node(world.workflows[0], number, 5, server=S.RETRIES_EXHAUSTED)
        response = msgspec.json.encode({"error": {"message": f"no. {number}"}})
        node.history = history.pack(history.CLIENT, 0, C.ERRORED, at, response)
        world.apply(records.record(node))
    with connection.begin():
        answer = causes.causes(connection, None, 10)
    (cause,) = answer.causes
    assert (cause.cause, cause.sample, cause.fixed, cause.failing) == ("no. #", "no. 0", "no.", 4)
    assert (cause.workflows, cause.first_at, cause.last_at) == (1, 5, 2 * hour + 5_000)
    assert cause.last_hour == [1, *[0] * 10, 2]


def test_of_many_causes_the_largest_are_shown(connection):
    world = World(connection, 1)
    world.apply(*map(records.record, world.workflows))
    for number in range(6):
        node = records.node(world.workflows[0], number, 5, server=S.RETRYING if number < 3 else S.ERRORED)
        to, machine = (S.ERRORED, history.SERVER) if number >= 3 else (C.ERRORED, history.CLIENT)
        response = msgspec.json.encode({"error": "abc"[number % 3 if number < 3 else 0]})
        node.history = history.pack(machine, 0, to, 7, response)
        world.apply(records.record(node))
    with connection.begin():
        answer = causes.causes(connection, None, 2)
    assert [(cause.cause, cause.failing) for cause in answer.causes] == [("a", 3), ("b", 0)]
    assert answer.more == 1
    # The figures above the list are of all.
    with connection.begin():
        for cause in answer.causes:
            alone = causes.causes(connection, None, 1, cause.id)
            assert [cause] == alone.causes
        assert causes.causes(connection, [OTHER], 1, answer.causes[0].id).causes == []
        for no_id in ("", "0" * 16, "1) OR (1 = 1", "f" * 17):
            none = causes.causes(connection, None, 1, no_id)
            assert (none.causes, none.more, none.failing) == ([], 0, 0)
    assert (answer.failing, answer.nodes) == (3, {"retries_exhausted": 0, "errored": 3, "retrying": 3})


def test_a_deactivation_ahead_of_the_records_ends_a_failure(connection):
    world = World(connection, 1)
    workflow = world.workflows[0]
    node = records.node(workflow, 1, 6, server=S.RETRIES_EXHAUSTED)
    node.history = history.pack(history.CLIENT, 0, C.ERRORED, 7, b'"no"')
    world.apply(records.record(workflow), records.record(node))
    assert sum(world.told(None).values()) == 1
    workflow.watermark = 2
    world.apply(records.record(workflow))
    assert world.told(None) == Counter()
