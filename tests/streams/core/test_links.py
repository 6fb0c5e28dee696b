"""OpenLink, CloseLink: a node that can't complete before another one, in whatever workflow and partition."""

import itertools
from copy import copy

import pytest

from backbeat.schemas import routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.effects import DeadLetter, Ignored, Send
from backbeat.streams.core.tables import LINKS
from tests.streams.core.rig import CAMERA, CAMERA_ID, FORGET, NON_BLOCKING, Rig, flag, id_of, new, running, workflow
from tests.streams.core.world import USER, reply_to

#: A workflow in another partition than CAMERA's when there are four.
FAR = next(
    candidate
    for number in itertools.count()
    if (Rig(4).partition(id_of(candidate := workflow(b"%d" % number))) != Rig(4).partition(CAMERA_ID))
)
NEAR = workflow(CAMERA.subject, "another")


def waiting(of=FAR, **given) -> Rig:
    """`a` waits for the signal `linked` of another workflow."""
    rig = running(new("a"), new("b"), partitions=4)
    rig.signal("linked", of=of, parent_link_id=rig["a"], **given)
    return rig


def test_a_node_waits_for_the_linked_signal():
    for of in (FAR, NEAR):
        rig = waiting(of)
        assert rig.complete("a").dispatched == []
        assert rig.server("a", "linked") == ["processing_children", "sent_to_client"]
        rig.complete("linked", new("x"))
        assert rig.server("a") == ["processing_children"]
        assert rig.complete("x").dispatched == ["b"]
        assert rig.server("a", "linked") == ["complete", "complete"]


def test_the_signal_goes_through_its_targets_partition():
    rig = running(new("a"), partitions=4)
    command = c.Signal(
        id=rig.new_id(), user_id=USER, workflow_id=id_of(FAR), workflow=FAR,
        node=new("linked", parent_link_id=rig["a"]),
        reply_to=reply_to(),
    )  # fmt: skip
    (opening,) = rig.send(command).of(Send)
    assert isinstance(opening.command, c.OpenLink)
    assert rig.partition(routes.route(opening.command)) == rig.partition(rig["a"])
    happened = rig.drain()
    assert happened.commands == 2
    assert happened.reply.name == "linked"
    assert rig.row("a").links_open == 1


def test_a_link_that_closes_before_its_target_is_done():
    rig = waiting()
    rig.complete("linked")
    assert rig.both("a") == ("sent_to_client", "received")
    rig.complete("a")
    assert rig.server("a") == ["complete"]


def end(rig, how):
    match how:
        case "complete":
            rig.complete("linked")
        case "canceled":
            rig.say("canceled", "linked")
        case "deactivated":
            rig.say("deactivated", "younger")
        case "shutdown":
            rig.error("older")
            rig.say("shutdown", "older")
        case "reset":
            rig.reset("above")


@pytest.mark.parametrize("mode", [NON_BLOCKING, FORGET])
@pytest.mark.parametrize("how", ["complete", "canceled", "deactivated", "reset"])
@pytest.mark.parametrize("of", [FAR, NEAR], ids=["another partition", "another workflow"])
def test_however_a_linked_child_ends_its_target_goes_on(of, how, mode):
    rig = running(new("a"), new("b"), partitions=4)
    rig.signal("above", of=of)
    rig.complete("above", new("linked", mode, parent_link_id=rig["a"]), new("younger"))
    rig.complete("a")
    assert rig.server("a", "b") == ["processing_children", "ready"]
    end(rig, how)
    assert rig.server("a", "b") == ["complete", "sent_to_client"]


@pytest.mark.parametrize("mode", [NON_BLOCKING, FORGET])
@pytest.mark.parametrize("how", ["complete", "canceled", "reset"])
def test_a_link_within_one_workflow_is_waited_for(how, mode):
    rig = running(new("a", NON_BLOCKING), new("above", FORGET))
    rig.complete("above", new("linked", mode, parent_link_id=rig["a"]))
    rig.complete("a")
    assert rig.server("a", "signal") == ["processing_children"] * 2
    end(rig, how)
    assert rig.server("a", "signal") == ["complete"] * 2


def test_a_shutdown_closes_the_links_of_the_siblings():
    rig = running(new("a"), partitions=4)
    rig.signal("older", of=FAR, retries=0)
    rig.signal("linked", of=FAR, parent_link_id=rig["a"])
    rig.complete("a")
    end(rig, "shutdown")
    assert rig.server("linked", "a", "signal") == ["deactivated", "complete", "complete"]


