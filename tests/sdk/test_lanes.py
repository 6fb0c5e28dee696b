import pytest

from backbeat.worker.concurrency_slots import Lane, Lanes


def drain(lanes: Lanes[str]) -> list[str]:
    taken = []
    while (one := lanes.take()) is not None:
        taken.append(one[0])
    return taken


def test_jobs_run_in_the_order_in_which_they_came_up_to_the_concurrency() -> None:
    lanes: Lanes[str] = Lanes(2)
    lane: Lane[str] = Lane()
    for job in "abc":
        lanes.offer(job, lane)
    assert drain(lanes) == ["a", "b"]
    lanes.done(lane)
    assert drain(lanes) == ["c"]


def test_a_full_lane_holds_up_nobody_else_and_goes_on_with_its_oldest() -> None:
    lanes: Lanes[str] = Lanes(10)
    slow: Lane[str] = Lane(1)
    free: Lane[str] = Lane()
    for job, lane in (("s1", slow), ("s2", slow), ("s3", slow), ("f1", free)):
        lanes.offer(job, lane)
    assert drain(lanes) == ["s1", "f1"]
    lanes.offer("s4", slow)
    lanes.done(slow)
    assert drain(lanes) == ["s2"]
    lanes.done(slow)
    assert drain(lanes) == ["s3"]


def test_what_has_not_begun_can_be_taken_out() -> None:
    lanes: Lanes[str] = Lanes(2)
    slow: Lane[str] = Lane(1)
    for job in ("s1", "s2"):
        lanes.offer(job, slow)
    assert drain(lanes) == ["s1"]
    lanes.offer("s3", slow)
    assert sorted(lanes.clear()) == ["s2", "s3"]
    lanes.done(slow)
    assert drain(lanes) == []
    assert lanes.running == 0


def test_limits_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="max_concurrent is 0"):
        Lane(0)
    with pytest.raises(ValueError, match="concurrency is 0"):
        Lanes(0)
