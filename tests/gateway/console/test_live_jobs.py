"""Jobs on live pages: what changes is shown by itself, to whom it concerns, and a form that is filled in stays."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from backbeat.gateway.console.live.hub import Stream
from backbeat.gateway.console.live.jobs import JobScope
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor
from backbeat.payload.values import id_text
from backbeat.schemas.messages.commands import StartJob
from backbeat.schemas.messages.jobs import Job, JobFilter
from backbeat.transport.base import NOBODY
from tests.gateway.api.door import Door, User
from tests.waiting import until

SHOP, BANK = b"s" * 16, b"b" * 16


class Begun:
    """A job that one partition has, so that it does not end until the other has it, too."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.id = uuid.uuid4().bytes
        self.address = f"jobs/{id_text(self.id)}"
        self.start(0)

    def start(self, partition: int) -> None:
        asked = StartJob(
            id=self.id, user_id=None, reply_to=NOBODY, partition=partition, action="retry",
            filter=JobFilter(name="nobody is called so"),
        )  # fmt: skip
        assert self.user.door.record(asked).status == 200


@pytest.mark.parametrize("javascript", [True, False])
def test_a_page_of_a_job_shows_by_itself_that_it_has_ended(story, tab, javascript):
    job = Begun(story.user)
    screen = tab(java_script_enabled=javascript)
    screen.open(job.address)
    assert "partial" in screen.page.locator("main .summary").inner_text()
    if javascript:
        screen.page.evaluate("window.marked = true")
    job.start(1)
    screen.page.locator("main .summary").get_by_text("ended", exact=True).wait_for()

    # With a script it is the same page, and nothing loads it anew.
    assert not javascript or screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_the_list_of_jobs_has_a_new_one_by_itself(story, tab):
    screen = tab(java_script_enabled=True)
    screen.open("jobs")
    screen.page.evaluate("window.marked = true")
    job = Begun(story.user)
    row = screen.page.get_by_role("row").filter(has=screen.page.locator(f"a[href='{job.address}']"))
    row.get_by_text("partial").wait_for()
    job.start(1)
    row.get_by_text("done", exact=True).first.wait_for()

    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_a_form_that_is_filled_in_stays_as_it_is(story, tab):
    screen = tab(java_script_enabled=True)
    screen.open("jobs")
    screen.page.get_by_label("Last error contains").fill("the bank")
    screen.page.evaluate(
        """() => {
          document.activeElement.blur();
          const later = window.setTimeout;
          window.delays = [];
          window.setTimeout = (doing, delay) => { window.delays.push(delay); return later(doing, delay); };
        }"""
    )
    field = "document.querySelector('main input[name=error]').value"
    job = Begun(story.user)
    # It is looked at again later, since the page is in use; else the page would be another one by then.
    until(lambda: screen.page.evaluate(f"window.delays.includes(5000) || !{field}"), "the change is told")
    assert screen.page.evaluate(field) == "the bank"
    assert screen.page.locator(f"a[href='{job.address}']").count() == 0
    screen.page.get_by_label("Last error contains").fill("")
    screen.page.evaluate("document.activeElement.blur()")
    screen.page.locator(f"a[href='{job.address}']").wait_for()
    assert screen.complaints == []


def test_only_an_id_of_a_job_is_followed(stack, story):
    assert Door(stack.http_urls[0]).get("/ui/live?j=x").status == 400


def in_a_loop(coroutine) -> None:
    """Run it in a thread: playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


def job(user_id: bytes | None, number: int) -> Job:
    return Job(id=bytes([number]) * 16, partition=0, user_id=user_id, action="retry", filter=JobFilter(), started_at=1)


@pytest.mark.parametrize(
    ("clients", "job_id", "numbers"),
    [
        (None, None, {1, 2, 3}),
        (frozenset({BANK}), None, {2}),
        (None, b"\1" * 16, {1}),
        (frozenset({BANK}), b"\1" * 16, set()),
    ],
)
def test_a_page_is_told_of_the_jobs_that_it_shows_and_its_visitor_sees(clients, job_id, numbers):
    jobs = [job(SHOP, 1), job(BANK, 2), job(None, 3)]
    visitor = DEVELOPER if clients is None else Visitor(
        name="r", role=Role.READER, way="person", payloads=False, clients=clients
    )  # fmt: skip
    shown = {bytes([number]) * 16 for number in numbers}

    async def run() -> None:
        stream = Stream(frozenset(), "", wants_figures=False, job_scope=JobScope(visitor, job_id))
        # At first each: it may have changed since the page was made.
        stream.note_jobs(jobs, set())
        assert stream.take()[2] == shown
        stream.note_jobs(jobs, set())
        assert not stream.wake.is_set()
        stream.note_jobs(jobs, {bytes([1]) * 16})
        assert stream.take()[2] == shown & {bytes([1]) * 16}

    in_a_loop(run())
