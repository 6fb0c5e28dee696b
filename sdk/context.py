"""What a handler sees of the activity that it runs, and what it may ask for: children."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Protocol

from backbeat.errors import BackbeatError, LimitExceeded
from backbeat.payloads import (
    LIMITS,
    Arguments,
    Id,
    ModeWord,
    When,
    check_node,
    seconds,
    to_client_data,
    to_id,
    to_metadata,
    to_milliseconds,
    to_mode,
)
from backbeat.schemas import ActivityRecord
from backbeat.streams.core.commands import NewNode
from backbeat.streams.core.effects import Reason
from backbeat.views import NodeValue


class Defaults(Protocol):
    """What a worker knows of an activity that it registered, for children of that name."""

    name: str
    mode: ModeWord
    retries: int | None
    backoff: float | timedelta | None
    timeout: float | timedelta | None


class Workshop(Protocol):
    """What an activity asks of the worker that runs it."""

    def defaults(self, activity: str | Callable[..., Any]) -> Defaults | None:
        """What was registered for the activity; None: somebody else runs it."""

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own."""

    def now(self) -> float:
        """What time it is, in seconds since the epoch."""


class Outside(Protocol):
    """What surrounds a `Runner`: Kafka and its registry, or what stands for them in memory."""

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own. NotFound: there is none of this name."""

    def now(self) -> float:
        """What time it is, in seconds since the epoch: "in two hours" counts from here. A test may move it."""


class Activity(NodeValue):
    """The activity that a handler runs: its node, and the children that it adds to it."""

    __slots__ = ("_children", "_workshop", "record")

    def __init__(self, record: ActivityRecord, workshop: Workshop) -> None:
        super().__init__(record.node)
        #: As it came from the engine.
        self.record = record
        self._workshop = workshop
        self._children: list[NewNode] = []

    @property
    def node(self) -> NodeValue:
        """The node itself, to be kept or passed on."""
        return NodeValue(self._view)

    def add(
        self,
        activity: str | Callable[..., Any],
        *args: Any,
        params: Mapping[str, Any] | None = None,
        client_data: Mapping[str, Any] | None = None,
        mode: ModeWord | None = None,
        at: When | None = None,
        retries: int | None = None,
        backoff: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
        client: str | None = None,
        link: Id | None = None,
        type: str = "activity",  # noqa: A002 - the word for it at every edge
    ) -> None:
        """Add a child, by its activity's name or function. It starts once this handler has returned.

        `args` are its handler's arguments, `params` its keyword arguments (either, not both), `client_data` replaces
        them whole. `mode`: `blocking` (what is added later waits for it), `non_blocking`, `fire_and_forget`. `at`: a
        time, or how long from now. `backoff` is the retry interval: a retry waits for it, doubled for each of the last
        six retries that is gone, ± 20 %. `client` names another client application that runs it. `link`ed nodes do not
        complete before it. What is not given comes from the
        activity's registration with this worker, else from the engine's defaults. If the handler raises, no child is
        added.
        """
        known = self._workshop.defaults(activity)
        if not isinstance(activity, str) and known is None:
            raise BackbeatError(f"{activity!r} is not registered as an activity; give a name")
        if self._view.depth >= LIMITS.depth_max:
            raise LimitExceeded(
                Reason.LIMIT_EXCEEDED,
                f"The node would be {self._view.depth + 1} levels deep; depth_max is {LIMITS.depth_max}",
                str(self._view.depth + 1),
                f"depth_max {LIMITS.depth_max}",
            )
        name = activity if known is None or isinstance(activity, str) else known.name
        assert isinstance(name, str)
        if known is not None:
            mode = mode or known.mode
            retries = known.retries if retries is None else retries
            backoff = known.backoff if backoff is None else backoff
            timeout = known.timeout if timeout is None else timeout
        if params is not None and args:
            raise TypeError("give positional arguments or params, not both")
        given: Arguments = args if params is None else params
        interval = None if backoff is None else seconds(backoff)
        check_node(name, retries, interval)
        check_node(type, None, None)
        optional: dict[str, Any] = {}
        if retries is not None:
            optional["retries"] = retries
        if interval is not None:
            optional["retry_interval_seconds"] = interval
        self._children.append(
            NewNode(
                name=name,
                user_id=self._workshop.user_id(client),
                mode=to_mode(mode or "blocking"),
                type=type,
                client_data=to_client_data(name, given, client_data, timeout),
                metadata=to_metadata(metadata),
                fires_at=None if at is None else to_milliseconds(at, self._workshop.now()),
                parent_link_id=None if link is None else to_id(link),
                **optional,
            )
        )

    @property
    def children(self) -> tuple[NewNode, ...]:
        """The children added so far."""
        return tuple(self._children)


running: ContextVar[Activity] = ContextVar("backbeat_activity")


def current() -> Activity:
    """The activity that is running here. BackbeatError outside of a handler."""
    activity = running.get(None)
    if activity is None:
        raise BackbeatError("no activity is running here")
    return activity


def transaction_id() -> str:
    """The running activity's transaction id, else a new one: logs and traces of what belongs together share it."""
    activity = running.get(None)
    return os.urandom(8).hex() if activity is None else activity.tid
