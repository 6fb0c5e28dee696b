"""Children of a running activity: one, many at once, their results."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, Unpack, cast, overload

from backbeat.activities.children import Group as JoinedChildren
from backbeat.activities.children import arguments, count_allowed, make_child, make_group, make_wait, named
from backbeat.activities.definition import ActivityFunction, BoundActivity, ChildOptions
from backbeat.activities.environment import ActivityEnvironment
from backbeat.activities.results import Child, Group, Result
from backbeat.client.views import NodeValue
from backbeat.payload.values import Id, ModeWord, to_id, to_json
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import NewNode
from backbeat.schemas.messages.views import NodeView
from backbeat.worker.responses import result_response

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
_NOTHING: Any = object()


class Parent(NodeValue):
    """Base of a running activity: what adds children to its node."""

    __slots__ = ("_added", "_environment", "_returns", "gives_up")

    def __init__(self, view: NodeView, environment: ActivityEnvironment) -> None:
        super().__init__(view)
        self._environment = environment
        self._added: list[NewNode | JoinedChildren] = []
        self._returns: Result | None = None
        #: True: it handles a failure, and gives up (`give_up`).
        self.gives_up = False

    @overload
    def add(
        self, activity: ActivityFunction[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Child[T]: ...
    @overload
    def add(self, activity: ActivityFunction[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Child[T]: ...
    @overload
    def add(
        self, activity: BoundActivity[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Child[T]: ...
    @overload
    def add(self, activity: BoundActivity[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Child[T]: ...
    @overload
    def add(self, activity: str, /, *args: Any, **options: Unpack[ChildOptions]) -> Child[Any]: ...
    def add(self, activity: str | Callable[..., Any] | BoundActivity[...], /, *args: Any, **given: Any) -> Child[Any]:
        """Add a child, by its activity's function or name. It starts once this handler has returned.

        The `result` of the child that is returned may be an argument of what is added later, which then starts once
        that child is complete: `price = order.add(get_price, sku)`, `order.add(charge, customer, price.result)`.

        `args` are its handler's arguments. By a function, keyword arguments may follow; what else is to be said of the
        child is said by `function.with_options(…)`. By a name, keywords are options, and keyword arguments go into
        `params`. What the options mean: `backbeat.activities.ChildOptions`. What is not given comes from the
        activity's declaration, else from the engine's defaults. If the handler raises, no child is added.
        """
        name, known = named(activity, self._environment)
        handler_arguments, options = arguments(activity, args, given)
        environment = self._environment
        self._added.append(
            make_child(self._view, name, known, handler_arguments, options, environment=environment, owner=self)
        )
        return Child(self, len(self._added) - 1, self._pack)

    @overload
    def spread(
        self,
        activity: ActivityFunction[[V], Coroutine[Any, Any, T]],
        values: Iterable[V],
        /,
        *,
        group_mode: ModeWord = ...,
    ) -> Group[T]: ...
    @overload
    def spread(
        self,
        activity: ActivityFunction[[V], Coroutine[Any, Any, T]],
        values: Iterable[V],
        /,
        *,
        failures_allowed: float,
        group_mode: ModeWord = ...,
    ) -> Group[T | None]: ...
    @overload
    def spread(
        self, activity: ActivityFunction[[V], T], values: Iterable[V], /, *, group_mode: ModeWord = ...
    ) -> Group[T]: ...
    @overload
    def spread(
        self,
        activity: ActivityFunction[[V], T],
        values: Iterable[V],
        /,
        *,
        failures_allowed: float,
        group_mode: ModeWord = ...,
    ) -> Group[T | None]: ...
    @overload
    def spread(
        self,
        activity: ActivityFunction[..., Coroutine[Any, Any, T]],
        values: Iterable[tuple[Any, ...]],
        /,
        *,
        group_mode: ModeWord = ...,
    ) -> Group[T]: ...
    @overload
    def spread(
        self,
        activity: ActivityFunction[..., Coroutine[Any, Any, T]],
        values: Iterable[tuple[Any, ...]],
        /,
        *,
        failures_allowed: float,
        group_mode: ModeWord = ...,
    ) -> Group[T | None]: ...
    @overload
    def spread(
        self, activity: ActivityFunction[..., T], values: Iterable[tuple[Any, ...]], /, *, group_mode: ModeWord = ...
    ) -> Group[T]: ...
    @overload
    def spread(
        self,
        activity: ActivityFunction[..., T],
        values: Iterable[tuple[Any, ...]],
        /,
        *,
        failures_allowed: float,
        group_mode: ModeWord = ...,
    ) -> Group[T | None]: ...
    @overload
    def spread(
        self,
        activity: BoundActivity[[V]],
        values: Iterable[V],
        /,
        *,
        failures_allowed: float = ...,
        group_mode: ModeWord = ...,
    ) -> Group[Any]: ...
    @overload
    def spread(
        self,
        activity: BoundActivity[...],
        values: Iterable[tuple[Any, ...]],
        /,
        *,
        failures_allowed: float = ...,
        group_mode: ModeWord = ...,
    ) -> Group[Any]: ...
    @overload
    def spread(
        self,
        activity: str,
        values: Iterable[Any],
        /,
        *,
        failures_allowed: float = ...,
        group_mode: ModeWord = ...,
        **options: Unpack[ChildOptions],
    ) -> Group[Any]: ...
    def spread(
        self,
        activity: str | Callable[..., Any] | BoundActivity[...],
        values: Iterable[Any],
        /,
        *,
        failures_allowed: float = 0,
        group_mode: ModeWord = "blocking",
        **options: Any,
    ) -> Group[Any]:
        """Run an activity once for each of many values, all at the same time, and join them. Gives the group.

        The group is a number, how many there are; its `results`, the list of what they return in the order of the
        values, may be an argument of what is added later.

        A tuple is several arguments, anything else is the one. They lie below a node of their own (a flag), which is
        complete when all of them are. `group_mode` is its mode: `blocking` (what is added later waits for it), or
        `non_blocking` (only this activity does).

        `failures_allowed`: how many may fail for good, a count (`5`) or a share of the values (`0.01`, rounded down).
        Each of those counts as done once its retries are exhausted, and cannot be retried any more; its place in the
        results is None, and `Results.failed` tells which. The others wait for somebody, and the group for them.
        """
        name, known = named(activity, self._environment)
        members = []
        for value in values:
            args = value if isinstance(value, tuple) else (value,)
            handler_arguments, child_options = arguments(activity, args, dict(options))
            child_options.setdefault("mode", "non_blocking")
            members.append(
                make_child(
                    self._view,
                    name,
                    known,
                    handler_arguments,
                    child_options,
                    environment=self._environment,
                    owner=self,
                )
            )
        place = None
        are_awaited = all(member.mode is not Mode.FIRE_AND_FORGET for member in members)
        allowed = count_allowed(failures_allowed, len(members), are_awaited=are_awaited)
        if members:
            self._added.append(
                make_group(self._view, name, members, group_mode, self._environment, failures_allowed=allowed)
            )
            place = len(self._added) - 1
        problem = "" if are_awaited else f"{name!r} is fire_and_forget: nobody waits for its results"
        return Group.of(self, len(members), place, self._pack, problem)

    @overload
    def wait_for(
        self, name: str, /, *, timeout: float | timedelta | None = ..., default: Any = ..., mode: ModeWord = ...
    ) -> Child[Any]: ...
    @overload
    def wait_for(
        self, name: str, of: type[T], /, *, timeout: float | timedelta | None = ..., mode: ModeWord = ...
    ) -> Child[T]: ...
    @overload
    def wait_for(
        self, name: str, of: type[T], /, *, timeout: float | timedelta | None = ..., default: V, mode: ModeWord = ...
    ) -> Child[T | V]: ...
    def wait_for(
        self,
        name: str,
        of: object = None,  # noqa: ARG002 - for type checkers: who takes the result says what it is made into
        /,
        *,
        timeout: float | timedelta | None = None,
        default: Any = _NOTHING,
        mode: ModeWord = "blocking",
    ) -> Child[Any]:
        """Add a child that waits for a message of this name to the workflow, and has its content as result.

        `await client.send("Orders", "o1", "approval", …)` sends one, also before the wait begins: the workflow keeps
        it. `of` is the type of its content, for type checkers. No worker runs such a child, and it has no retries.
        Without a message within `timeout` (seconds, or a timedelta, from its start; None: for ever) its result is
        `default`; without one it fails, and waits for a person.

        >>> from backbeat import Worker, activity, current
        >>> from backbeat.testing import PlainBackbeat
        >>> @activity("Pay")
        ... def pay(by: str) -> str:
        ...     return f"paid by {by}"
        >>> @activity("Order")
        ... def order() -> None:
        ...     approval = current().wait_for("approval", str)
        ...     paid = current().add(pay, approval.result)
        ...     current().returns(paid.result)
        >>> with PlainBackbeat(Worker(activities=[order, pay])) as backbeat:
        ...     client = backbeat.client()
        ...     node = client.signal("Orders", "o1", order)
        ...     client.send("Orders", "o1", "approval", "Grace")
        ...     print(node.result())
        paid by Grace
        """
        label = f"default of {name!r}"
        packed = None if default is _NOTHING else result_response(self._environment.pack(label, default), label)
        user_id = self._environment.user_id(None)
        self._added.append(make_wait(self._view, name, timeout, default=packed, mode=mode, user_id=user_id))
        return Child(self, len(self._added) - 1, self._pack)

    def result_of(self, node_id: Id) -> Any:
        """The result of a node of this workflow that is there already, as an argument of a child: `Child.result`.

        The node must come before the children of this one in the tree; else they are refused.
        """
        return Result(self, None, node_id=to_id(node_id))

    def returns(self, result: T) -> T:
        """Give this activity the result of a child, in place of what its handler returns.

        `order.returns(total.result)`: whoever asks for its result, or takes it, gets the child's, once both are
        complete. A handler whose result is to have a type ends with it: `return order.returns(total.result)`, which is
        None when it runs.
        """
        if not isinstance(result, Result) or result.owner is not self or result.place is None:
            raise TypeError("returns() takes the result of a child that this activity has added: child.result")
        if result.of_children:
            raise TypeError(
                "returns() takes the result of one child. What to do: add an activity that takes the group's results, "
                "and return its result"
            )
        child = self._added[result.place]
        if isinstance(child, NewNode) and child.mode is Mode.FIRE_AND_FORGET:
            raise TypeError(f"{child.name!r} is fire_and_forget: nobody waits for its result")
        self._returns = result
        return cast("T", None)

    def give_up(self) -> None:
        """Give up what has failed, where this activity handles its failure (`on_failure`), once it is complete.

        The failed one is shut down, and not resolved: what comes after it does not run, and what was done before it is
        undone (`undo`). Of any other activity it is an error.
        """
        self.gives_up = True

    def _pack(self, label: str, value: Any) -> bytes:
        return to_json(label, self._environment.pack(label, value))

    @property
    def children(self) -> tuple[NewNode, ...]:
        """The children added so far; a group is the flag that joins it."""
        return tuple(child.flag if isinstance(child, JoinedChildren) else child for child in self._added)

    @property
    def added(self) -> tuple[NewNode | JoinedChildren, ...]:
        """The children and groups added so far, in order."""
        return tuple(self._added)

    @property
    def returned_place(self) -> int | None:
        """Place among what was added of the child whose result is its own; None: its handler returns it."""
        return None if self._returns is None else self._returns.place
