"""Random stories on the core and on the naive reading: both must do the same."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from tests.core.player import Move, Player

WORDS = (
    ["signal"] * 4
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
    """`HYPOTHESIS_PROFILE=prove pytest tests/core -m prove`: runs for long."""
    play(Player(partitions, slice_nodes_max=slice_nodes_max, seed=seed), story)
