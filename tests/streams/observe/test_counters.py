"""What the engine's loop counts, on the real core."""

from backbeat.observe.histograms import OTHER
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.core import effects as fx
from backbeat.streams.core.dispatch import apply
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES
from backbeat.streams.observe.counters import ACTIVITIES_MAX, EngineCounters, label_of
from tests.streams.core.rig import CAMERA, CAMERA_ID, new
from tests.streams.core.world import USER

NOW = 1_800_000_000_000
#: What counting may cost, for each command, on a machine that does something else as well.
SECONDS_MAX = 8e-6


class Counted:
    def __init__(self):
        self.counters = EngineCounters()
        self.store = MemoryStore()
        self.number = 0
        self.now = NOW

    def do(self, of, /, **given):
        self.number += 1
        command = of(**{"id": self.number.to_bytes(16, "big"), "user_id": USER, **given})
        effects = apply(command, self.now + self.number, self.store)
        self.counters.note(command, effects, self.store)
        return effects

    def fire(self, node):
        timer = self.store.get(NODES, node.id)
        self.now = max(self.now, timer.timer_at)
        self.do(c.TimerFired, user_id=None, subject_id=node.id, kind=timer.timer_kind, number=timer.timer_number)

    def signal(self, name="buy"):
        effects = self.do(c.Signal, workflow_id=CAMERA_ID, workflow=CAMERA, node=new(name, retry_interval_seconds=0))
        return [effect.node for effect in effects if isinstance(effect, fx.Dispatch)]


def test_a_node_is_counted_by_its_name_from_its_dispatch_to_its_end():
    counted = Counted()
    (node,) = counted.signal()
    counted.do(c.ChangeNode, node_id=node.id, status="completed", attempt=1)
    activity = counted.counters.activities["buy"]

    assert (activity.dispatched, activity.retried) == (1, 0)
    assert {outcome: count for outcome, count in activity.finished.items() if count} == {"complete": 1}
    assert counted.counters.commands[c.Signal] == counted.counters.commands[c.ChangeNode] == 1
    assert counted.counters.server[ServerStatus.COMPLETE] == counted.counters.client[ClientStatus.COMPLETE] == 1
    assert counted.counters.effects[fx.Dispatch] == 1


def test_a_failure_and_its_retry_are_told_apart():
    counted = Counted()
    (node,) = counted.signal()
    counted.do(c.ChangeNode, node_id=node.id, status="errored", attempt=1)
    counted.fire(node)
    activity = counted.counters.activities["buy"]

    assert (activity.dispatched, activity.retried) == (2, 1)
    assert activity.finished["errored"] == 1
    assert counted.counters.server[ServerStatus.RETRYING] == 1


def test_a_deadline_and_a_delivery_that_failed_are_outcomes_of_their_own():
    counted = Counted()
    (expires,) = counted.signal("expires")
    counted.fire(expires)
    other = Counted()
    (lost,) = other.signal("lost")
    other.do(c.DeliveryFailed, user_id=None, node_id=lost.id, attempt=1, response=b"{}")

    assert counted.counters.activities["expires"].finished["expired"] == 1
    assert other.counters.activities["lost"].finished["undeliverable"] == 1


def test_what_is_refused_is_counted_by_its_reason():
    counted = Counted()
    counted.do(c.ChangeNode, node_id=b"n" * 16, status="completed")

    assert counted.counters.rejections[Reason.NOT_FOUND] == 1


def test_names_are_bounded():
    counters = EngineCounters()
    for number in range(ACTIVITIES_MAX + 50):
        counters.of(f"name {number}").dispatched += 1

    assert len(counters.activities) == ACTIVITIES_MAX + 1
    assert counters.activities[OTHER].dispatched == 50
    assert counters.of("name 0").dispatched == 1


def test_words_of_labels():
    assert label_of(c.ChangeNode) == "change_node"
    assert label_of(fx.Dispatch) == "dispatch"
