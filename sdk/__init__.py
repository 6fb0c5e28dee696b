"""Backbeat: workflows of services and workers, kept in Kafka. What a service (`Client`) and a worker (`Worker`) import.

    from backbeat import Client, Worker

Public: the names below, `errors`, `codecs`, `stores`, `logs`, `several`, `testing`. Rooms: `client` asks and signals
over a `transport` (Kafka, or HTTP), `worker` runs activities, `activities` is what a handler sees, `delivery` brings
activities in and results out, `payload` has values at the edge, `observe` traces and status.

Names and modules are imported when they are first asked for: engine and command line lie below this package, and start
without the SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbeat.activities.context import Activity, current
    from backbeat.activities.definition import activity
    from backbeat.activities.limit import Limit
    from backbeat.activities.retry import Retry
    from backbeat.activities.taken import FailedMember, Results
    from backbeat.client.blocking.client import PlainClient
    from backbeat.client.blocking.node import PlainNode
    from backbeat.client.client import Client
    from backbeat.client.node import Node
    from backbeat.errors import (
        BackbeatError,
        Cancelled,
        Fail,
        InvalidParameters,
        NodeFailed,
        NotFound,
        Rejected,
        RetryAfter,
        Timeout,
        Unavailable,
    )
    from backbeat.worker.extensions.middleware import Call, CallNext
    from backbeat.worker.worker import Worker

__all__ = [
    "Activity",
    "BackbeatError",
    "Call",
    "CallNext",
    "Cancelled",
    "Client",
    "Fail",
    "FailedMember",
    "InvalidParameters",
    "Limit",
    "Node",
    "NodeFailed",
    "NotFound",
    "PlainClient",
    "PlainNode",
    "Rejected",
    "Results",
    "Retry",
    "RetryAfter",
    "Timeout",
    "Unavailable",
    "Worker",
    "activity",
    "current",
]

#: Module -> the names that it defines.
_NAMES = {
    "activities.context": ("Activity", "current"),
    "activities.definition": ("activity",),
    "activities.limit": ("Limit",),
    "activities.retry": ("Retry",),
    "activities.taken": ("FailedMember", "Results"),
    "client.blocking.client": ("PlainClient",),
    "client.blocking.node": ("PlainNode",),
    "client.client": ("Client",),
    "client.node": ("Node",),
    "errors": (
        *("BackbeatError", "Cancelled", "Fail", "InvalidParameters", "NodeFailed"),
        *("NotFound", "Rejected", "RetryAfter", "Timeout", "Unavailable"),
    ),
    "worker.extensions.middleware": ("Call", "CallNext"),
    "worker.worker": ("Worker",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = ("codecs", "errors", "logs", "several", "stores", "testing")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
