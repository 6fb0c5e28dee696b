"""One hierarchy, whole after a pickle, and told by a gateway's answer as by the engine's."""

import inspect
import pickle
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from backbeat import BackbeatError, errors
from backbeat.errors import (
    CodecError,
    Fail,
    InvalidParameters,
    InvalidStatus,
    KeyReused,
    LimitExceeded,
    NodeFailed,
    NotFound,
    Rejected,
    RetryAfter,
    Timeout,
    Unauthorized,
    Unavailable,
    WorkflowComplete,
)
from backbeat.schemas.messages.replies import Reason
from backbeat.transport.http_values import refusal

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
ARGUMENTS: dict[type, tuple[Any, ...]] = {
    NodeFailed: ("id-1", "retries_exhausted", "ValueError: no", ["line 1"]),
    RetryAfter: (timedelta(minutes=1), "busy"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_one_of_ours_and_survives_a_pickle(kind: type[Exception]) -> None:
    assert issubclass(kind, BackbeatError)
    arguments = ("why", "what", "found", "wanted") if issubclass(kind, Rejected) else ARGUMENTS.get(kind, ("text",))
    error = kind(*arguments)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_the_hierarchy_that_is_described_is_the_one_that_there_is() -> None:
    assert errors.__doc__ is not None
    for kind in KINDS:
        assert kind.__name__ in errors.__doc__, kind


@pytest.mark.parametrize(
    ("status", "body", "expected", "reason"),
    [
        (404, {"errorClass": "Backbeat::NotFound", "message": "no"}, NotFound, "not_found"),
        (400, {"errorClass": "ActiveRecord::StatementInvalid", "message": "no"}, InvalidParameters, None),
        (400, {"errorClass": "Backbeat::WorkflowComplete", "message": "no"}, WorkflowComplete, "workflow_complete"),
        (409, {"errorClass": "Backbeat::InvalidServerStatusChange", "message": "no"}, InvalidStatus, None),
        (413, {"errorClass": "Backbeat::LimitExceeded", "message": "no"}, LimitExceeded, "limit_exceeded"),
        (422, {"errorClass": "Backbeat::InvalidParameters", "message": "no"}, KeyReused, "key_reused"),
        (401, {"error": "Unauthorized"}, Unauthorized, "unauthorized"),
        (503, {"errorClass": "Backbeat::Timeout", "message": "no"}, Timeout, None),
        (503, {"errorClass": "Backbeat::Unavailable", "message": "no"}, Unavailable, None),
        (502, b"<html>Bad gateway</html>", Unavailable, None),
    ],
)
def test_what_a_gateway_refuses_is_what_the_engine_refuses(
    status: int, body: Any, expected: type[Exception], reason: str | None
) -> None:
    error = refusal(status, body if isinstance(body, bytes) else msgspec.json.encode(body), "signal 'Buy'")
    assert type(error) is expected
    assert getattr(error, "reason", None) == reason or reason is None


@pytest.mark.parametrize("reason", [*Reason, "a_newer_one"])
def test_the_engines_own_words_come_through_a_gateway(reason: str) -> None:
    rejection = {"reason": reason, "message": "No", "found": "this", "wanted": "that"}
    error = refusal(409, msgspec.json.encode({"errorClass": "X", "message": "?", "rejection": rejection}), "node 1")
    assert isinstance(error, Rejected)
    assert (error.reason, str(error), error.found, error.wanted) == (reason, "No", "this", "that")


def test_a_failure_that_is_final_and_a_payload_that_cannot_be_read_are_no_refusals() -> None:
    assert not issubclass(Fail, Rejected)
    assert not issubclass(CodecError, Rejected)
