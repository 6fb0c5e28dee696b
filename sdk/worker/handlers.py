"""Handlers: functions, the activities that they run, and how they are called."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import msgspec

from backbeat.activities.context import Activity
from backbeat.activities.definition import ActivityFunction
from backbeat.activities.limit import Limit
from backbeat.delivery.records import Delivery
from backbeat.errors import BackbeatError, Fail
from backbeat.payload.values import ModeWord, seconds
from backbeat.worker.arguments import Arguments
from backbeat.worker.concurrency_slots import ActivitySlots


class _ClientData(msgspec.Struct):
    params: Any = None


_client_data = msgspec.json.Decoder(_ClientData)


class Handler:
    """A function that runs activities of one name, with its declaration."""

    __slots__ = (
        "activity_slots",
        "arguments",
        "asynchronous",
        "function",
        "heartbeat_seconds",
        "is_async",
        "limit",
        "mode",
        "name",
        "on_cancel",
        "on_failure",
        "rescue",
        "retry",
        "timeout",
        "undo",
    )  # fmt: skip

    def __init__(self, activity: ActivityFunction[..., Any]) -> None:
        declared = activity.declared
        self.name = declared.name
        self.function = activity.function
        _check_runs(activity)
        self.arguments = Arguments(declared.name, activity.function)
        self.is_async = is_async(activity.function)
        self.mode: ModeWord = declared.mode
        self.retry = declared.retry
        self.timeout = declared.timeout
        self.rescue = declared.rescue
        self.on_failure, self.undo, self.on_cancel = declared.on_failure, declared.undo, declared.on_cancel
        self.limit = declared.limit
        self.asynchronous = declared.asynchronous
        self.heartbeat_seconds = None if declared.heartbeat is None else seconds(declared.heartbeat)
        self.activity_slots: ActivitySlots[Delivery] = ActivitySlots(declared.max_concurrent)

    def params(self, activity: Activity) -> Any:
        """The arguments in the activity's client data, as they travelled."""
        return _client_data.decode(activity.client_data_text).params

    def call(self, params: Any) -> Any:
        """Call the function with these arguments, unpacked. An async one gives its coroutine.

        Fail where an argument is missing, too much, or not what its annotation says: trying again cannot help.
        """
        arguments = self.arguments
        try:
            match params:
                case None:
                    return self.function()
                case list():
                    return self.function(*(params if arguments.are_plain else arguments.by_place(params)))
                case dict():
                    return self.function(**(params if arguments.are_plain else arguments.by_name(params)))
                case _:
                    return self.function(*arguments.by_place([params]))
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                # Raised in the function, which was called.
                raise
            raise Fail(f"the arguments do not fit {self.name!r}: {error}") from None

    def bind(self, params: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of a call. Fail as above."""
        match params:
            case None:
                return (), {}
            case list():
                return tuple(self.arguments.by_place(params)), {}
            case dict():
                return (), self.arguments.by_name(params)
            case _:
                return tuple(self.arguments.by_place([params])), {}


class Handlers:
    """Handlers of a worker, by the activity's name and by the function."""

    def __init__(self) -> None:
        self._by_name: dict[str, Handler] = {}
        self._by_function: dict[Callable[..., Any], Handler] = {}

    def add(self, handler: Handler) -> None:
        """Register a handler. BackbeatError: the name is taken."""
        registered = self._by_name.get(handler.name)
        if registered is not None:
            raise BackbeatError(
                f"{handler.name!r} is registered already: as {_place(registered.function)}, and now as "
                f"{_place(handler.function)}. What to do: register it once, or give one of them another name"
            )
        self._by_name[handler.name] = handler
        with contextlib.suppress(TypeError):
            # A dataclass that is called may have no hash: it is known by its name alone.
            self._by_function[handler.function] = handler

    @property
    def limits(self) -> dict[str, Limit]:
        """Limits that activities are declared with, by the activity."""
        return {name: handler.limit for name, handler in self._by_name.items() if handler.limit is not None}

    def find(self, name: str) -> Handler | None:
        """The handler of activities of this name."""
        return self._by_name.get(name)

    def of(self, activity: str | Callable[..., Any]) -> Handler | None:
        """The handler of a name, or of a function."""
        if isinstance(activity, ActivityFunction):
            activity = activity.function
        if isinstance(activity, str):
            return self._by_name.get(activity)
        try:
            return self._by_function.get(activity)
        except TypeError:
            return None

    def all(self) -> list[Handler]:
        """All handlers."""
        return list(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """Names of the handlers, in the order in which they were registered."""
        return list(self._by_name)


def is_async(function: Callable[..., Any]) -> bool:
    """True: a call gives a coroutine (an async function, or an object whose `__call__` is one)."""
    function = _innermost(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - not whether it can be called


def _check_runs(activity: ActivityFunction[..., Any]) -> None:
    """BackbeatError for a function that could be called and would never run."""
    function = _innermost(activity.function)
    for kind in (function, getattr(function, "__call__", None)):  # noqa: B004 - as above
        if inspect.isgeneratorfunction(kind) or inspect.isasyncgenfunction(kind):
            raise BackbeatError(
                f"{activity.name!r} is a generator ({_place(function)}): nobody would run it to its end. What to do: "
                "return a value; children are added by current().add(…)"
            )
    if not isinstance(function, FunctionType):
        return
    owner = function.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>") and next(iter(inspect.signature(function).parameters), "") == "self":
        raise BackbeatError(
            f"{activity.name!r} is the method {_place(function)}, and of which object is not said. What to do: "
            f"register it of one, Worker(activities=[{owner.rpartition('.')[2]}(…).{function.__name__}])"
        )


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _place(function: Callable[..., Any]) -> str:
    """Module and name of a function, for errors."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"
