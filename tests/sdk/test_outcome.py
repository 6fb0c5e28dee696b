import json
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import activity
from backbeat.activities.context import Activity
from backbeat.activities.results import Result, Taking
from backbeat.activities.retry import Retry
from backbeat.errors import LimitExceeded, Rejected
from backbeat.schemas.codec import decode_command, encode_command
from backbeat.schemas.messages.commands import AddChildren, ChangeNode
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.core.tree.results import STATUS_WORDS
from backbeat.worker.handlers import Handler
from backbeat.worker.outcome import CHILDREN_BYTES_MAX, CHILDREN_MAX, completed, errored

USER = b"u" * 16
View = Callable[..., NodeView]


def child(size: int = 2) -> NewNode:
    return NewNode(name="Work", user_id=USER, client_data=b"x" * size)


def test_an_attempt_is_answered_by_one_command(view: View) -> None:
    children = [child(), child()]
    (answer,) = completed(view(), USER, {"a": 1}, children)
    assert isinstance(answer, ChangeNode)
    assert (answer.status, answer.attempt, answer.tid, answer.user_id) == ("completed", 2, "tid-1", USER)
    assert answer.children == tuple(children)
    assert json.loads(answer.response) == {"jsonrpc": "2.0", "result": {"a": 1}, "error": None, "id": None}
    assert decode_command(encode_command(answer)) == answer


def test_the_same_attempt_gives_the_same_ids_and_another_gives_others(view: View) -> None:
    children = [child()] * (CHILDREN_MAX + 1)
    first = [command.id for command in completed(view(), USER, None, children)]
    assert first == [command.id for command in completed(view(), USER, None, children)]
    other = [command.id for command in completed(view(attempt=3), USER, None, children)]
    assert len({*first, *other}) == 4


def test_the_answer_is_known_however_many_went_ahead(view: View) -> None:
    # A handler that is run again may add another number of children: its answer must not pass for one of those.
    many = [command.id for command in completed(view(), USER, None, [child()] * 2_000)]
    (few,) = [command.id for command in completed(view(), USER, None, [child()])]
    assert many[-1] == few == errored(view(), USER, "no").id
    assert few not in many[:-1]


@pytest.mark.parametrize(("count", "ahead"), [(CHILDREN_MAX, []), (2_500, [900, 900])])
def test_too_many_children_go_ahead(view: View, count: int, ahead: list[int]) -> None:
    children = [child() for _ in range(count)]
    *parts, answer = completed(view(), USER, None, children)
    assert all(isinstance(part, AddChildren) and part.attempt == 2 for part in parts)
    assert [len(part.children) for part in parts] == ahead
    assert [entry for part in (*parts, answer) for entry in part.children] == children


def test_too_large_children_go_ahead(view: View) -> None:
    parts = list(completed(view(), USER, None, [child(250_000) for _ in range(5)]))
    assert [len(part.children) for part in parts] == [2, 2, 1]
    assert all(sum(len(entry.client_data) for entry in part.children) <= CHILDREN_BYTES_MAX for part in parts)


def test_defaults_of_results_count_as_the_childrens_bytes(view: View) -> None:
    result = Result(None, None, node_id=b"p" * 16, default=b"1" * 250_000)
    takers = [Taking(name="Work", user_id=USER, client_data=b"{}", results=(result,)) for _ in range(5)]
    parts = list(completed(view(), USER, None, takers))
    assert [len(part.children) for part in parts] == [2, 2, 1]


def test_an_error_has_its_message_and_the_handlers_part_of_the_traceback(view: View) -> None:
    def handler() -> None:
        raise ValueError("declined")

    runs = Handler(activity("Pay")(handler))
    try:
        # As a worker's runner does: the frames before the handler's are of the SDK.
        runs.call(None)
    except ValueError as error:
        answer = errored(view(), USER, error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
    assert (answer.status, answer.children) == ("errored", ())
    body = json.loads(answer.response)
    assert (body["jsonrpc"], body["result"], body["id"]) == ("2.0", None, None)
    assert (body["error"]["code"], body["error"]["message"]) == (-32000, "ValueError: declined")
    assert [line.strip() for line in body["error"]["data"]][-2:] == [
        'raise ValueError("declined")',
        "ValueError: declined",
    ]
    assert [line.split(", in ")[1] for line in body["error"]["data"] if ", in " in line] == ["handler"]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [ValueError("x" * 1_000_000), ValueError("\ud800"), UnspeakableError(), KeyError()])
def test_whatever_the_error_the_answer_can_be_sent(view: View, error: Exception) -> None:
    try:
        raise error  # noqa: TRY301 - it gets its traceback by being raised
    except Exception as raised:  # noqa: BLE001
        answer = errored(view(), USER, raised)
    assert len(answer.response) < 262_144
    assert decode_command(encode_command(answer)) == answer


@pytest.mark.parametrize("result", ["x" * 262_144, object(), {1: {2}}.keys, float])
def test_a_result_that_cannot_be_sent_is_refused(view: View, result: Any) -> None:
    with pytest.raises(Rejected):
        list(completed(view(), USER, result, ()))


def test_the_whole_response_is_within_the_bound(view: View) -> None:
    # The text alone would fit.
    with pytest.raises(LimitExceeded, match="payload_bytes_max"):
        list(completed(view(), USER, "x" * 262_120, ()))


def test_the_words_are_the_engines(view: View) -> None:
    words = {next(iter(completed(view(), USER, None, ()))).status, errored(view(), USER, "no").status}
    assert words <= set(STATUS_WORDS)


def test_children_carry_what_was_asked(activity: Callable[..., Activity]) -> None:
    purchase = activity(known={"Work": {"mode": "non_blocking", "retry": Retry(times=2, first=3), "timeout": 5}})
    purchase.add("Work", 1, 2)
    purchase.add("Work", params={"a": 1}, mode="fire_and_forget", retries=0, backoff=0.5, timeout=1, metadata={"m": 1})
    first, second = purchase.children
    assert json.loads(first.client_data) == {"name": "Work", "params": [1, 2], "timeout": 5.0}
    assert (first.mode.name, first.retries, first.retry_interval_seconds) == ("NON_BLOCKING", 2, 3.0)
    assert json.loads(second.client_data) == {"name": "Work", "params": {"a": 1}, "timeout": 1.0}
    assert (second.mode.name, second.retries, second.retry_interval_seconds) == ("FIRE_AND_FORGET", 0, 0.5)
    assert json.loads(second.metadata) == {"m": 1}
