"""ChangeLimit, SpreadLimit, AskSlot, GrantSlot, ReleaseSlot, FillPool: how many of an activity type are out at once."""

import itertools
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import LimitValues, PoolView, limit_key
from backbeat.schemas.messages.queries import GetLimits, query_route
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core import effects as e
from backbeat.streams.core import queries
from backbeat.streams.core.limits import slots, views
from backbeat.streams.core.tables import FAIRNESS_QUEUES, POOLS, SLOT_TICKETS
from tests.streams.core.rig import NON_BLOCKING, Rig, id_of, new, workflow
from tests.streams.core.test_slices import Counting
from tests.streams.core.world import OTHER, USER, Happened, World, reply_to

BANK = "Send to Bank"
POOL = ids.pool_id(USER, BANK, "")


class Bank(Rig):
    """Workflows whose signals are the limited activity: their subjects say which."""

    def limit(self, *, activity=BANK, paused=None, client_id=USER, user_id=USER, values=True, now=None, **bounds):
        return self.ask(
            c.ChangeLimit,
            client_id=client_id,
            user_id=user_id,
            activity=activity,
            values=LimitValues(**bounds) if values else None,
            paused=paused,
            now=now,
        )

    def pay(self, subject, now=None, **given):
        """A signal of this subject; what was sent because of it."""
        of = workflow(msgspec.json.encode(subject))
        node = new(BANK, type="decision", **given)
        command = c.Signal(id=self.new_id(), user_id=USER, workflow_id=id_of(of), workflow=of, node=node)
        return self.subjects(self.do(command, now))

    def row_of(self, subject):
        nodes = [n for n in self.nodes().values() if self.subject(n.workflow_id) == subject]
        return nodes[-1]

    def subject(self, workflow_id):
        return msgspec.json.decode(self.workflows()[workflow_id].subject)

    def subjects(self, happened):
        return [msgspec.json.decode(effect.node.subject) for effect in happened.of(e.Dispatch)]

    def granted(self, happened):
        """Whose turn it was, in order: what is sent by several partitions is in no order."""
        grants = [effect.command for effect in happened.of(e.Send) if isinstance(effect.command, c.GrantSlot)]
        return [self.subject(self.node(grant.node_id).workflow_id) for grant in grants]

    def end(self, subject, word="completed", now=None, **given):
        command = c.ChangeNode(
            id=self.new_id(), user_id=USER, node_id=self.row_of(subject).id, status=word, reply_to=reply_to(), **given
        )
        return self.subjects(self.do(command, now))

    def out(self):
        return sorted(
            self.subject(n.workflow_id) for n in self.nodes().values() if n.server is ServerStatus.SENT_TO_CLIENT
        )

    def pool(self, identity=POOL):
        return self.store_of(identity)[POOLS].get(identity)


def limited(partitions=4, settings_=None, **bounds):
    bank = Bank(partitions, settings_)
    bank.limit(**bounds)
    return bank


def busy(count=6, **bounds):
    """So many payments asked for, of which the first may be out."""
    bank = limited(**bounds)
    for subject in range(count):
        bank.pay(subject, now=bank.now + 1)
    return bank


def test_no_more_than_the_limit_are_out_and_the_next_starts_when_one_is_answered():
    bank = busy(concurrency=2)
    assert bank.out() == [0, 1]
    assert bank.row_of(2).server is ServerStatus.STARTED
    assert bank.end(1) == [2]
    assert bank.end(0) == [3]
    assert [bank.end(subject) for subject in (2, 3, 4, 5)] == [[4], [5], [], []]
    assert bank.pool() is None


def test_complete_by_runs_from_the_grant():
    bank = busy(count=2, concurrency=1)
    waiting = bank.row_of(1)
    assert (waiting.attempt, waiting.complete_by, waiting.timer_at) == (0, None, None)
    bank.end(0, now=9_000_000)
    assert (bank.row_of(1).attempt, bank.row_of(1).complete_by) == (1, 9_000_000 + 172_800_000)


@pytest.mark.parametrize("word", ["completed", "errored", "canceled"])
def test_an_attempt_that_ends_gives_its_slot_back(word):
    bank = busy(concurrency=1)
    assert bank.end(0, word) == [1]


