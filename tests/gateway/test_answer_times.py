"""Answers are slow where they take much longer than at best."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from backbeat.errors import Timeout, Unavailable
from backbeat.gateway.answer_times import AnswerTimes
from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.settings import GatewaySettings


class Answers:
    """Times of answers, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.times = AnswerTimes(lambda: self.now)

    def are_slow(self, *seconds: float, count: int = 1) -> bool:
        """Note these answers, a second apart; whether they are slow then."""
        for _ in range(count):
            for each in seconds:
                self.times.note(each)
                self.now += 1.0
        return self.times.is_slow


def test_answers_that_wait_for_others_are_slow_until_they_do_not():
    answers = Answers()
    assert not answers.times.is_slow
    assert not answers.are_slow(0.005, count=5)
    assert not answers.are_slow(0.05), "one says little"
    assert answers.are_slow(0.05, count=10)
    assert not answers.are_slow(0.005, count=20)


def test_a_few_milliseconds_more_are_nothing():
    answers = Answers()
    answers.are_slow(0.001)
    assert not answers.are_slow(0.01, count=20)


def test_what_was_best_long_ago_is_forgotten():
    """A machine that is slow for good is no sign of a flood."""
    answers = Answers()
    answers.are_slow(0.005)
    assert answers.are_slow(0.05, count=30)
    assert not answers.are_slow(0.05, count=60)


@pytest.mark.parametrize(
    ("outcome", "raised", "is_noted"),
    [
        ("done", None, True),
        (Timeout("no answer"), Refusal, True),
        (Unavailable("Kafka does not take it"), Refusal, False),
        (asyncio.CancelledError(), asyncio.CancelledError, False),  # the caller has hung up
    ],
    ids=["taken", "late", "not sent", "gone"],
)
async def test_only_what_waited_for_the_engine_counts(outcome, raised, is_noted):
    async def command(*_):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    engine, noted = Engine(GatewaySettings()), []
    engine.missing = None
    engine._request_client = SimpleNamespace(command=command)
    engine.answer_times.note = noted.append
    sent = engine.command(lambda _: None, b"", b"", "the command")
    if raised is None:
        assert await sent == outcome
    else:
        with pytest.raises(raised):
            await sent
    assert (len(noted) == 1) is is_noted
