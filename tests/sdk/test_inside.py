"""What a handler asks for beside its result: groups, signals, the next round."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from backbeat.activities.context import Activity
from backbeat.activities.retry import Retry
from backbeat.errors import LimitExceeded
from backbeat.schemas.codec import decode_command, encode_command
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AddChildren, ChangeNode, OpenLink, Signal
from backbeat.streams.core.effects import node_view
from backbeat.worker.outcome import CHILDREN_MAX, completed, postponed
from tests.sdk.conftest import USER, VIEW, WORKFLOW
from tests.streams.core.rig import Rig

Make = Callable[..., Activity]


def commands(purchase: Activity, result: Any = None) -> list[Any]:
    return list(completed(purchase.record.node, USER, result, purchase.added, purchase.signals))


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_group_is_made_whole_before_its_node_is_answered(activity: Make) -> None:
    purchase = activity(known={"Work": {"retry": Retry(times=2)}})
    purchase.add("First")
    assert purchase.spread("Work", [1, (2, "b"), {"c": 3}]) == 3
    purchase.add("Join")
    flags, members, answer = commands(purchase)
    assert isinstance(flags, AddChildren)
    assert [(child.name, child.type) for child in flags.children] == [("First", "activity"), ("Work (3)", "flag")]
    assert (flags.node_id, flags.attempt) == (VIEW.id, 2)
    assert members.node_id == ids.node_id(WORKFLOW, flags.id, 1)
    assert (members.attempt, members.attempt_of) == (2, VIEW.id)
    assert [json.loads(child.client_data)["params"] for child in members.children] == [[1], [2, "b"], [{"c": 3}]]
    assert {(child.mode.name, child.retries) for child in members.children} == {("NON_BLOCKING", 2)}
    assert isinstance(answer, ChangeNode)
    assert [child.name for child in answer.children] == ["Join"]
    assert len({flags.id, members.id, answer.id}) == 3
    assert [decode_command(encode_command(command)) for command in commands(purchase)] == [flags, members, answer]


def test_large_groups_go_in_parts(activity: Make) -> None:
    purchase = activity()
    purchase.spread("Work", range(2 * CHILDREN_MAX + 1), group_mode="non_blocking")
    purchase.spread("More", range(2))
    flags, *members, _ = commands(purchase)
    assert [flag.mode.name for flag in flags.children] == ["NON_BLOCKING", "BLOCKING"]
    assert [len(part.children) for part in members] == [CHILDREN_MAX, CHILDREN_MAX, 1, 2]
    assert [part.node_id for part in members] == [ids.node_id(WORKFLOW, flags.id, at) for at in (0, 0, 0, 1)]
    assert len({part.id for part in members}) == 4


def test_nothing_to_spread_is_nothing(activity: Make) -> None:
    purchase = activity()
    assert purchase.spread("Work", []) == 0
    assert purchase.added == ()


def test_a_group_needs_two_levels(activity: Make) -> None:
    activity(depth=9_998).spread("Work", [1])
    with pytest.raises(LimitExceeded, match="10001 levels deep"):
        activity(depth=9_999).spread("Work", [1])


def play(rig: Rig, purchase: Activity) -> list[str]:
    """Answer a node of the rig with what its activity asked for; the names of what is started."""
    return [name for command in commands(purchase) for name in rig.do(command).dispatched]


def sent(rig: Rig, activity: Make, name: str) -> Activity:
    """The activity of a node of the rig."""
    (row,) = [row for row in rig.nodes().values() if row.name == name]
    return activity(**msgspec.structs.asdict(node_view(row, rig.workflows()[row.workflow_id])))


def test_what_comes_after_a_group_waits_for_all_of_it(activity: Make) -> None:
    rig = Rig()
    rig.signal("signal")
    decision = sent(rig, activity, "signal")
    decision.spread("Work", [1, 2])
    decision.add("Join")
    assert play(rig, decision) == ["Work", "Work"]
    # The very same again, as after a worker was killed: nothing is done twice.
    assert play(rig, decision) == []
    first, second = (node.id for node in rig.nodes().values() if node.name == "Work")
    say = {"id": b"1" * 16, "user_id": USER, "status": "completed"}
    assert rig.do(ChangeNode(**say, node_id=first)).dispatched == []
    assert rig.do(ChangeNode(**{**say, "id": b"2" * 16}, node_id=second)).dispatched == ["Join"]


def test_a_node_waits_for_the_signal_that_it_is_linked_to(activity: Make) -> None:
    rig = Rig(partitions=3)
    rig.signal("signal")
    decision = sent(rig, activity, "signal")
    decision.signal("Other", "subject of another partition", "Begin", linked=True)
    assert play(rig, decision) == ["Begin"]
    assert rig.server("signal", "Begin") == ["processing_children", "sent_to_client"]
    rig.complete("Begin")
    assert rig.server("signal", "Begin") == ["complete", "complete"]


def test_the_next_round_starts_when_this_one_is_through(activity: Make) -> None:
    rig = Rig()
    rig.signal("signal")
    decision = sent(rig, activity, "signal")
    decision.add("Work")
    decision.continue_as(name="again")
    assert play(rig, decision) == ["Work"]
    assert rig.complete("Work").dispatched == ["again"]


# --- signals ---------------------------------------------------------------------------------------------------------


def test_a_signal_is_the_same_in_every_attempt(activity: Make) -> None:
    first, again, later = activity(), activity(), activity(attempt=3)
    for attempt in (first, again, later):
        attempt.signal("Sale", 7, "Begin", args=[1])
    assert first.signals == again.signals == later.signals


def test_what_is_sent_twice_is_two_signals_whatever_came_between(activity: Make) -> None:
    first, other = activity(), activity()
    sent = [first.signal("Sale", 7, "Begin", args=[argument]) for argument in (1, 2, 1)]
    assert len(set(sent)) == 3
    assert {other.signal("Sale", 7, "Begin", args=[argument]) for argument in (1, 1, 2)} == set(sent)


def test_a_signal_goes_ahead_of_the_answer_and_says_its_id(activity: Make) -> None:
    purchase = activity()
    node_id = purchase.signal("Sale", 7, "Begin", args=[1], retries=0, at=timedelta(hours=1), metadata={"m": 1})
    signal, answer = commands(purchase)
    assert isinstance(signal, Signal)
    assert (signal.workflow.name, signal.workflow.subject, signal.node.retries) == ("Sale", b"7", 0)
    assert signal.tid == answer.tid == "tid-1"
    assert ids.node_id(signal.workflow_id, signal.id, 0).hex() == node_id.replace("-", "")
    assert decode_command(encode_command(signal)) == signal


def test_a_linked_signal_goes_through_its_node(activity: Make) -> None:
    purchase = activity()
    node_id = purchase.signal("Sale", 7, "Begin", linked=True)
    link, answer = commands(purchase)
    assert isinstance(link, OpenLink)
    assert (link.target_id, link.child_id.hex()) == (VIEW.id, node_id.replace("-", ""))
    assert link.signal.node.parent_link_id == VIEW.id
    assert answer.node_id == VIEW.id
    with pytest.raises(TypeError, match="linked or link"):
        purchase.signal("Sale", 7, "Begin", linked=True, link=VIEW.id)


def test_a_key_of_the_callers_names_the_signal(activity: Make) -> None:
    purchase = activity()
    purchase.signal("Sale", 7, "Begin", idempotency_key="a")
    (signal,) = purchase.signals
    assert signal.id == ids.command_id(USER, b"a")
    assert signal.body_hash


def test_the_next_round_is_a_signal_of_the_same_workflow(activity: Make) -> None:
    purchase = activity(
        known={"Make Purchase": {"retry": Retry(times=1, first=5, give_up_on=(ValueError,)), "timeout": 60}}
    )
    purchase.continue_as("Bob")
    purchase.continue_as(name="Close", params={"a": 1}, at=timedelta(hours=1))
    first, second = purchase.signals
    assert (first.workflow_id, first.workflow, first.node.name) == (VIEW.workflow_id, None, "Make Purchase")
    assert json.loads(first.node.client_data) == {"name": "Make Purchase", "params": ["Bob"], "timeout": 60.0}
    assert (first.node.retries, first.node.retry_interval_seconds, first.node.metadata) == (1, 5.0, b'{"shop":1}')
    assert (second.node.name, json.loads(second.node.client_data)["params"]) == ("Close", {"a": 1})
    assert second.node.fires_at is not None


# --- answered later --------------------------------------------------------------------------------------------------


def test_what_is_answered_later_adds_its_children_only(activity: Make) -> None:
    purchase = activity()
    purchase.add("Work")
    purchase.signal("Sale", 7, "Begin")
    signal, added = postponed(purchase.record.node, USER, purchase.added, purchase.signals)
    assert isinstance(signal, Signal)
    assert isinstance(added, AddChildren)
    assert (added.attempt, len(added.children)) == (2, 1)
    assert list(postponed(activity().record.node, USER, (), ())) == []
