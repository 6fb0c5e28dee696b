"""Activities that follow nodes, where there are more of them than a command works on, and commands come in between."""

from __future__ import annotations

import pytest

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.values import FollowUp, FollowUpKind
from backbeat.streams.core import effects as e
from tests.streams.core.rig import NON_BLOCKING, Rig, new
from tests.streams.core.world import USER, Happened

_SLICE_NODES = 20


def giving_up(done: int, later: int, *, slice_nodes_max: int) -> Rig:
    """Steps that were done below "order", a failed one, and later ones. The failed one is shut down; no slice follows.

    Each of the steps can be undone.
    """
    rig = Rig(settings=Settings(slice_nodes_max=slice_nodes_max))
    rig.signal("signal")
    rig.complete("signal", new("order"))
    steps = [new(f"{number}", follow_ups=(FollowUp(FollowUpKind.UNDO, f"undo {number}", USER),), mode=NON_BLOCKING)
             for number in range(done)]  # fmt: skip
    rig.complete("order", *steps, new("failed", retries=0), *(new(f"later {number}") for number in range(later)))
    for number in range(done):
        rig.complete(str(number))
    rig.error("failed")
    rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["failed"], status="shutdown"))
    return rig


def undone(rig: Rig) -> list[str]:
    """Names of the activities that undo, in the order in which they ran."""
    names = list[str]()
    while at_work := [node for node in rig.nodes().values() if rig.statuses(node.id)[0] == "sent_to_client"]:
        names.append(at_work[0].name)
        rig.ask(c.ChangeNode, node_id=at_work[0].id, status="completed")
    return names


@pytest.mark.parametrize("later", range(4, 10))
@pytest.mark.parametrize("done", [3, 4, 5, 8])
def test_all_is_undone_once_where_a_cancel_comes_while_a_step_that_gave_up_is_being_undone(done, later):
    rig = giving_up(done, later, slice_nodes_max=_SLICE_NODES)
    rig.send(c.ChangeNode(id=rig.new_id(), user_id=USER, node_id=rig["order"], status="canceled", compensate=True))
    rig.drain()
    assert undone(rig) == [f"undo {number}" for number in reversed(range(done))]
    assert rig.server("order", "signal") == ["deactivated", "complete"]


@pytest.mark.parametrize("slices", range(12))
def test_nothing_stays_open_where_a_reset_comes_while_the_undos_are_being_added(slices):
    rig = giving_up(6, 0, slice_nodes_max=1)
    for _ in range(slices):
        rig.deliver(Happened())
    rig.send(c.ResetNode(id=rig.new_id(), user_id=USER, node_id=rig["order"]))
    rig.drain()
    rig.check()
    rig.schedule("order")
    assert rig.server("order", "signal") == ["complete", "complete"]
    (workflow,) = rig.workflows().values()
    assert workflow.detached_open == 0
    assert all(node.server.name in {"COMPLETE", "DEACTIVATED"} for node in rig.nodes().values())


def test_a_command_that_goes_on_with_a_sweep_stays_small_where_an_activity_follows_each_cancel():
    count = 600
    rig = Rig(settings=Settings(slice_nodes_max=_SLICE_NODES))
    rig.signal("signal")
    rig.complete("signal", new("order"))
    cancel = FollowUp(FollowUpKind.CANCEL, "clean", USER)
    rig.complete("order", *(new(f"{number}", NON_BLOCKING, follow_ups=(cancel,)) for number in range(count)))
    happened = rig.say("canceled", "order")
    assert happened.dispatched == ["clean"] * count
    rests = [effect.command for effect in happened.of(e.Send) if isinstance(effect.command, c.Continue)]
    assert max(len(rest.tasks) for rest in rests) < 150
