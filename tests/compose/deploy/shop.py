"""The camera purchase on a staging installation, through its gateways."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.compose.deploy.plain import PlainStack
from tests.gateway.api.door import Door

#: The nodes of a purchase, parents before their children: of the worker that the compose files run, …
PURCHASE = ["Make Purchase", "Reserve money", "Mark as sold", "Successful Purchase", "Notify (2)", "Notify", "Notify"]
#: … and of the demo's, which keeps a ledger.
DEMO_PURCHASE = ["Make Purchase", "Successful Purchase", "Notify Customer", "Notify Fulfillment Center"]


def open_shop(stack: PlainStack) -> list[Door]:
    """Add the client `default`, start its worker; the client at each gateway."""
    added = json.loads(stack.run("setup", "user", "add", "default", "--json"))
    stack.parts["worker"].start()
    return [Door(stack.url(f"gateway-{number}"), added["id"], added["token"]) for number in (1, 2)]


def buy(door: Door, number: int, parameter: str = "price") -> str:
    """Signal one purchase; the workflow's id. OSError and AssertionError where the gateway cannot.

    The worker gets the number as this parameter.
    """
    body = {"name": "Purchases", "subject": f"Camera {number}", "decider": "PurchaseDecider"}
    workflow = door.post("/workflows", body)
    assert workflow.status == 201, workflow
    data = {"name": "Make Purchase", "params": {"customer": f"Customer {number}", parameter: number}}
    # The same purchase, however often it is sent.
    signal = door.post(
        f"/workflows/{workflow.json['id']}/signal",
        {"name": "Make Purchase", "client_data": data},
        **{"Idempotency-Key": f"purchase-{number}"},
    )
    assert signal.status == 201, signal
    return workflow.json["id"]


def statuses(tree: dict) -> list[tuple[str, str]]:
    """Name and server status of all nodes below, parents before their children."""
    rows = []
    for child in tree["children"]:
        rows += [(child["name"], child["currentServerStatus"]), *statuses(child)]
    return rows


def is_complete(door: Door, workflow: str, names: Sequence[str] = PURCHASE) -> bool:
    """A purchase and all of its nodes, with these names, are complete, each there once."""
    answer = door.get(f"/workflows/{workflow}/tree")
    return answer.status == 200 and statuses(answer.json) == [(name, "complete") for name in names]
