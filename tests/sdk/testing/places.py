"""Where a scenario is played: in memory, or on a real Kafka with a real engine."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from backbeat import Client, Node
from backbeat.client.jobs.views import Job
from backbeat.client.views import Tree
from backbeat.testing import Backbeat

#: Of a tree: whether what is waited for is there.
Holds = Callable[[Tree[Node]], bool]
_POLL_SECONDS = 0.05
_SECONDS_MAX = 120.0


class Place(ABC):
    """A client, and how to wait for what no result tells of."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def subject(self, name: str) -> str:
        """Each scenario has workflows of its own."""
        return f"same {name}"

    @abstractmethod
    async def reach(self, node: Node, holds: Holds, *, still: bool = False) -> None:
        """Wait until it holds of the node's tree. `still`: no time may pass meanwhile."""

    async def picture(self, node: Node, until: Holds | None = None) -> list[Any]:
        """The node's whole workflow: everything of its tree and histories but times and ids."""
        if until is not None:
            await self.reach(node, until)
        tree = await self.client.tree(node.workflow_id)
        return [
            (
                depth,
                below.name,
                below.mode,
                below.status,
                below.client_status,
                below.attempt,
                below.retries_remaining,
                below.client_data,
                below.metadata,
                [(c.status_type, c.from_status, c.to_status, c.response) for c in await below.history()],
            )
            for depth, below in tree.walk()
        ]

    async def ended(self, job_id: str) -> Job:
        """A job, once it is done."""
        async with asyncio.timeout(_SECONDS_MAX):
            while not (job := await self.client.jobs.get(job_id)).ended:  # noqa: ASYNC110 - as of `Kafka.reach`
                await asyncio.sleep(_POLL_SECONDS)
        return job

    async def holds(self, node: Node, holds: Holds) -> bool:
        """Whether it holds now; what is asked of children that are not there yet does not."""
        try:
            return holds(await self.client.tree(node.workflow_id))
        except IndexError:
            return False


class Memory(Place):
    """In memory: what has to run is run, and time passes when it is needed."""

    def __init__(self, backbeat: Backbeat) -> None:
        super().__init__(backbeat.client())
        self._backbeat = backbeat

    async def reach(self, node: Node, holds: Holds, *, still: bool = False) -> None:
        self._backbeat.skip_time = not still
        try:
            await self._backbeat.run()
        finally:
            self._backbeat.skip_time = True
        assert await self.holds(node, holds), await self.client.tree(node.workflow_id)


class Kafka(Place):
    """On Kafka: it comes when it comes."""

    async def reach(self, node: Node, holds: Holds, *, still: bool = False) -> None:
        del still
        async with asyncio.timeout(_SECONDS_MAX):
            # No event tells of another process's state.
            while not await self.holds(node, holds):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
