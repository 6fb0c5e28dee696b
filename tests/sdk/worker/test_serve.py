"""A worker in an event loop of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from backbeat import Worker


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """This process's own settings, put back."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def served_threshold(monkeypatch: pytest.MonkeyPatch) -> int:
    """Objects that start a garbage collection while a worker is served."""
    thresholds = []

    async def run(_: Worker) -> None:
        thresholds.append(gc.get_threshold()[0])

    monkeypatch.setattr(Worker, "run", run)
    Worker("127.0.0.1:1").serve()
    return thresholds[0]


def test_a_worker_that_is_served_looks_for_garbage_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.set_threshold(700, 10, 10)
    assert served_threshold(monkeypatch) == 10_000


@pytest.mark.parametrize("objects", [0, 5_000, 50_000])
def test_a_process_that_has_settings_of_its_own_keeps_them(monkeypatch: pytest.MonkeyPatch, objects: int) -> None:
    gc.set_threshold(objects, 10, 10)
    assert served_threshold(monkeypatch) == objects
