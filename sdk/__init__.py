"""Backbeat: workflows of services and workers, kept in Kafka. What a service (`Client`) and a worker (`Worker`) import.

    from backbeat import Client, Worker

`client` asks and signals, `worker` runs activities, `context` is what a handler sees. Below them: `asking` (commands,
queries and their answers over Kafka), `intake` (activities in, results out, offsets), `lanes` (what may run now),
`outcome` (what a handler did, as commands), `views` and `payloads` (values at the edge), `errors`.
"""

from backbeat.activities import activity
from backbeat.client import Client
from backbeat.context import current
from backbeat.errors import BackbeatError, Fail, NodeFailed, Rejected, Timeout, Unavailable
from backbeat.node import Node
from backbeat.plain import PlainClient
from backbeat.worker import Worker

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
