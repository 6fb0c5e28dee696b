"""Redaction: schedules, jobs and limits without the payloads that a person who calls may not see."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from backbeat.gateway.http.call import Call
from backbeat.gateway.people.visitor import Right
from backbeat.schemas.messages.jobs import Job, Jobs
from backbeat.schemas.messages.limits import Limits, LimitView
from backbeat.schemas.messages.schedules import ScheduleView

_NO_OBJECT = b"{}"
_with = msgspec.structs.replace

T = TypeVar("T")


def redacted(call: Call, part: T) -> T:
    """A part of an answer as the caller may see it. Nodes and their history are refused as a whole, not redacted."""
    if call.person is None or call.person.may(Right.PAYLOADS):
        return part
    shown: T = _without_payloads(part)
    return shown


def _without_payloads(part: Any) -> Any:
    match part:
        case ScheduleView():
            node = _with(part.plan.node, client_data=_NO_OBJECT, metadata=_NO_OBJECT)
            return _with(part, plan=_with(part.plan, node=node))
        case Job():
            # What it finds metadata by is metadata.
            return _with(part, response=None, filter=_with(part.filter, metadata=None))
        case Jobs():
            return Jobs(tuple(_without_payloads(job) for job in part.jobs))
        case LimitView():
            # Each key is a value out of its nodes.
            return _with(part, pools=tuple(_with(pool, key="") for pool in part.pools))
        case Limits():
            return Limits(tuple(_without_payloads(view) for view in part.limits))
        case _:
            return part
