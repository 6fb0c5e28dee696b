"""A shop that was written for the original with its Ruby client buys a camera here: only the host is another."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateway.api.door import Door
from tests.gateway.api.ruby_client import NEW, OLD, SECONDS_MAX, Activity, Api, Application, Dialect, rpc
from tests.waiting import until, until_async

MAKE, CHARGE, SUCCESS = "Make Purchase", "Charge Card", "Successful Purchase"
CUSTOMER, FULFILLMENT, AUDIT, SHIP = "Notify Customer", "Notify Fulfillment Center", "Write Audit Log", "Ship Camera"
DECLINES = 2
#: With all six retries left the first wait is twice the backoff, the second four times.
BACKOFF_SECONDS = 1
AUDIT_IN_SECONDS = 0.5
#: Backoff of what has one retry: 64 times this.
SHORT_SECONDS = 0.005

Open = Callable[..., Awaitable[Application]]


@pytest.fixture
async def open_application(stack) -> AsyncIterator[Open]:
    """Opens an application whose user came with its id and token from the original; tokens are asked for."""
    opened: list[Application] = []

    async def new(dialect: Dialect = NEW) -> Application:
        application = Application(f"shop-{uuid.uuid4().hex[:12]}")
        await application.listen()
        user = {"id": str(uuid.uuid4()), "name": application.name, "auth_token": uuid.uuid4().hex}
        kinds = ("decision", "activity", "notification")
        endpoints = {f"{kind}_endpoint": f"{application.url}/{kind}" for kind in kinds}
        await asyncio.to_thread(bring_user, stack.bootstrap_servers, user | endpoints)
        door = Door(stack.http_urls[1], user["id"])
        await asyncio.to_thread(until, lambda: door.get("/workflows/names").status != 401, "the user is known")
        application.api = Api(stack.http_urls[1], user["id"], user["auth_token"], dialect)
        application.client_id = user["id"]
        opened.append(application)
        return application

    yield new
    for application in opened:
        await application.close()


def bring_user(bootstrap_servers: str, user: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "backbeat.compose", "user", "import", "-", "--bootstrap-servers", bootstrap_servers],
        input=json.dumps([user]),
        text=True,
        check=True,
        capture_output=True,
        timeout=SECONDS_MAX,
    )


class Shop:
    """What the shop's activities do, and what they did."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.declined = 0
        self.charged: list[str] = []
        self.audit_at = datetime.now(UTC)
        self.mailed: asyncio.Future[Activity] = asyncio.get_running_loop().create_future()
        self.rescued: list[list[Any]] = []
        application.activity(MAKE, self.make_purchase)
        application.activity(CHARGE, self.charge_card, backoff=BACKOFF_SECONDS)
        application.activity(SUCCESS, self.successful_purchase)
        application.activity(CUSTOMER, self.notify_customer, is_async=True)
        application.activity(
            FULFILLMENT, self.notify_fulfillment, backoff=SHORT_SECONDS, retries=1, rescue_with=self.call_fulfillment
        )
        application.activity(AUDIT, self.write_audit_log)

    async def make_purchase(self, activity: Activity, customer: str, options: dict[str, Any]) -> None:
        await activity.register(CHARGE, mode="blocking").with_(customer, options["someKey"])
        await activity.register(SUCCESS).with_(customer)

    async def charge_card(self, activity: Activity, customer: str, amount: int) -> dict[str, Any]:
        if self.declined < DECLINES:
            self.declined += 1
            raise RuntimeError(f"the card of {customer} was declined")
        self.charged.append(customer)
        return {"charged": amount}

    async def successful_purchase(self, activity: Activity, customer: str) -> str:
        self.audit_at = datetime.now(UTC) + timedelta(seconds=AUDIT_IN_SECONDS)
        await activity.register(CUSTOMER, mode="non_blocking", metadata={"by": "mail"}).with_(customer)
        await activity.register(FULFILLMENT, mode="non_blocking").with_({"nested": [1, None, {"aB": 2.50}]})
        await activity.register(AUDIT, mode="fire_and_forget", at=self.audit_at).with_()
        return "sold"

    async def notify_customer(self, activity: Activity, customer: str) -> None:
        """Somebody else will say when the mail was read."""
        self.mailed.set_result(activity)

    async def notify_fulfillment(self, activity: Activity, order: dict[str, Any]) -> None:
        raise ConnectionError("nobody answers the phone")

    async def call_fulfillment(self, activity: Activity, *params: Any) -> None:
        self.rescued.append(list(params))
        await activity.resolve()

    async def write_audit_log(self, activity: Activity) -> str:
        return "written"