def test_deactivate_previous_schedules_nothing_but_what_a_link_closes():
    rig = waiting()
    rig.signal("younger", of=FAR)
    rig.complete("a")
    assert rig.say("deactivated", "younger").dispatched == ["b"]
    assert rig.server("linked", "younger", "a") == ["deactivated", "ready", "complete"]


def test_a_link_that_is_closed_twice_counts_once():
    rig = waiting()
    rig.signal("linked2", of=FAR, parent_link_id=rig["a"])
    rig.complete("a")
    rig.complete("linked")
    before = rig.snapshot()
    happened = rig.tell(c.CloseLink, target_id=rig["a"], child_id=rig["linked"])
    assert happened.of(Ignored)
    assert rig.snapshot() == before
    assert rig.server("a") == ["processing_children"]
    rig.complete("linked2")
    assert rig.server("a") == ["complete"]
    rig.say("canceled", "linked2")  # complete -> deactivated closes nothing again
    assert rig.last("a") == ["server processing_children complete"]


def test_an_opening_that_is_repeated_after_its_closing_opens_nothing():
    rig = waiting()
    rig.complete("linked")
    opening = {"target_id": rig["a"], "child_id": rig["linked"]}
    rig.tell(c.OpenLink, **opening)
    assert rig.row("a").links_open == 0
    rig.complete("a")
    assert rig.server("a") == ["complete"]
    assert rig.tell(c.OpenLink, **opening).of(Ignored)
    assert rig.tell(c.CloseLink, **opening).of(Ignored)
    assert not any(store[LINKS] for store in rig.stores)


def test_an_opening_that_is_repeated_counts_once():
    rig = waiting()
    rig.tell(c.OpenLink, target_id=rig["a"], child_id=rig["linked"])
    assert rig.row("a").links_open == 1


def test_a_closing_that_comes_before_its_opening():
    rig = running(new("a"))
    child = b"c" * 16
    rig.tell(c.CloseLink, target_id=rig["a"], child_id=child)
    rig.tell(c.OpenLink, target_id=rig["a"], child_id=child)
    assert rig.row("a").links_open == 0


def test_links_to_nothing_are_ignored():
    rig = running()
    for kind in (c.OpenLink, c.CloseLink):
        assert rig.tell(kind, target_id=b"x" * 16, child_id=b"c" * 16).of(Ignored)


@pytest.mark.parametrize("command", ["strict and closed", "strict and unknown"])
def test_a_strict_opening_is_refused_when_its_target_is_not_running(command):
    rig = running(new("a"))
    rig.complete("a")
    target = rig["a"] if "closed" in command else b"x" * 16
    (refused,) = rig.tell(c.OpenLink, target_id=target, child_id=b"c" * 16, strict=True).of(DeadLetter)
    assert refused.rejection.reason is Reason.INVALID_PARAMETERS


def test_a_signal_that_names_an_unknown_target_is_refused_to_the_one_who_asked():
    rig = Rig(4)
    refused = rig.signal("linked", parent_link_id=b"x" * 16).reply
    assert refused.reason is Reason.INVALID_PARAMETERS
    assert not rig.nodes()
    assert not rig.workflows()


def test_a_target_that_is_closed_is_accepted_and_nothing_waits():
    rig = running(new("a"), new("b"), partitions=4)
    rig.complete("a")
    assert rig.signal("linked", of=FAR, parent_link_id=rig["a"]).dispatched == ["linked"]
    rig.complete("linked")
    assert rig.server("a", "linked") == ["complete", "complete"]


def test_a_refused_signal_comes_back_as_a_closed_link():
    rig = running(new("a"), partitions=4)
    rig.ask(c.CreateWorkflow, workflow=FAR)
    rig.workflow("complete", FAR)
    assert rig.signal("linked", of=FAR, parent_link_id=rig["a"]).reply.reason is Reason.WORKFLOW_COMPLETE
    assert rig.row("a").links_open == 0
    rig.complete("a")
    assert rig.server("a", "signal") == ["complete", "complete"]


def test_linked_children_are_opened_before_anything_is_sent():
    rig = running(new("a"), partitions=4)
    rig.signal("other", of=FAR)
    effects = rig.send(
        c.ChangeNode(
            id=rig.new_id(), node_id=rig["other"], status="completed", children=(new("x", parent_link_id=rig["a"]),)
        )
    ).effects
    kinds = [type(effect.command).__name__ if isinstance(effect, Send) else type(effect).__name__ for effect in effects]
    assert kinds.index("OpenLink") < kinds.index("Dispatch")
    rig.drain()
    assert rig.complete("a").dispatched == []
    assert rig.server("a") == ["processing_children"]
    rig.complete("x")
    assert rig.server("a") == ["complete"]


