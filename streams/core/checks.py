"""Checks of a command's content: sizes, JSON, numbers (behaviour document, sections 1, 2 and 5)."""

from __future__ import annotations

import math
import re
from typing import Any

from backbeat.schemas.messages.bounds import TIME_MAX, TIME_MIN
from backbeat.schemas.messages.json_text import JsonTextError, TooDeepError, parse
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import (
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Backoff,
    FollowUp,
    FollowUpKind,
    NewNode,
    NewWorkflow,
)
from backbeat.streams.core.records import TIMEOUT_DEFAULT, TIMEOUT_NONE
from backbeat.streams.core.step import Refused, Step, refuse

_TIMEOUT_SECONDS_MAX = 100 * 365 * 86_400.0
_EMPTY_SUBJECT = re.compile(rb'null|false|\{\}|\[\]|"(\s|\\[tnrf])*"')


def check_node(step: Step, new: NewNode) -> None:
    """Refuse a node that exceeds the limits or has invalid values."""
    limits = step.settings
    check_text("node name", new.name, limits.name_bytes_max)
    check_text("node type", new.type, limits.name_bytes_max)
    client_data_size, metadata_size = len(new.client_data), len(new.metadata)
    if client_data_size > limits.payload_bytes_max:
        raise _too_large("client_data", client_data_size, "payload_bytes_max", limits.payload_bytes_max)
    if metadata_size > limits.payload_bytes_max:
        raise _too_large("metadata", metadata_size, "payload_bytes_max", limits.payload_bytes_max)
    if new.metadata != b"{}":
        # Mostly it is an object; clients of the original send any value.
        check_json(step, "metadata", new.metadata)
    if client_data_size + metadata_size > limits.record_bytes_max:
        raise _too_large("node", client_data_size + metadata_size, "record_bytes_max", limits.record_bytes_max)
    if new.priority is not None and not PRIORITY_FIRST <= new.priority <= PRIORITY_LAST:
        message = f"priority is not one of {PRIORITY_FIRST} (goes first) to {PRIORITY_LAST}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.priority), wanted="1 to 5")
    if new.fairness_key:
        check_text("fairness_key", new.fairness_key, limits.name_bytes_max)
    _check_retries(new)
    if new.failures_allowed < 0:
        message = "failures_allowed is below 0"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.failures_allowed), wanted="0 or more")
    if new.fires_at is not None and not TIME_MIN <= new.fires_at <= TIME_MAX:
        message = "fires_at is no time that can be written: it is milliseconds since the epoch, up to the year 9999"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.fires_at), wanted=f"at most {TIME_MAX}")
    if new.awaits is not None and new.awaits.default is not None:
        check_size("default", new.awaits.default, limits.payload_bytes_max)
        check_json(step, "default", new.awaits.default)
    if new.follow_ups:
        _check_follow_ups(step, new)


def _check_retries(new: NewNode | FollowUp) -> None:
    if new.retries < 0:
        message = "retries is below 0"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(new.retries), wanted="0 or more")
    if not 0 <= new.retry_interval_seconds < math.inf:
        message = "retry_interval_seconds is not a number from 0 up"
        raise refuse(
            Reason.INVALID_PARAMETERS, message, found=str(new.retry_interval_seconds), wanted="0 or more seconds"
        )
    if new.backoff is not None:
        _check_backoff(new.backoff)


def _check_follow_ups(step: Step, new: NewNode) -> None:
    limits = step.settings
    size, kinds = len(new.client_data) + len(new.metadata), list[str]()
    for follow_up in new.follow_ups:
        check_text("name of an activity that follows", follow_up.name, limits.name_bytes_max)
        _check_retries(follow_up)
        check_size("client_data", follow_up.client_data, limits.payload_bytes_max)
        timeout_of(step, follow_up.client_data)
        size += len(follow_up.client_data)
        kinds.append(follow_up.kind)
    if len(set(kinds)) < len(kinds):
        message = f"{new.name!r} has two activities of one kind that follow it: {', '.join(kinds)}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found="two", wanted="one of a kind")
    if new.mode is Mode.FIRE_AND_FORGET and FollowUpKind.UNDO in kinds:
        message = f"{new.name!r} is fire_and_forget: nobody waits for it, so nobody knows whether it is to be undone"
        raise refuse(Reason.INVALID_PARAMETERS, message, found="fire_and_forget", wanted="blocking or non_blocking")
    if size > limits.record_bytes_max:
        raise _too_large("node", size, "record_bytes_max", limits.record_bytes_max)


