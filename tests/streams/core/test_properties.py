"""Random stories on the core and on the naive reading: both must do the same."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import ClientStatus
from tests.streams.core.player import WORKFLOW_IDS, WORKFLOWS, Move, Player
from tests.streams.core.world import USER

WORDS = (
    ["signal"] * 4
    + ["send"] * 4
    + ["completed"] * 10
    + ["errored"] * 4
    + ["fire"] * 6
    + ["add"] * 4
    + ["restart"] * 3
    + ["heartbeat"] * 2
    + ["canceled", "deactivated", "resolved", "shutdown", "processing", "reset", "schedule", "repeat"] * 2
    + ["retain"] * 2
    + ["archived"]
    + ["pause", "resume", "resume", "complete", "fail", "undelivered", "deciding", "deciding_complete", "nonsense"]
)
NUMBERS = st.integers(0, 10_000)
MOVES = st.builds(
    Move,
    word=st.sampled_from(WORDS),
    node=NUMBERS,
    how=NUMBERS,
    children=st.one_of(st.just(()), st.lists(NUMBERS, max_size=5).map(tuple)),
    wait=st.sampled_from([0, 0, 1, 1_000]),
)
STORIES = st.lists(MOVES, min_size=1, max_size=60)


def play(player: Player, story: list[Move]) -> None:
    player.play(Move("signal"))
    for move in story:
        try:
            player.play(move)
        except BaseException:
            for line in player.story:
                note(line)
            raise


def rush(player: Player, story: list[Move]) -> None:
    player.rush(Move("signal"))
    for move in story:
        player.rush(move)
    player.settle()


@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS)
def test_the_core_does_what_the_rules_say(story, partitions, seed):
    play(Player(partitions, seed=seed), story)


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3])
@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS)
def test_slices_change_nothing_once_all_is_done(story, partitions, seed, slice_nodes_max):
    play(Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed), story)


@pytest.mark.parametrize("slice_nodes_max", [1, 2, 5])
@given(story=STORIES, partitions=st.sampled_from([1, 3]), seed=NUMBERS)
def test_commands_between_slices_and_repeats_of_sends_forget_nothing(story, partitions, seed, slice_nodes_max):
    """No comparison here: the order in which slices and commands meet is not that of the naive reading."""
    rush(Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed), story)


@pytest.mark.prove
@pytest.mark.timeout(0)
@pytest.mark.parametrize("slice_nodes_max", [1, 2, 3, 7, 100_000])
@given(story=st.lists(MOVES, min_size=60, max_size=250), partitions=st.sampled_from([1, 2, 5]), seed=NUMBERS)
def test_long_stories(story, partitions, seed, slice_nodes_max):
    """`HYPOTHESIS_PROFILE=prove pytest tests/streams/core -m prove`: runs for long."""
    play(Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed), story)


def test_a_result_whose_children_would_be_too_deep_is_an_error_of_its_node():
    player = Player()
    workflow = WORKFLOW_IDS[0]
    signal = c.Signal(
        id=player.world.new_id(), workflow_id=workflow, workflow=WORKFLOWS[0], node=c.NewNode(name="1", user_id=USER)
    )
    player.do(signal)
    node_id = ids.node_id(workflow, signal.id, 0)
    for depth in range(2, player.naive.settings.depth_max + 2):
        result = c.ChangeNode(
            id=player.world.new_id(),
            node_id=node_id,
            status="completed",
            children=(c.NewNode(name=str(depth), user_id=USER),),
            attempt=player.world.nodes()[node_id].attempt,
        )
        player.do(result)
        too_deep, node_id = node_id, ids.node_id(workflow, result.id, 0)
    assert node_id not in player.world.nodes()
    assert player.world.nodes()[too_deep].client is ClientStatus.ERRORED
