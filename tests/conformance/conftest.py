"""A world for each case, first the simulator's, then Kafka's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.streams.state.conftest import quick_path

from .worlds import KafkaWorld, SimWorld

__all__ = ["quick_path", "world"]


@pytest.fixture(params=["simulator", "kafka"])
def world(request: pytest.FixtureRequest, unique: str) -> Iterator[SimWorld | KafkaWorld]:
    """The simulator's broker, or a Kafka; both with records of earlier cases, and a group of its own."""
    if request.param == "simulator":
        world: SimWorld | KafkaWorld = SimWorld()
    else:
        world = KafkaWorld(request.getfixturevalue("kafka"), unique)
    yield world
    world.close()
