"""Changes of a workflow as they come, in memory and by the blocking twin."""

from __future__ import annotations

import asyncio
import math

import pytest

from backbeat import Worker, activity, current
from backbeat.client import workflow_calls
from backbeat.delivery.change_feed import Subscription
from backbeat.delivery.changes import Place
from backbeat.delivery.history_reader import Followed
from backbeat.errors import BackbeatError, InvalidParameters, NotFound, Timeout, Unavailable
from backbeat.schemas.messages.history import NodeChange, StatusChange, StatusChangesRecord
from backbeat.schemas.messages.status import ServerStatus
from backbeat.testing import Backbeat, PlainBackbeat


@activity("Step")
async def step() -> None: ...


@activity("Steps")
async def steps() -> None:
    current().add(step)


WORKER = Worker(activities=[step, steps])


async def test_changes_come_in_order_until_nothing_is_left_to_run():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        node = await client.signal("Sale", 703, steps)
        other = await client.signal("Sale", 704, steps)
        seen = [change async for change in client.follow(node.workflow_id)]
        assert [str(change) for change in seen][-2:] == ["Step: complete", "Steps: complete"]
        assert {change.node_id for change in seen}.isdisjoint({other.id})
        behind = [change async for change in client.follow(node.workflow_id, after=seen[2].id)]
        assert behind == seen[3:]
        everything = [change async for change in client.follow(node.workflow_id, after="0")]
        assert everything[-len(seen) :] == seen
        assert str(everything[0]) == "Steps: started"


async def test_a_workflow_that_is_not_there_and_a_place_that_is_none_are_refused():
    async with Backbeat(WORKER) as backbeat:
        client = backbeat.client()
        with pytest.raises(NotFound):
            await anext(client.follow(client.workflow_id("Sale", 703)))
        workflow = await client.find_or_create("Sale", 703)
        with pytest.raises(InvalidParameters, match="'soon' is no place of a change"):
            await anext(client.follow(workflow.id, after="soon"))
        with pytest.raises(InvalidParameters, match="after is a int; give the id of a change"):
            await anext(client.follow(workflow.id, after=5))  # type: ignore[arg-type]


@activity("Wrong progress")
async def wrong_progress() -> None:
    for fraction in ("0.4", True, math.nan, 1.5):
        with pytest.raises(InvalidParameters, match=r"the progress is .*; it must be from 0 to 1"):
            current().progress(fraction)  # type: ignore[arg-type]
    current().progress(None)
    current().progress(1)


async def test_a_progress_that_is_none_is_refused_and_one_without_a_number_says_the_status():
    async with Backbeat(Worker(activities=[wrong_progress])) as backbeat:
        client = backbeat.client()
        node = await client.signal("Sale", 703, wrong_progress)
        seen = [str(change) async for change in client.follow(node.workflow_id)]
        assert seen == [
            f"Wrong progress: {word}" for word in ("sent_to_client", "100%", "processing_children", "complete")
        ]


def test_clients_of_a_plain_backbeat_that_is_stopped_say_so():
    with PlainBackbeat(WORKER) as backbeat:
        client = backbeat.client()
        backbeat.stop()
        with pytest.raises(BackbeatError, match="this `PlainBackbeat` is stopped"):
            client.send("Sale", 703, "approval")


def test_the_blocking_twin_follows_too():
    with PlainBackbeat(WORKER) as backbeat:
        client = backbeat.client()
        node = client.signal("Sale", 703, steps)
        for change in client.follow(node.workflow_id):
            if change.name == "Step" and change.status == "complete":
                break
        assert client.status(node.id) == "complete"


async def test_a_follower_outlives_an_engine_that_does_not_answer_for_a_while(monkeypatch):
    get_path, refused = workflow_calls.get_path, []

    async def late(session, node_id):
        if not refused:
            refused.append(node_id)
            raise Timeout("No answer within 10 s")
        return await get_path(session, node_id)

    monkeypatch.setattr(workflow_calls, "get_path", late)
    async with Backbeat(Worker(activities=[print_pages])) as backbeat:
        node = await backbeat.client().signal("Book", 703, print_pages)
        async for change in backbeat.client().follow(node.workflow_id):
            assert change.name == "Print"
            break
    assert refused