def test_a_retry_asks_again_and_waits_behind_those_that_were_there():
    bank = busy(count=3, concurrency=1)
    assert bank.end(0, "errored") == [1]
    node = bank.row_of(0)
    assert bank.subjects(bank.fire(node.id)) == []
    assert bank.row_of(0).slot_number == 2
    assert [bank.end(1), bank.end(2)] == [[2], [0]]


def test_an_expired_attempt_gives_its_slot_back():
    bank = busy(count=2, concurrency=1)
    assert bank.subjects(bank.fire(bank.row_of(0).id)) == [1]


def test_deactivate_previous_reset_and_a_defect_give_slots_back():
    bank = Bank(4)
    bank.limit(activity="a", concurrency=1)
    bank.signal("first")
    bank.complete("first", new("a"))
    bank.signal("second", of=workflow(b"2"))
    bank.complete("second", new("b", NON_BLOCKING), new("a", NON_BLOCKING, metadata=b'{"n":2}'))
    waiting = next(n for n in bank.nodes().values() if n.metadata == b'{"n":2}')
    assert waiting.server is ServerStatus.STARTED
    happened = bank.do(c.FailNode(id=bank.new_id(), node_id=waiting.id, message="broke"))
    assert [effect.message for effect in happened.of(e.Notify)] == ["Server Error"]
    bank.do(c.RestartNode(id=bank.new_id(), node_id=waiting.id))
    assert bank.reset("first").dispatches == [(waiting.id, 1)]
    bank.signal("third", of=workflow(b"2"))
    bank.complete("b")
    bank.do(c.ResetNode(id=bank.new_id(), node_id=bank["second"]))
    bank.say("deactivated", "third")
    assert bank.pool(ids.pool_id(USER, "a", "")) is None


def test_a_waiting_node_that_is_canceled_leaves_the_line():
    bank = busy(count=4, concurrency=1)
    assert bank.end(1, "canceled") == []
    assert bank.end(2, "canceled") == []
    assert bank.end(0) == [3]


def test_a_grant_that_crosses_a_cancel_comes_back():
    bank = busy(count=3, concurrency=1)
    bank.send(c.ChangeNode(id=bank.new_id(), user_id=USER, node_id=bank.row_of(0).id, status="completed"))
    bank.send(c.ChangeNode(id=bank.new_id(), user_id=USER, node_id=bank.row_of(1).id, status="canceled"))
    happened = bank.drain()
    assert bank.subjects(happened) == [2]
    bank.check()


def test_a_failed_and_restarted_node_takes_no_grant_of_an_earlier_asking():
    bank = busy(count=2, concurrency=1)
    node = bank.row_of(1)
    stale = c.GrantSlot(id=bank.new_id(), pool_id=POOL, node_id=node.id, number=node.slot_number)
    bank.do(c.FailNode(id=bank.new_id(), node_id=node.id, message="broke"))
    bank.do(c.RestartNode(id=bank.new_id(), node_id=node.id))
    assert bank.do(stale).of(e.Dispatch) == []
    assert bank.out() == [0]


def test_repeats_neither_take_nor_free_twice():
    bank = busy(concurrency=2)
    bank.end(0)
    before = bank.snapshot()
    for command in list(bank.delivered):
        happened = bank.repeat(command)
        assert {type(effect) for effect in happened.effects} == {e.Ignored}
    assert bank.snapshot() == before


def test_other_types_other_clients_and_flags_go_their_way():
    bank = limited(concurrency=1)
    bank.pay("first")
    happened = bank.signal("another")
    assert happened.dispatched == ["another"]
    assert not [effect for effect in happened.of(e.Send) if isinstance(effect.command, c.AskSlot)]
    bank.complete("another", new(BANK, user_id=OTHER), new(BANK, type="flag"))
    other = next(n for n in bank.nodes().values() if n.user_id == OTHER)
    assert other.server is ServerStatus.SENT_TO_CLIENT
    bank.do(c.ChangeNode(id=bank.new_id(), node_id=other.id, status="completed"))
    assert all(n.server is ServerStatus.COMPLETE for n in bank.nodes().values() if n.type == "flag")


# --- who is next ------------------------------------------------------------------------------------------------------


def served(bank, first):
    """Who is served after `first`, one answer after the other."""
    order, current = [], first
    while (dispatched := bank.end(current, now=bank.now + 1)) != []:
        (current,) = dispatched
        order.append(current)
    return order


