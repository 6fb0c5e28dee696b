"""Large trees: nothing recurses, work goes on in commands of its own, and what it costs does not grow with the tree."""

from __future__ import annotations

import collections

import pytest

from backbeat.schemas import routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.streams.core.effects import Dispatch, Send
from backbeat.streams.core.store import MemoryStore, changed
from tests.streams.core.rig import BLOCKING, NON_BLOCKING, Rig, flag, new
from tests.streams.core.world import USER, World


class Quick(Rig):
    """Does not check the invariants after every command, and finds nodes by name at once."""

    def do(self, command, now=None, chance=None):
        return World.do(self, command, now, chance)

    def __getitem__(self, name):
        names = self.__dict__.setdefault("names", {})
        if name not in names:
            names.update({node.name: node.id for node in self.nodes().values()})
        return names[name]


@pytest.mark.parametrize("mode", [BLOCKING, NON_BLOCKING])
def test_a_chain_of_a_thousand_flags(mode):
    rig = Quick(settings=Settings(children_max=2_000))
    rig.signal("signal")
    happened = rig.complete("signal", *(flag(f"f{n}", mode) for n in range(1_000)), new("end"))
    assert happened.dispatched == ["end"]
    assert happened.commands > 3
    rig.complete("end")
    assert rig.server("signal", "f0", "f999") == ["complete"] * 3
    rig.check()


def test_a_thousand_signals_that_are_flags_below_each_other():
    rig = Quick(settings=Settings(depth_max=2_000))
    rig.signal("n0")
    for n in range(999):
        rig.add(f"n{n}", flag(f"n{n + 1}"))
    rig.complete("n0")
    assert rig.server("n0", "n500", "n999") == ["complete"] * 3
    rig.check()


def test_a_chain_as_deep_as_is_allowed():
    """Each node registers its successor, as polling and paging do. It is completed and reset slice by slice."""
    levels, slices = Settings().depth_max, Settings().depth_max // Settings().slice_nodes_max
    rig = Quick()
    rig.signal("n0")
    chain = [rig["n0"]]
    for n in range(1, levels):
        happened = rig.ask(c.ChangeNode, node_id=chain[-1], status="completed", children=(new(f"n{n}"),))
        chain += [dispatch.node.id for dispatch in happened.of(Dispatch)]
    (refused,) = rig.ask(c.AddChildren, node_id=chain[-1], children=(new("too deep"),)).replies
    assert (refused.reason, refused.wanted) == (Reason.LIMIT_EXCEEDED, f"depth_max {levels}")
    assert "backbeat settings set depth_max" in refused.message

    happened = rig.ask(c.ChangeNode, node_id=chain[-1], status="completed")
    assert happened.commands >= slices
    assert {rig.statuses(node_id)[0] for node_id in chain} == {"complete"}

    # Each node looks for marks above it: those of a slice share the way up.
    store = rig.store_of(chain[0])
    reads, get = [], store.get
    store.get = lambda table, key: reads.append(key) or get(table, key)
    rig.ask(c.ResetNode, node_id=chain[0])
    assert len(reads) < 3 * levels * slices
    assert {rig.statuses(node_id)[0] for node_id in chain[1:]} == {"deactivated"}


def many(count: int, mode=NON_BLOCKING) -> Quick:
    rig = Quick()
    rig.signal("signal")
    rig.add("signal", new("first", mode), *(new(f"n{n}", mode) for n in range(999)))
    for start in range(999, count - 1, 1_000):
        rig.add("signal", *(new(f"n{n}", mode) for n in range(start, min(start + 1_000, count - 1))))
    return rig


def test_five_thousand_children_start_and_join_in_slices():
    rig = many(5_000)
    happened = rig.complete("signal")
    assert len(happened.dispatches) == 5_000
    assert happened.commands >= 20  # 5,000 made ready and 5,000 walked, 250 nodes a slice
    for name in ["first", *(f"n{n}" for n in range(4_998))]:
        rig.complete(name)
    assert rig.server("signal") == ["processing_children"]
    rig.complete("n4998")
    assert rig.server("signal") == ["complete"]
    rig.check()


def test_no_slice_works_on_more_nodes_than_the_setting_says():
    rig = many(2_000)
    rig.complete("signal")
    happened = rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["signal"], status="canceled"))
    largest = 0
    while True:
        before = len(happened.effects)
        if not rig.deliver(happened):
            break
        changes = [
            change for effect in happened.effects[before:] if hasattr(effect, "changes") for change in effect.changes
        ]
        largest = max(largest, len(changes))
    assert 200 <= largest <= 260
    assert {rig.statuses(node)[0] for node in rig.nodes()} == {"deactivated"}


