"""Setup of the demo's cases: a running stack, a worker, a client, the ledger, the screen, and checks."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from backbeat import BackbeatError, Client
from backbeat.client.node import Node
from backbeat.client.views import StatusChange, Tree
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.demo.ledger import LedgerReader
from backbeat.compose.demo.screen import Screen
from backbeat.compose.local.child_process import last_lines
from backbeat.compose.local.stack import Stack

#: Bound of the time until a case has settled.
_SETTLE_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.1
#: A large tree costs the engine something, too: so many nodes a second are read at most.
_NODES_SECOND_MAX = 3_000
#: While an engine is killed and starts again nobody answers: ask again soon, so that the drawing goes on.
_ASK_SECONDS_MAX = 3.0


class UnsettledError(SetupError):
    """A case did not come to its end."""


class DemoSetup:
    """The stack, the client, the ledger and the screen that a case uses."""

    def __init__(self, stack: Stack, screen: Screen) -> None:
        self.stack = stack
        self.screen = screen
        path = stack.data_dir / "demo" / "ledger.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.ledger = LedgerReader(path)
        self.client = Client(stack.bootstrap_servers)
        #: Checks that did not hold.
        self.failures: list[str] = []
        self.check_count = 0
        arguments = (stack.bootstrap_servers, str(path))
        self.worker = stack.module_process("worker", "backbeat.compose.demo.worker", *arguments)

    def check(self, text: str, *, passed: bool) -> None:
        """Show a check; keep it if it does not hold."""
        self.check_count += 1
        if not passed:
            self.failures.append(text)
        self.screen.check(text, passed=passed)

    async def settle(
        self, heading: str, workflows: list[str], nodes: int, seconds: float = _SETTLE_SECONDS_MAX
    ) -> list[Tree[Node]]:
        """Draw the workflows until they have this many nodes in all and every one of them is complete."""
        ends_at = time.monotonic() + seconds
        trees: list[Tree[Node]] = []
        with self.screen.drawing():
            while True:
                trees = await self._trees(workflows) or trees
                nodes_found = [node for tree in trees for _, node in tree.walk()]
                is_settled = len(nodes_found) >= nodes and all(node.status == "complete" for node in nodes_found)
                self.screen.draw(heading, trees, last=is_settled)
                if is_settled:
                    return trees
                self._look_at_parts()
                if time.monotonic() > ends_at:
                    self.screen.draw(heading, trees, last=True)
                    complete_count = sum(node.status == "complete" for node in nodes_found)
                    raise UnsettledError(
                        f"{heading}: after {seconds:.0f} s {complete_count} of {nodes} nodes are complete; "
                        f"the engine's last lines:\n{self._tail_of_engine()}"
                    )
                await asyncio.sleep(max(_LOOK_SECONDS, len(nodes_found) / _NODES_SECOND_MAX))

    async def until(self, condition: Callable[[], bool], label: str, seconds: float = _SETTLE_SECONDS_MAX) -> None:
        """Wait for a condition on the ledger."""
        ends_at = time.monotonic() + seconds
        while not condition():
            self._look_at_parts()
            if time.monotonic() > ends_at:
                raise UnsettledError(f"{label}: not within {seconds:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS / 5)

    async def histories(self, nodes: list[Node]) -> list[list[StatusChange]]:
        """The status changes of many nodes."""
        return list(await asyncio.gather(*(node.history() for node in nodes)))

    async def _trees(self, workflows: list[str]) -> list[Tree[Node]]:
        try:
            async with asyncio.timeout(_ASK_SECONDS_MAX):
                return list(await asyncio.gather(*(self.client.tree(identity) for identity in workflows)))
        except (BackbeatError, TimeoutError):
            # The workflows are not there yet, or the engine is starting: the drawing stays.
            return []

    def _look_at_parts(self) -> None:
        self.worker.check()
        if self.stack.failure is not None:
            raise SetupError(self.stack.failure)

    def _tail_of_engine(self) -> str:
        return last_lines(self.stack.engine_logs[0].read_text(errors="replace"))


def moment(changes: list[StatusChange], to_status: str) -> float:
    """First time of a node in a server status, in seconds of the broker's time."""
    return next(
        change.at.timestamp()
        for change in changes
        if change.status_type == "current_server_status" and change.to_status == to_status
    )


def by_name(trees: list[Tree[Any]], name: str) -> list[Any]:
    """All nodes of one name, parents before children."""
    return [node for tree in trees for _, node in tree.walk() if node.name == name]
