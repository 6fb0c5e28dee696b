"""Backbeat: workflows of services and workers, kept in Kafka. What a service (`Client`) and a worker (`Worker`) import.

    from backbeat import Client, Worker

Public: the names below, `errors`, `codecs`, `stores`, `logs`, `several`, `testing`. Rooms: `client` asks and signals
over a `transport` (Kafka, or HTTP), `worker` runs activities, `activities` is what a handler sees, `delivery` brings
activities in and results out, `payload` has values at the edge, `observe` traces and status.
"""

from backbeat.activities.context import current
from backbeat.activities.definition import activity
from backbeat.client.blocking.client import PlainClient
from backbeat.client.client import Client
from backbeat.client.node import Node
from backbeat.errors import BackbeatError, Fail, NodeFailed, Rejected, Timeout, Unavailable
from backbeat.worker.worker import Worker

__all__ = [
    "BackbeatError",
    "Client",
    "Fail",
    "Node",
    "NodeFailed",
    "PlainClient",
    "Rejected",
    "Timeout",
    "Unavailable",
    "Worker",
    "activity",
    "current",
]
