import pytest

from backbeat.worker.concurrency_slots import ActivitySlots, ConcurrencySlots


def drain(slots: ConcurrencySlots[str]) -> list[str]:
    taken = []
    while (slot := slots.take()) is not None:
        taken.append(slot[0])
    return taken


def test_jobs_run_in_the_order_in_which_they_came_up_to_the_concurrency() -> None:
    slots: ConcurrencySlots[str] = ConcurrencySlots(2)
    activity_slots: ActivitySlots[str] = ActivitySlots()
    for delivery in "abc":
        slots.offer(delivery, activity_slots)
    assert drain(slots) == ["a", "b"]
    slots.done(activity_slots)
    assert drain(slots) == ["c"]


def test_a_full_lane_holds_up_nobody_else_and_goes_on_with_its_oldest() -> None:
    slots: ConcurrencySlots[str] = ConcurrencySlots(10)
    slow: ActivitySlots[str] = ActivitySlots(1)
    free: ActivitySlots[str] = ActivitySlots()
    for delivery, activity_slots in (("s1", slow), ("s2", slow), ("s3", slow), ("f1", free)):
        slots.offer(delivery, activity_slots)
    assert drain(slots) == ["s1", "f1"]
    slots.offer("s4", slow)
    slots.done(slow)
    assert drain(slots) == ["s2"]
    slots.done(slow)
    assert drain(slots) == ["s3"]


def test_what_has_not_begun_can_be_taken_out() -> None:
    slots: ConcurrencySlots[str] = ConcurrencySlots(2)
    slow: ActivitySlots[str] = ActivitySlots(1)
    for delivery in ("s1", "s2"):
        slots.offer(delivery, slow)
    assert drain(slots) == ["s1"]
    slots.offer("s3", slow)
    assert sorted(slots.clear()) == ["s2", "s3"]
    slots.done(slow)
    assert drain(slots) == []
    assert slots.running == 0


def test_limits_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="max_concurrent is 0"):
        ActivitySlots(0)
    with pytest.raises(ValueError, match="concurrency is 0"):
        ConcurrencySlots(0)
