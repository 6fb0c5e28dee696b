"""One change for all that match, as a service makes it: in memory, waiting and not."""

from datetime import UTC, datetime, timedelta

import pytest

from backbeat import Worker
from backbeat.errors import InvalidParameters, KeyReused, NotFound
from backbeat.testing import Backbeat, PlainBackbeat

JOB = "0f6b1a52-1f0d-4f6e-8c53-6d1f0f7d2a10"


class Till:
    """A worker whose cards are refused until they are mended."""

    def __init__(self) -> None:
        self.mended = False
        self.charged: list[str] = []
        self.worker = Worker()

        @self.worker.activity("Charge card", retries=0)
        def charge(card: str) -> str:
            if not self.mended:
                raise RuntimeError(f"no connection for {card}")
            self.charged.append(card)
            return card


async def sell(backbeat: Backbeat, count: int = 6) -> None:
    client = backbeat.client()
    for number in range(count):
        await client.signal("Sale", f"Camera {number}", "Charge card", args=[f"card {number}"], retries=0)
    await backbeat.run()


async def test_all_that_failed_are_tried_again_once():
    till = Till()
    async with Backbeat(till.worker) as backbeat:
        await sell(backbeat)
        client = backbeat.client()
        counted = await client.jobs.start("retry", all=True, dry_run=True)
        counted = await client.jobs.get(counted.id)
        assert (counted.state, counted.dry_run, counted.matched, counted.done) == ("done", True, 6, 0)
        assert {match.workflow_name for match in counted.matches} == {"Sale"}
        till.mended = True
        job = await client.jobs.start("retry", error="no connection for card", subject="Camera", job_id=JOB)
        assert (job.state, job.ended, job.action) == ("running", False, "retry")
        job = await client.jobs.get(job.id)
        assert (job.ended, job.matched, job.done, job.refused, job.refusals) == (True, 6, 6, 0, [])
        assert job.filters == {
            "error": "no connection for card",
            "subject": "Camera",
            "current_status": "retries_exhausted",
        }
        await backbeat.run()
        assert sorted(till.charged) == [f"card {number}" for number in range(6)]
        # The same job again is the same job; another one under its id is refused.
        again = await client.jobs.start("retry", error="no connection for card", subject="Camera", job_id=JOB)
        assert (again.done, repr(again)) == (6, f"<Job {JOB} retry: done, 6 done, 0 refused>")
        with pytest.raises(KeyReused):
            await client.jobs.start("retry", all=True, job_id=JOB)
        assert {listed.id for listed in await client.jobs.list()} == {JOB, counted.id}


async def test_a_job_matches_the_nodes_of_its_filter():
    async with Backbeat(Till().worker) as backbeat:
        await sell(backbeat)
        client, now = backbeat.client(), backbeat.now

        async def matched(**filters):
            return (await client.jobs.get((await client.jobs.start("retry", dry_run=True, **filters)).id)).matched

        assert await matched(workflow_id=client.workflow_id("Sale", "Camera 3")) == 1
        assert await matched(status_start=now - timedelta(seconds=1), past_status="errored") == 6
        assert await matched(created_end=now - timedelta(seconds=1)) == 0
        assert await matched(name=None, workflow_name="Sale") == 6


async def test_workflows_are_paused_and_what_was_resolved_keeps_its_response():
    async with Backbeat(Till().worker) as backbeat:
        await sell(backbeat, 2)
        client = backbeat.client()
        job = await client.jobs.get((await client.jobs.start("pause", workflow_name="Sale")).id)
        assert (job.done, [match.name for match in job.matches]) == (2, ["Sale", "Sale"])
        job = await client.jobs.get((await client.jobs.start("resolve", all=True, response={"by": "ann"})).id)
        assert (job.done, job.response) == (2, {"by": "ann"})
        node = await client.node(job.matches[0].id)
        resolved = [change for change in await node.history() if change.to_status == "resolved"]
        assert [change.response for change in resolved] == [{"by": "ann"}]


async def test_another_client_applications_are_left_alone():
    async with Backbeat(Till().worker, clients=["other"]) as backbeat:
        await sell(backbeat)
        other = backbeat.client("other")
        job = await other.jobs.get((await other.jobs.start("retry", all=True)).id)
        assert (job.examined, job.matched) == (6, 0)
        with pytest.raises(NotFound):
            await backbeat.client().jobs.get(job.id)
        with pytest.raises(NotFound, match=f"There is no job {JOB}"):
            await other.jobs.stop(JOB)
        stopped = await other.jobs.stop(job.id)
        assert (stopped.state, stopped.ended_at) == ("done", job.ended_at)


async def test_a_job_over_all_client_applications():
    other = Worker(client="other")
    other.activity("Other", retries=0)(lambda: 1 / 0)
    async with Backbeat(Till().worker, other) as backbeat:
        await sell(backbeat)
        client = backbeat.client("other")
        await client.signal("Sale", "one more", "Other", retries=0)
        await backbeat.run()

        async def matched(**filters):
            job = await client.jobs.start("retry", all=True, dry_run=True, **filters)
            return (await client.jobs.get(job.id, all_clients=filters.get("all_clients", False))).matched

        assert await matched() == 1
        assert await matched(client="default") == 0
        assert await matched(all_clients=True) == 7
        assert await matched(all_clients=True, client="default") == 6
        # It is nobody's own.
        assert [len(await client.jobs.list(all_clients=everywhere)) for everywhere in (False, True)] == [2, 4]
        job = await client.jobs.start("resolve", all=True, all_clients=True)
        with pytest.raises(NotFound):
            await client.jobs.stop(job.id)
        assert (await client.jobs.stop(job.id, all_clients=True)).done == 7


async def test_a_job_without_a_filter_or_with_a_wrong_one_is_refused():
    async with Backbeat() as backbeat:
        client = backbeat.client()
        with pytest.raises(InvalidParameters, match="There is no job 'explode'"):
            await client.jobs.start("explode", all=True)
        with pytest.raises(InvalidParameters, match="knows no `colour`"):
            await client.jobs.start("retry", colour="red")
        with pytest.raises(InvalidParameters, match="created_start is a time without a time zone"):
            await client.jobs.start("retry", created_start=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(InvalidParameters, match="is no id"):
            await client.jobs.start("retry", all=True, job_id="seven")
        for nothing in ({}, {"dry_run": True}, {"name": None}, {"client": "default"}, {"all": False}):
            with pytest.raises(
                InvalidParameters, match="Nothing says which nodes or workflows: give a filter, or `all`"
            ):
                await client.jobs.start("retry", **nothing)
        with pytest.raises(InvalidParameters, match="`all` and `subject` contradict each other"):
            await client.jobs.start("retry", all=True, subject="Camera")
        assert await client.jobs.list() == []


def test_without_an_event_loop():
    till = Till()
    with PlainBackbeat(till.worker) as backbeat:
        client = backbeat.client()
        client.signal("Sale", "Camera", "Charge card", args=["card"], retries=0)
        backbeat.run()
        till.mended = True
        job = client.jobs.start("retry", created_end=datetime.now(UTC) + timedelta(days=1))
        assert client.jobs.get(job.id).done == 1
        assert [listed.id for listed in client.jobs.list()] == [job.id]
        assert client.jobs.stop(job.id).state == "done"
        backbeat.run()
        assert till.charged == ["card"]
