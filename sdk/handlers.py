"""Handlers: functions, the activities that they run, and how they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from backbeat.activities import ActivityFunction
from backbeat.arguments import Arguments
from backbeat.context import Activity
from backbeat.errors import BackbeatError
from backbeat.jobs import Job
from backbeat.lanes import Lane
from backbeat.payloads import ModeWord, seconds


class _ClientData(msgspec.Struct):
    params: Any = None


_client_data = msgspec.json.Decoder(_ClientData)


class Handler:
    """A function that runs activities of one name, and what was registered with it."""

    __slots__ = (
        "arguments", "asynchronous", "backoff", "function", "heartbeat_seconds", "is_async", "lane", "mode", "name",
        "rescue", "retries", "timeout",
    )  # fmt: skip

    def __init__(self, activity: ActivityFunction[..., Any]) -> None:
        declared = activity.declared
        self.name = declared.name
        self.function = activity.function
        self.arguments = Arguments(declared.name, activity.function)
        self.is_async = inspect.iscoroutinefunction(activity.function)
        self.mode: ModeWord = declared.mode
        self.retries = declared.retries
        self.backoff = declared.backoff
        self.timeout = declared.timeout
        self.rescue = declared.rescue
        self.asynchronous = declared.asynchronous
        self.heartbeat_seconds = None if declared.heartbeat is None else seconds(declared.heartbeat)
        self.lane: Lane[Job] = Lane(declared.max_concurrent)

    def params(self, activity: Activity) -> Any:
        """The arguments in the activity's client data, as they travelled."""
        return _client_data.decode(activity.client_data_text).params

    def call(self, params: Any) -> Any:
        """Call the function with these arguments, unpacked. An async one gives its coroutine.

        Fail where an argument is not what its annotation says.
        """
        arguments = self.arguments
        match params:
            case None:
                return self.function()
            case list():
                return self.function(*(params if arguments.are_plain else arguments.by_place(params)))
            case dict():
                return self.function(**(params if arguments.are_plain else arguments.by_name(params)))
            case _:
                return self.function(*arguments.by_place([params]))


class Handlers:
    """What a worker has registered: by the activity's name, and by the function."""

    def __init__(self) -> None:
        self._by_name: dict[str, Handler] = {}
        self._by_function: dict[Callable[..., Any], Handler] = {}

    def add(self, handler: Handler) -> None:
        """Register one. BackbeatError: the name is taken."""
        if handler.name in self._by_name:
            raise BackbeatError(f"{handler.name!r} is registered already")
        self._by_name[handler.name] = self._by_function[handler.function] = handler

    def find(self, name: str) -> Handler | None:
        """What runs activities of this name."""
        return self._by_name.get(name)

    def of(self, activity: str | Callable[..., Any]) -> Handler | None:
        """What was registered under a name, or for a function."""
        if isinstance(activity, ActivityFunction):
            activity = activity.function
        return self._by_name.get(activity) if isinstance(activity, str) else self._by_function.get(activity)

    def all(self) -> list[Handler]:
        """All that are registered."""
        return list(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """The names that are registered, in the order in which they were."""
        return list(self._by_name)
