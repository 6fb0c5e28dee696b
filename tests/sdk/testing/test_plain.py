"""Workflows in memory without an event loop of the test's own."""

import asyncio
import inspect
import threading

import pytest

from backbeat import BackbeatError, Worker
from backbeat.testing import Backbeat, NothingDue, PlainBackbeat
from tests.sdk.testing.shop import Shop

#: What a plain one does not have: it is entered by `with`, its clients speak through it by themselves.
ONLY_ASYNC = {"transport"}


def test_a_workflow_runs_step_by_step_and_to_its_end():
    shop = Shop()
    with PlainBackbeat(shop.worker) as backbeat:
        backbeat.faults.fail("Reserve money")
        client = backbeat.client()
        node = client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])

        assert backbeat.run_one().name == "Make Purchase"
        assert [activity.name for activity in backbeat.queued] == ["Reserve money"]
        backbeat.run()
        assert backbeat.next_due > backbeat.now
        with pytest.raises(NothingDue, match="The next timer is due"):
            node.result()
        backbeat.advance(hours=20)

        assert node.result() == {"buyer": "Ann"}
        assert [(below.name, below.status) for _, below in client.tree(node.workflow_id).walk()][1] == (
            "Reserve money",
            "complete",
        )
        assert (backbeat.dead_letters, backbeat.notified(), len(backbeat.sent("Notify"))) == ([], [], 2)
        assert backbeat.history


def test_no_thread_is_started():
    # Those of other tests may end meanwhile: it is not their number that counts.
    threads = set(threading.enumerate())
    with PlainBackbeat(Shop().worker) as backbeat:
        node = backbeat.client().signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
        node.result()

        assert set(threading.enumerate()) <= threads


def test_a_handler_that_is_suspended_goes_on_with_the_next_call():
    worker = Worker()
    events = [asyncio.Event()]

    @worker.activity("Slow")
    async def slow():
        await events[0].wait()
        return "at last"

    @worker.activity("Quick")
    async def quick():
        return "at once"

    with PlainBackbeat(worker) as backbeat:
        client = backbeat.client()
        first = client.signal("W", "a", "Slow")
        second = client.signal("W", "b", "Quick")

        assert second.result() == "at once"
        events[0].set()
        assert first.result() == "at last"


async def test_in_an_event_loop_it_says_what_it_is():
    with pytest.raises(BackbeatError, match="use `Backbeat`"):
        PlainBackbeat().client()


def test_the_plain_environment_has_all_members_of_the_async_one():
    def public(of):
        return {name: member for name, member in vars(of).items() if not name.startswith("_")}

    plain, other = public(PlainBackbeat), public(Backbeat)

    assert set(other) - set(plain) == ONLY_ASYNC
    for name in set(plain) & set(other):
        if inspect.isfunction(plain[name]) and name != "run":
            assert list(inspect.signature(plain[name]).parameters) == list(inspect.signature(other[name]).parameters)
