"""A gateway that knows its callers and has not reached the engine's topics yet."""

from types import SimpleNamespace

import pytest

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.settings import GatewaySettings

ASKING_ALL = [
    route
    for route in ROUTES
    if route.new
    and route.method == "GET"
    # Those of one node or workflow ask its partition alone; letters and the audit are in topics, archives in files.
    and not route.path.startswith(
        ("/reports", "/schemas", "/activities", "/workflows", "/dead-letters", "/audit", "/archives")
    )
]


@pytest.mark.parametrize("route", ASKING_ALL, ids=lambda route: route.path)
async def test_what_every_partition_is_asked_for_is_refused_not_answered_as_empty(route):
    engine = Engine(GatewaySettings())
    engine.missing = "The topic backbeat.replies is missing"
    call = Call(
        services=SimpleNamespace(engine=engine),
        route=route,
        path={"id": "0f6b1a52-1f0d-4f6e-8c53-6d1f0f7d2a10", "name": "nightly", "activity": "pay", "workflow": "sale"},
        client=None,
        parameters=Parameters(),
        tid="tid",
        key=None,
        headers={},
        query="",
        body=b"",
    )
    with pytest.raises(Refusal) as refused:
        await route.handler(call)
    assert (refused.value.status, str(refused.value)) == (503, engine.missing)
