"""Activities as functions: the decorator, its options, and those of a child where it is added.

    @activity("Reserve money", retries=3, backoff=2)
    async def reserve_money(amount: int) -> str: ...

The function stays what it was: it can be called and tested. `Worker(activities=[reserve_money])` runs it,
`current().add(reserve_money, 703)` adds it as a child, and a type checker looks at the arguments of both.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeAlias, TypeVar, Unpack, overload

from backbeat.activities.limit import Limit
from backbeat.activities.retry import RETRY_WORDS, Retry, RetryOptions, retry_rule
from backbeat.client.words import check_options
from backbeat.errors import BackbeatError, InvalidParameters
from backbeat.payload.values import (
    Arguments,
    Id,
    ModeWord,
    When,
    invalid,
    kind_of,
    seconds,
    to_mode,
    to_text,
    to_timeout,
)
from backbeat.schemas.messages.replies import Reason

P = ParamSpec("P")
R = TypeVar("R")
#: Covariant, as what an async function gives is a subclass of Coroutine for some type checkers.
R_co = TypeVar("R_co", covariant=True)
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V_co = TypeVarWithDefault("V_co", default=Any, covariant=True)
else:
    V_co = TypeVar("V_co", covariant=True)
#: Called with an `Activity` (a module that imports this one) and the error of its last attempt, {"message": …}.
ErrorHook: TypeAlias = Callable[[Any, dict[str, Any]], Awaitable[None] | None]
#: An activity that follows another one: its function, that with options, or its name.
Followed: TypeAlias = "str | ActivityFunction[..., Any] | BoundActivity[..., Any]"


class ActivityOptions(RetryOptions, total=False):
    """Options of an activity where its function is declared."""

    #: Mode of children of it, where none is given when they are added: blocking, non_blocking, fire_and_forget.
    mode: ModeWord
    #: Time that its worker has to answer, in seconds; by default the engine's setting.
    timeout: float | timedelta | None
    #: Number of it that run at once in one worker, at most.
    max_concurrent: int | None
    #: Limit over all workers, which each sets when it starts; one set by `Client.limits` holds until then.
    limit: Limit | None
    #: Activity that handles its failure when its retries are exhausted: it gets the error, then the arguments, as
    #: many as it takes. What it returns is the result; or it gives up (`Activity.give_up`).
    on_failure: Followed | None
    #: Activity that undoes what it did, where its parent gives a later step up or is canceled: it gets the result, then
    #: the arguments, as many as it takes.
    undo: Followed | None
    #: Activity that runs when it is canceled after it has begun: it gets the arguments, as many as it takes.
    on_cancel: Followed | None
    #: Function called with the activity and its error when its retries are exhausted, again until it returns: for
    #: notices. Nothing can be added or signalled in it.
    rescue: ErrorHook | None
    #: True: it is not completed by returning; somebody completes it later, by its id (`Client.answer`).
    asynchronous: bool
    #: Interval, in seconds, at which its deadline is renewed by itself while it runs.
    heartbeat: float | timedelta | None


class ChildOptions(RetryOptions, total=False):
    """Options of a child where it is added. What is not said of retries is as declared."""

    #: `blocking` (what is added later waits for it), `non_blocking` (its parent does), `fire_and_forget`.
    mode: ModeWord | None
    #: Earliest start: an aware datetime, or a timedelta from now.
    at: When | None
    #: Time that its worker has to answer, in seconds; by default the declaration's.
    timeout: float | timedelta | None
    #: Activities that handle its failure, undo it, and run when it is canceled: see `ActivityOptions`.
    on_failure: Followed | None
    undo: Followed | None
    on_cancel: Followed | None
    #: Notes, for searches.
    metadata: Mapping[str, Any] | None
    #: The client application that runs it, if it is another than the worker's.
    client: str | None
    #: A node that does not complete before it.
    link: Id | None
    #: Among nodes that wait for the same limit: 1 goes first, 5 last; as its parent if nothing is given.
    priority: int | None
    #: Nodes of one priority that wait for the same limit take turns by it; as its parent if nothing is given.
    fairness_key: str | None
    #: `activity`, `decision`, or `flag`, which completes by itself.
    type: str
    #: The handler's keyword arguments, as a mapping.
    params: Mapping[str, Any] | None
    #: The whole of the client data, instead of arguments.
    client_data: Mapping[str, Any] | None


class CallOptions(ChildOptions, total=False):
    """Options that go with an activity's function (`with_options`): of a child, and of a signal."""

    #: The workflow's decider, where it is signalled: by default the workflow's name.
    decider: str | None
    #: A repeat of the signal with the same key gives the same node.
    idempotency_key: str | None
    #: A signal of the same workflow and key that was not sent to its worker yet, and this one, become one.
    coalesce_key: str | None
    #: The one that remains: `replace`, the new one; `drop`, the one that waits.
    coalesce: Literal["replace", "drop"]
    #: Where it is signalled: start at once, beside the signals that wait their turn in the workflow.
    beside: bool