def test_higher_priority_goes_first_then_age():
    bank = limited(concurrency=1)
    bank.pay("out")
    for subject, priority in (("c3", 3), ("e5", 5), ("a1", 1), ("d3", None), ("b1", 1)):
        bank.pay(subject, priority=priority, now=bank.now + 1)
    assert served(bank, "out") == ["a1", "b1", "c3", "d3", "e5"]


def test_fairness_keys_take_turns():
    bank = limited(concurrency=1)
    bank.pay("out")
    for subject in ("x1", "x2", "x3", "x4", "y1", "y2", "z1"):
        bank.pay(subject, fairness_key=subject[0], now=bank.now + 1)
    assert served(bank, "out") == ["x1", "y1", "z1", "x2", "y2", "x3", "x4"]


def test_a_newcomer_waits_for_its_turn_but_not_for_those_who_have_many():
    bank = limited(concurrency=1)
    bank.pay("out")
    for subject in ("x1", "x2", "x3"):
        bank.pay(subject, fairness_key="x", now=bank.now + 1)
    assert bank.end("out") == ["x1"]
    bank.pay("y1", fairness_key="y")
    assert served(bank, "x1") == ["x2", "y1", "x3"]


def test_a_waiting_node_grows_older_into_a_higher_priority():
    bank = limited(concurrency=1, aging_seconds=60)
    bank.pay("out")
    bank.pay("old", priority=5)
    bank.pay("new", priority=3, now=bank.now + 121_000)
    # It counts as priority 3 by now, as another does, and is older; as priority 2 it does not count yet.
    bank.pay("newer", priority=2)
    assert served(bank, "out") == ["newer", "old", "new"]


def test_nobody_starves():
    bank = limited(concurrency=1, aging_seconds=10)
    bank.pay("out")
    bank.pay("last", priority=5)
    current, waited = "out", 0
    while current != "last":
        bank.pay(f"urgent {waited}", priority=1, now=bank.now + 1_000)
        (current,) = bank.end(current)
        waited += 1
    assert 40 <= waited <= 42


def test_children_inherit_priority_and_fairness_key():
    bank = Bank()
    bank.signal("signal", priority=1, fairness_key="acme")
    bank.complete("signal", new("a"), new("b", priority=4, fairness_key=""))
    assert [(bank.row(n).priority, bank.row(n).fairness_key) for n in "ab"] == [(1, "acme"), (4, "")]


@pytest.mark.parametrize("given_", [{"priority": 0}, {"priority": 6}, {"fairness_key": "x" * 1025}])
def test_a_priority_or_key_that_is_none_is_refused(given_):
    answer = Bank().signal("signal", **given_).reply
    assert answer.reason in (Reason.INVALID_PARAMETERS, Reason.LIMIT_EXCEEDED)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("subject", ['{"id":1}', '{"id":2}']),
        ("subject.id", ["1", "2"]),
        ("metadata.bank", ['"B1"', '"B2"']),
        ("client_data.params[1]", ['"é"', "null"]),
        ("client_data.params[9].deep", ["null", "null"]),
        ("metadata.bank.deeper", ["null", "null"]),
        ("metadata", ['{"bank":"B1"}', '{"bank":"B2"}']),
    ],
)
def test_each_value_of_the_key_has_slots_of_its_own(path, keys):
    bank = limited(concurrency=1, key=path)
    datas = ['{"params":[0,"é"]}'.encode(), b'{"params":[0]}']
    for number, data in zip((1, 2), datas, strict=True):
        bank.pay({"id": number}, metadata=b'{"bank":"B%d"}' % number, client_data=data)
    pools = {pool.key: pool for store in bank.stores for pool in store[POOLS].values()}
    assert set(pools) == set(keys)
    assert sum(pool.in_use for pool in pools.values()) == len(set(keys))


# --- pause ------------------------------------------------------------------------------------------------------------


def test_a_paused_type_starts_nothing_and_is_resumed_in_order():
    bank = Bank(4)
    bank.pay("before")
    bank.limit(paused=True, values=False)
    assert [bank.pay(n, now=bank.now + 1) for n in range(3)] == [[], [], []]
    assert bank.end("before") == []
    assert bank.granted(bank.limit(paused=False, values=False)) == [0, 1, 2]
    assert not any(store.meta.limits for store in bank.stores)
    assert bank.pay("after") == ["after"]
    for subject in (0, 1, 2, "after"):
        bank.end(subject)
    assert bank.pool() is None


