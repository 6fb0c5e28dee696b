"""The client for code without an event loop: every call of `Client`, waiting for its answer.

It runs a `Client` in a thread of its own. It may be used from several threads at once; in an event loop it would hold
up everything else there, so use `Client` there.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from backbeat.activities.definition import ActivityFunction, BoundActivity
from backbeat.client.blocking.calls import Blocking, blocking, blocking_rows, direct
from backbeat.client.blocking.loop import Loop
from backbeat.client.blocking.node import PlainNode, blocking_node, blocking_nodes, blocking_tree
from backbeat.client.client import Client
from backbeat.client.jobs.jobs import Jobs
from backbeat.client.limits.limits import Limits
from backbeat.client.operations.archives import Archives
from backbeat.client.operations.dead_letters import DeadLetters
from backbeat.client.operations.retention import Retention
from backbeat.client.operations.settings import Settings
from backbeat.client.schedules.schedules import Schedules
from backbeat.client.signals import SignalOptions
from backbeat.codecs import Codec
from backbeat.stores import Store
from backbeat.transport.base import Transport

P = ParamSpec("P")
T = TypeVar("T")


class PlainJobs(Blocking):
    """The jobs of one client application (`Jobs`)."""

    start = blocking(Jobs.start)
    get = blocking(Jobs.get)
    list = blocking(Jobs.list)
    stop = blocking(Jobs.stop)


class PlainLimits(Blocking):
    """The limits of one client application's activity types (`Limits`)."""

    set = blocking(Limits.set)
    declare = blocking(Limits.declare)
    remove = blocking(Limits.remove)
    pause = blocking(Limits.pause)
    resume = blocking(Limits.resume)
    list = blocking(Limits.list)
    get = blocking(Limits.get)


class PlainSchedules(Blocking):
    """The schedules of one client application, each known by its name (`Schedules`)."""

    put = blocking(Schedules.put)
    get = blocking(Schedules.get)
    list = blocking(Schedules.list)
    pause = blocking(Schedules.pause)
    resume = blocking(Schedules.resume)
    delete = blocking(Schedules.delete)
    trigger = blocking(Schedules.trigger)
    backfill = blocking(Schedules.backfill)


class PlainRetention(Blocking):
    """The policies of finished workflows (`Retention`)."""

    set = blocking(Retention.set)
    remove = blocking(Retention.remove)
    get = blocking(Retention.get)
    list = blocking(Retention.list)


class PlainDeadLetters(Blocking):
    """Records that could not be processed (`DeadLetters`)."""

    list = blocking(DeadLetters.list)
    get = blocking(DeadLetters.get)
    redrive = blocking(DeadLetters.redrive)
    drop = blocking(DeadLetters.drop)


class PlainArchives(Blocking):
    """Archives of workflows that were removed (`Archives`)."""

    list = blocking(Archives.list)
    read = blocking(Archives.read)


class PlainSettings(Blocking):
    """Settings of the engines (`Settings`)."""

    get = blocking(Settings.get)
    list = blocking(Settings.list)
    set = blocking(Settings.set)


