"""Commands made ahead: node ids follow from command ids, so results can be written before their nodes are there."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from backbeat.compose.bench.rig import Raw
from backbeat.schemas.codec import encode_command
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AddChildren, AnyCommand, ChangeNode, Signal
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import NewNode, NewWorkflow

#: Response of an SDK worker for a handler that returns nothing.
_RESPONSE = b'{"jsonrpc":"2.0","result":null,"error":null,"id":null}'
_CLIENT_DATA = b'{"name":"Step","params":[]}'
_NAME = "bench"
_CHILDREN_MAX = 1_000
_counter = itertools.count()


class Fan(NamedTuple):
    """A workflow whose one signal has many children in parallel, and the ids of these."""

    commands: list[Raw]
    children: list[bytes]


def subject_of(number: int, kind: str = "w") -> bytes:
    """A workflow's subject, as JSON text."""
    return b'"%s-%07d"' % (kind.encode(), number)


class Maker:
    """Makes commands of one client application."""

    def __init__(self, user_id: bytes, partitions: int) -> None:
        self._user_id = user_id
        self._partitions = partitions

    def workflow(self, subject: bytes, steps: int = 3) -> list[Raw]:
        """A signal, its result with steps below it, and their results: `steps` + 2 commands, `steps` + 1 nodes."""
        signal, node_id = self._signal(subject)
        result = self._result(node_id, [self._step() for _ in range(steps)])
        children = [ids.node_id(signal.workflow_id, result.id, index) for index in range(steps)]
        results = [self._result(child) for child in children]
        commands: list[AnyCommand] = [signal, result, *results]
        return [self._raw(command, signal.workflow_id) for command in commands]

    def fan(self, subject: bytes, leaves: int) -> Fan:
        """A signal with this many children, all of which are dispatched."""
        signal, node_id = self._signal(subject)
        commands: list[AnyCommand] = [signal]
        children: list[bytes] = []
        remaining = leaves
        while remaining:
            count = min(remaining, _CHILDREN_MAX)
            remaining -= count
            children_added = tuple(self._step(Mode.NON_BLOCKING) for _ in range(count))
            add = AddChildren(
                id=_command_id(), user_id=self._user_id, node_id=node_id, children=children_added, attempt=1
            )
            commands.append(add)
            children += [ids.node_id(signal.workflow_id, add.id, index) for index in range(count)]
        commands.append(self._result(node_id))
        return Fan([self._raw(command, signal.workflow_id) for command in commands], children)

    def results(self, nodes: Iterable[bytes]) -> list[Raw]:
        """The results of nodes that are in work."""
        return [self._raw(self._result(node), node) for node in nodes]

    def workflow_id(self, subject: bytes) -> bytes:
        """The id of the workflow with this subject."""
        return ids.workflow_id(self._user_id, _NAME, subject)

    def commands(self, subject: bytes, steps: int) -> Iterator[AnyCommand]:
        """The commands of `workflow`, not encoded."""
        signal, node_id = self._signal(subject)
        yield signal
        result = self._result(node_id, [self._step() for _ in range(steps)])
        yield result
        for index in range(steps):
            yield self._result(ids.node_id(signal.workflow_id, result.id, index))

    def _signal(self, subject: bytes) -> tuple[Signal, bytes]:
        workflow = NewWorkflow(user_id=self._user_id, name=_NAME, subject=subject, decider=_NAME)
        identity = ids.workflow_id(self._user_id, _NAME, subject)
        node = NewNode(name="Signal", user_id=self._user_id, type="decision", client_data=_CLIENT_DATA)
        command = Signal(
            id=_command_id(), user_id=self._user_id, tid=_tid(), workflow_id=identity, workflow=workflow, node=node
        )
        return command, ids.node_id(identity, command.id, 0)

    def _result(self, node_id: bytes, children: Iterable[NewNode] = ()) -> ChangeNode:
        return ChangeNode(
            id=_command_id(),
            user_id=self._user_id,
            tid=_tid(),
            node_id=node_id,
            status="completed",
            response=_RESPONSE,
            children=tuple(children),
            attempt=1,
        )

    def _step(self, mode: Mode = Mode.BLOCKING) -> NewNode:
        return NewNode(name="Step", user_id=self._user_id, mode=mode, client_data=_CLIENT_DATA)

    def _raw(self, command: AnyCommand, route: bytes) -> Raw:
        return Raw(ids.partition_of(route, self._partitions), encode_command(command))


def _command_id() -> bytes:
    """16 bytes, unique to a command."""
    return ids.command_id(next(_counter).to_bytes(8, "big"))


def _tid() -> str:
    return f"{next(_counter):016x}"