def test_between_slices_a_node_is_already_deactivated():
    rig = many(2_000)
    rig.complete("signal")
    rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["signal"], status="canceled"))
    assert rig.row("n1900").server.name == "SENT_TO_CLIENT"
    assert rig.server("n1900") == ["deactivated"]
    happened = rig.send(
        c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["n1900"], status="completed", children=(new("late"),))
    )
    assert not happened.of(Dispatch)
    rig.drain()
    assert rig.said("n1900").count("server sent_to_client deactivated") == 1
    assert rig.both("n1900") == ("deactivated", "received")
    rig.check()


def test_between_slices_of_deactivate_previous():
    rig = many(1_000)
    rig.complete("signal")
    rig.signal("young")
    rig.say("canceled", "signal")
    rig = many(1_000)
    rig.signal("young")
    rig.complete("signal")
    rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["young"], status="deactivated"))
    assert rig.server("n900") == ["deactivated"]
    rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["n900"], status="completed"))
    rig.drain()
    assert [move for move in rig.said("n900") if "deactivated" in move] == ["server sent_to_client deactivated"]
    rig.check()


def test_a_sibling_is_not_overtaken_between_slices():
    rig = Quick(settings=Settings(slice_nodes_max=1))
    rig.signal("signal")
    rig.add("signal", *(new(f"n{n}") for n in range(5)))
    signal = rig["signal"]
    happened = rig.send(c.ChangeNode(id=rig.new_id(), node_id=signal, status="completed"))
    happened.effects += rig.send(c.AddChildren(id=rig.new_id(), node_id=signal, children=(new("late"),))).effects
    happened.effects += rig.send(c.ScheduleNode(id=rig.new_id(), node_id=signal)).effects
    assert rig.drain(happened).dispatched == ["n0"]
    for n in range(5):
        assert rig.complete(f"n{n}").dispatched == [f"n{n + 1}" if n < 4 else "late"]


# --- what a command costs --------------------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts what is read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def get(self, table, key):
        self.counts["read"] += 1
        return super().get(table, key)

    def merge(self, rows, meta, rearmed):
        self.counts["written"] += len(list(changed(rows)))
        super().merge(rows, meta, rearmed)


def cost(rig, act) -> dict[str, int]:
    for store in rig.stores:
        store.counts.clear()
    commands = act().commands
    return {**sum((store.counts for store in rig.stores), collections.Counter()), "commands": commands}


def crowd(siblings: int, workflows: int = 0):
    rig = Quick(make_store=Counting, settings=Settings(slice_nodes_max=10**9, children_max=10**9))
    rig.signal("signal")
    rig.complete(
        "signal", new("a", NON_BLOCKING), *(new(f"n{n}", NON_BLOCKING) for n in range(siblings)), new("z"), new("end")
    )
    rig["end"]  # the names are known from now on
    return rig


def test_the_cost_of_a_command_does_not_depend_on_the_number_of_siblings():
    costs_of = collections.defaultdict(list)
    for siblings in (10, 1_000, 50_000):
        rig = crowd(siblings)
        middle = f"n{siblings // 2}"
        costs_of["complete the first"].append(cost(rig, lambda: rig.complete("a")))  # noqa: B023
        costs_of["complete one in the middle"].append(cost(rig, lambda: rig.complete(middle)))  # noqa: B023
        costs_of["processing"].append(cost(rig, lambda: rig.say("processing", "n1")))  # noqa: B023
        costs_of["fail"].append(cost(rig, lambda: rig.error("n1")))  # noqa: B023
        costs_of["retry"].append(cost(rig, lambda: rig.restart("n1")))  # noqa: B023
        costs_of["the next starts"].append(cost(rig, lambda: rig.complete("z")))  # noqa: B023
        costs_of["add a child"].append(cost(rig, lambda: rig.add("n1", new("x"))))  # noqa: B023
        costs_of["add a late child"].append(cost(rig, lambda: rig.add("signal", new("late"))))  # noqa: B023
        costs_of["cancel one"].append(cost(rig, lambda: rig.say("canceled", "n2")))  # noqa: B023
        costs_of["signal"].append(cost(rig, lambda: rig.signal("two")))  # noqa: B023
        costs_of["schedule"].append(cost(rig, lambda: rig.schedule("signal")))  # noqa: B023
        costs_of["pause"].append(cost(rig, lambda: rig.workflow("pause")))  # noqa: B023
    for command, costs in costs_of.items():
        assert costs[0] == costs[1] == costs[2], command
        assert sum(costs[0].values()) < 40, (command, costs[0])


def test_the_completion_of_the_last_of_many_costs_no_more():
    costs = []
    for siblings in (10, 1_000):
        rig = crowd(siblings)
        for name in ["a", "z", *(f"n{n}" for n in range(siblings))]:
            rig.complete(name)
        costs.append(cost(rig, lambda: rig.complete("end")))  # noqa: B023
        assert rig.server("signal") == ["complete"]
    assert costs[0] == costs[1]