def test_a_linked_flag_opens_and_closes():
    rig = running(new("a"), partitions=4)
    rig.signal("other", of=FAR)
    rig.complete("other", flag("x", parent_link_id=rig["a"]))
    assert rig.row("a").links_open == 0
    rig.complete("a")
    assert rig.server("a", "other") == ["complete", "complete"]


def test_a_fire_and_forget_child_that_is_linked_upwards_is_waited_for():
    rig = running(new("a"))
    rig.complete("a", new("x", FORGET, parent_link_id=rig["signal"]))
    assert rig.server("a", "signal") == ["complete", "processing_children"]
    rig.complete("x")
    assert rig.server("signal") == ["complete"]


def test_a_child_that_is_linked_to_its_own_parent():
    rig = running(new("a"))
    rig.complete("a", new("x", FORGET, parent_link_id=rig["a"]))
    assert rig.server("a") == ["processing_children"]
    rig.complete("x")
    assert rig.server("a", "signal") == ["complete", "complete"]


def test_a_canceled_parent_with_a_child_linked_to_it_in_one_command():
    rig = running(new("a"), new("b"))
    assert rig.say("canceled", "a", new("x", parent_link_id=rig["a"])).dispatched == ["b"]
    assert rig.server("a", "x") == ["deactivated", "deactivated"]
    assert not any(store[LINKS] for store in rig.stores)


def test_a_child_born_deactivated_links_nothing():
    rig = running(new("a"), new("b"))
    rig.say("canceled", "a")
    rig.add("a", new("x", parent_link_id=rig["b"]))
    rig.complete("b")
    assert rig.server("b", "signal") == ["complete", "complete"]


def test_a_child_of_another_attempt_links_nothing():
    rig = running(new("a"), new("b"))
    rig.add("a", new("x", parent_link_id=rig["signal"]), attempt=5)
    assert rig.row("signal").links_open == 0


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 250])
def test_many_links_are_closed_and_forgotten_in_slices(slice_nodes_max):
    rig = running(new("a"), new("b"), partitions=4, settings=Settings(slice_nodes_max=slice_nodes_max))
    rig.signal("other", of=FAR)
    rig.complete("other", *(new(f"x{n}", NON_BLOCKING, parent_link_id=rig["a"]) for n in range(7)))
    rig.complete("a")
    for n in range(6):
        rig.complete(f"x{n}")
    assert rig.server("a") == ["processing_children"]
    assert rig.complete("x6").dispatched == ["b"]
    assert not any(store[LINKS] for store in rig.stores)


@pytest.mark.parametrize("slice_nodes_max", [1, 3, 250])
def test_a_canceled_tree_closes_all_its_links(slice_nodes_max):
    rig = running(new("a"), partitions=4, settings=Settings(slice_nodes_max=slice_nodes_max))
    rig.signal("other", of=FAR)
    rig.complete("other", *(new(f"x{n}", NON_BLOCKING, parent_link_id=rig["a"]) for n in range(7)))
    rig.complete("a")
    rig.say("canceled", "other")
    assert rig.server("a", "signal") == ["complete", "complete"]


def test_an_engine_command_that_comes_again_is_ignored():
    rig = waiting()
    rig.complete("a")
    rig.complete("linked")
    assert rig.delivered
    for command in rig.delivered:
        before = rig.snapshot()
        assert rig.repeat(command).of(Ignored)
        assert rig.snapshot() == before


def test_a_child_whose_target_has_our_prefix_but_is_not_there():
    rig = running(new("a"))
    rig.complete("a", new("x", parent_link_id=CAMERA_ID[:7] + b"\0\x80" + b"\0" * 7))
    rig.complete("x")
    assert rig.server("x", "signal") == ["complete", "complete"]


def test_a_child_whose_target_in_the_same_workflow_is_closed():
    rig = running(new("a", FORGET), new("b"))
    rig.complete("b", new("x", parent_link_id=rig["b"]))
    rig.complete("a")
    rig.complete("x", new("y", parent_link_id=rig["a"]))
    assert rig.row("a").links_open == 0
    rig.complete("y")
    assert rig.server("signal") == ["complete"]


# --- cycles ----------------------------------------------------------------------------------------------------------


def refused(happened) -> str:
    (refusal,) = happened.of(DeadLetter)
    assert refusal.rejection.reason is Reason.INVALID_PARAMETERS
    assert refusal.rejection.found == "a cycle"
    return refusal.rejection.message


