"""Results of a group: failures that it allows, and results that its taker reads page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from backbeat import BackbeatError, FailedMember, Results, Worker, activity, current
from backbeat.codecs import Fernet
from backbeat.errors import Fail, InvalidParameters, NodeFailed
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.queries import GetResults
from backbeat.streams.core.takes import reading
from backbeat.testing import Backbeat, NothingDue
from backbeat.testing.transport import MemoryTransport
from backbeat.worker import taken_results


@dataclass
class Page:
    number: int


seen: list[Any] = []
asked: list[GetResults] = []


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A record has four results, a page five."""
    monkeypatch.setattr(reading, "FIRST_RESULTS_MAX", 4)
    monkeypatch.setattr(taken_results, "PAGE_RESULTS", 5)
    query = MemoryTransport.query

    async def noted(self: MemoryTransport, question: Any, *given: Any) -> list[Any]:
        if isinstance(question, GetResults):
            asked.append(question)
        return await query(self, question, *given)

    monkeypatch.setattr(MemoryTransport, "query", noted)
    yield
    seen.clear()
    asked.clear()


@activity("Render", retries=0)
def render(number: int, broken: int = 0) -> Page:
    if broken and number % broken == 0:
        raise Fail(f"page {number} is broken")
    return Page(number)


@activity("Async")
async def read_async(pages: Results[Page | None]) -> int:
    seen.append(([page async for page in pages], len(pages), pages.failed))
    return len(pages)


@activity("Plain")
def read_plain(pages: Results[Page | None]) -> int:
    seen.append((list(pages), len(pages), pages.failed))
    return len(pages)


@activity("List")
def read_list(pages: list[Page | None]) -> int:
    seen.append(pages)
    return len(pages)


async def played(order: Callable[[], Any], *more: Any, **given: Any) -> tuple[Any, Backbeat]:
    backbeat = Backbeat()
    worker = Worker(activities=[render, read_async, read_plain, read_list, *more], **given)
    worker.activity("Order")(order)
    backbeat.add(worker)
    node = await backbeat.client(**given).signal("Orders", "o1", "Order")
    await backbeat.run()
    return node, backbeat


async def step(node: Any, name: str, status: str) -> Any:
    """The step of this name and status below a node."""
    (step,) = [item for _, item in (await node.tree()).walk() if (item.name, item.status) == (name, status)]
    return step


BROKEN = tuple(FailedMember(number, f"Fail: page {number} is broken") for number in (0, 6, 12, 18))
PAGES = [None if number % 6 == 0 else Page(number) for number in range(23)]