def test_a_workflow_that_was_paused_meanwhile_keeps_its_node_and_gives_the_slot_on():
    bank = busy(count=3, concurrency=1)
    of = workflow(b"1")
    bank.workflow("pause", of)
    assert bank.end(0) == [2]
    assert bank.row_of(1).server is ServerStatus.PAUSED
    assert bank.subjects(bank.workflow("resume", of)) == []
    assert bank.end(2) == [1]


# --- changes of the limit ---------------------------------------------------------------------------------------------


def test_a_limit_that_is_raised_lets_those_in_who_wait():
    bank = busy(concurrency=1)
    assert bank.granted(bank.limit(concurrency=4)) == [1, 2, 3]


def test_a_limit_that_is_lowered_lets_nobody_in_until_enough_are_back():
    bank = busy(count=6, concurrency=4)
    assert bank.subjects(bank.limit(concurrency=2)) == []
    assert [bank.end(0), bank.end(1), bank.end(2)] == [[], [], [4]]


def test_a_limit_that_is_removed_holds_nobody():
    bank = busy(concurrency=1)
    assert bank.granted(bank.limit()) == [1, 2, 3, 4, 5]
    assert not any(store.meta.limits for store in bank.stores)
    for subject in range(6):
        bank.end(subject)
    assert bank.pool() is None


def test_what_asked_before_its_limit_was_removed_starts():
    bank = limited(concurrency=1)
    of = workflow(b"1")
    bank.send(
        c.Signal(id=bank.new_id(), user_id=USER, workflow_id=id_of(of), workflow=of, node=new(BANK, type="decision"))
    )
    gone = c.SpreadLimit(
        id=bank.new_id(),
        limit=msgspec.structs.replace(bank.stores[0].meta.limits[limit_key(USER, BANK)], values=LimitValues()),
    )
    bank.send(gone)
    assert bank.subjects(bank.drain()) == [1]


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3])
def test_a_change_over_many_pools_goes_on_in_slices(slice_nodes_max):
    bank = limited(2, Settings(slice_nodes_max=slice_nodes_max), concurrency=1, key="metadata.bank")
    for number in range(24):
        bank.pay(number, metadata=b'{"bank":%d}' % (number % 6), now=bank.now + 1)
    assert len(bank.out()) == 6
    happened = bank.limit(concurrency=3, key="metadata.bank")
    assert len(happened.of(e.Dispatch)) == 12
    assert any(isinstance(effect.command, c.FillPool) for effect in happened.of(e.Send))
    assert len(bank.limit(key="metadata.bank").of(e.Dispatch)) == 6


def test_pools_that_empty_while_a_change_goes_through_them_break_no_chain():
    bank = limited(1, Settings(slice_nodes_max=1), concurrency=1, key="metadata.bank")
    for number in range(12):
        bank.pay(number, metadata=b'{"bank":%d}' % (number % 6), now=bank.now + 1)
    for word in ("completed", "canceled"):
        chance = random.Random(word)
        bank.send(
            c.ChangeLimit(
                id=bank.new_id(), client_id=USER, activity=BANK,
                values=LimitValues(concurrency=2, key="metadata.bank"),
            )
        )  # fmt: skip
        for node in list(bank.nodes().values()):
            if node.server in (ServerStatus.SENT_TO_CLIENT, ServerStatus.STARTED):
                bank.deliver(Happened(), chance)
                if node.server is ServerStatus.SENT_TO_CLIENT or word == "canceled":
                    bank.send(c.ChangeNode(id=bank.new_id(), node_id=node.id, status=word))
        bank.drain(chance=chance)
        bank.check()
    assert not bank.stores[0][POOLS]


def test_changes_are_ordered_by_one_partition_and_reach_all():
    bank = Bank(4)
    first = c.ChangeLimit(id=bank.new_id(), client_id=USER, activity=BANK, values=LimitValues(concurrency=3))
    second = c.ChangeLimit(id=bank.new_id(), client_id=USER, activity=BANK, paused=True, reply_to=reply_to())
    bank.send(first)
    (view,) = bank.send(second).reply.limits
    assert (view.limit.values.concurrency, view.limit.paused, view.limit.revision) == (3, True, 2)
    bank.drain()
    assert [store.meta.limits for store in bank.stores] == [{limit_key(USER, BANK): view.limit}] * 4
    bank.check()


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({"concurrency": 0}, "0"),
        ({"rate_count": 0}, "0"),
        ({"rate_count": 1, "rate_burst": 0}, "0"),
        ({"rate_period_seconds": 0.0}, "0.0"),
        ({"aging_seconds": -1.0}, "-1.0"),
        ({"aging_seconds": float("nan")}, "nan"),
        ({"key": "params[0]"}, "params[0]"),
        ({"key": "metadata..x"}, "metadata..x"),
        ({"key": "metadata[x]"}, "metadata[x]"),
        ({"key": "metadata." + "x" * 200}, "metadata." + "x" * 200),
    ],
)
def test_bounds_that_nobody_can_mean_are_refused(bounds, found):
    answer = Bank().limit(**bounds).reply
    assert (answer.reason, answer.found) == (Reason.INVALID_PARAMETERS, found)


