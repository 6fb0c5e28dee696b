"""What is signalled: an activity by its name, or by its function, which is checked as `add` checks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from backbeat.activities.definition import ActivityFunction, BoundActivity
from backbeat.activities.retry import child_rule
from backbeat.client.signals import SIGNAL_WORDS, SignalOptions
from backbeat.client.words import check_options
from backbeat.payload.values import invalid, kind_of
from backbeat.worker.arguments import Converter, result_converter


class Signalled(NamedTuple):
    """A signal's name and options, and the converter of its result; None: it stays as JSON has it."""

    name: str
    options: SignalOptions
    convert: Converter | None = None


def signalled(
    call: str,
    activity: str | ActivityFunction[..., Any] | BoundActivity[..., Any],
    args: tuple[Any, ...],
    given: dict[str, Any],
    also: tuple[str, ...] = (),
) -> Signalled:
    """The activity and options of a `call` of `signal` or `publish`. TypeError, UnknownOption, InvalidParameters.

    `also` are words that the call itself has. By a function, what is not said is as it is declared, but for its mode: a
    signal is always blocking.
    """
    if isinstance(activity, str):
        check_options(call, given, (*also, *SIGNAL_WORDS))
        if args:
            raise TypeError(f"{call}(…, {activity!r}) is by name: its arguments go into args=[…], or give its function")
        return Signalled(activity, given)  # type: ignore[arg-type]  # its words were checked
    bound = activity.options if isinstance(activity, BoundActivity) else {}
    function = activity.activity if isinstance(activity, BoundActivity) else activity
    if not isinstance(function, ActivityFunction):
        raise invalid(
            f"A name or an activity is wanted, and {_shown(function)} is neither. What to do: put @backbeat.activity "
            "above the function, or give a name",
            kind_of(function),
            "a name, or a function that is an activity",
        )
    handler_arguments, more = function.arguments(args, given, SIGNAL_WORDS)
    options: dict[str, Any] = {**bound, **more}
    check_options(call, options, SIGNAL_WORDS)
    if "args" not in options and options.get("client_data") is None:
        options["args"] = handler_arguments
    declared = function.declared
    rule = child_rule(options, replace(declared.retry, give_up_on=()))
    options = {word: value for word, value in options.items() if word not in ("retries", "backoff")} | {"retry": rule}
    for word in ("on_failure", "on_cancel"):
        if options.get(word) is None and getattr(declared, word) is not None:
            options[word] = getattr(declared, word)
    if options.get("timeout") is None:
        options["timeout"] = declared.timeout
    return Signalled(function.name, options, result_converter(function.function))  # type: ignore[arg-type]  # as above


def _shown(value: Callable[..., Any]) -> str:
    return getattr(value, "__name__", None) or repr(value) if inspect.isroutine(value) else repr(value)