def test_a_node_cannot_wait_for_a_later_signal_of_its_own_workflow():
    rig = running(new("a"), partitions=4)
    message = refused(rig.signal("follow up", of=CAMERA, parent_link_id=rig["a"], reply_to=None))
    assert "'follow up' is a later signal of its own workflow" in message
    assert "a → follow up → a" in message
    assert rig.row("a").links_open == 0
    # Nothing stands still.
    rig.complete("a")
    assert rig.server("a") == ["complete"]


def test_what_nothing_waits_for_may_wait_for_a_later_signal():
    rig = running(new("a", mode=FORGET), partitions=4)
    rig.signal("follow up", of=CAMERA, parent_link_id=rig["a"])
    rig.complete("a")
    assert rig.server("a", "follow up") == ["processing_children", "sent_to_client"]
    rig.complete("follow up")
    assert rig.server("a") == ["complete"]


def test_a_workers_signal_that_would_close_a_cycle_is_its_nodes_error():
    rig = running(new("a", retries=0), partitions=4)
    signal = c.Signal(id=rig.new_id(), user_id=USER, workflow_id=CAMERA_ID, workflow=CAMERA,
                      node=new("follow up", parent_link_id=rig["a"]))  # fmt: skip
    child_id = ids.node_id(CAMERA_ID, signal.id, 0)
    opening = c.OpenLink(id=signal.id, user_id=USER, target_id=rig["a"], child_id=child_id, signal=signal)
    refused(rig.do(opening))
    assert rig.both("a") == ("retries_exhausted", "errored")
    # What the worker says afterwards is late.
    rig.complete("a", attempt=1)
    assert rig.both("a") == ("retries_exhausted", "errored")


@pytest.mark.parametrize("of", [FAR, NEAR], ids=["far", "near"])
def test_two_workflows_cannot_wait_for_each_other(of):
    rig = running(new("a"), partitions=4)
    rig.signal("other", of=of)
    rig.signal("to the other", of=of, parent_link_id=rig["a"])
    message = refused(rig.signal("back", of=CAMERA, parent_link_id=rig["other"], reply_to=None))
    assert "'back' begins after 'a' of this workflow, which waits for the signal" in message
    assert "a → back → a" in message
    # The link that was opened for it is closed again, and everything ends.
    rig.complete("other")
    assert rig.server("other", "to the other") == ["complete", "sent_to_client"]
    rig.complete("to the other")
    rig.complete("a")
    assert rig.server("a") == ["complete"]


#: Workflows in all partitions, and the node of each that waits for a signal of the next.
RING = [CAMERA, *(workflow(b"%d" % number) for number in range(9))]


def ring(size: int, order: list[int] | None = None) -> Rig:
    """Workflows that wait for each other, but for the last one; their links are opened in this order."""
    rig = Rig(4)
    for number in range(size):
        rig.signal(f"n{number}", of=RING[number], retries=0)
    for number in order or range(size - 1):
        rig.signal(f"s{number + 1}", of=RING[number + 1], parent_link_id=rig[f"n{number}"])
    return rig


@pytest.mark.parametrize("size", [3, 4, 10])
@pytest.mark.parametrize("is_forward", [True, False], ids=["forward", "backward"])
def test_a_cycle_over_many_workflows_is_refused_with_its_path(size, is_forward):
    links = list(range(size - 1))
    rig = ring(size, links if is_forward else links[::-1])
    message = refused(rig.signal("s0", of=RING[0], parent_link_id=rig[f"n{size - 1}"], reply_to=None))
    names = [f"n{size - 1}", "s0", *(f"n{number}" for number in range(size - 1)), f"n{size - 1}"]
    assert " → ".join(names) in message
    assert rig.row(f"n{size - 1}").links_open == 0
    # Nothing stands still: from the last one on each lets the one before it go on.
    for number in reversed(range(size)):
        rig.complete(f"n{number}")
        if number + 1 < size:
            rig.complete(f"s{number + 1}")
    assert {node.server for node in rig.nodes().values()} == {ServerStatus.COMPLETE}


def test_a_cycle_whose_links_are_opened_at_once_is_refused():
    """No signal is added yet where the others come by: each knows of the waits only."""
    rig = ring(3, order=[])
    signals = [
        c.Signal(id=rig.new_id(), user_id=USER, workflow_id=id_of(RING[number]), workflow=RING[number],
                 node=new(f"s{number}", parent_link_id=rig[f"n{(number - 1) % 3}"]))
        for number in range(3)
    ]  # fmt: skip
    for signal in signals:
        rig.send(signal)
    rig.drain()
    while running_now := [node for node in rig.nodes().values() if node.server is ServerStatus.SENT_TO_CLIENT]:
        rig.complete(running_now[0].name)
    assert {node.server for node in rig.nodes().values()} == {ServerStatus.COMPLETE}