def test_a_client_limits_activities_of_its_own_only():
    assert Bank().limit(client_id=OTHER, concurrency=1).reply.reason is Reason.NOT_FOUND
    assert Bank().limit(client_id=OTHER, user_id=None, concurrency=1).reply.limits


@pytest.mark.parametrize("activity", ["", "x" * 1025])
def test_an_activity_has_a_name(activity):
    assert Bank().limit(activity=activity, concurrency=1).reply.reason is Reason.INVALID_PARAMETERS


def test_the_number_of_limits_is_bounded(monkeypatch):
    monkeypatch.setattr(slots, "LIMITS_MAX", 2)
    bank = Bank()
    assert bank.limit(activity="a", concurrency=1).reply.limits
    assert bank.limit(activity="b", concurrency=1).reply.limits
    assert bank.limit(activity="c", concurrency=1).reply.reason is Reason.LIMIT_EXCEEDED
    assert bank.limit(activity="a", concurrency=2).reply.limits


# --- rates ------------------------------------------------------------------------------------------------------------


def starts(bank, count, begin):
    """When each of so many payments, all asked for at `begin`, is sent: each timer fires at its time."""
    times = []
    for number in range(count):
        times += [0] * len(bank.pay(number, now=begin))
    while len(times) < count:
        sent = bank.subjects(bank.fire(POOL))
        times += [bank.now - begin] * len(sent)
    return times


def test_a_rate_lets_starts_come_evenly():
    assert starts(limited(rate_count=4), 5, 10_000_000) == [0, 250, 500, 750, 1000]


def test_a_burst_may_come_at_once():
    assert starts(limited(rate_count=60, rate_period_seconds=60, rate_burst=3), 5, 10_000_000) == [0, 0, 0, 1000, 2000]


def test_a_rate_that_was_quiet_is_forgotten_and_the_burst_is_whole_again():
    bank = limited(rate_count=1, rate_period_seconds=10, rate_burst=2)
    assert starts(bank, 2, 10_000_000) == [0, 0]
    for subject in (0, 1):
        bank.end(subject)
    assert bank.pool() is not None
    bank.fire(POOL)
    assert bank.pool() is None
    assert bank.now == 10_020_000
    assert starts(bank, 2, 10_020_000) == [0, 0]


@pytest.mark.parametrize("burst", [1, 3])
def test_a_raised_rate_holds_from_the_next_start_on(burst):
    bank = limited(rate_count=1, rate_period_seconds=86_400, rate_burst=burst)
    for subject in range(burst):
        assert bank.pay(subject, now=10_000_000) == [subject]
    assert bank.pay(burst) == []
    assert bank.subjects(bank.limit(rate_count=100, rate_period_seconds=60)) == []
    assert bank.subjects(bank.fire(POOL)) == [burst]
    assert bank.now == 10_000_600


def test_a_lowered_rate_lets_nobody_start_earlier():
    bank = limited(rate_count=1, rate_period_seconds=10)
    assert bank.pay(0, now=10_000_000) == [0]
    assert bank.pay(1) == []
    assert bank.subjects(bank.limit(rate_count=1, rate_period_seconds=86_400)) == []
    assert bank.subjects(bank.fire(POOL)) == [1]
    assert bank.now == 10_010_000


def test_a_rate_and_a_concurrency_hold_both():
    bank = limited(rate_count=1, concurrency=1)
    assert bank.pay(0, now=10_000_000) == [0]
    assert bank.pay(1) == []
    assert bank.end(0, now=10_000_200) == []
    assert bank.subjects(bank.fire(POOL)) == [1]
    assert bank.now == 10_001_000


