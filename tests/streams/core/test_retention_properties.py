"""Random player of short workflows that are removed and begin again: the core and the naive reading do the same."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, retention
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import NewNode, TimerKind
from backbeat.streams.core.tables import ARCHIVE_QUEUE, CHUNKS, COALESCE_INDEX, LINKS, NODES
from tests.streams.core.player import WORKFLOW_IDS, WORKFLOWS, Move, Player
from tests.streams.core.test_properties import NUMBERS, play, rush
from tests.streams.core.world import USER

WORDS = (
    ["signal"] * 5
    + ["completed"] * 8
    + ["fire"] * 10
    + ["archived"] * 4
    + ["repeat"] * 3
    + ["canceled", "deactivated", "add", "errored", "retain", "retain"]
)
MOVES = st.builds(
    Move,
    word=st.sampled_from(WORDS),
    node=NUMBERS,
    how=NUMBERS,
    children=st.one_of(st.just(()), st.lists(NUMBERS, max_size=3).map(tuple)),
    wait=st.sampled_from([0, 0, 1_000, 5_000]),
)
STORIES = st.lists(MOVES, min_size=5, max_size=60)


def new_player(partitions: int, slice_nodes_max: int, seed: int, *, archive: bool) -> Player:
    player = Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed)
    policy = retention.RetentionPolicy(
        owner_id=USER, name="order", keep_seconds=1.0, archive=archive, refuse_seconds=30.0
    )
    player.do(c.ChangeRetention(id=player.world.new_id(), policy=policy))
    return player


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 100_000])
@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS, archive=st.booleans())
def test_what_was_removed_is_as_if_it_had_never_been(story, partitions, seed, archive, slice_nodes_max):
    play(new_player(partitions, slice_nodes_max, seed, archive=archive), story)


def test_a_node_that_is_made_again_does_not_wait_for_what_waited_for_the_first():
    player = new_player(1, 100_000, 0, archive=False)
    workflow, other = WORKFLOW_IDS[0], WORKFLOW_IDS[1]
    first = c.Signal(
        id=player.world.new_id(), workflow_id=workflow, workflow=WORKFLOWS[0], node=NewNode(name="first", user_id=USER)
    )
    node_id = ids.node_id(workflow, first.id, 0)
    done = c.ChangeNode(id=player.world.new_id(), node_id=node_id, status="completed")
    linked = NewNode(name="linked", user_id=USER, parent_link_id=node_id)
    for command in (
        first,
        done,
        c.Signal(id=player.world.new_id(), workflow_id=other, workflow=WORKFLOWS[1], node=linked),
    ):
        player.do(command)
    for kind in (TimerKind.RETENTION, TimerKind.REFUSAL):
        subject_id = workflow if kind is TimerKind.RETENTION else node_id
        due, number = player.world.timers()[subject_id, kind.name.lower()]
        player.world.now = due
        player.do(player.world.timer_fired(subject_id, kind, number))
    player.do(first)
    player.do(msgspec.structs.replace(done, id=player.world.new_id()))
    assert player.world.nodes()[node_id].server is ServerStatus.COMPLETE


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3])
@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS)
def test_commands_between_the_slices_of_a_removal(story, partitions, seed, slice_nodes_max):
    """Whatever comes meanwhile, in the end nothing is left but what is refused."""
    player = new_player(partitions, slice_nodes_max, seed, archive=False)
    rush(player, story)
    for identity, new in zip(WORKFLOW_IDS, WORKFLOWS, strict=True):
        if identity in player.world.workflows():
            player.world.do(c.ChangeWorkflow(id=player.world.new_id(), workflow_id=identity, change="resume"))
        # Twice: what follows a cancel is a node, too.
        for node in (node for _ in range(2) for node in player.world.nodes().values()):
            if node.workflow_id == identity:
                player.world.do(c.ChangeNode(id=player.world.new_id(), node_id=node.id, status="canceled"))
        policy = retention.RetentionPolicy(owner_id=USER, name=new.name, keep_seconds=1.0, archive=False)
        player.world.do(c.ChangeRetention(id=player.world.new_id(), policy=policy))
    while player.world.workflows():
        for identity in player.world.workflows():
            player.world.fire(identity, player.world.now + 1_001)
    player.world.check()
    for store in player.world.stores:
        assert (store[NODES], store[CHUNKS], store[LINKS], store[COALESCE_INDEX], store[ARCHIVE_QUEUE]) == (
            {},
            {},
            {},
            {},
            {},
        )
        assert {kind for _, _, kind in store.timers} <= {TimerKind.REFUSAL, TimerKind.ANSWER}
