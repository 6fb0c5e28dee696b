"""Attempts in a worker: whatever keeps one from being begun, the next one begins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import Worker
from backbeat.delivery.records import Job
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.views import NodeView


class OneJob(Job):
    """A job that is nobody else's."""

    revoked = False


class Sent:
    """The worker's side of a consumer: what it was given back."""

    def __init__(self) -> None:
        self.answers: list[tuple[Job, Any]] = []
        self.all_sent = asyncio.Event()

    def send(self, answers: Any, job: Job) -> None:
        self.answers.append((job, answers))
        if len(self.answers) == 4:
            self.all_sent.set()

    def has_room(self, count: int) -> None:
        pass


async def test_a_thread_that_cannot_be_started_is_its_nodes_error_and_the_next_begins(
    view: Callable[..., NodeView], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker("127.0.0.1:1", "shop", concurrency=1)
    worker.activity("Make Purchase")(lambda: threading.current_thread().name)
    worker._environment._user_id = b"u" * 16
    attempts, sent = worker._attempts, Sent()
    attempts.begin(sent)  # type: ignore[arg-type]

    def job(number: int) -> Job:
        node = view(id=number.to_bytes(16, "big"), name="Make Purchase", client_data=b"{}")
        return OneJob(ActivityRecord(node, ActivityKind.ACTIVITY), (node.id, 1, False))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        attempts.take([job(1), job(2), job(3)])
    assert [b"no thread can be started" in b"".join(answers[-1]) for _, answers in sent.answers] == [True] * 3
    attempts.take([job(4)])
    await asyncio.wait_for(sent.all_sent.wait(), 60)
    assert b"no thread can be started" not in b"".join(sent.answers[3][1][-1])
    attempts.stop()
