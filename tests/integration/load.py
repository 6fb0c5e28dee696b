"""Work of many kinds at a steady rate: signals over some subjects, and what a worker says of what comes of them.

Everything that is said follows from the node's id and attempt, so a repeat is answered as the first was.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
import uuid

from backbeat.schemas.messages import activities, queries, views
from backbeat.schemas.messages.commands import AnyCommand, ChangeNode, ChangeWorkflow, Signal
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import NewNode
from tests.integration.caller import Caller, node_of, result

_DEPTH_MAX = 3
_RETRY_SECONDS = 0.3


class Load:
    """Signals in one thread until enough commands were sent; `behave` is for the worker."""

    def __init__(
        self, caller: Caller, asking: Caller, seed: int, *, subjects: int, count: int, per_second: float
    ) -> None:
        """`caller` sends and has the answers of commands, `asking` those of queries."""
        self._caller, self._asking = caller, asking
        self._random = random.Random(seed)
        self._count, self._per_second = count, per_second
        self.subjects = [json.dumps(f"Camera {seed}-{number}").encode() for number in range(subjects)]
        self._newest: dict[int, bytes] = {}
        self.signals: list[Signal] = []
        #: what was read after its write had been answered, and was not there
        self.unread: list[str] = []
        self.reads = 0
        self._probes: list[threading.Thread] = []
        self.error: BaseException | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="load")
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        for probe in self._probes:
            probe.join()
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Send no more signals, however few were sent."""
        self._ending.set()

    # --- signals ---------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        try:
            began = time.monotonic()
            pace = threading.Event()
            while self._caller.sent < self._count and not self._ending.is_set():
                due = (time.monotonic() - began) * self._per_second
                if self._caller.sent > due:
                    pace.wait(0.005)  # a steady rate, not a condition
                    continue
                self._signal()
                if self._random.random() < 0.04:
                    self._meddle()
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self.error = error

    def _signal(self) -> None:
        number = self._random.randrange(len(self.subjects))
        link = None
        # What waits stands before what it waits for: no cycle.
        before = [earlier for earlier in self._newest if earlier < number]
        if before and self._random.random() < 0.15:
            link = self._newest[self._random.choice(before)].hex()
        signal = self._caller.signal(
            self.subjects[number],
            identity=self._random.randbytes(16),
            client_data=json.dumps({"link": link, "text": "x" * self._random.randrange(200)}).encode(),
            retry_interval_seconds=_RETRY_SECONDS,
        )
        self._newest[number] = node_of(signal)
        self.signals.append(signal)
        if self._random.random() < 0.1:
            self._probe(signal)
        else:
            self._caller.send(signal)

    def _probe(self, signal: Signal) -> None:
        """Write, wait for the answer, read: what was answered must be read."""

        def probe() -> None:
            try:
                answer = self._caller.ask(signal)
                assert isinstance(answer, views.NodeView), answer
                read = self._asking.query(queries.GetNode, node_id=node_of(signal))[0]
                self.reads += 1
                if not isinstance(read, views.NodeView):
                    self.unread.append(f"{node_of(signal).hex()}: {read}")
            except BaseException as error:  # noqa: BLE001 - `join` raises it
                self.error = error

        thread = threading.Thread(target=probe, name="probe")
        thread.start()
        self._probes.append(thread)

    def _meddle(self) -> None:
        """What an operator may do in between."""
        signal = self._random.choice(self.signals[-50:])
        user, identity = signal.user_id, self._random.randbytes(16)
        if self._random.random() < 0.3:
            self._caller.send(ChangeNode(id=identity, user_id=user, node_id=node_of(signal), status="canceled"))
            return
        for change in ("pause", "resume"):
            identity = uuid.UUID(bytes=self._random.randbytes(16)).bytes
            self._caller.send(ChangeWorkflow(id=identity, user_id=user, workflow_id=signal.workflow_id, change=change))

    # --- the worker --------------------------------------------------------------------------------------------------

    def behave(self, activity: activities.ActivityRecord) -> list[AnyCommand]:
        """What a worker says of an activity."""
        node = activity.node
        if activity.kind is activities.ActivityKind.NOTIFICATION:
            return []
        dice = random.Random(hashlib.blake2b(node.id + bytes((node.attempt % 256,)), digest_size=8).digest())
        if node.attempt == 1:
            if dice.random() < 0.08:
                return [result(node, "errored", response=b'{"error":{"message":"declined"}}')]
            if b'"timeout"' in node.client_data and dice.random() < 0.5:
                return []  # it expires, and is tried again
        commands: list[AnyCommand] = []
        if dice.random() < 0.1:
            commands.append(result(node, "processing"))
        children = self._children(node, dice)
        commands.append(result(node, children=children, response=b'{"result":{"a":1}}', ordinal=1))
        return commands

    def _children(self, node: views.NodeView, dice: random.Random) -> tuple[NewNode, ...]:
        if node.depth >= _DEPTH_MAX:
            return ()
        link = json.loads(node.client_data).get("link")
        count = dice.randrange(1, 5) if node.depth == 1 else dice.randrange(2)
        return tuple(
            NewNode(
                name=f"child {index}",
                user_id=node.user_id,
                mode=dice.choice(list(Mode)),
                type=dice.choice(["activity", "activity", "decision", "flag"]),
                client_data=b'{"timeout":1}' if dice.random() < 0.1 else b"{}",
                fires_at=node.created_at + 1_500 if dice.random() < 0.1 else None,
                parent_link_id=bytes.fromhex(link) if link and index == 0 else None,
                retry_interval_seconds=_RETRY_SECONDS,
            )
            for index in range(count)
        )
