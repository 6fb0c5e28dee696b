"""Course of what needs a person: the hours of a day, and how it has changed in the last one."""

from __future__ import annotations

from backbeat.gateway.console.show.bars import bars
from backbeat.gateway.console.show.course import Course
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor

SHOP, BANK = b"s" * 16, b"b" * 16
MINUTE = 60_000
HOUR = 60 * MINUTE


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
        course.note(failing, at)

    curve = course.curve(DEVELOPER, now)
    assert curve is not None
    assert curve.hours == [*[0] * 22, 5, 412]
    assert (curve.change, curve.since) == (368, now - 90 * MINUTE)
    assert bars(curve.hours) == "▁" * 23 + "█"
    bank = Visitor(name="b", role=Role.READER, way="person", payloads=False, clients=frozenset({BANK}))
    assert course.curve(bank, now)[1] == -12


def test_more_than_a_day_is_not_kept():
    course = Course()
    for minute in range(3_000):
        course.note({SHOP: minute}, minute * MINUTE)

    curve = course.curve(DEVELOPER, 2_999 * MINUTE)
    assert curve is not None
    assert curve.since == 1_560 * MINUTE
    assert curve.hours[-1] == 2_999