def check_workflow(step: Step, new: NewWorkflow) -> None:
    """Refuse a workflow that exceeds the limits or has an empty subject."""
    limits = step.settings
    check_text("workflow name", new.name, limits.name_bytes_max)
    check_text("decider", new.decider, limits.name_bytes_max)
    if len(new.subject) > limits.subject_bytes_max:
        raise _too_large("subject", len(new.subject), "subject_bytes_max", limits.subject_bytes_max)
    if _EMPTY_SUBJECT.fullmatch(new.subject) or not new.subject:
        message = "A subject is any JSON value but an empty one"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=new.subject.decode(), wanted="a subject")
    check_json(step, "subject", new.subject)


def _check_backoff(backoff: Backoff) -> None:
    bounds = {"factor": (1.0, math.inf), "longest_seconds": (0.0, math.inf), "jitter": (0.0, 1.0)}
    for field, (least, most) in bounds.items():
        value: float = getattr(backoff, field)
        if not least <= value <= most or math.isinf(value):
            accepted = f"{least:g} to {most:g}" if math.isfinite(most) else f"a number from {least:g} up"
            message = f"The backoff's {field} is {value:g}; it must be {accepted}"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=f"{value:g}", wanted=accepted)


def check_retry_after(seconds: float | None) -> None:
    """Refuse a wait for the next attempt that is no number of seconds from 0 up."""
    if seconds is not None and not 0 <= seconds < math.inf:
        message = f"retry_after_seconds is {seconds:g}; it must be a number from 0 up"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=f"{seconds:g}", wanted="0 or more seconds")


def check_tid(step: Step) -> None:
    """Refuse a transaction id that is too long: it is stored with every node and sent with every effect."""
    if step.command.tid:
        check_text("tid", step.command.tid, step.settings.name_bytes_max)


def check_text(field: str, text: str, limit: int) -> None:
    """Refuse a text that is empty, or longer than `name_bytes_max`, the limit."""
    if not text:
        raise refuse(Reason.INVALID_PARAMETERS, f"The {field} is empty", found="nothing", wanted=f"a {field}")
    size = len(text.encode())
    if size > limit:
        raise _too_large(field, size, "name_bytes_max", limit)


def _too_large(field: str, size: int, limit_name: str, limit: int) -> Refused:
    message = f"The {field} has {size} bytes; {limit_name} is {limit}"
    return refuse(Reason.LIMIT_EXCEEDED, message, found=f"{size} bytes", wanted=f"{limit_name} {limit}")


def timeout_of(step: Step, client_data: bytes) -> float:
    """Seconds from `client_data.timeout`: a number or numeric text; null is none; absent is the configured default."""
    if client_data == b"{}":
        return TIMEOUT_DEFAULT
    value = check_json(step, "client_data", client_data)
    if not isinstance(value, dict):
        raise _bad_client_data("it is another value")
    if "timeout" not in value:
        return TIMEOUT_DEFAULT
    timeout = value["timeout"]
    if timeout is None:
        return TIMEOUT_NONE
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float, str)):
        raise _bad_client_data("timeout is no number")
    try:
        seconds = float(timeout)
    except (ValueError, OverflowError) as error:
        raise _bad_client_data(str(error)) from error
    if math.isnan(seconds):
        raise _bad_client_data("timeout is no number")
    return min(max(seconds, 0.0), _TIMEOUT_SECONDS_MAX)


def check_json(step: Step, field: str, text: bytes) -> Any:
    """The value of a JSON text. Refused: no JSON, or nested deeper than `json_depth_max`."""
    limit = step.settings.json_depth_max
    try:
        return parse(text, limit)
    except TooDeepError as error:
        message = f"The {field} is nested more than {limit} levels deep; json_depth_max is {limit}"
        actual, limit_text = f"more than {limit} levels", f"json_depth_max {limit}"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=actual, wanted=limit_text) from error
    except JsonTextError as error:
        message = f"The {field} is no JSON: {error}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(error), wanted="JSON") from error


def check_size(field: str, text: bytes, limit: int) -> None:
    """Refuse a payload that is larger than `payload_bytes_max`, the limit."""
    if len(text) > limit:
        raise _too_large(field, len(text), "payload_bytes_max", limit)


def check_response(step: Step, response: bytes | None) -> None:
    """Refuse a response that is larger than `payload_bytes_max`, or no JSON."""
    if response is None:
        return
    if len(response) > step.settings.payload_bytes_max:
        raise _too_large("response", len(response), "payload_bytes_max", step.settings.payload_bytes_max)
    check_json(step, "response", response)


def _bad_client_data(problem: str) -> Refused:
    message = f"client_data is no JSON object with a valid timeout: {problem}"
    return refuse(Reason.INVALID_PARAMETERS, message, found=problem, wanted="a JSON object; timeout a number or null")