def test_a_timer_that_no_longer_stands_changes_nothing():
    bank = limited(rate_count=1)
    bank.pay(0, now=10_000_000)
    bank.pay(1)
    fired = bank.fired(POOL, "slot")
    bank.limit(rate_count=1, paused=True)
    bank.do(fired, now=10_001_000)
    assert bank.subjects(bank.limit(paused=False, values=False)) == [1]
    happened = bank.do(bank.timer_fired(POOL, TimerKind.SLOT, 99))
    assert [type(effect) for effect in happened.effects] == [e.Ignored]


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aging_seconds", [0.001, 10**7], ids=["by age", "by turn"])
def test_a_start_costs_no_more_when_thousands_wait(aging_seconds):
    costs = []
    for waiting in (150, 3_000):
        bank = Bank(1)
        bank.stores = [Counting()]
        World.do(
            bank, c.ChangeLimit(id=bank.new_id(), client_id=USER, activity=BANK, paused=True, values=LimitValues())
        )
        for number in range(waiting):
            of = workflow(b"%d" % number)
            node = new(BANK, type="decision", priority=1 + number % 5, fairness_key=str(number % 3))
            command = c.Signal(id=bank.new_id(), user_id=USER, workflow_id=id_of(of), workflow=of, node=node)
            World.do(bank, command, bank.now + 1)
        values = LimitValues(concurrency=1, aging_seconds=aging_seconds)
        World.do(bank, c.ChangeLimit(id=bank.new_id(), client_id=USER, activity=BANK, values=values, paused=False))
        for _ in range(3):
            bank.stores[0].counts.clear()
            (out,) = [n for n in bank.nodes().values() if n.server is ServerStatus.SENT_TO_CLIENT]
            done = c.ChangeNode(id=bank.new_id(), node_id=out.id, status="completed", attempt=1)
            happened = World.do(bank, done, bank.now + 1)
            assert len(happened.of(e.Dispatch)) == 1
        costs.append(sum(bank.stores[0].counts.values()))
    assert costs[0] == costs[1]


# --- what is seen -----------------------------------------------------------------------------------------------------


def ask_limits(bank, partition, user_id=None):
    query = GetLimits(reply_to=reply_to(), deadline=0, partition=partition, user_id=user_id)
    assert int.from_bytes(query_route(query), "big") == partition
    ((limits),) = queries.answer(query, bank.stores[partition])
    return limits.limits


def test_limits_and_their_pools_are_seen():
    bank = busy(count=4, concurrency=1)
    bank.pay("late", priority=1, now=2_000_000)
    (view,) = ask_limits(bank, bank.partition(POOL), USER)
    assert view.limit.values.concurrency == 1
    assert view.pools == (PoolView("", 1, (1, 0, 3, 0, 0), 1_000_002, None),)
    assert ask_limits(bank, bank.partition(POOL), OTHER) == ()
    elsewhere = next(number for number in range(4) if number != bank.partition(POOL))
    assert ask_limits(bank, elsewhere)[0].pools == ()


def test_when_a_rate_allows_the_next_start_is_seen():
    bank = limited(rate_count=1)
    bank.pay(0, now=10_000_000)
    bank.pay(1)
    (view,) = ask_limits(bank, bank.partition(POOL))
    assert view.pools[0].next_start_at == 10_001_000


def test_of_many_pools_the_first_are_seen(monkeypatch):
    monkeypatch.setattr(views, "_POOLS_MAX", 2)
    bank = limited(1, concurrency=1, key="subject")
    for subject in range(3):
        bank.pay(subject)
    (view,) = ask_limits(bank, 0)
    assert (len(view.pools), view.more) == (2, True)


def test_a_node_shows_that_it_waits():
    bank = busy(count=2, concurrency=1)
    shown = {}
    for subject in (0, 1):
        row = bank.row_of(subject)
        shown[subject] = e.node_view(row, bank.workflows()[row.workflow_id]).waits_for_slot
    assert shown == {0: False, 1: True}


# --- properties -------------------------------------------------------------------------------------------------------


