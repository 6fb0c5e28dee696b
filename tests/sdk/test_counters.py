"""What a worker counts of its activities, and what it says where it cannot show it."""

import sys
from types import SimpleNamespace

import pytest

from backbeat import BackbeatError, Worker
from backbeat.schemas.messages.commands import AddChildren, ChangeNode
from backbeat.worker.counters import outcome_of


def change(status: str, *, retriable: bool = True) -> ChangeNode:
    return ChangeNode(id=b"", user_id=b"", tid="", node_id=b"", status=status, attempt=1, retriable=retriable)


def children() -> AddChildren:
    return AddChildren(id=b"", user_id=b"", tid="", node_id=b"", children=(), attempt=1)


@pytest.mark.parametrize(
    ("commands", "attempt", "outcome"),
    [
        ([children(), change("completed")], "at work", "complete"),
        ([change("errored")], "at work", "errored"),
        ([change("errored", retriable=False)], "at work", "failed"),
        ([], "at work", "postponed"),
        ([children()], "at work", "postponed"),
        ([], "over", "dropped"),
    ],
)
def test_an_outcome_is_a_word(commands: list, attempt: str, outcome: str) -> None:
    assert outcome_of(SimpleNamespace(cancelled=attempt == "over"), commands) == outcome


async def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("backbeat.observe.status", "backbeat.observe.prometheus", "prometheus_client")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BackbeatError, match=r"needs the package prometheus_client.*pip install 'backbeat\[metrics\]'"):
        await Worker(status_port=0).run(handle_signals=False)
