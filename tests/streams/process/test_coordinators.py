"""Coordinators that have just started are asked again; what has to be aborted, and what is refused, is not."""

import logging
import time
from types import SimpleNamespace

import pytest
from aiokafka.protocol.group import HeartbeatRequest
from confluent_kafka import KafkaError, KafkaException

from backbeat.streams.process import holder
from backbeat.streams.process.faust_app import _WatchedSend
from backbeat.streams.process.lease import Lease
from backbeat.streams.state.commit import _may_pass


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (KafkaError(KafkaError.NOT_COORDINATOR), True),
        (KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), True),
        (KafkaError(KafkaError.NOT_COORDINATOR, "", False, False, True), False),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH), False),
    ],
)
def test_a_commit_calls_again_where_the_coordinator_moves(error, passes):
    assert _may_pass(error) is passes


def answers(monkeypatch, *answers):
    """The coordinator gives these answers, one after the other."""
    left = list(answers)

    def describe_group(*_):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(holder, "describe_group", describe_group)


def test_a_group_that_no_coordinator_knows_yet_is_asked_for_again(monkeypatch, caplog):
    monkeypatch.setattr(holder, "_ASK_AGAIN_SECONDS", 0)
    caplog.set_level(logging.WARNING)
    failed = KafkaException(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE))
    answers(monkeypatch, failed, failed, "described")
    assert holder._describe("", "backbeat") == "described"


def test_a_group_that_may_not_be_described_is_an_error(monkeypatch):
    answers(monkeypatch, KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)), "described")
    with pytest.raises(KafkaException):
        holder._describe("", "backbeat")


@pytest.mark.parametrize(
    ("code", "member_id", "holds"),
    [
        (0, "a", True),
        (KafkaError.FENCED_INSTANCE_ID, "a", False),
        (KafkaError.UNKNOWN_MEMBER_ID, "a", False),
        (KafkaError.REBALANCE_IN_PROGRESS, "a", True),
        # The answer to a heartbeat of an earlier membership.
        (KafkaError.UNKNOWN_MEMBER_ID, "b", True),
    ],
)
async def test_a_heartbeat_that_the_group_does_not_know_ends_the_lease_at_once(code, member_id, holds):
    """Else the one before would answer from its state until its session is over."""
    lease, coordinator = Lease(600.0), SimpleNamespace(member_id="a")
    lease.heard(time.monotonic())
    process = SimpleNamespace(lease=lease, replaced=lease.lose)

    async def send(_):
        coordinator.member_id = member_id
        return SimpleNamespace(error_code=code)

    await _WatchedSend(send, coordinator, process)(HeartbeatRequest("backbeat", 1, "a"))
    assert lease.is_certain() is holds