# --- progress --------------------------------------------------------------------------------------------------------


@activity("Print")
async def print_pages() -> None:
    for page in (0.25, 0.5):
        current().progress(page, f"page {page * 100:g}")
        (node,) = [node for _, node in (await current().tree()).walk()]
        assert (node.fraction_done, node.progress_note) == (page, f"page {page * 100:g}")
    current().progress(note="binding")
    with pytest.raises(InvalidParameters, match="must be a fraction from 0 to 1"):
        current().progress(40)


async def test_progress_is_seen_in_the_tree_and_by_followers_and_is_over_with_its_attempt():
    async with Backbeat(Worker(activities=[print_pages])) as backbeat:
        client = backbeat.client()
        node = await client.signal("Book", 703, print_pages)
        seen = [str(change) async for change in client.follow(node.workflow_id)]
        assert seen[:3] == ["Print: 25% (page 25)", "Print: 50% (page 50)", "Print: (binding)"]
        assert (await node.refresh()).fraction_done is None


# --- a follower of the history topic ----------------------------------------------------------------------------------

WORKFLOW, NODE = b"w" * 16, b"n" * 16
MOVED = StatusChange(True, ServerStatus.READY, ServerStatus.STARTED, 5, None)


class Feed:
    """A feed that is told by hand."""

    def __init__(self) -> None:
        self.asked: list[dict[bytes, int | None]] = []

    def follow(self, _: object, workflows: dict[bytes, int | None]) -> None:
        self.asked.append(workflows)


def records(*offsets: int) -> list[Followed]:
    changes = (NodeChange(NODE, MOVED), NodeChange(NODE, MOVED))
    return [Followed(WORKFLOW, offset, StatusChangesRecord(WORKFLOW, "", changes)) for offset in offsets]


def subscribed(after: str | None) -> tuple[Feed, Subscription]:
    feed = Feed()
    return feed, Subscription(feed, WORKFLOW, None if after is None else Place.parse(after))  # type: ignore[arg-type]


async def test_a_follower_gets_each_change_once_though_others_have_records_read_again():
    feed, subscription = subscribed(None)
    subscription.told(records(3))  # somebody else follows it already
    subscription.followed({WORKFLOW: 5})
    subscription.told(records(4, 5))
    subscription.told(records(3, 4, 5, 6))
    assert [change.id for change in await subscription.take()] == ["5-0", "5-1", "6-0", "6-1"]
    subscription.close()
    assert feed.asked == [{WORKFLOW: None}, {}]


async def test_a_follower_goes_on_within_a_record():
    feed, subscription = subscribed("5-0")
    assert feed.asked == [{WORKFLOW: 5}]
    subscription.followed({WORKFLOW: 5})
    subscription.told(records(5))
    assert [change.id for change in await subscription.take()] == ["5-1"]


@pytest.mark.parametrize(("after", "begin", "is_missed"), [("5-1", 6, False), ("5-1", 7, True), ("0", 7, False)])
async def test_a_follower_hears_what_is_not_kept_any_more(after, begin, is_missed):
    _, subscription = subscribed(after)
    subscription.followed({WORKFLOW: begin})
    subscription.told(records(begin))
    if is_missed:
        with pytest.raises(Unavailable, match="the changes behind 5-1 are not kept any more"):
            await subscription.take()
    else:
        assert [change.id for change in await subscription.take()] == [f"{begin}-0", f"{begin}-1"]


async def test_a_follower_that_never_began_hears_why_and_one_that_has_goes_on():
    _, subscription = subscribed(None)
    waiting = asyncio.create_task(subscription.take())
    await asyncio.sleep(0)
    subscription.failed("Topic authorization failed")
    with pytest.raises(Unavailable, match="Topic authorization failed"):
        await waiting
    _, begun = subscribed(None)
    begun.followed({WORKFLOW: 5})
    begun.failed("the broker is away")
    begun.told(records(5))
    assert len(await begun.take()) == 2
