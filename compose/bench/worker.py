"""The benchmark's worker, a process of its own: handlers that do nothing, so that all cost is the system's."""

import logging
import sys

from backbeat import Results, Worker, current

#: Names of its activities.
FOUR = "Four"
STEP = "Step"
FAN = "Fan"
LEAF = "Leaf"
ALONE = "Alone"
LIMITED = "Limited"
PAGE = "Page"
JOIN = "Join"
JOIN_LIST = "Join a list"
JOIN_PAGES = "Join pages"
_TAKE_NONE = "Take none"
_TAKE_LIST = "Take a list"
_TAKE_PAGES = "Take pages"


def make_worker(bootstrap_servers: str) -> Worker:
    """A worker of the client application `default`."""
    worker = Worker(bootstrap_servers)

    @worker.activity(FOUR)
    async def four() -> None:
        """A workflow of four nodes: this one and three steps, one after another."""
        activity = current()
        for _ in range(3):
            activity.add(STEP)

    @worker.activity(STEP)
    async def step() -> None:
        return

    @worker.activity(FAN)
    async def fan(leaves: int) -> None:
        """Many children in parallel."""
        activity = current()
        for _ in range(leaves):
            activity.add(LEAF)

    @worker.activity(LEAF, mode="non_blocking")
    async def leaf() -> None:
        return

    @worker.activity(ALONE)
    async def alone() -> None:
        """A signal without children."""

    @worker.activity(LIMITED)
    async def limited() -> None:
        """The same, of a type that has a limit."""

    _add_joins(worker)
    return worker


def _add_joins(worker: Worker) -> None:
    """Groups that are joined without their results, with a list of them, and with pages."""

    @worker.activity(PAGE)
    async def page(number: int) -> dict[str, object]:
        return {"number": number, "title": f"Page {number}", "words": ["one", "two", "three"]}

    @worker.activity(_TAKE_NONE)
    async def take_none() -> None:
        return

    @worker.activity(_TAKE_LIST)
    async def take_list(pages: list[dict[str, object]]) -> int:
        return len(pages)

    @worker.activity(_TAKE_PAGES)
    async def take_pages(pages: Results[dict[str, object]]) -> int:
        count = 0
        async for _ in pages:
            count += 1
        return count

    @worker.activity(JOIN)
    async def join(size: int) -> None:
        current().spread(PAGE, range(size))
        current().add(_TAKE_NONE)

    for name, taker in ((JOIN_LIST, _TAKE_LIST), (JOIN_PAGES, _TAKE_PAGES)):

        def join_with(size: int, *, taker: str = taker) -> None:
            activity = current()
            activity.returns(activity.add(taker, activity.spread(PAGE, range(size)).results).result)

        worker.activity(name)(join_with)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    make_worker(sys.argv[1]).serve()
