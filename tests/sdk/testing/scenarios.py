"""What is run both in memory and on Kafka: activities without a state of their own, and what callers do with them.

A scenario is given a place (`places`), and gives what was seen: pictures of trees, words of errors. No times, no ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from backbeat import BackbeatError, Fail, NodeFailed, Rejected, Results, activity, current
from backbeat.client.limits.limits import Limits
from backbeat.client.limits.views import ActivityLimit
from backbeat.errors import NotFound
from tests.sdk.testing.places import Place
from tests.waiting import until_async

SCENARIOS: list[Callable[[Place], Awaitable[Any]]] = []
_SOON = timedelta(milliseconds=1_500)


def scenario(run: Callable[[Place], Awaitable[Any]]) -> Callable[[Place], Awaitable[Any]]:
    SCENARIOS.append(run)
    return run


async def words_of(call: Awaitable[Any]) -> tuple[str, ...]:
    """What a refusal says."""
    try:
        await call
    except Rejected as refused:
        return type(refused).__name__, refused.reason, refused.found, refused.wanted
    except BackbeatError as error:
        return type(error).__name__, ""
    raise AssertionError("it was not refused")


@activity("Leaf", retries=0)
def leaf(word: Any = None) -> Any:
    return word


@activity("Branch")
async def branch(*words: str) -> list[str]:
    for word in words:
        current().add(leaf, word)
    return list(words)


# --- children --------------------------------------------------------------------------------------------------------


@activity("Modes")
async def modes() -> None:
    node = current()
    node.add(branch.with_options(mode="non_blocking"), "a", "b")
    node.add(leaf, "blocking")
    node.add(branch.with_options(mode="fire_and_forget"), "c")
    node.add("Leaf", params={"word": "last"}, metadata={"to": "customer"}, retries=2)
    node.add("a flag", type="flag")


@scenario
async def children_of_all_modes(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("modes"), "Modes", metadata={"shop": 1})
    result = await node.result(120)
    return result, await place.picture(
        node, until=lambda tree: all(below.status == "complete" for _, below in tree.walk())
    )


@activity("Spread")
async def spread() -> int:
    made = current().spread(leaf, range(50))
    current().add(leaf, "summary")
    return made


@scenario
async def fifty_are_spread_and_joined(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("spread"), "Spread")
    return await node.result(120), await place.picture(node)


@activity("Length")
def length(word: str) -> int:
    return len(word)


@activity("Total")
async def total(lengths: list[int], more: int) -> dict[str, int]:
    return {"total": sum(lengths) + more}


@activity("Totals")
def totals() -> None:
    lengths = current().spread(length, ["x" * count for count in range(150)])
    more = current().add(length.with_options(mode="non_blocking"), "seven")
    summed = current().add(total, lengths.results, more.result)
    current().returns(summed.result)


@scenario
async def results_are_arguments(place: Place) -> Any:
    """More than go along with an activity: the worker asks for the others."""
    node = await place.client.signal("Same", place.subject("totals"), "Totals")
    result = await node.result(120)
    assert result == {"total": sum(range(150)) + 5}
    return result, await place.picture(node)


@activity("Level")
def level(below: int) -> str | None:
    if below:
        current().returns(current().add(level, below - 1).result)
        return None
    return "x" * 250_000


@activity("Levels")
def levels() -> None:
    current().returns(current().add(level, 9).result)


@scenario
async def a_large_result_goes_up_ten_levels(place: Place) -> Any:
    """One command completes ten nodes, each with the result: together more than a record may have."""
    node = await place.client.signal("Same", place.subject("levels"), "Levels")
    return len(await node.result(120)), await place.picture(node)


@activity("Odd", retries=0)
async def odd(number: int) -> int:
    if number in (7, 70, 130):
        raise Fail(f"{number} is broken")
    return number


@activity("Sum", mode="non_blocking")
async def sum_pages(numbers: Results[int | None]) -> list[Any]:
    total = 0
    async for number in numbers:
        total += number or 0
    return [total, len(numbers), [(failed.index, failed.error) for failed in numbers.failed]]


@activity("Sum in a thread", mode="non_blocking")
def sum_plainly(numbers: Results[int | None]) -> list[Any]:
    return [sum(number or 0 for number in numbers), len(numbers), [failed.index for failed in numbers.failed]]


@activity("Sums")
def sums() -> None:
    numbers = current().spread(odd, range(150), failures_allowed=3).results
    pages, plain = current().add(sum_pages, numbers), current().add(sum_plainly, numbers)
    current().returns(current().add("Both", pages.result, plain.result).result)


@activity("Both")
def both(*sums_made: Any) -> Any:
    return list(sums_made)


@scenario
async def results_are_read_by_pages_and_some_failures_are_allowed(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("sums"), "Sums")
    result = await node.result(120)
    total = sum(range(150)) - 7 - 70 - 130
    failed = [[number, f"Fail: {number} is broken"] for number in (7, 70, 130)]
    assert result == [[total, 150, failed], [total, 150, [7, 70, 130]]]
    return result, await place.picture(node)


@activity("Take back")
def take_back(item: str, count: int) -> str:
    return f"{count} of {item} taken back"


@activity("Take", undo=take_back)
def take(item: str, count: int) -> str:
    return item.upper()


@activity("Look after")
async def look_after(error: dict[str, Any], how: str) -> str:
    if how == "give up":
        current().give_up()
    return error["message"]


@activity("Break", retries=0, on_failure=look_after)
def break_it(how: str) -> str:
    raise Fail("it is broken")


@activity("Saga")
def saga(how: str) -> None:
    current().add(take, "camera", 1)
    current().spread(take, [("lens", 2), ("bag", 3)])
    current().add(break_it, how)
    current().add(take, "last", 4)


@scenario
async def a_failure_is_handled_and_what_was_done_is_undone(place: Place) -> Any:
    handled = await place.client.signal("Same", place.subject("handled"), "Saga", args=["go on"])
    await handled.result(120)
    given_up = await place.client.signal("Same", place.subject("given up"), "Saga", args=["give up"])
    try:
        await given_up.result(120)
    except NodeFailed as failed:
        failure = failed.message
    outcome = await place.client.outcome_of(given_up.workflow_id)
    return (
        failure,
        (outcome.state, outcome.done, outcome.total),
        await place.picture(handled),
        await place.picture(given_up),
    )


# --- failing ---------------------------------------------------------------------------------------------------------


@activity("Flaky", retries=5, backoff=0.001)
async def flaky() -> Any:
    if current().attempt < 3:
        raise ValueError(f"attempt {current().attempt}")
    before = await current().previous_error()
    return before["message"]


@activity("Flaky parent")
def flaky_parent() -> None:
    current().add(flaky)
    current().add(leaf, "after")


@scenario
async def a_failing_child_is_tried_again(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("flaky"), "Flaky parent")
    await node.result(120)
    return await place.picture(node)


@activity("Broken", retries=1, backoff=0.001)
def broken() -> None:
    try:
        {}["the cause"]
    except KeyError as cause:
        raise ValueError("it does not work") from cause


@activity("Broken parent")
def broken_parent() -> None:
    current().add(broken)
    current().add(leaf, "after")


async def exhausted(place: Place, name: str, parent: str) -> tuple[Any, Any]:
    """A workflow whose first child has no retry left, and that child."""
    node = await place.client.signal("Same", place.subject(name), parent)
    await place.reach(node, lambda tree: tree.children[0].children[0].node.status == "retries_exhausted")
    tree = await place.client.tree(node.workflow_id)
    return node, tree.children[0].children[0].node


@scenario
async def exhausted_retries_are_resolved(place: Place) -> Any:
    node, child = await exhausted(place, "resolved", "Broken parent")
    try:
        await child.result(120)
    except NodeFailed as failed:
        failure = (failed.status, failed.message, failed.traceback)
    await child.resolve({"by": "an operator"})
    await node.result(120)
    return failure, await place.picture(node)


@scenario
async def exhausted_retries_are_shut_down(place: Place) -> Any:
    node, child = await exhausted(place, "shutdown", "Broken parent")
    await place.client.shutdown(child.id)
    try:
        await node.result(120)
    except NodeFailed as failed:
        failure = (failed.status, failed.message.partition(":")[0])
    return failure, await place.picture(node)


@scenario
async def all_that_are_exhausted_are_resolved_at_once(place: Place) -> Any:
    nodes = [(await exhausted(place, f"job {number}", "Broken parent"))[0] for number in range(3)]
    filters = {"subject": place.subject("job"), "name": "Broken", "workflow_name": "Same"}
    counted = await place.ended((await place.client.jobs.start("resolve", dry_run=True, **filters)).id)
    job = await place.client.jobs.start("resolve", response={"by": "an operator"}, **filters)
    done = await place.ended(job.id)
    again = await place.client.jobs.stop(job.id)
    for node in nodes:
        await node.result(120)
    seen = [
        (row.state, row.matched, row.done, row.refused, row.response, row.filters) for row in (counted, done, again)
    ]
    wrong = place.client.jobs.start("retry", name="x", job_id=job.id)
    return seen, await words_of(wrong), [await place.picture(node) for node in nodes]


@activity("Final", retries=5)
async def final() -> None:
    raise Fail("no card at all")


@activity("Final parent")
async def final_parent() -> None:
    current().add(final)


@scenario
async def what_fails_for_good_is_not_tried_again(place: Place) -> Any:
    node, child = await exhausted(place, "fail", "Final parent")
    before = await place.picture(node)
    await child.retry()
    await place.reach(node, lambda tree: tree.children[0].children[0].node.attempt == 2)
    await place.reach(node, lambda tree: tree.children[0].children[0].node.status == "retries_exhausted")
    return before, await place.picture(node)


@activity("Unknown parent")
async def unknown_parent() -> None:
    current().add("Nobody runs this", retries=0)


@scenario
async def an_activity_that_nobody_runs(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("unknown"), "Unknown parent")
    await place.reach(node, lambda tree: tree.children[0].children[0].node.status == "retrying", still=True)
    child = (await node.tree()).children[0].children[0].node
    # The message names all that is registered, which is the same here and there.
    error = next(change.response for change in await child.history() if change.to_status == "errored")
    await child.cancel()
    await node.result(120)
    return error, child.retries_remaining


# --- time ------------------------------------------------------------------------------------------------------------


@activity("At")
async def at() -> None:
    current().add(leaf.with_options(at=_SOON), "in time")
    current().add(leaf, "after")


@scenario
async def what_is_due_later_starts_later(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("at"), "At", at=_SOON)
    before = await place.picture(node)
    await node.result(120)
    return before, await place.picture(node)


@activity("Somebody else", asynchronous=True, retries=0)
async def somebody_else() -> None:
    current().add(leaf, "added before")


@activity("Waits for others")
async def waits_for_others(seconds: float) -> None:
    current().add(somebody_else.with_options(timeout=seconds))


@scenario
async def a_deadline_passes(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("expiry"), "Waits for others", args=[1.5])
    await place.reach(node, lambda tree: tree.children[0].children[0].node.status == "retries_exhausted")
    return await place.picture(node)


@scenario
async def somebody_else_completes_it(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("asynchronous"), "Waits for others", args=[600])
    await place.reach(node, lambda tree: len(tree.children[0].children[0].children) == 1, still=True)
    child = (await place.client.tree(node.workflow_id)).children[0].children[0].node
    before = await place.picture(node)
    parent = (await node.children())[0].id
    waits = [[(wait.kind, wait.count) for wait in await place.client.waits(at)] for at in (node.id, parent)]
    (shown,) = await place.client.children(parent, limit=5)
    waits.append([wait.kind for wait in await child.waits()])
    path = [above.name for above in await child.path()]
    await child.answer(result={"paid": True})
    closed = await node.result(120), await child.result(120), await child.waits()
    return before, waits, (shown.status, shown.wait and shown.wait.kind), path, closed, await place.picture(node)


# --- links and rounds ------------------------------------------------------------------------------------------------


@activity("Linked")
async def linked(subject: str) -> None:
    current().signal("Same linked", subject, leaf, linked=True, args=["there"], at=_SOON)
    current().add(leaf, "here")


@scenario
async def a_linked_signal_is_waited_for(place: Place) -> Any:
    other = place.subject("linked to")
    node = await place.client.signal("Same", place.subject("linked"), "Linked", args=[other])
    await node.result(120)
    there = await place.client.tree(place.client.workflow_id("Same linked", other))
    return await place.picture(node), await place.picture(there.children[0].node)


@activity("Rounds")
async def rounds(left: int) -> int:
    current().add(leaf, left)
    if left:
        current().continue_as(left - 1)
    return left


@scenario
async def a_workflow_goes_on_in_rounds(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("rounds"), "Rounds", args=[3])
    return await place.picture(
        node, until=lambda tree: len(tree.children) == 4 and all(below.status == "complete" for _, below in tree.walk())
    )


# --- stepping in -----------------------------------------------------------------------------------------------------


@activity("Waits for a day")
async def waits_for_a_day() -> None:
    current().add(leaf.with_options(at=timedelta(days=1)), "tomorrow")
    current().add(branch, "after")


async def waiting(place: Place, name: str) -> Any:
    node = await place.client.signal("Same", place.subject(name), "Waits for a day")
    await place.reach(node, lambda tree: len(tree.children[0].children) == 2, still=True)
    return node


@scenario
async def a_canceled_child_is_in_the_way_no_more(place: Place) -> Any:
    node = await waiting(place, "cancel")
    tree = await place.client.tree(node.workflow_id)
    await tree.children[0].children[0].node.cancel()
    await node.result(120)
    return await place.picture(node)


@scenario
async def a_canceled_tree_is_deactivated(place: Place) -> Any:
    node = await waiting(place, "cancel all")
    await node.cancel()
    try:
        await node.result(120)
    except NodeFailed as failed:
        return failed.status, failed.message, await place.picture(node)
    return "it gave a result"


@scenario
async def a_reset_deactivates_what_is_below(place: Place) -> Any:
    node = await waiting(place, "reset")
    await place.client.reset(node.id)
    await place.client.start_next(node.id)
    await node.result(120)
    return await place.picture(node)


@scenario
async def deactivate_previous_leaves_only_what_is_newer(place: Place) -> Any:
    first = await waiting(place, "deactivate")
    second = await place.client.signal("Same", place.subject("deactivate"), "Branch", args=["new"])
    await place.client.deactivate_previous(second.id)
    third = await place.client.signal("Same", place.subject("deactivate"), "Branch", args=["newer"])
    await third.result(120)
    return await place.picture(first, until=lambda tree: tree.children[2].node.status == "complete")


@scenario
async def a_paused_workflow_starts_nothing_until_it_is_resumed(place: Place) -> Any:
    workflow = await place.client.find_or_create("Same", place.subject("pause"))
    await place.client.pause(workflow.id)
    node = await place.client.signal("Same", place.subject("pause"), "Branch", args=["a"])
    paused = await place.client.workflow(workflow.id)
    before = await place.picture(node)
    await place.client.resume(workflow.id)
    await node.result(120)
    return paused.paused, before, await place.picture(node)


@scenario
async def what_cannot_be_is_refused_in_the_same_words(place: Place) -> Any:
    client, subject = place.client, place.subject("refused")
    node = await client.signal("Same", subject, "Leaf", args=["x"], idempotency_key=subject)
    again = await client.signal("Same", subject, "Leaf", args=["x"], idempotency_key=subject)
    await node.result(120)
    words = [
        await words_of(client.signal("Same", subject, "Leaf", args=["y"], idempotency_key=subject)),
        await words_of(node.resolve()),
        await words_of(client.shutdown(node.id)),
        await words_of(client.retry(node.id)),
        await words_of(client.node("01234567-89ab-8def-8123-456789abcdef")),
        await words_of(client.signal("Same", subject, "", args=["y"])),
        await words_of(client.signal("Same", "", "Leaf")),
        await words_of(client.signal("Same", subject, "Leaf", args=["x" * 300_000])),
    ]
    await client.close(node.workflow_id)
    words.append(await words_of(client.signal("Same", subject, "Leaf")))
    try:
        await client.signal("Same", subject, "Leaf", client="nobody of this name")
    except NotFound as unknown:
        words.append((type(unknown).__name__, unknown.reason))
    return again.id == node.id, words, await place.picture(node)


# --- from inside -----------------------------------------------------------------------------------------------------


@activity("Asks")
async def asks() -> None:
    current().add("Asks in a thread")


@activity("Asks in a thread")
def asks_plainly() -> Any:
    node = current()
    parent, workflow = node.parent().result(120), node.workflow().result(120)
    node.heartbeat().result(120)
    assert parent is not None
    return {
        "parent": [parent.name, parent.status, parent.client_status],
        "workflow": [workflow.name, workflow.closed, workflow.paused],
        "history": [change.to_status for change in node.history().result(120)],
        "tree": [below.name for _, below in node.tree().result(120).walk()],
        "error before": node.previous_error().result(120),
    }


@scenario
async def a_handler_asks_about_its_surroundings(place: Place) -> Any:
    node = await place.client.signal("Same", place.subject("asks"), "Asks")
    await node.result(120)
    tree = await place.client.tree(node.workflow_id)
    return await tree.children[0].children[0].node.result(120), await place.picture(node)


# --- messages --------------------------------------------------------------------------------------------------------


@activity("Approved")
async def approved(approval: dict[str, str], note: str) -> str:
    return f"{approval['by']}, {note}"


@activity("Awaits")
async def awaits() -> None:
    approval = current().wait_for("approval", dict[str, str])
    note = current().wait_for("note", str, timeout=0.05, default="no note", mode="non_blocking")
    failing = current().wait_for("nothing", timeout=0.05, mode="fire_and_forget")
    current().returns(current().add(approved, approval.result, note.result).result)
    assert failing.place == 2


@scenario
async def a_message_is_a_result_and_a_signal_beside_does_not_wait_its_turn(place: Place) -> Any:
    client, subject = place.client, place.subject("awaits")
    words = [await words_of(client.send("Same", subject, "approval"))]
    node = await client.signal("Same", subject, "Awaits")
    queued = await client.signal("Same", subject, "Approved", args=[{"by": "q"}, "queued"])
    beside = await client.signal("Same", subject, "Approved", args=[{"by": "b"}, "beside"], beside=True)
    results = [await beside.result(120), (await queued.refresh()).status]
    for _ in range(2):
        await client.send("Same", subject, "approval", {"by": "Grace"}, idempotency_key=f"approval of {subject}")
    words.append(await words_of(client.send("Same", subject, "approval", 1, idempotency_key=f"approval of {subject}")))
    results += [await node.result(120), await queued.result(120)]
    await place.reach(node, lambda tree: tree.children[0].children[2].node.status == "retries_exhausted")
    await client.resolve((await client.tree(node.workflow_id)).children[0].children[2].node.id)
    return words, results, await place.picture(node)


@scenario
async def changes_are_followed_in_order_and_from_where_somebody_was(place: Place) -> Any:
    client, subject = place.client, place.subject("follows")
    first = await client.signal("Same", subject, "Approved", args=[{"by": "a"}, "first"])
    await first.result(120)
    seen, ids = [], []
    async for change in client.follow(first.workflow_id, after="0"):
        seen.append((change.name, change.before, change.status))
        ids.append(change.id)
        if change.status == "complete":
            break
    await client.signal("Same", subject, "Approved", args=[{"by": "b"}, "second"])
    async for change in client.follow(first.workflow_id, after=ids[0]):
        seen.append((change.name, change.before, change.status))
        if len(seen) == 2 * len(ids) - 1 + 4:
            break
    return seen, await words_of(anext(client.follow(first.workflow_id, after="soon")))


# --- limits ----------------------------------------------------------------------------------------------------------


@activity("Limited", mode="non_blocking")
async def limited(word: str) -> str:
    return word


@activity("Limits")
async def limits_below() -> None:
    for number, priority in enumerate((5, 3, 1, 3)):
        current().add(limited, str(number), priority=priority, fairness_key=str(number % 2))


async def limit_at(limits: Limits, activity_name: str, waiting: int) -> ActivityLimit | None:
    """The limit with nothing out, once so many wait for it."""
    limit = await limits.get(activity_name)
    return limit if limit is not None and (limit.out, limit.waiting) == (0, waiting) else None


@scenario
async def a_paused_activity_waits_and_a_limited_one_goes_by_priority(place: Place) -> Any:
    limits = place.client.limits
    await limits.pause("Limited")
    node = await place.client.signal("Same", place.subject("limits"), "Limits")
    await place.reach(
        node,
        lambda tree: (
            len(tree.children[0].children) == 4 and all(c.node.waits_for_slot for c in tree.children[0].children)
        ),
        still=True,
    )
    # A pool has a partition of its own: it hears later than their tree that nodes wait, or have ended.
    paused = await until_async(lambda: limit_at(limits, "Limited", waiting=4))
    pictures = [await place.picture(node)]
    await limits.set("Limited", concurrency=1, rate="100/min", burst=100)
    await limits.resume("Limited")
    await node.result(120)
    pictures.append(await place.picture(node))
    limit = await until_async(lambda: limit_at(limits, "Limited", waiting=0))
    await limits.remove("Limited")
    words = [await words_of(limits.set("", concurrency=1)), await words_of(limits.set("Limited", rate="often"))]
    return (
        (paused.paused, paused.out, paused.waiting, [pool.waiting_by_priority for pool in paused.pools]),
        pictures,
        (limit.concurrency, limit.rate, limit.burst, limit.out, limit.waiting),
        await limits.list(),
        words,
    )


# --- retention and settings ------------------------------------------------------------------------------------------


@scenario
async def policies_and_settings_hold_in_every_partition(place: Place) -> Any:
    retention, settings = place.client.retention, place.client.settings
    await retention.set("Passing", keep=timedelta(days=1), archive=False, refuse=3_600)
    await retention.set("Staying", keep=90)
    policies = await retention.list()
    known = [(policy.workflow, policy.keep_seconds, policy.archive, policy.refuse_seconds) for policy in policies]
    words = [
        await words_of(retention.set("Passing", keep=0)),
        await words_of(retention.set("", keep=5)),
        await words_of(retention.set("Passing", keep=5, client="nobody")),
        await words_of(retention.remove("Coming")),
    ]
    for workflow in ("Passing", "Staying"):
        await retention.remove(workflow)
    await settings.set(answer_retention_seconds=90_000)
    words += [await words_of(settings.set(children_max=0)), await words_of(settings.set(childern_max=5))]
    return known, words, await retention.list(), [setting.answer_retention_seconds for setting in await settings.list()]
