"""The workflow in memory: the engine's own rules, no broker, and a clock that the test moves."""

import pytest

from orders import worker

pytestmark = pytest.mark.backbeat(worker)


def order(backbeat):
    return backbeat.client().signal("Orders", "Order 1", "Take order", args=["Ada", 2])


def test_an_order_is_charged_and_packed(plain_backbeat, capsys):
    assert order(plain_backbeat).result() == "2 bags for Ada"

    (charged,) = plain_backbeat.sent("Charge")
    assert capsys.readouterr().out == f"Charged: Ada, payment {charged.id}\nPacked: 2 bags, 19.0 paid\n"


def test_nothing_is_packed_before_the_bank_has_answered(plain_backbeat):
    plain_backbeat.faults.fail("Charge", times=2, message="the bank does not answer")
    taken = order(plain_backbeat)
    plain_backbeat.run()
    assert plain_backbeat.sent("Pack") == []

    plain_backbeat.advance(hours=1)

    assert taken.result() == "2 bags for Ada"
    assert len(plain_backbeat.sent("Charge")) == 3