class PlainClient(Blocking):
    """`Client` for code without an event loop: `with PlainClient(…) as client`. What is given means the same there.

    >>> from backbeat.testing import Backbeat
    >>> with PlainClient(transport=Backbeat().transport()) as client:
    ...     node = client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
    ...     client.status(node.id)
    'sent_to_client'
    """

    _original: Client

    def __init__(
        self,
        address: str | None = None,
        client: str | None = None,
        *,
        timeout: float = 10.0,
        gateway: str | None = None,
        token: str | None = None,
        person: str | None = None,
        reason: str = "",
        codec: Codec | None = None,
        store: str | Store | None = None,
        transport: Transport | None = None,
    ) -> None:
        original = Client(
            address,
            client,
            timeout=timeout,
            gateway=gateway,
            token=token,
            person=person,
            reason=reason,
            codec=codec,
            store=store,
            transport=transport,
        )
        super().__init__(original, Loop())

    @property
    def name(self) -> str:
        """The client application that asks: its name, or over HTTP also its id."""
        return self._original.name

    @property
    def timeout(self) -> float:
        """Time limit of each answer, in seconds."""
        return self._original.timeout

    @property
    def jobs(self) -> PlainJobs:
        """Changes of all nodes that match: `client.jobs.start("retry", name="Charge card")`."""
        return PlainJobs(self._original.jobs, self._loop)

    @property
    def limits(self) -> PlainLimits:
        """Limits of activities: `client.limits.set("Send to Bank", concurrency=3)`."""
        return PlainLimits(self._original.limits, self._loop)

    @property
    def schedules(self) -> PlainSchedules:
        """Workflows that are signalled at times: `client.schedules.put("nightly", …)`."""
        return PlainSchedules(self._original.schedules, self._loop)

    @property
    def dead_letters(self) -> PlainDeadLetters:
        """Records that could not be processed: `client.dead_letters.redrive("0@17", note="mended")`."""
        return PlainDeadLetters(self._original.dead_letters, self._loop)

    @property
    def archives(self) -> PlainArchives:
        """Archives of workflows that were removed: `client.archives.list("shop")`."""
        return PlainArchives(self._original.archives, self._loop)

    @property
    def retention(self) -> PlainRetention:
        """Retention of finished workflows: `client.retention.set("Camera sale", keep=timedelta(days=30))`."""
        return PlainRetention(self._original.retention, self._loop)

    @property
    def settings(self) -> PlainSettings:
        """Settings of the engines: `client.settings.get().children_max`."""
        return PlainSettings(self._original.settings, self._loop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Connect; `with` does it. Nothing where it is connected already; in a forked process it is connected anew."""
        is_first = self._loop.start()
        try:
            self._loop.run(self._original.start())
        except BaseException:
            if is_first:
                self._loop.stop()
            raise

    def stop(self) -> None:
        """Send what was published, and leave; `with` does it. In a forked process nothing: it is the parent's."""
        if self._loop.is_inherited:
            return
        try:
            self._loop.run(self._original.stop())
        finally:
            self._loop.stop()

    if TYPE_CHECKING:
        # An overloaded call loses its forms on the way through a function.
        @overload
        def signal(
            self,
            workflow: str,
            subject: Any,
            activity: ActivityFunction[P, Coroutine[Any, Any, T]],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> PlainNode[T]: ...
        @overload
        def signal(
            self, workflow: str, subject: Any, activity: ActivityFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
        ) -> PlainNode[T]: ...
        @overload
        def signal(
            self,
            workflow: str,
            subject: Any,
            activity: BoundActivity[P, Coroutine[Any, Any, T]],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> PlainNode[T]: ...
        @overload
        def signal(
            self, workflow: str, subject: Any, activity: BoundActivity[P, T], /, *args: P.args, **kwargs: P.kwargs
        ) -> PlainNode[T]: ...
        @overload
        def signal(self, workflow: str, subject: Any, name: str, /, **options: Unpack[SignalOptions]) -> PlainNode: ...
        def signal(self, workflow: str, subject: Any, activity: Any, /, *a: Any, **o: Any) -> Any: ...  # noqa: D102 - below
        @overload
        def publish(
            self,
            workflow: str,
            subject: Any,
            activity: ActivityFunction[P, Any] | BoundActivity[P, Any],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> str: ...
        @overload
        def publish(self, workflow: str, subject: Any, name: str, /, **options: Unpack[SignalOptions]) -> str: ...
        def publish(self, workflow: str, subject: Any, activity: Any, /, *a: Any, **o: Any) -> str: ...  # noqa: D102 - below
    else:
        signal = blocking_node(Client.signal)
        publish = blocking(Client.publish)
    flush = blocking(Client.flush)
    send = blocking(Client.send)
    find_or_create = blocking(Client.find_or_create)
    workflow = blocking(Client.workflow)
    tree = blocking_tree(Client.tree)
    follow = blocking_rows(Client.follow)
    pause = blocking(Client.pause)
    resume = blocking(Client.resume)
    close = blocking(Client.close)

    workflow_id = direct(Client.workflow_id)
    node = blocking_node(Client.node)
    status = blocking(Client.status)
    history = blocking(Client.history)
    waits = blocking(Client.waits)
    outcome = blocking(Client.outcome)
    outcome_of = blocking(Client.outcome_of)
    children = blocking(Client.children)
    wait = blocking(Client.wait)
    answer = blocking(Client.answer)
    retry = blocking(Client.retry)
    reset = blocking(Client.reset)
    start_next = blocking(Client.start_next)
    cancel = blocking(Client.cancel)
    resolve = blocking(Client.resolve)
    shutdown = blocking(Client.shutdown)
    deactivate_previous = blocking(Client.deactivate_previous)

    search_workflows = blocking_rows(Client.search_workflows)
    search_nodes = blocking_nodes(Client.search_nodes)
    count_workflows = blocking(Client.count_workflows)
    count_nodes = blocking(Client.count_nodes)
    workflow_names = blocking(Client.workflow_names)
    causes = blocking(Client.causes)
    failures = blocking(Client.failures)
    timeline = blocking(Client.timeline)
    child_counts = blocking(Client.child_counts)
    engines = blocking(Client.engines)
    queues = blocking(Client.queues)
    audit = blocking(Client.audit)
    users = blocking(Client.users)