@pytest.mark.parametrize("dialect", [NEW, OLD], ids=["new", "old"])
async def test_a_camera_is_bought(open_application, dialect):
    application = await open_application(dialect)
    shop = Shop(application)
    purchases = application.workflow("Purchases", "Camera 703")
    signal = await purchases.signal(MAKE).with_("Ada", {"someKey": 7})
    assert (signal["currentServerStatus"], signal["subject"]) == ("ready", "Camera 703")
    workflow_id = signal["workflowId"]

    mail = await asyncio.wait_for(shop.mailed, SECONDS_MAX)
    await application.wait_for(FULFILLMENT, "notification")
    await application.wait_for(AUDIT)
    waiting = await settle(application, workflow_id, {CUSTOMER, SUCCESS, MAKE})
    assert {name for name, node in waiting.items() if node["currentServerStatus"] != "complete"} == {
        CUSTOMER, SUCCESS, MAKE,
    }  # fmt: skip
    assert waiting[CUSTOMER]["currentClientStatus"] == "processing"
    # Another process than the one that it was sent to: all it has is the id.
    await application.api.completed(mail.id, rpc("read"))

    nodes = await settle(application, workflow_id, set())
    assert (shop.declined, shop.charged, shop.rescued) == (DECLINES, ["Ada"], [[{"nested": [1, None, {"aB": 2.5}]}]])
    check_deliveries(application, shop)
    check_notification(application)
    await check_tree(application, workflow_id)
    await check_order(application, nodes)
    await check_responses(application, nodes)

    assert (await purchases.find_or_create())["id"] == workflow_id
    await application.api.complete_workflow(workflow_id)
    assert (await application.api.workflow(workflow_id))["complete"] is True


async def settle(application: Application, workflow_id: str, unfinished: set[str]) -> dict[str, Any]:
    """The workflow's nodes by name, once all of them are complete but these."""

    async def settled() -> dict[str, Any] | None:
        nodes = await application.api.workflow(workflow_id, "/nodes")
        if {node["name"] for node in nodes if node["currentServerStatus"] != "complete"} != unfinished:
            return None
        return {node["name"]: node for node in nodes}

    nodes: dict[str, Any] = await until_async(settled)
    return nodes


def check_deliveries(application: Application, shop: Shop) -> None:
    """Each once an attempt, one after the other where one waits for the other."""
    # A registered activity is none: of a purchase the signal alone comes there.
    assert application.came("decision") == [MAKE]
    came = application.came("activity")
    assert came[: DECLINES + 2] == [CHARGE] * (DECLINES + 1) + [SUCCESS]
    assert sorted(came[DECLINES + 2 :]) == sorted([CUSTOMER, FULFILLMENT, FULFILLMENT, AUDIT])
    deliveries = [payload.headers["X-Backbeat-Delivery"] for payload in application.payloads]
    assert len(set(deliveries)) == len(deliveries)
    for payload in application.payloads:
        if payload.endpoint != "notification":
            assert payload.node["currentServerStatus"] == "sent_to_client"
            assert payload.node["currentClientStatus"] == "received"
        assert payload.node["clientData"]["name"] == payload.name
        assert (payload.node["subject"], payload.node["decider"]) == ("Camera 703", application.name)
    charges = [payload.at for payload in application.payloads if payload.name == CHARGE]
    waits = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(charges)]
    assert waits[0] > 0.8 * 2 * BACKOFF_SECONDS
    assert waits[1] > 0.8 * 4 * BACKOFF_SECONDS
    (audit,) = [payload for payload in application.payloads if payload.name == AUDIT]
    # A time is kept in whole milliseconds.
    assert audit.at >= shop.audit_at - timedelta(milliseconds=1)
    (mail,) = [payload for payload in application.payloads if payload.name == CUSTOMER]
    assert (mail.node["metadata"], mail.node["mode"]) == ({"by": "mail"}, "non_blocking")


def check_notification(application: Application) -> None:
    """Of what was declined and then went well nobody is told; of what used up its retries, once."""
    (notification,) = [payload for payload in application.payloads if payload.endpoint == "notification"]
    assert notification.body["notification"] == {"name": FULFILLMENT, "message": "Client Error"}
    error = notification.body["error"]
    assert (error["code"], error["message"]) == (-32000, "nobody answers the phone")
    assert notification.node["currentServerStatus"] == "retries_exhausted"
    assert notification.node["currentClientStatus"] == "errored"


