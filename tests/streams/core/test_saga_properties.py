"""Sagas drawn from a seed, on the core and on the naive reading: both do the same, and no saga stands still."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from tests.streams.core.player import Player
from tests.streams.core.saga_teller import SagaTeller

SEEDS = st.integers(0, 2**32)


def tell(seed: int, slice_nodes_max: int) -> Player:
    player = Player(1, slice_nodes_max=slice_nodes_max, seed=seed)
    try:
        SagaTeller(player, seed).tell()
    except BaseException:
        for line in player.story:
            note(line)
        raise
    return player


@given(seed=SEEDS, slice_nodes_max=st.sampled_from([1, 2, 5, 250]))
def test_sagas_are_what_the_rules_say_and_end(seed, slice_nodes_max):
    tell(seed, slice_nodes_max)


@pytest.mark.prove
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(2_000))
def test_many_sagas(seed):
    tell(seed, (1, 2, 5, 250)[seed % 4])


def test_the_sagas_that_are_drawn_undo():
    names = [node.name for seed in range(6) for node in tell(seed, 250).naive.nodes.values()]
    assert {"failure", "cancel", "undo", "Undo"} <= set(names)