@pytest.mark.parametrize("count", [0, 3, 4, 5, 9, 23])
async def test_results_are_read_page_by_page_by_async_and_plain_handlers(count):
    def order() -> None:
        pages = current().spread(render, range(count)).results
        for handler in (read_async, read_plain):
            current().add(handler, pages)

    await played(order)
    assert seen == [([Page(number) for number in range(count)], count, ())] * 2
    pages_asked = [question for question in asked if question.results_max == 5]
    assert len(asked) == len(pages_asked) == 2 * (-(-max(0, count - 4) // 5))


@activity("Backwards")
def read_backwards(pages: Results[Page]) -> int:
    seen.append(([page.number for page in reversed(pages)], pages.index(Page(22)), pages.index(Page(9), 9)))
    with pytest.raises(ValueError, match="is not in list"):
        pages.index(Page(9), 10)
    return len(pages)


@activity("Given back")
def give_back(pages: Results[Page]) -> Any:
    return pages


async def test_results_are_read_once_where_a_sequence_would_read_them_for_each_value():
    def order() -> None:
        pages = current().spread(render, range(23)).results
        current().add(read_backwards, pages)
        current().add(give_back.with_options(retries=0), pages)

    node, _ = await played(order, read_backwards, give_back)
    assert seen == [(list(range(22, -1, -1)), 22, 9)]
    assert len(asked) == 4 * -(-(23 - 4) // 5)
    with pytest.raises(NodeFailed, match="objects of type Results are not supported: make it a list"):
        await node.result(fail_fast=True)


@pytest.mark.parametrize("failures_allowed", [4, 0.2])
async def test_failures_that_are_allowed_leave_a_hole_and_say_which(failures_allowed):
    def order() -> None:
        values = [(number, 6) for number in range(23)]
        pages = current().spread(render, values, failures_allowed=failures_allowed).results
        for handler in (read_async, read_plain, read_list):
            current().add(handler, pages)

    node, _ = await played(order)
    assert seen == [(PAGES, 23, BROKEN), (PAGES, 23, BROKEN), PAGES]
    assert await node.result() is None


async def test_a_failure_more_than_is_allowed_holds_the_group_until_somebody_resolves_it():
    def order() -> None:
        pages = current().spread(render, [(number, 2) for number in range(4)], failures_allowed=0.49)
        current().add(read_list, pages.results)

    node, backbeat = await played(order)
    with pytest.raises(
        NothingDue, match=r"nothing is left to run at [^']*'Render' is retries_exhausted: .* 2 is broken"
    ):
        await node.result()
    assert seen == []
    await (await step(node, "Render", "retries_exhausted")).resolve(result=Page(2))
    await backbeat.run()
    assert seen == [[None, Page(1), Page(2), Page(3)]]


async def test_members_that_the_engine_refuses_are_an_error_of_the_handler_that_spread_them():
    backbeat = Backbeat(Worker(activities=[render, read_list]), settings=Settings(children_max=10))
    worker = Worker(activities=[])

    @worker.activity("Order", retries=0)
    def order() -> None:
        current().add(read_list, current().spread(render, range(20)).results)

    backbeat.add(worker)
    node = await backbeat.client().signal("Orders", "o1", "Order", retries=0)
    with pytest.raises(NodeFailed, match="20 children in one command; children_max is 10"):
        await node.result()
    await backbeat.run()
    assert seen == [], "nobody gets an empty list in their place"


async def test_results_that_stand_elsewhere_too_are_there_as_a_whole():
    @activity("Both")
    def both(first: Results[Page], parts: dict[str, Any], second: Results[Page]) -> None:
        seen.append((list(first), parts["pages"], list(second)))

    def order() -> None:
        pages, others = current().spread(render, range(11)), current().spread(render, range(20, 32))
        current().add(both, pages.results, {"pages": pages.results}, others.results)

    await played(order, both)
    first = [Page(number) for number in range(11)]
    second = [Page(number) for number in range(20, 32)]
    assert seen == [(first, [{"number": page.number} for page in first], second)]


async def test_results_that_are_encrypted_and_by_name():
    @activity("Named")
    async def named(*, pages: Results[Page]) -> None:
        seen.append([page async for page in pages])

    def order() -> None:
        current().add("Named", params={"pages": current().spread(render, range(13)).results})

    await played(order, named, codec=Fernet(Fernet.new_key()))
    assert seen == [[Page(number) for number in range(13)]]


async def test_a_default_in_place_of_results():
    @activity("Default")
    async def with_default(pages: Results[Page] | None) -> None:
        seen.append(pages if pages is None else [page async for page in pages])

    def order() -> None:
        for values in ([(number, 0) for number in range(6)], [(0, 1)]):
            pages = current().spread(render, values, group_mode="non_blocking")
            current().add(with_default, pages.results_or(None))

    node, backbeat = await played(order, with_default)
    await (await step(node, "Render", "retries_exhausted")).cancel()
    await backbeat.run()
    assert seen == [[Page(number) for number in range(6)], None]


async def test_going_through_results_by_for_in_an_async_handler_is_refused_however_few_they_are():
    @activity("Wrong")
    async def wrong(pages: Results[Page]) -> None:
        try:
            list(pages)
        except BackbeatError as error:
            seen.append(str(error))
        seen.append(await asyncio.to_thread(list, pages))

    def order() -> None:
        current().add(wrong, current().spread(render, range(2)).results)

    await played(order, wrong)
    assert "go through the results by `async for`" in seen[0]
    assert seen[1] == [Page(0), Page(1)]


async def test_one_result_of_a_group_is_had_by_its_place():
    @activity("Places")
    def places(pages: Results[Page]) -> None:
        seen.append((pages[0], pages[9], pages[-1], pages[3:6], bool(pages)))
        with pytest.raises(IndexError):
            pages[10]

    def order() -> None:
        current().add(places, current().spread(render, range(10)).results)

    await played(order, places)
    assert seen == [(Page(0), Page(9), Page(9), [Page(3), Page(4), Page(5)], True)]


async def test_a_value_that_is_not_what_the_annotation_says_is_named():
    @activity("Times")
    def times(pages: Results[datetime]) -> None: ...

    def order() -> None:
        current().add(times, current().spread(render, range(2)).results)

    node, _ = await played(order, times)
    with pytest.raises(NothingDue, match="one of the results pages of 'Times' is not what its annotation says"):
        await node.result()


async def test_a_handler_is_called_in_a_test_with_results_of_its_own():
    pages: Results[Page | None] = Results.of([Page(1), None], [FailedMember(1, "broken")])
    assert await read_async(pages) == read_plain(pages) == 2
    assert seen == [([Page(1), None], 2, (FailedMember(1, "broken"),))] * 2
    iterator: AsyncIterator[Page | None] = aiter(pages)
    assert await anext(iterator) == Page(1)


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"failures_allowed": -1}, InvalidParameters, "0 or more"),
        ({"failures_allowed": 1.5}, InvalidParameters, "from 0 to 1"),
        ({"failures_allowed": float("nan")}, InvalidParameters, "from 0 to 1"),
        ({"failures_allowed": True}, TypeError, "a count"),
        ({"failures_allowed": "5"}, TypeError, "a count"),
        ({"failures_allowed": 1, "mode": "fire_and_forget"}, InvalidParameters, "nobody waits"),
    ],
)
async def test_an_allowance_that_cannot_be_is_refused(given, kind, text):
    def order() -> None:
        try:
            current().spread("Render", range(3), **given)
        except kind as error:
            seen.append(str(error))

    await played(order)
    assert text in seen[0]