def test_who_asks_is_answered_of_a_cycle_and_again_under_its_key():
    rig = ring(3)
    asked = {"of": RING[0], "id": rig.new_id(), "body_hash": b"hash", "parent_link_id": rig["n2"]}
    for _ in range(2):
        assert rig.signal("s0", **asked).reply.found == "a cycle"
    # With nothing in the way it is added, once.
    rig.complete("n1")
    rig.say("canceled", "n1")
    again = {**asked, "id": rig.new_id()}
    assert [rig.signal("s0", **again).reply.name for _ in range(2)] == ["s0", "s0"]
    assert rig.row("n2").links_open == 1


def test_a_signal_with_a_link_goes_to_a_workflow_that_waits_for_others():
    rig = ring(4, order=[0, 1])
    happened = rig.signal("s0", of=RING[0], parent_link_id=rig["n3"])
    assert happened.reply.name == "s0"
    # Sent to its target, opened, sent on, followed over two workflows, added.
    assert happened.commands == 6
    assert (rig.row("n3").links_open, rig.server("s0")) == (1, ["ready"])
    for number in (2, 1, 0):
        rig.complete(f"n{number}")
        if number:
            rig.complete(f"s{number}")
    rig.complete("s0")
    rig.complete("n3")
    assert {node.server for node in rig.nodes().values()} == {ServerStatus.COMPLETE}


def test_a_way_along_links_looks_and_changes_nothing():
    rig = ring(3)
    before = {key: copy(row) for key, row in {**rig.nodes(), **rig.workflows()}.items()}
    refused(rig.signal("s0", of=RING[0], parent_link_id=rig["n2"], reply_to=None))
    after = {**rig.nodes(), **rig.workflows()}
    assert {key for key in after if after[key] != before.get(key)} == {rig["n2"], id_of(RING[2])}


def test_a_wait_for_a_signal_before_the_target_closes_no_cycle():
    """The third workflow waits for an earlier signal of the target's own, which need not wait for it."""
    rig = Rig(4)
    for number in range(3):
        rig.signal(f"n{number}", of=RING[number])
    rig.signal("s1", of=RING[1], parent_link_id=rig["n0"])
    rig.signal("first", of=RING[2], parent_link_id=rig["n1"])
    rig.signal("later", of=RING[2])
    assert rig.signal("s0", of=RING[0], parent_link_id=rig["later"]).reply.name == "s0"


def test_a_signal_is_followed_along_no_more_than_32_links():
    rig = Rig(4)
    for number in range(3):
        rig.signal(f"n{number}", of=RING[number])
    many = [workflow(b"%d" % number) for number in range(100, 150)]
    for of in many:
        rig.signal(f"n{of.subject}", of=of)
        rig.signal(f"s{of.subject}", of=of, parent_link_id=rig["n0"])
        for far in many[:3]:
            rig.signal(f"{of.subject} {far.subject}", of=workflow(b"%d" % hash((of.subject, far.subject))),
                       parent_link_id=rig[f"n{of.subject}"])  # fmt: skip
    happened = rig.signal("s0", of=RING[0], parent_link_id=rig["n1"])
    assert happened.reply.name == "s0"
    assert happened.commands == 4 + 32


@pytest.mark.parametrize("of", [FAR, NEAR], ids=["far", "near"])
def test_a_wait_that_is_over_closes_no_cycle(of):
    rig = running(new("a"), new("b"), partitions=4)
    rig.signal("to the other", of=of, parent_link_id=rig["a"])
    rig.complete("to the other")
    rig.signal("other", of=of)
    rig.signal("back", of=CAMERA, parent_link_id=rig["other"])
    assert rig.row("other").links_open == 1
    # And one whose target is over is accepted: nothing waits.
    rig.signal("again", of=of, parent_link_id=rig["b"])
    rig.complete("other")
    rig.say("canceled", "other")
    rig.signal("back again", of=CAMERA, parent_link_id=rig["other"])
    assert rig.server("back again") == ["ready"]


def test_a_node_that_waits_for_thousands_costs_its_workflow_no_more():
    rig = running(new("a"), partitions=4)
    for number in range(100):
        rig.signal(f"s{number}", of=workflow(b"%d" % number), parent_link_id=rig["a"])
    assert len(rig.workflows()[CAMERA_ID].waits) == 16
