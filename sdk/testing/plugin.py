"""pytest's plugin, known to it by its entry point: the fixtures `backbeat` and `plain_backbeat`.

    pytestmark = pytest.mark.backbeat(worker)

    async def test_it_is_sold(backbeat):
        node = await backbeat.client().signal("Sales", "Camera 703", "Make Purchase", args=["Ann"])
        assert await node.result() == {"buyer": "Ann"}

The marker takes what `backbeat.testing.Backbeat` takes: workers, and options by name. Of several (module, class, test)
all workers count, and for an option the nearest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backbeat.testing.blocking import PlainBackbeat
from backbeat.testing.environment import Backbeat


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "backbeat(*workers, **options): parameters of the fixture `backbeat` (backbeat.testing)"
    )


@pytest.fixture
def backbeat(request: pytest.FixtureRequest) -> Backbeat:
    """A Backbeat in memory of this test's own. It needs no plugin for asyncio, and goes with any."""
    workers, options = _parameters(request)
    return Backbeat(*workers, **options)


@pytest.fixture
def plain_backbeat(request: pytest.FixtureRequest) -> Iterator[PlainBackbeat]:
    """The same for tests that are plain functions."""
    workers, options = _parameters(request)
    with PlainBackbeat(*workers, **options) as backbeat:
        yield backbeat


def _parameters(request: pytest.FixtureRequest) -> tuple[list[Any], dict[str, Any]]:
    """Workers and options of the markers: all workers, outermost first, and of each option the nearest."""
    workers: list[Any] = []
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("backbeat"))):
        workers += marker.args
        options.update(marker.kwargs)
    return workers, options