class Watched(World):
    """A world in which, after every command, no pool has more out than its limit, nor a pool's nodes more than it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.allowed = {}  #: by pool: what may be out now, counting what was out when its limit was lowered

    def _apply(self, number, command, happened):
        super()._apply(number, command, happened)
        for pool in self.stores[number][POOLS].values():
            limit = self.stores[number].meta.limits.get(limit_key(pool.client_id, pool.activity))
            if limit is None or limit.values.concurrency is None:
                self.allowed.pop(pool.id, None)
                continue
            if pool.in_use > limit.values.concurrency:
                assert pool.in_use <= self.allowed.get(pool.id, pool.in_use), "one started over the limit"
            self.allowed[pool.id] = max(pool.in_use, limit.values.concurrency)
        running = {}
        for node in self.nodes().values():
            if node.slot is not None and node.server is ServerStatus.SENT_TO_CLIENT:
                running.setdefault(node.slot, []).append(node)
        for pool_id, nodes in running.items():
            places = self.store_of(pool_id)[SLOT_TICKETS]
            known = [node for node in nodes if (pool_id, node.id) in places]
            assert all(places[pool_id, node.id].has_slot for node in known), "a node runs without a slot"


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "end", "end", "fail", "cancel", "limit", "pause", "deliver", "fire"]),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    max_size=80,
)


@given(MOVES, st.integers(0, 2**32), st.sampled_from([1, 2, 250]))
@settings(max_examples=60, deadline=None)
def test_never_more_out_than_the_limit_and_no_slot_is_lost(moves, seed, slice_nodes_max):
    chance = random.Random(seed)
    world = Watched(3, Settings(slice_nodes_max=slice_nodes_max))
    change(world, 2)
    for word, which, how in moves:
        play(world, word, which, how, chance)
    change(world, 1 + seed % 3)
    world.drain(chance=chance)
    world.check()
    finish(world, chance)
    assert not any(store[POOLS] or store[FAIRNESS_QUEUES] or store[SLOT_TICKETS] for store in world.stores), (
        "something is left"
    )
    assert all(node.server in (ServerStatus.COMPLETE, ServerStatus.DEACTIVATED) for node in world.nodes().values())


def change(world, concurrency, **given):
    values = LimitValues(concurrency=concurrency, key="metadata.bank")
    world.send(c.ChangeLimit(id=world.new_id(), client_id=USER, activity=BANK, values=values, **given))


def play(world, word, which, how, chance):
    nodes = sorted(world.nodes().values(), key=lambda node: node.id)
    out = [node for node in nodes if node.server is ServerStatus.SENT_TO_CLIENT]
    match word:
        case "pay":
            of = workflow(b"%d" % which)
            node = new(
                BANK, type="decision", priority=how or None, fairness_key=str(which % 3),
                metadata=b'{"bank":%d}' % (which % 2), retries=1, retry_interval_seconds=float(how),
            )  # fmt: skip
            world.send(c.Signal(id=world.new_id(), user_id=USER, workflow_id=id_of(of), workflow=of, node=node))
        case "end" | "fail" if out:
            node = out[which % len(out)]
            status = "completed" if word == "end" else "errored"
            world.send(c.ChangeNode(id=world.new_id(), node_id=node.id, status=status, attempt=node.attempt))
        case "cancel" if nodes:
            world.send(c.ChangeNode(id=world.new_id(), node_id=nodes[which % len(nodes)].id, status="canceled"))
        case "limit":
            change(world, how or None)
        case "pause":
            change(world, 2, paused=how % 2 == 0)
        case "deliver":
            for _ in range(how):
                world.deliver(Happened(), chance)
        case "fire":
            fire(world, which)


def fire(world, which):
    due = sorted((due, subject, kind) for store in world.stores for due, subject, kind in store.timers)
    due = [timer for timer in due if timer[2] in (TimerKind.SLOT, TimerKind.RETRY)]
    if due:
        at, subject, _ = due[which % len(due)]
        world.now = max(world.now, at)
        world.send(world.fired(subject))


def finish(world, chance):
    """Answer everything that is out, until nothing is."""
    change(world, 1, paused=False)
    for _ in itertools.count():
        world.drain(chance=chance)
        fire(world, 0)
        world.drain(chance=chance)
        out = [node for node in world.nodes().values() if node.server is ServerStatus.SENT_TO_CLIENT]
        open_ = [n for n in world.nodes().values() if n.server not in (ServerStatus.COMPLETE, ServerStatus.DEACTIVATED)]
        if not open_:
            return
        for node in out:
            world.send(c.ChangeNode(id=world.new_id(), node_id=node.id, status="completed"))
        for node in open_:
            if node.server is ServerStatus.RETRIES_EXHAUSTED:
                world.send(c.ChangeNode(id=world.new_id(), node_id=node.id, status="resolved"))