async def check_tree(application: Application, workflow_id: str) -> None:
    tree = await application.api.workflow(workflow_id, "/tree")
    assert (tree["id"], tree["subject"], tree["mode"]) == (workflow_id, "Camera 703", None)
    assert names_below(tree) == [
        (MAKE, [(CHARGE, []), (SUCCESS, [(CUSTOMER, []), (FULFILLMENT, []), (AUDIT, [])])]),
    ]
    text = (await application.api.workflow(workflow_id, "/tree/print"))["print"]
    lines = ["Purchases", MAKE, CHARGE, SUCCESS, CUSTOMER, FULFILLMENT, AUDIT]
    assert [name for line, name in zip(text.split("\n")[1:], lines, strict=True) if name not in line] == []
    # One was resolved.
    assert text.count("server: complete, client: complete") == len(lines) - 2


def names_below(tree: dict[str, Any]) -> list[Any]:
    return [(node["name"], names_below(node)) for node in tree["children"]]


async def check_order(application: Application, nodes: dict[str, Any]) -> None:
    """Parents complete after their children; whatever is blocked starts when what blocks it is complete."""
    at = {}
    for name, node in nodes.items():
        changes = await application.api.activity(node["id"], "/status_changes")
        at[name] = {
            change["toStatus"]: change["createdAt"]
            for change in changes
            if change["statusType"] == "current_server_status"
        }
    assert at[MAKE]["complete"] >= at[SUCCESS]["complete"]
    assert at[SUCCESS]["complete"] >= max(at[CUSTOMER]["complete"], at[FULFILLMENT]["complete"])
    assert at[SUCCESS]["started"] >= at[CHARGE]["complete"]
    assert at[CHARGE]["started"] >= at[MAKE]["processing_children"]
    assert "retrying" in at[CHARGE]
    assert "retries_exhausted" in at[FULFILLMENT]
    assert nodes[FULFILLMENT]["currentClientStatus"] == "resolved"


async def check_responses(application: Application, nodes: dict[str, Any]) -> None:
    """What `result` and `error` of an activity read."""
    api = application.api
    results = {name: await api.activity(node["id"], "/response") for name, node in nodes.items()}
    assert results.pop(FULFILLMENT) == {}
    assert results == {
        MAKE: rpc(), CHARGE: rpc({"charged": 7}), SUCCESS: rpc("sold"), CUSTOMER: rpc("read"), AUDIT: rpc("written"),
    }  # fmt: skip
    declined = await api.activity(nodes[CHARGE]["id"], "/errors")
    messages = [change["response"]["error"]["message"] for change in declined]
    assert messages == ["the card of Ada was declined"] * DECLINES
    called = await api.activity(nodes[FULFILLMENT]["id"], "/errors")
    assert [change["response"]["error"]["message"] for change in called] == ["nobody answers the phone"] * 2


async def test_a_child_of_another_application_is_run_by_that(open_application):
    """`client`: an activity of another application's, which adds one of its own."""
    shop, warehouse = await open_application(), await open_application()

    async def make_purchase(activity: Activity) -> None:
        await activity.register(SHIP, client=warehouse.client_id).with_("Camera 703")

    async def ship(activity: Activity, item: str) -> str:
        await activity.register(CUSTOMER).with_(item)
        return f"{item} is on its way"

    async def notify_customer(activity: Activity, item: str) -> None:
        return None

    shop.activity(MAKE, make_purchase)
    warehouse.activity(SHIP, ship)
    warehouse.activity(CUSTOMER, notify_customer)
    signal = await shop.workflow("Purchases", {"id": 703, "class": "Camera"}).signal(MAKE).with_()
    nodes = await settle(shop, signal["workflowId"], set())
    assert (shop.came(), warehouse.came()) == ([MAKE], [SHIP, CUSTOMER])
    assert {name: node["userId"] for name, node in nodes.items()} == {
        MAKE: shop.client_id, SHIP: warehouse.client_id, CUSTOMER: warehouse.client_id,
    }  # fmt: skip
    assert await warehouse.api.activity(nodes[SHIP]["id"], "/response") == rpc("Camera 703 is on its way")
