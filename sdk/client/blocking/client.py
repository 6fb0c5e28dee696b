"""The client for code without an event loop: every method of `Client`, waiting for its answer.

It runs a `Client` in a thread of its own. It may be used from several threads at once; in an event loop it would hold
up everything else there, so use `Client` there.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from backbeat.client.blocking.jobs import PlainJobCalls
from backbeat.client.blocking.limits import PlainLimits
from backbeat.client.blocking.loop import Loop
from backbeat.client.blocking.schedules import PlainSchedules
from backbeat.client.client import Client
from backbeat.client.node import Node
from backbeat.client.signals import SignalOptions
from backbeat.client.views import NodeValue, StatusChange, Tree, User, Workflow
from backbeat.codecs import Codec
from backbeat.payload.values import Id
from backbeat.stores import Store
from backbeat.transport.base import Transport

T = TypeVar("T")


class PlainNode(NodeValue):
    """A node, and what can be asked of it. It does not change by itself: `refresh` gives a newer one."""

    __slots__ = ("_client", "_node")

    def __init__(self, client: PlainClient, node: Node) -> None:
        super().__init__(node.view)
        self._client = client
        self._node = node

    def refresh(self) -> PlainNode:
        """The node as it is now."""
        return PlainNode(self._client, self._client.run(self._node.refresh()))

    def result(self, timeout: float | None = None) -> Any:
        """What its handler returned, once it and everything below it are complete (`Client.wait`)."""
        return self._client.run(self._node.result(timeout))

    def history(self) -> list[StatusChange]:
        """Its status changes, oldest first."""
        return self._client.run(self._node.history())

    def tree(self) -> Tree[PlainNode]:
        """Its workflow with all nodes, nested; NotFound where the workflow is another client application's."""
        return self._client.plain_tree(self._client.run(self._node.tree()))

    def answer(
        self, *, result: Any = None, error: str | BaseException | None = None, idempotency_key: str | None = None
    ) -> None:
        """Say what came of it, where that is not its handler's return (`Client.answer`)."""
        self._client.run(self._node.answer(result=result, error=error, idempotency_key=idempotency_key))

    def retry(self, *, idempotency_key: str | None = None) -> None:
        """Try it again now, whether a retry waits for its time or none is left."""
        self._client.run(self._node.retry(idempotency_key=idempotency_key))

    def restart(self, *, idempotency_key: str | None = None) -> None:
        """The same as `retry`, by the name that the HTTP API has for it."""
        self._client.run(self._node.restart(idempotency_key=idempotency_key))

    def reset(self) -> None:
        """Deactivate everything below it."""
        self._client.run(self._node.reset())

    def cancel(self, *, idempotency_key: str | None = None) -> None:
        """Deactivate it and everything below; what waited for it goes on."""
        self._client.run(self._node.cancel(idempotency_key=idempotency_key))

    def resolve(self, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Count it as done though its retries are exhausted; the tree goes on."""
        self._client.run(self._node.resolve(response, idempotency_key=idempotency_key))

    def shutdown(self, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give it up; if it is blocking, what comes after it is deactivated."""
        self._client.run(self._node.shutdown(response, idempotency_key=idempotency_key))

    def deactivate(self, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of its workflow (`Client.deactivate`)."""
        self._client.run(self._node.deactivate(idempotency_key=idempotency_key))


class PlainClient(PlainJobCalls):
    """`Client` for code without an event loop: `with PlainClient(…) as client`. What is given means the same there.

    >>> from backbeat.testing import Backbeat
    >>> with PlainClient(transport=Backbeat().transport()) as client:
    ...     node = client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
    ...     client.status(node.id)
    'sent_to_client'
    """

    def __init__(
        self,
        address: str | None = None,
        client: str = "default",
        *,
        timeout: float = 10.0,
        gateway: str | None = None,
        token: str | None = None,
        codec: Codec | None = None,
        store: str | Store | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._client = Client(
            address,
            client,
            timeout=timeout,
            gateway=gateway,
            token=token,
            codec=codec,
            store=store,
            transport=transport,
        )
        self._loop = Loop()

    @property
    def name(self) -> str:
        """The client application that it speaks for."""
        return self._client.name

    @property
    def timeout(self) -> float:
        """How long an answer is awaited, in seconds."""
        return self._client.timeout

    @property
    def limits(self) -> PlainLimits:
        """How many of an activity type may be out at once: `client.limits.set("Send to Bank", concurrency=3)`."""
        return PlainLimits(self._client.limits, self._loop)

    @property
    def schedules(self) -> PlainSchedules:
        """Workflows that are signalled at times: `client.schedules.put("nightly", …)`."""
        return PlainSchedules(self._client.schedules, self._loop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Connect; `with` does it. Nothing where it is connected already; in a forked process it is connected anew."""
        is_first = self._loop.start()
        try:
            self.run(self._client.start())
        except BaseException:
            if is_first:
                self._loop.stop()
            raise

    def stop(self) -> None:
        """Send what was published, and leave; `with` does it. In a forked process nothing: it is the parent's."""
        if self._loop.is_inherited:
            return
        try:
            self.run(self._client.stop())
        finally:
            self._loop.stop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine of the client inside gives."""
        return self._loop.run(coroutine)

    def plain_tree(self, tree: Tree[Node]) -> Tree[PlainNode]:
        """A tree whose nodes are asked without waiting by hand."""
        return Tree(tree.workflow, [PlainNode(self, node) for _, node in tree.walk()])

    def signal(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> PlainNode:
        """Add a signal to the workflow of this name and subject, which is made if there is none.

        What the options mean: `backbeat.client.signals.SignalOptions`.
        """
        return PlainNode(self, self.run(self._client.signal(workflow, subject, name, **options)))

    def publish(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> str:
        """Like `signal`, without waiting for the engine: for many at once. Gives the id that the node will have.

        `flush()` says whether all of them were taken. What the engine refuses goes to the dead letters; a gateway
        says it, and `flush` raises it.
        """
        return self.run(self._client.publish(workflow, subject, name, **options))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything published so far has been taken; Unavailable if any was refused."""
        self.run(self._client.flush(timeout))

    def find_or_create(self, workflow: str, subject: Any, *, decider: str | None = None) -> Workflow:
        """The workflow of this name and subject; one that is there keeps its own decider."""
        return self.run(self._client.find_or_create(workflow, subject, decider=decider))

    def workflow_id(self, workflow: str, subject: Any) -> str:
        """The id that this client's workflow of this name and subject has, or will have."""
        return self._client.workflow_id(workflow, subject)

    def workflow(self, workflow_id: Id) -> Workflow:
        """A workflow by its id."""
        return self.run(self._client.workflow(workflow_id))

    def pause(self, workflow_id: Id) -> None:
        """Start nothing in the workflow until it is resumed."""
        self.run(self._client.pause(workflow_id))

    def resume(self, workflow_id: Id) -> None:
        """Go on with a paused workflow."""
        self.run(self._client.resume(workflow_id))

    def complete(self, workflow_id: Id) -> None:
        """Take no more signals in the workflow."""
        self.run(self._client.complete(workflow_id))

    def node(self, node_id: Id | bytes) -> PlainNode:
        """A node by its id."""
        return PlainNode(self, self.run(self._client.node(node_id)))

    def status(self, node_id: Id | bytes) -> str:
        """Where the engine is with a node now, `sent_to_client` or `complete` for example."""
        return self.run(self._client.status(node_id))

    def tree(self, workflow_id: Id, *, top_level_only: bool = False) -> Tree[PlainNode]:
        """A workflow with its nodes, nested."""
        return self.plain_tree(self.run(self._client.tree(workflow_id, top_level_only=top_level_only)))

    def history(self, node_id: Id | bytes) -> list[StatusChange]:
        """The status changes of a node, oldest first."""
        return self.run(self._client.history(node_id))

    def wait(self, node_id: Id | bytes, timeout: float | None = None) -> Any:
        """What the node's handler returned, once the node and everything below it are complete.

        NodeFailed where its retries are exhausted or it was deactivated; Timeout after `timeout` seconds.
        """
        return self.run(self._client.wait(node_id, timeout))

    def answer(
        self,
        node_id: Id | bytes,
        *,
        result: Any = None,
        error: str | BaseException | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Say what came of an activity that is not completed by its handler's return (`asynchronous`).

        With an `error` it failed, and is tried again while it has retries; with a `Fail` it is not. InvalidStatus where
        it is not with its worker: it was answered before, or has not begun.
        """
        self.run(self._client.answer(node_id, result=result, error=error, idempotency_key=idempotency_key))

    def retry(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Try a node again now, whether a retry waits for its time or none is left."""
        self.run(self._client.retry(node_id, idempotency_key=idempotency_key))

    def restart(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """The same as `retry`, by the name that the HTTP API has for it."""
        self.run(self._client.restart(node_id, idempotency_key=idempotency_key))

    def reset(self, node_id: Id | bytes) -> None:
        """Deactivate everything below a node."""
        self.run(self._client.reset(node_id))

    def schedule(self, node_id: Id | bytes) -> None:
        """Look again what below a node can start."""
        self.run(self._client.schedule(node_id))

    def cancel(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate a node and everything below it; what waited for it goes on."""
        self.run(self._client.cancel(node_id, idempotency_key=idempotency_key))

    def resolve(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Count a node as done though its retries are exhausted; the tree goes on."""
        self.run(self._client.resolve(node_id, response, idempotency_key=idempotency_key))

    def shutdown(self, node_id: Id | bytes, response: Any = None, *, idempotency_key: str | None = None) -> None:
        """Give up a node whose retries are exhausted; if it is blocking, what comes after it is deactivated."""
        self.run(self._client.shutdown(node_id, response, idempotency_key=idempotency_key))

    def deactivate(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """Deactivate every older node of the node's workflow, ancestors too; nothing of it is scheduled by that."""
        self.run(self._client.deactivate(node_id, idempotency_key=idempotency_key))

    def deactivate_previous(self, node_id: Id | bytes, *, idempotency_key: str | None = None) -> None:
        """The same as `deactivate`, by what it does."""
        self.run(self._client.deactivate_previous(node_id, idempotency_key=idempotency_key))

    def search_workflows(
        self,
        *,
        name: str | None = None,
        subject: str | None = None,
        current_status: str | None = None,
        past_status: str | None = None,
        status_start: datetime | None = None,
        status_end: datetime | None = None,
        older_than: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Workflow]:
        """Workflows that have nodes, newest first; `older_than` the one of this id, at most `limit`."""
        yield from self._loop.each(
            self._client.search_workflows(
                name=name,
                subject=subject,
                current_status=current_status,
                past_status=past_status,
                status_start=status_start,
                status_end=status_end,
                older_than=older_than,
                limit=limit,
            )
        )

    def search_nodes(
        self,
        *,
        name: str | None = None,
        metadata: str | None = None,
        current_status: str | None = None,
        past_status: str | None = None,
        status_start: datetime | None = None,
        status_end: datetime | None = None,
        older_than: str | None = None,
        limit: int | None = None,
    ) -> Iterator[PlainNode]:
        """Nodes that this client application runs, oldest first; `older_than` the one of this id, at most `limit`.

        The rows come by pages: of nodes that begin or cease to match meanwhile some may be left out, none comes twice.
        """
        for node in self._loop.each(
            self._client.search_nodes(
                name=name,
                metadata=metadata,
                current_status=current_status,
                past_status=past_status,
                status_start=status_start,
                status_end=status_end,
                older_than=older_than,
                limit=limit,
            )
        ):
            yield PlainNode(self, node)

    def workflow_names(self) -> list[str]:
        """The names of this client application's workflows, sorted, once each."""
        return self.run(self._client.workflow_names())

    def users(self) -> list[User]:
        """All client applications, sorted by name."""
        return self.run(self._client.users())