def test_a_chain_of_paused_nodes_costs_what_one_costs():
    costs = []
    for count in (10, 1_000):
        rig = Quick(make_store=Counting, settings=Settings(children_max=10**6, slice_nodes_max=10**6))
        rig.signal("signal")
        rig.workflow("pause")
        rig.complete("signal", *(new(f"n{n}", NON_BLOCKING) for n in range(count)))
        costs.append(cost(rig, lambda: rig.add("signal", new("late", NON_BLOCKING))))  # noqa: B023
    assert costs[0] == costs[1]


def test_a_slice_is_one_command_in_the_same_partition():
    rig = Rig(4, settings=Settings(slice_nodes_max=1))
    rig.signal("signal")
    happened = rig.send(
        c.ChangeNode(id=rig.new_id(), node_id=rig["signal"], status="completed", children=tuple(new(n) for n in "abc"))
    )
    (rest,) = happened.of(Send)
    assert isinstance(rest.command, c.Continue)
    assert rig.partition(routes.route(rest.command)) == rig.partition(rig["signal"])
    rig.drain()
    assert rig.server("a", "b") == ["sent_to_client", "ready"]


def test_settings_go_to_every_partition():
    rig = Rig(4)
    answers = rig.ask(c.ChangeSettings, settings=Settings(depth_max=2)).replies
    assert answers == [Done()] * 4
    assert {store.meta.settings.depth_max for store in rig.stores} == {2}


# --- commands that come between the slices ---------------------------------------------------------------------------


def slow(*children, **given) -> Rig:
    """One node a slice; the signal's result has been sent, nothing of what follows is delivered."""
    rig = Rig(settings=Settings(slice_nodes_max=1))
    rig.signal("signal")
    rig.add("signal", *children)
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["signal"], status="completed", **given))
    return rig


def test_a_signal_that_comes_after_a_shutdown_is_no_earlier_one():
    rig = Rig(settings=Settings(slice_nodes_max=1))
    rig.signal("one", retries=0)
    for name in ("two", "three", "four"):
        rig.signal(name)
    rig.error("one")
    happened = rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["one"], status="shutdown"))
    command = c.Signal(id=rig.new_id(), workflow_id=rig.row("one").workflow_id, node=new("five"))
    happened.effects += rig.send(command).effects
    assert rig.drain(happened).dispatched == ["five"]
    assert rig.server("one", "two", "three", "four", "five") == ["complete", *["deactivated"] * 3, "sent_to_client"]
    rig.check()


@pytest.mark.parametrize("word", ["canceled", "deactivated", "fail"])
def test_a_shutdown_whose_node_is_over_before_its_siblings_are(word):
    rig = Rig(settings=Settings(slice_nodes_max=1))
    rig.signal("one", retries=0)
    for name in ("two", "three", "four"):
        rig.signal(name)
    rig.error("one")
    rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["one"], status="shutdown"))
    if word == "fail":
        rig.send(c.FailNode(id=rig.new_id(), node_id=rig["one"], message="m"))
    else:
        name = "one" if word == "canceled" else "four"
        rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig[name], status=word))
    rig.drain()
    rig.check()
    assert rig.server("two", "three", "four") == ["deactivated"] * 3
    assert rig.server("one") == ["errored" if word == "fail" else "deactivated"] or word == "deactivated"


def test_a_parent_that_fails_while_its_children_become_ready():
    rig = slow(*(new(f"n{n}", NON_BLOCKING) for n in range(5)))
    rig.send(c.FailNode(id=rig.new_id(), node_id=rig["signal"], message="m"))
    rig.drain()
    rig.check()
    assert rig.server("signal") == ["errored"]


def test_a_pause_between_the_slices_of_a_resume():
    rig = Rig(settings=Settings(slice_nodes_max=1))
    rig.signal("signal")
    rig.workflow("pause")
    rig.complete("signal", *(new(f"n{n}", NON_BLOCKING) for n in range(4)))
    workflow_id = rig.row("signal").workflow_id
    happened = rig.send(c.ChangeWorkflow(id=rig.new_id(), workflow_id=workflow_id, change="resume"))
    rig.deliver(happened)
    happened.effects += rig.send(c.ChangeWorkflow(id=rig.new_id(), workflow_id=workflow_id, change="pause")).effects
    rig.drain(happened)
    rig.check()
    left = [f"n{n}" for n in range(4) if rig.server(f"n{n}") == ["paused"]]
    assert 0 < len(left) < 4
    assert rig.workflow("resume").dispatched == left


def test_two_cancels_at_once():
    rig = slow(*(new(f"n{n}", NON_BLOCKING) for n in range(4)), new("end"))
    rig.drain()
    for n in range(4):
        rig.complete(f"n{n}", *(new(f"x{n}{m}") for m in range(3)))
    happened = rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["n2"]))
    happened.effects += rig.send(c.ChangeNode(id=rig.new_id(), node_id=rig["signal"], status="canceled")).effects
    happened.effects += rig.send(c.ResetNode(id=rig.new_id(), node_id=rig["n1"])).effects
    rig.drain(happened)
    rig.check()
    assert {rig.statuses(node)[0] for node in rig.nodes()} == {"deactivated"}