#: Modules that declare activities for others.
_DECLARING = {__name__, "backbeat.worker.worker"}
CHILD_WORDS = tuple(ChildOptions.__annotations__)
_CALL_WORDS = tuple(CallOptions.__annotations__)
_ACTIVITY_WORDS = tuple(ActivityOptions.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityDefinition:
    """Declaration of an activity: `ActivityOptions`, and its name."""

    name: str
    mode: ModeWord = "blocking"
    retry: Retry = field(default_factory=Retry)
    timeout: float | timedelta | None = None
    max_concurrent: int | None = None
    limit: Limit | None = None
    rescue: ErrorHook | None = None
    on_failure: Followed | None = None
    undo: Followed | None = None
    on_cancel: Followed | None = None
    asynchronous: bool = False
    heartbeat: float | timedelta | None = None

    def __post_init__(self) -> None:
        to_text("A name", self.name)
        to_mode(self.mode)
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise ValueError(f"max_concurrent is {self.max_concurrent}; it must be 1 or more")
        if self.limit is not None and not isinstance(self.limit, Limit):
            raise invalid(f"limit is {self.limit!r}; it must be a Limit(concurrency=…)", repr(self.limit), "a Limit")
        for word in ("on_failure", "undo", "on_cancel"):
            check_followed(word, getattr(self, word))
        if self.timeout is not None:
            to_timeout(self.timeout)
        if self.heartbeat is not None and seconds(self.heartbeat, "heartbeat") <= 0:
            raise InvalidParameters(
                Reason.INVALID_PARAMETERS, "heartbeat is not above 0", str(self.heartbeat), "more than 0 seconds"
            )


def check_followed(word: str, activity: object) -> None:
    """Refuse what is neither an activity that follows another one, nor the name of one. InvalidParameters."""
    if activity is not None and not isinstance(activity, (str, ActivityFunction, BoundActivity)):
        raise invalid(
            f"{word} is {activity!r}; it must be an activity, or its name. What to do: put @backbeat.activity above "
            "the function",
            kind_of(activity),
            "a name, or a function that is an activity",
        )


class ActivityFunction(Generic[P, R_co]):
    """A function that is an activity. Called, it is the function itself.

    >>> @activity("Reserve money", retries=3)
    ... def reserve_money(amount: int) -> str:
    ...     return f"reserved {amount}"
    >>> reserve_money(703)
    'reserved 703'
    >>> reserve_money.name
    'Reserve money'
    """

    def __init__(self, function: Callable[P, R_co], declared: ActivityDefinition, module: str = "") -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.declared = declared
        #: The module that declares it: an activity that is imported elsewhere is not that module's.
        self.module = module
        self._signature: inspect.Signature | None = None

    @property
    def name(self) -> str:
        """The activity's name."""
        return self.declared.name

    @overload
    def __get__(self, owner: None, kind: type[Any], /) -> Self: ...
    @overload
    def __get__(self, owner: Any, kind: type[Any], /) -> ActivityFunction[..., R_co]: ...
    def __get__(self, owner: Any, kind: type[Any], /) -> ActivityFunction[..., R_co]:
        """A method's activity, of this object: `Worker(activities=[shop.sell])`."""
        bind = getattr(self.function, "__get__", None)
        if bind is None or (owner is None and not isinstance(self.function, classmethod)):
            return self
        return ActivityFunction(bind(owner, kind), self.declared, self.module)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.function(*args, **kwargs)

    def with_options(self, **options: Unpack[CallOptions]) -> BoundActivity[P, R_co]:
        """The activity with options of a child or signal: `add(reserve_money.with_options(mode="non_blocking"), 703)`.

        A type checker then still looks at the arguments, which follow.
        """
        check_options("with_options", options, _CALL_WORDS)
        return BoundActivity(self, options)

    def arguments(
        self, args: tuple[Any, ...], given: dict[str, Any], words: Collection[str] = CHILD_WORDS
    ) -> tuple[Arguments, ChildOptions]:
        """The handler's arguments, and the options among the keywords: those of `words` that it has no parameter for.

        TypeError where the function cannot be called so.
        """
        if self._signature is None:
            self._signature = inspect.signature(self.function)
        named = {key: value for key, value in given.items() if key in self._signature.parameters}
        options = {key: value for key, value in given.items() if key not in named and key in words}
        keywords = {key: value for key, value in given.items() if key not in options}
        if not options.keys().isdisjoint(("params", "args", "client_data")):
            if args or keywords:
                whole = "params" if "params" in words else "args"
                raise TypeError(f"give arguments, {whole} or client_data, not several of them")
            return (), options  # type: ignore[return-value]  # only its own words were taken
        bound = self._signature.bind(*args, **keywords)
        if args and keywords:
            return _by_name(bound), options  # type: ignore[return-value]  # as above
        return args or keywords, options  # type: ignore[return-value]  # as above

    def __repr__(self) -> str:
        return f"<activity {self.name!r}>"


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Positional and keyword arguments together travel as keyword arguments."""
    named: dict[str, Any] = {}
    for key, value in bound.arguments.items():
        match bound.signature.parameters[key].kind:
            case inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            case inspect.Parameter.POSITIONAL_OR_KEYWORD | inspect.Parameter.KEYWORD_ONLY:
                named[key] = value
            case _:
                raise TypeError(f"{key!r} can only be given by position: give all arguments so")
    return named


class BoundActivity(Generic[P, V_co]):
    """An activity with options of one child of it, or one signal (`ActivityFunction.with_options`)."""

    __slots__ = ("activity", "options")

    def __init__(self, activity: ActivityFunction[P, V_co], options: CallOptions) -> None:
        self.activity = activity
        self.options = options


@overload
def activity(function: Callable[P, R], /) -> ActivityFunction[P, R]: ...
@overload
def activity(
    name: str | None = None, **options: Unpack[ActivityOptions]
) -> Callable[[Callable[P, R]], ActivityFunction[P, R]]: ...
def activity(name: Any = None, **options: Unpack[ActivityOptions]) -> Any:
    """Make a function, async or plain, an activity of this name (else its own name), for any worker to register.

    What the options mean: `ActivityOptions`.

    >>> @activity(retries=3, backoff=2)
    ... async def reserve_money(amount: int) -> str: ...
    >>> reserve_money.name, reserve_money.declared.retry.times
    ('reserve_money', 3)
    """
    check_options("activity", options, _ACTIVITY_WORDS)
    if name is not None and not isinstance(name, str) and not callable(name):
        raise TypeError(f"an activity's name is text, not {name!r}")
    rule = retry_rule(options)
    rest: dict[str, Any] = {word: value for word, value in options.items() if word not in RETRY_WORDS}

    def declare(function: Callable[P, R]) -> ActivityFunction[P, R]:
        given: Any = function
        if not callable(given) and not isinstance(given, classmethod):
            raise TypeError(f"{function!r} cannot be called, so it is no activity")
        # It may have got its name as a decorator above another one.
        function_name = getattr(function, "__name__", None)
        activity_name = name if isinstance(name, str) else function_name
        if activity_name is None:
            raise TypeError(f"{function!r} has no name of its own: give one")
        definition = ActivityDefinition(name=activity_name, retry=rule, **rest)
        return ActivityFunction(function, definition, _declaring_module())

    return declare(name) if callable(name) else declare


def _declaring_module() -> str:
    """The name of the module whose code declares an activity now."""
    frame = sys._getframe()  # noqa: SLF001 - the interpreter's own way to it
    while frame.f_back is not None and frame.f_globals.get("__name__") in _DECLARING:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def declared_in(module: ModuleType) -> list[ActivityFunction[..., Any]]:
    """The activities that a module declares, each once. BackbeatError: there are none."""
    activities = {id(value): value for value in vars(module).values() if isinstance(value, ActivityFunction)}
    package = f"{module.__name__}."
    own = [item for item in activities.values() if f"{item.module}.".startswith(package)]
    if not own:
        imported = "; those that it imports are registered where they are declared" if activities else ""
        raise BackbeatError(f"the module {module.__name__} declares no activities{imported}")
    return own
