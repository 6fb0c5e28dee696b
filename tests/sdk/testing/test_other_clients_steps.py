"""Workflows with steps that another client application runs: their owner sees how it is with all of them."""

from __future__ import annotations

import pytest

from backbeat import Fail, NodeFailed, NotFound, Worker, activity, current
from backbeat.testing import Backbeat


@activity("Order")
async def order() -> None:
    current().add("Ship", client="carrier")


@activity("Ship")
async def ship() -> None:
    raise Fail("no van left")


WORKERS = (Worker(activities=[order]), Worker(client="carrier", activities=[ship]))


async def test_the_owner_gets_the_outcome_the_failure_and_the_names():
    async with Backbeat(*WORKERS) as backbeat:
        client, carrier = backbeat.client(), backbeat.client("carrier")
        node = await client.signal("Orders", "o1", order)
        with pytest.raises(NodeFailed, match="'Ship': Fail: no van left"):
            await node.result(fail_fast=True)
        outcome = await client.outcome("Orders", "o1")
        assert outcome.state == "failed"
        assert [(step.name, step.why.partition(";")[0]) for step in outcome.failing] == [("Ship", "Fail: no van left")]
        changes = [str(change) async for change in client.follow(node.workflow_id, after="0")]
        assert changes[-1] == "Ship: retries_exhausted"

        # The other one sees its step, and nothing of the workflow.
        step = await carrier.node(outcome.failing[0].id)
        assert [above.name for above in await step.path()] == ["Order", "Ship"]
        for call in (
            carrier.outcome_of(node.workflow_id),
            anext(carrier.follow(node.workflow_id)),
            carrier.tree(node.workflow_id),
            carrier.waits(node.id),
            carrier.send("Orders", "o1", "approval"),
        ):
            with pytest.raises(NotFound):
                await call
