"""Course of what needs a person: the hours of a day, and how it has changed in the last one."""

from __future__ import annotations

from uuid import UUID

from backbeat.gateway.api.shapes.reports import ActivityFigures
from backbeat.gateway.console.show.course import ACTIVITIES_MAX, CLIENTS_MAX, Course
from backbeat.gateway.console.show.spark import spark_path
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor

SHOP, BANK = b"s" * 16, b"b" * 16
MINUTE = 60_000
HOUR = 60 * MINUTE


def figures(client_id: bytes, failing: int, name: str = "Pay", completed: int = 0, errored: int = 0) -> ActivityFigures:
    nodes = {"retries_exhausted": failing}
    return ActivityFigures(
        user_id=str(UUID(bytes=client_id)), activity=name, nodes=nodes, completed=completed, errored=errored
    )


def test_a_day_is_shown_hour_by_hour_to_whoever_sees_it():
    course = Course()
    now = 100 * HOUR
    assert course.curve(DEVELOPER, now) is None
    for at, failing in (
        (now - 30 * HOUR, {SHOP: 900}),
        (now - 90 * MINUTE, {SHOP: 5}),
        (now - 59 * MINUTE, {SHOP: 20, BANK: 12}),
        (now - 5 * MINUTE, {SHOP: 412}),
        (now - 1 * MINUTE, {SHOP: 400, BANK: 0}),
    ):
        course.note([figures(client_id, nodes) for client_id, nodes in failing.items()], at)

    curve = course.curve(DEVELOPER, now)
    assert curve is not None
    assert curve.hours == [*[0] * 22, 5, 412]
    assert (curve.now, curve.change, curve.since) == (400, 368, now - 90 * MINUTE)
    bank = Visitor(name="b", role=Role.READER, way="person", payloads=False, clients=frozenset({BANK}))
    assert course.curve(bank, now)[1:3] == (0, -12)


def test_more_than_a_day_is_not_kept():
    course = Course()
    for minute in range(3_000):
        course.note([figures(SHOP, minute)], minute * MINUTE)

    curve = course.curve(DEVELOPER, 2_999 * MINUTE)
    assert curve is not None
    assert curve.since == 1_560 * MINUTE
    assert curve.hours[-1] == 2_999


def test_an_hour_is_told_in_words_and_begins_with_the_first_figure():
    course = Course()
    now = 100 * HOUR
    assert course.failing(None, now) is None
    course.note([figures(SHOP, 700)], now - 61 * MINUTE)
    for minute, nodes in ((59, 3), (30, 40), (28, 30), (1, 412)):
        course.note([figures(SHOP, nodes), figures(BANK, 1)], now - minute * MINUTE)

    hour = course.failing({SHOP}, now)
    assert hour is not None
    assert hour.numbers == [3, 0, 0, 0, 0, 40, 30, 0, 0, 0, 0, 412]
    assert hour.sentence("failing") == "failing, last hour: 3 to 412, now 412"
    everybody = course.failing(None, now)
    assert everybody is not None
    assert everybody.newest == 413
    later = Course()
    later.note([figures(SHOP, 1_200)], now - 12 * MINUTE)
    hour = later.failing(None, now)
    assert hour is not None
    assert hour.sentence("failing") == "failing, last 12 min: 1,200 to 1,200, now 1,200"


def test_an_activity_has_an_hour_once_something_has_come_of_it():
    course = Course()
    now = 100 * HOUR
    course.note([figures(SHOP, 0, "Idle")], now - 3 * MINUTE)
    course.note([figures(SHOP, 0, "Idle"), figures(SHOP, 2, completed=7, errored=5)], now - 2 * MINUTE)
    course.note([figures(SHOP, 0, "Idle")], now)

    assert course.activity(SHOP, "Idle", now) is None
    assert course.activity(BANK, "Pay", now) is None
    hour = course.activity(SHOP, "Pay", now)
    assert hour is not None
    assert [(part.lowest, part.highest, part.newest) for part in hour] == [(0, 2, 0), (0, 7, 0), (0, 5, 0)]


def test_a_minute_has_one_figure_however_often_it_is_counted_and_no_more_activities_than_are_kept():
    course = Course()
    now = 100 * HOUR
    for second in range(0, 180, 5):
        at = now + second * 1_000
        course.note([figures(SHOP, 1 + number, f"Step {number}") for number in range(ACTIVITIES_MAX + 9)], at)

    assert len(course._results.since(0)) == len(course._failing.since(0)) == 3
    assert {len(results) for _, results in course._results.since(0)} == {ACTIVITIES_MAX}
    # Those that fail most are kept; failing nodes are counted whole.
    assert course.activity(SHOP, "Step 0", now + 180_000) is None
    assert course.activity(SHOP, f"Step {ACTIVITIES_MAX + 8}", now + 180_000) is not None
    hour = course.failing(None, now + 180_000)
    assert hour is not None
    assert hour.newest == sum(range(1, ACTIVITIES_MAX + 10))


def test_of_many_clients_those_that_fail_most_are_kept_and_all_are_counted():
    course = Course()
    now = 100 * HOUR
    clients = [number.to_bytes(16, "big") for number in range(1, CLIENTS_MAX + 10)]
    course.note([figures(client, number) for number, client in enumerate(clients, 1)], now)
    kept = {client for _, failing in course._failing.since(0) for client in failing}
    assert len(kept) == CLIENTS_MAX + 1
    assert kept > set(clients[9:])
    curve = course.curve(DEVELOPER, now)
    assert curve is not None
    assert curve.now == sum(range(1, CLIENTS_MAX + 10))
    assert course.failing({clients[-1], clients[0]}, now).newest == CLIENTS_MAX + 9


def test_columns_are_as_high_as_their_numbers_and_any_number_is_seen():
    assert spark_path([0, 1, 50, 100]) == "M0 16V16h1V15h1V8h1V0h1V16z"
    assert spark_path([0, 0]) == "M0 16V16h1V16h1V16z"
    assert spark_path([]) == "M0 16V16z"
