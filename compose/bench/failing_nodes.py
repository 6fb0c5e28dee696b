"""Nodes that pages are measured over: a large tree with one failing node, and workflows of which a tenth fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import Raw
from backbeat.schemas.codec import encode_command
from backbeat.schemas.messages import commands, ids

WORKFLOWS = 10
#: Of the workflows behind the first one node in so many fails, of two causes by turns: a tenth of all nodes.
FAILED_EVERY = 9


class Growth(NamedTuple):
    """A workflow to be made: its commands, and, once its nodes are dispatched, those by which some of them fail."""

    workflow_id: bytes
    commands: list[Raw]
    #: The nodes below its one signal.
    children: list[bytes]
    failing: list[bytes]
    failures: list[Raw]


def growths(user_id: bytes, partitions: int, nodes: int) -> Iterator[Growth]:
    """Workflows of this client with so many nodes in all. The first is the tree with one failing node."""
    maker = Maker(user_id, partitions)
    for number in range(WORKFLOWS):
        subject = subject_of(number, "console")
        fan = maker.fan(subject, nodes // WORKFLOWS)
        failing = fan.children[-len(fan.children) // 8 :][:1] if number == 0 else fan.children[::FAILED_EVERY]
        failures = [_failure(user_id, partitions, node, place) for place, node in enumerate(failing)]
        yield Growth(maker.workflow_id(subject), fan.commands, fan.children, failing, failures)


def _failure(user_id: bytes, partitions: int, node: bytes, place: int) -> Raw:
    message = f"550 mailbox <{place}> unknown" if place % 2 else f"connection refused by bank-{place % 7}:443"
    command = commands.ChangeNode(
        id=ids.command_id(b"console", node),
        user_id=user_id,
        tid="",
        node_id=node,
        status="errored",
        response=msgspec.json.encode({"error": {"message": message}}),
        retriable=False,
        attempt=1,
    )
    return Raw(ids.partition_of(node, partitions), encode_command(command))
