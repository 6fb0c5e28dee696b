"""What headers may ask for beyond the original's API."""

import pytest
from multidict import CIMultiDict

from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.http.preferences import Preferences, read_preferences


def preferences(**headers: str) -> Preferences:
    return read_preferences(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


def test_old_clients_wish_for_nothing() -> None:
    assert preferences(Client_Id="x", Accept="*/*") == Preferences()


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5.0),
        ("respond-async, Wait = 0.25", 0.25),
        ("wait=1000", 30.0),
        ("wait=soon", 0.0),
        ("return=minimal", 0.0),
        ("wait=-1", 0.0),
    ],
)
def test_a_preference_that_is_not_known_is_passed_over(prefer: str, seconds: float) -> None:
    assert preferences(Prefer=prefer).wait_seconds == seconds


def test_keys_inside_of_values_stay_for_who_asks_for_it() -> None:
    parameters = Parameters.of_json(b'{"subject": {"orderId": 1}, "retryInterval": 3, "on": "true", "no": 1}')
    assert parameters.json("subject") == b'{"order_id":1}'
    assert parameters.with_keys_as_they_are().json("subject") == b'{"orderId":1}'
    assert parameters.with_keys_as_they_are().number("retry_interval") == 3
    assert parameters.flag("on") is True
    with pytest.raises(Refusal, match="true or false"):
        parameters.flag("no")
