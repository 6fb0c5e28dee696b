"""A worker without the SDK: takes the activities of a client's topic and answers each, repeats as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import TopicPartition

from backbeat.schemas.codec import decode_activity
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.schemas.messages import activities
from backbeat.schemas.messages.commands import AnyCommand
from tests.integration.caller import SECONDS_MAX, Caller
from tests.integration.topic import batch, consumer, ends

#: What is said of an activity: a list of commands, perhaps empty.
Behaviour = Callable[[activities.ActivityRecord], Sequence[AnyCommand]]


class Hand:
    """Follows the topic from its beginning, in a thread of its own."""

    def __init__(self, caller: Caller, client: str, behaviour: Behaviour) -> None:
        self._caller = caller
        self._behaviour = behaviour
        self._topic = activities_topic(client)
        self._consumer = consumer(caller.kafka)
        self._consumer.assign([TopicPartition(self._topic, number, 0) for number in ends(caller.kafka, self._topic)])
        self.seen: list[activities.ActivityRecord] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hand")
        self._thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            for message in batch(self._consumer):
                if message.error() is not None:
                    continue
                activity = decode_activity(message.value())
                for command in self._behaviour(activity):
                    self._caller.send(command)
                with self._changed:
                    self.seen.append(activity)
                    self._changed.notify_all()

    def of(self, node_id: bytes) -> list[activities.ActivityRecord]:
        """What came of a node, oldest first."""
        return [activity for activity in self.seen if activity.node.id == node_id]

    def wait_for(
        self, condition: Callable[[activities.ActivityRecord], bool], count: int = 1, seconds: float = SECONDS_MAX
    ) -> list[activities.ActivityRecord]:
        """The first activities that are wanted."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(matches := [activity for activity in self.seen if condition(activity)]) < count:
                assert self._changed.wait(deadline - time.monotonic()), f"{len(matches)} of {count} activities came"
        return matches[:count]

    def close(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join()
        self._consumer.close()
