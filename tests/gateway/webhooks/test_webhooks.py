"""What a client served by webhook receives, and what becomes of what it refuses."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from backbeat.gateway.webhooks import topics
from backbeat.gateway.webhooks.networks import EndpointNetworks
from backbeat.payload.values import id_text
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.kafka.registration import _write
from tests.gateway.webhooks.site import Gate, status, statuses
from tests.waiting import until_async

pytestmark = pytest.mark.integration


def is_server(*accepted: ServerStatus):
    return lambda node: isinstance(node, NodeView) and node.server in accepted


async def test_a_decision_and_its_activity(shop):
    await shop.deliver()
    signal = shop.signal("decide", client_data=b'{"z": 1, "a": {"kEy": []}}', metadata=b'{"m_n":"\xc3\xa4"}')

    (decision,) = await shop.site.wait_for(path="/decision")
    assert decision.body == {"decision": decision.node}
    node = await shop.node(signal)
    assert decision.node == {
        "id": id_text(signal),
        "mode": "blocking",
        "name": "decide",
        "workflowId": id_text(node.workflow_id),
        "parentId": None,
        "userId": shop.client.id,
        "clientData": {"z": 1, "a": {"kEy": []}},
        "metadata": {"m_n": "ä"},
        "subject": msgspec.json.decode(node.subject),
        "decider": "D",
        "workflowName": "Purchases",
        "currentServerStatus": "sent_to_client",
        "currentClientStatus": "received",
        "createdAt": decision.node["createdAt"],
    }
    assert decision.headers["Content-Type"] == "application/json"
    assert decision.headers["X-Backbeat-Delivery"] == f"{id_text(signal)}-1"
    # The tests' tid has the subject's quotes, which are printable.
    assert decision.headers["X-backbeat-tid"] == node.tid

    await shop.complete(signal, "act")
    (activity,) = await shop.site.wait_for(path="/activity")
    assert (list(activity.body), activity.node["name"], activity.node["parentId"]) == (
        ["activity"],
        "act",
        id_text(signal),
    )
    assert len(shop.site.hooks) == 2
    assert activity.headers["Connection"] == "close"
    assert activity.peer != decision.peer, "the connection was kept"


async def test_connections_are_kept_where_the_client_wants_that(shop):
    await shop.change(connections="pooled")
    await shop.deliver()
    signal = shop.signal("decide")
    (decision,) = await shop.site.wait_for(path="/decision")
    await shop.complete(signal, "act")
    (activity,) = await shop.site.wait_for(path="/activity")

    assert activity.peer == decision.peer
    assert "close" not in activity.headers.get("Connection", "")


async def test_without_a_decision_endpoint_a_decision_is_an_activity(shop):
    await shop.change(decision_endpoint=None)
    await shop.deliver()
    shop.signal("decide")

    (hook,) = await shop.site.wait_for()
    assert (hook.path, list(hook.body)) == ("/activity", ["activity"])


async def test_a_redirect_is_no_success_and_is_not_followed(shop):
    shop.site.answers["/decision"] = status(307, Location=shop.site.url("elsewhere"))
    await shop.deliver()
    signal = shop.signal(retries=0)

    await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    assert await shop.errors(signal) == ["HTTP request for decision failed"]
    assert shop.site.of("/elsewhere") == []


async def test_what_is_refused_is_a_client_error_and_the_last_one_is_told(shop):
    shop.site.answers["/decision"] = statuses(500)
    shop.site.answers["/activity"] = status(404)
    await shop.deliver()
    signal = shop.signal(retry_interval_seconds=0)

    first, second = await shop.site.wait_for(2, "/decision")
    assert (first.headers["X-Backbeat-Delivery"], second.headers["X-Backbeat-Delivery"]) == (
        f"{id_text(signal)}-1",
        f"{id_text(signal)}-2",
    )
    await shop.complete(signal, "act", retries=1, retry_interval_seconds=0)
    (notice,) = await shop.site.wait_for(path="/notification")
    assert len(shop.site.of("/activity")) == 2
    assert notice.body == {
        "activity": notice.node,
        "notification": {"name": "act", "message": "Client Error"},
        "error": {"message": "HTTP request for activity failed"},
    }
    assert (notice.node["currentServerStatus"], notice.node["currentClientStatus"]) == ("retries_exhausted", "errored")
    assert notice.headers["X-Backbeat-Delivery"] == f"{notice.node['id']}-2-notification"
    assert await shop.errors(signal) == ["HTTP request for decision failed"]


async def test_a_refused_notification_is_posted_again(shop):
    shop.site.answers["/decision"] = status(500)
    shop.site.answers["/notification"] = statuses(503)
    await shop.deliver()
    shop.signal(retries=0)

    first, second = await shop.site.wait_for(2, "/notification")
    assert first.headers["X-Backbeat-Delivery"] == second.headers["X-Backbeat-Delivery"]


async def test_nobody_listens(shop):
    url = shop.client.decision_endpoint
    await shop.site.stop()
    deliverer = await shop.deliver()
    signal = shop.signal(retries=0)

    sent = await shop.until(signal, is_server(ServerStatus.SENT_TO_CLIENT))
    exhausted = await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    assert await shop.errors(signal) == [f"Could not POST {url}, error: Connection refused"]
    assert sent.attempt == exhausted.attempt == 1
    assert deliverer.counts().failed == 1


async def test_an_endpoint_that_comes_back_gets_what_waited(shop):
    port = shop.site.port
    await shop.site.stop()
    deliverer = await shop.deliver(connection_error_wait_seconds=30.0)
    first, *_ = [shop.signal(f"s{number}") for number in range(50)]
    url = shop.client.decision_endpoint
    await until_async(lambda: url in deliverer.counts().unreachable)
    assert deliverer.counts().unreachable[url] == "Connection refused"

    await shop.site.start(port)
    hooks = await shop.site.wait_for(50)
    assert {hook.name for hook in hooks} == {f"s{number}" for number in range(50)}
    assert {hook.headers["X-Backbeat-Delivery"][-2:] for hook in hooks} == {"-1"}
    # The site has each request before it has answered it.
    await until_async(lambda: url not in deliverer.counts().unreachable)
    assert await shop.errors(first) == []


async def test_what_cannot_be_made_into_a_webhook_fails_alone(shop, monkeypatch):
    async def load(text: bytes) -> bytes:
        if b"odd" in text:
            raise OverflowError("a number is too large")
        return text

    monkeypatch.setattr(shop, "whole", load)
    await shop.deliver()
    odd = shop.signal("odd", client_data=b'{"params":["odd"]}', retries=0)
    shop.signal("other")
    (hook,) = await shop.site.wait_for(1, "/decision")
    assert hook.name == "other"
    await shop.until(odd, is_server(ServerStatus.RETRIES_EXHAUSTED))
    url = shop.client.decision_endpoint
    assert await shop.errors(odd) == [f"Could not POST {url}, error: a number is too large"]
    assert shop.failures == []


async def test_a_url_that_is_none_fails_alone(shop):
    odd = msgspec.structs.replace(
        await asyncio.to_thread(shop.add, f"{shop.name}-odd", activity_endpoint=shop.site.url("odd")),
        activity_endpoint="http://shop..example/a",
    )
    # Other tools may write to the registry, too.
    _write(shop.registry, {odd.id_bytes: odd})
    await shop.deliver(connection_error_wait_seconds=0.3)
    signal = shop.signal(runner=odd, retries=0)
    shop.signal("good")

    await shop.site.wait_for(name="good")
    await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    (error,) = await shop.errors(signal)
    assert error.startswith("Could not POST http://shop..example/a, error: ")


async def test_an_endpoint_outside_of_the_networks_gets_nothing(shop):
    await shop.deliver(networks=EndpointNetworks.of("public"))
    signal = shop.signal(retries=0)

    await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    reason = "127.0.0.1 is outside of the networks that endpoints may be in (--endpoint-networks public)"
    assert await shop.errors(signal) == [f"Could not POST {shop.client.decision_endpoint}, error: {reason}"]
    assert shop.site.hooks == []


async def test_no_answer_in_time(shop):
    gate = Gate()
    shop.site.answers["/decision"] = gate
    await shop.deliver(endpoint_timeout_seconds=0.3, connection_error_wait_seconds=0.5)
    signal = shop.signal(retries=0)

    await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    url = shop.client.decision_endpoint
    assert await shop.errors(signal) == [f"Could not POST {url}, error: no answer in time"]
    assert [hook.headers["X-Backbeat-Delivery"] for hook in shop.site.of("/decision")] == [f"{id_text(signal)}-1"]
    gate.open.set()


async def test_a_slow_endpoint_delays_nobody_else(shop):
    gate = Gate()
    shop.site.answers["/slow"] = gate
    slow = await asyncio.to_thread(shop.add, f"{shop.name}-slow", activity_endpoint=shop.site.url("slow"))
    await shop.deliver(concurrency_per_endpoint=4)
    for number in range(30):
        shop.signal(f"slow{number}", runner=slow)
    await shop.site.wait_for(4, "/slow")
    for number in range(30):
        shop.signal(f"quick{number}")
    await shop.site.wait_for(30, "/decision")

    assert len(shop.site.of("/slow")) == 4
    gate.open.set()
    await shop.site.wait_for(30, "/slow")


async def test_a_client_added_later_and_one_whose_name_is_no_topic_name(shop):
    await shop.deliver()
    shop.signal("before")
    await shop.site.wait_for(name="before")

    late = await asyncio.to_thread(shop.add, f"{shop.name} & söhne", activity_endpoint=shop.site.url("late"))
    shop.signal("after", runner=late)
    await shop.site.wait_for(path="/late")


async def test_an_endpoint_that_changes_while_webhooks_wait_for_it(shop):
    await shop.site.stop()
    await shop.deliver(connection_error_wait_seconds=60.0)
    shop.signal("moved")
    await shop.until(shop.signal("also moved"), is_server(ServerStatus.SENT_TO_CLIENT))
    await shop.site.start()
    await shop.change(decision_endpoint=shop.site.url("new"))

    hooks = await shop.site.wait_for(2)
    assert {(hook.path, hook.name) for hook in hooks} == {("/new", "moved"), ("/new", "also moved")}


async def test_a_client_that_was_removed(shop):
    from backbeat.streams.kafka.registration import remove_client

    await shop.deliver()
    shop.signal("before")
    await shop.site.wait_for(name="before")
    await asyncio.to_thread(remove_client, shop.registry, shop.client)
    signal = shop.signal("after", retries=0)

    await shop.until(signal, is_server(ServerStatus.RETRIES_EXHAUSTED))
    assert await shop.errors(signal) == [f"No client has the id {shop.client.id_bytes.hex()}"]
    assert len(shop.site.hooks) == 1


async def test_no_more_than_the_bound_at_a_time(shop):
    gate = Gate()
    shop.site.answers["/decision"] = gate
    await shop.deliver(concurrency_per_endpoint=3)
    for number in range(20):
        shop.signal(f"s{number}")
    await shop.site.wait_for(3)
    gate.open.set()
    await shop.site.wait_for(20)

    assert shop.site.at_once_max == 3


async def test_what_is_too_much_for_the_memory_waits_in_kafka(shop, monkeypatch):
    monkeypatch.setattr(topics, "_COUNT_MAX", 20)
    gate = Gate()
    shop.site.answers["/decision"] = gate
    other = await asyncio.to_thread(shop.add, f"{shop.name}-other", activity_endpoint=shop.site.url("other"))
    deliverer = await shop.deliver(concurrency_per_endpoint=2)
    shop.signal("first")
    await shop.site.wait_for(1)
    for number in range(100):
        shop.signal(f"s{number}")
        # One by one: what comes in one batch is taken whole.
        if number == 30:
            await until_async(lambda: deliverer.counts().waiting >= 18)
    for number in range(100):
        shop.signal(f"other{number}", runner=other)
    await shop.site.wait_for(100, "/other")
    buffer = deliverer._consumer._buffers[shop.client.topic]
    assert buffer.paused
    assert deliverer.counts().waiting < 101

    gate.open.set()
    hooks = await shop.site.wait_for(101, "/decision")
    assert len({hook.name for hook in hooks}) == 101
    await until_async(lambda: not buffer.paused)


async def test_a_tid_that_is_no_header(shop):
    await shop.deliver()
    sent = shop.caller.signal(b'"odd"', "odd")
    shop.caller.send(msgspec.structs.replace(sent, tid="ä\r\nX-Bad: 1"))

    (hook,) = await shop.site.wait_for(name="odd")
    assert hook.headers["X-backbeat-tid"] == "%C3%A4%0D%0AX-Bad%3A%201"
    assert "X-Bad" not in hook.headers
