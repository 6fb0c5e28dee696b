"""The benchmark's worker, a process of its own: handlers that do nothing, so that all cost is the system's."""

import logging
import sys

from backbeat import Worker, current

#: Names of its activities.
FOUR = "Four"
STEP = "Step"
FAN = "Fan"
LEAF = "Leaf"
ALONE = "Alone"
LIMITED = "Limited"


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

    return worker


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    make_worker(sys.argv[1]).serve()
