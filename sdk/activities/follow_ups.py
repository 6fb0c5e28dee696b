"""Activities that follow another one: what its declaration, child or signal says, as the engine is told of it.

@activity("Charge", on_failure=undo_charge)
order.add(reserve.with_options(undo=release), sku)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import msgspec

from backbeat.activities.definition import ActivityFunction, BoundActivity, check_followed
from backbeat.activities.retry import RETRY_WORDS, Retry, child_rule
from backbeat.client.words import check_options
from backbeat.codecs import MARK
from backbeat.payload.json_values import to_builtin
from backbeat.payload.values import Arguments, invalid, to_client_data, to_text
from backbeat.schemas.messages.values import FollowUp, FollowUpKind

#: Option -> what the activity follows.
KINDS = {"on_failure": FollowUpKind.FAILURE, "undo": FollowUpKind.UNDO, "on_cancel": FollowUpKind.CANCEL}
#: Options that an activity which follows may have (`with_options`).
_WORDS = (*RETRY_WORDS, "timeout", "client", "params")
#: What stands for the error or the result in the arguments.
_GIVEN = {MARK: {"result": 0}}
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Declared(Protocol):
    """Declaration of an activity."""

    @property
    def retry(self) -> Retry:
        """Rule for its retries."""

    @property
    def timeout(self) -> float | timedelta | None:
        """Time that its worker has to answer."""


class Following(NamedTuple):
    """An activity that follows, before its arguments are packed."""

    kind: FollowUpKind
    name: str
    params: Arguments
    retry: Retry
    timeout: float | timedelta | None
    client: str | None  #: the client application that runs it; None: that of whoever adds it

    def made(self, user_id: bytes, pack: Callable[[str, Any], Any] | None) -> FollowUp:
        """The follow-up as a field of a command."""
        client_data = to_client_data(self.name, self.params, None, self.timeout, pack)
        return FollowUp(self.kind, self.name, user_id, client_data, **self.retry.fields)


def followings(
    options: Mapping[str, Any],
    declared: Declared | None,
    args: Arguments,
    known: Callable[[str | Callable[..., Any]], Declared | None] = lambda _: None,
) -> list[Following]:
    """The activities that follow one with these options and arguments. TypeError, InvalidParameters.

    `known`: the declaration of an activity, where it is registered here.
    """
    following = []
    for word, kind in KINDS.items():
        activity = options.get(word)
        if activity is None:
            activity = getattr(declared, word, None)
        if activity is not None:
            following.append(_following(word, kind, activity, args, known))
    return following


def _following(
    word: str, kind: FollowUpKind, activity: Any, args: Arguments, known: Callable[..., Declared | None]
) -> Following:
    options: dict[str, Any] = {}
    declared: Declared | None
    if isinstance(activity, BoundActivity):
        options, activity = dict(activity.options), activity.activity
        check_options(f"{word}=….with_options", options, _WORDS)
    if isinstance(activity, ActivityFunction):
        name, declared = activity.name, activity.declared
    else:
        check_followed(word, activity)
        name, declared = to_text(word, activity), known(activity)
    params = options.get("params")
    if params is None:
        function = activity.function if isinstance(activity, ActivityFunction) else None
        params = _params(function, kind, args)
        if function is not None:
            _check_call(word, name, function, params)
    timeout = options.get("timeout")
    if declared is not None:
        timeout = declared.timeout if timeout is None else timeout
    rule = child_rule(options, None if declared is None else declared.retry)
    return Following(kind, name, params, rule, timeout, options.get("client"))


def _params(function: Callable[..., Any] | None, kind: FollowUpKind, args: Arguments) -> Arguments:
    """The error or the result, then the arguments of what is followed: as many as the function takes."""
    given = [] if kind is FollowUpKind.CANCEL else [_GIVEN]
    if function is None:
        return given
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in _POSITIONAL]
    if isinstance(args, Mapping):
        first = dict(zip(names, given, strict=False))
        others = [parameter.name for parameter in parameters if parameter.name not in first]
        takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        return first | {name: args[name] for name in (args if takes_all else others) if name in args}
    values = [*given, *args]
    takes_all = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    return values if takes_all else values[: len(names)]


def _check_call(word: str, name: str, function: Callable[..., Any], params: Arguments) -> None:
    try:
        if isinstance(params, Mapping):
            inspect.signature(function).bind(**params)
        else:
            inspect.signature(function).bind(*params)
    except TypeError as error:
        before = {"on_failure": "the error, then", "undo": "the result, then", "on_cancel": ""}[word]
        raise TypeError(
            f"{name!r} cannot be {word} here: {error}. It is called with {before} the arguments of what it follows, as "
            "many as it takes. What to do: give it defaults, or its arguments by with_options(params={…})"
        ) from None


def check_plain(name: str, params: Arguments, written_count: int) -> None:
    """Refuse results of other activities among the arguments of one that follows, and the key of references."""
    if written_count:
        raise TypeError(
            f"the arguments of {name!r}, which follows, are those of what it follows, and among them are results of "
            "other activities. What to do: let it take fewer arguments, or give it others: with_options(params={…})"
        )
    text = msgspec.json.encode(params, enc_hook=to_builtin)
    own = sum(value is _GIVEN for value in (params.values() if isinstance(params, Mapping) else params))
    if text.count(b'"%s":' % MARK.encode()) > own:
        raise invalid(
            f"The arguments of {name!r} have an object with the key {MARK!r}, Backbeat's own", MARK, "another key"
        )


def size_of(follow_ups: Sequence[FollowUp]) -> int:
    """Payload bytes in a command."""
    return sum(len(follow_up.client_data) for follow_up in follow_ups)
