"""Queue sizes as one line of a log."""

from backbeat.gateway.projection import Counts
from backbeat.gateway.queue_log import sizes
from backbeat.streams.kafka.queues import PartitionQueue, Queue, Queues

COUNTS = Counts(enqueued=3, scheduled=2, retrying=1, completed=9, completed_today=9, errored=4, errored_today=4)


def queue(topic, *partitions, group="g"):
    """(first, end, committed) of each partition."""
    rows = [
        PartitionQueue(partition=number, first=first, end=end, committed=committed)
        for number, (first, end, committed) in enumerate(partitions)
    ]
    return Queue(topic=topic, group=group, group_state="STABLE", partitions=rows)


def test_what_waits_is_what_there_still_is_and_was_not_taken():
    taken, none, cut, ahead = (10, 20, 15), (10, 20, None), (10, 20, 5), (10, 20, 30)
    assert [queue("t", partition).waiting for partition in (taken, none, cut, ahead)] == [5, 10, 10, 0]
    assert queue("t", taken, none).waiting == 15
    assert queue("backbeat.activities.shop").client == "shop"
    assert queue("backbeat.commands").client == ""


def test_the_longest_queues_are_named():
    activities = [queue(f"backbeat.activities.c{number}", (0, number, 0)) for number in range(23)]
    activities.append(queue("backbeat.activities.late", (0, 99, None), group=""))
    queues = Queues(
        commands=queue("backbeat.commands", (0, 7, 3)),
        signals=[queue("backbeat.signals.a", (0, 1, 0)), queue("backbeat.signals.b", (0, 2, 0))],
        activities=activities,
        state_ends={},
    )

    line = sizes(queues, COUNTS)

    assert line.startswith(
        "commands 4, signals 3, nodes with clients 3, scheduled 2, retrying 1, "
        "backbeat.activities.late for nobody 99, backbeat.activities.c22 for g 22, "
    )
    assert line.endswith("backbeat.activities.c4 for g 4, 3 topics more")
