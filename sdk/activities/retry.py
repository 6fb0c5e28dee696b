"""The rule for retries: their number, the waits between them, and the errors after which there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypedDict

from backbeat.payload.values import invalid, seconds, to_count
from backbeat.schemas.messages.values import Backoff, NewNode

_DEFAULT = Backoff()
#: What `Retry` says where nothing is said: the engine's own numbers.
TIMES, FIRST_SECONDS = NewNode(name="", user_id=b"").retries, NewNode(name="", user_id=b"").retry_interval_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Rule for the attempts after one that failed. Waits are seconds, or a timedelta.

    >>> Retry(times=5, first=60).waits()
    (60.0, 120.0, 240.0, 480.0, 960.0)
    """

    #: Number of further attempts.
    times: int = TIMES
    #: The first wait.
    first: float | timedelta = FIRST_SECONDS
    #: Each wait is so many times as long as the one before; 1 or more.
    factor: float = _DEFAULT.factor
    #: No wait is longer, before jitter; None: an hour, or the first one where that is longer.
    longest: float | timedelta | None = None
    #: Share of a wait by which it is longer or shorter, 0 to 1: what failed together is not tried again together.
    jitter: float = _DEFAULT.jitter
    #: Errors after which there is no further attempt, as after a `Fail`. Only where the activity is declared.
    give_up_on: tuple[type[BaseException], ...] = ()
    #: Fields of a `NewNode` that is retried so, made once for all of them.
    fields: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        to_count("times", self.times, 0)
        first = seconds(self.first, "first")
        if first < 0:
            raise invalid("first is below 0", f"{first:g}", "0 or more seconds")
        if self.longest is not None and seconds(self.longest, "longest") < first:
            text = f"longest is {seconds(self.longest):g} s, and the first wait is {first:g} s already"
            raise invalid(text, f"{seconds(self.longest):g}", f"{first:g} or more seconds")
        if seconds(self.factor, "factor") < 1:
            raise invalid(f"factor is {self.factor:g}; it must be 1 or more", f"{self.factor:g}", "1 or more")
        if not 0 <= seconds(self.jitter, "jitter") <= 1:
            raise invalid(f"jitter is {self.jitter:g}; it must be 0 to 1", f"{self.jitter:g}", "0 to 1")
        errors: Any = self.give_up_on
        if not isinstance(errors, tuple) or not all(
            isinstance(e, type) and issubclass(e, BaseException) for e in errors
        ):
            raise invalid(f"give_up_on is {errors!r}; it must be a tuple of exceptions", repr(errors), "(CardStolen,)")
        backoff = Backoff(float(self.factor), self._longest_seconds, float(self.jitter))
        fields = {"retries": self.times, "retry_interval_seconds": first, "backoff": backoff}
        object.__setattr__(self, "fields", fields)

    def waits(self) -> tuple[float, ...]:
        """The waits, in seconds, without jitter; of many, the first hundred."""
        waits, wait = [], seconds(self.first)
        for _ in range(min(self.times, 100)):
            waits.append(min(wait, self._longest_seconds))
            wait = min(wait * self.factor, self._longest_seconds)
        return tuple(waits)

    @property
    def _longest_seconds(self) -> float:
        return max(_DEFAULT.longest_seconds, seconds(self.first)) if self.longest is None else seconds(self.longest)


_DEFAULT_RULE = Retry()


class RetryOptions(TypedDict, total=False):
    """Options of whatever is tried again: all of the rule, or the two numbers that are mostly meant."""

    #: The rule for its retries; else `retries` and `backoff` say what of the default is otherwise.
    retry: Retry | None
    #: Number of further attempts when it fails; by default 6.
    retries: int | None
    #: The first wait, in seconds, by default 1,200; each is twice as long as the one before, up to an hour.
    backoff: float | timedelta | None


RETRY_WORDS = tuple(RetryOptions.__annotations__)


def retry_rule(options: Mapping[str, Any], declared: Retry | None = None) -> Retry:
    """The rule that these options say; what they leave out is as declared. InvalidParameters."""
    retry, retries, backoff = options.get("retry"), options.get("retries"), options.get("backoff")
    if retry is not None and not isinstance(retry, Retry):
        text = f"retry is {retry!r}. What to do: retries={retry!r}, or retry=Retry(times=…, first=…)"
        raise invalid(text, repr(retry), "a Retry")
    if retry is not None and (retries, backoff) != (None, None):
        raise invalid("Give retry, or retries and backoff, not both", "both", "one of them")
    rule = retry or declared or _DEFAULT_RULE
    if retries is not None:
        to_count("retries", retries, 0)
        rule = replace(rule, times=retries)
    if backoff is None:
        return rule
    first = seconds(backoff, "backoff")
    if first < 0:
        raise invalid("backoff is below 0", f"{first:g}", "0 or more seconds")
    # A bound that was declared with another first wait does not make this one impossible.
    longest = rule.longest if rule.longest is None else max(seconds(rule.longest), first)
    return replace(rule, first=first, longest=longest)


def child_rule(options: Mapping[str, Any], declared: Retry | None = None) -> Retry:
    """The rule of a node, where it is added or signalled: whoever runs it knows what it gives up on. As above."""
    retry = options.get("retry")
    if isinstance(retry, Retry) and retry.give_up_on:
        text = "give_up_on stands where the activity is declared: @activity(…, retry=Retry(give_up_on=…))"
        raise invalid(text, "give_up_on", "a Retry without it")
    return retry_rule(options, declared)
