"""Payloads of megabytes, as the original took them; errors that are cut; and what is refused leaves nothing between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import TopicPartition

from backbeat.delivery.kafka import make_consumer
from backbeat.gateway import payloads
from backbeat.gateway.http.error_text import ERROR_BYTES_MAX, cut_error
from backbeat.gateway.payloads import INLINE_BYTES_MAX, PAYLOAD_BYTES_MAX, is_reference, too_many
from backbeat.schemas.kafka.topics import PAYLOADS
from tests.gateway.api.door import User
from tests.gateway.webhooks.site import Site
from tests.waiting import until

MEGABYTES_3 = "ü" * (3 * 1024 * 1024 // 2)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    receiver = Site()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def posted_to(new_user, site) -> User:
    return await asyncio.to_thread(new_user, activity_endpoint=site.url("a"))


def big(size: int) -> str:
    return "x" * (size - len('{"params":[""]}'))


async def test_large_arguments_and_results_are_whole_everywhere(stack, posted_to, site):
    data = {"params": [MEGABYTES_3, {"kEy": 1.50}], "timeout": 5_000}
    node = await asyncio.to_thread(posted_to.signal, client_data=data)
    assert node["clientData"] == data
    (hook,) = await site.wait_for(1)
    assert hook.node["clientData"] == data

    def rest() -> None:
        # Another gateway has never seen it.
        other = posted_to.at(stack.http_urls[1])
        assert other.get(f"/activities/{node['id']}").json["clientData"] == data
        (listed,) = other.get(f"/workflows/{node['workflowId']}/nodes").json
        assert listed["clientData"] == data
        (searched,) = other.get("/activities/search?name=start").json
        assert searched["clientData"] == data

        assert posted_to.say(node["id"], "processing").status == 200
        result = {"result": MEGABYTES_3 + "!", "error": None}
        assert posted_to.say(node["id"], "completed", result).status == 200
        assert other.get(f"/activities/{node['id']}/response").json == result
        changes = other.get(f"/activities/{node['id']}/status_changes").json
        assert result in [change["response"] for change in changes if change["toStatus"] == "complete"]

    await asyncio.to_thread(rest)


async def test_the_most_that_is_taken_and_one_more(posted_to, site):
    most = {"params": [big(PAYLOAD_BYTES_MAX)]}
    node = await asyncio.to_thread(posted_to.signal, client_data=most)
    (hook,) = await site.wait_for(1)
    assert hook.node["clientData"] == most

    path = f"/workflows/{node['workflowId']}/signal"
    more = {"params": [big(PAYLOAD_BYTES_MAX + 1)]}
    answer = await asyncio.to_thread(posted_to.door.post, path, {"name": "start", "client_data": more})
    assert answer.status in (400, 413)
    assert "bytes" in answer.json["message"]


async def test_many_children_whose_arguments_are_too_much_for_one_record(posted_to, site):
    node = await asyncio.to_thread(posted_to.signal)
    await site.wait_for(1)
    children = [
        {"name": f"c{n}", "mode": "non_blocking", "client_data": {"n": n, "x": "y" * 60_000}} for n in range(100)
    ]
    made = await asyncio.to_thread(posted_to.decide, node["id"], *children)
    assert len(made) == 100
    await asyncio.to_thread(posted_to.say, node["id"], "completed")
    hooks = await site.wait_for(101)
    assert {hook.name: hook.node["clientData"] for hook in hooks[1:]} == {
        child["name"]: child["client_data"] for child in children
    }


def test_a_worker_reads_records_so_its_arguments_are_bounded_by_them(user):
    answer = user.door.post(
        f"/workflows/{user.workflow()['id']}/signal", {"name": "start", "client_data": {"params": [MEGABYTES_3]}}
    )
    assert answer.status in (400, 413)


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 20 * 1024 * 1024])
def test_an_error_is_never_too_large(user, size):
    node = user.sent(retry=0)
    assert user.say(node["id"], "processing").status == 200
    trace = [f"shop.rb:{line}:in `run'" for line in range(2_000)]
    response = {"result": None, "error": {"code": -32000, "message": "no " * (size // 3), "data": trace}}
    answer = user.say(node["id"], "errored", response)

    assert answer.status == 200, answer
    user.wait_for(node["id"], "retries_exhausted")
    (error,) = user.door.get(f"/activities/{node['id']}/errors").json
    message = error["response"]["error"]["message"]
    assert message.startswith("no no " if size < 12 * 1024 * 1024 else "The error was larger")


def test_an_error_is_never_too_deep(user):
    node = user.sent(retry=0)
    assert user.say(node["id"], "processing").status == 200
    deep: object = "bottom"
    for _ in range(150):
        deep = [deep]
    assert user.say(node["id"], "errored", {"error": {"message": "no", "data": deep}}).status == 200
    (error,) = user.door.get(f"/activities/{node['id']}/errors").json
    assert error["response"]["error"]["message"] == "no"
    assert "…" in json.dumps(error["response"], ensure_ascii=False)


def test_a_result_that_is_refused_can_be_followed_by_the_error(user):
    node = user.sent(retry=0)
    assert user.say(node["id"], "processing").status == 200
    assert user.say(node["id"], "completed", {"result": "x" * 13 * 1024 * 1024}).status == 413
    assert user.node(node["id"])["currentClientStatus"] == "processing"
    assert user.say(node["id"], "errored", {"error": {"message": "too large"}}).status == 200
    until(lambda: user.node(node["id"])["currentClientStatus"] == "errored", "it is errored")


def test_what_is_not_large_goes_as_it_is():
    assert too_many([b"x" * 200_000]) == []
    assert too_many([b"x" * 200_000] * 2) == []
    assert too_many([b"x", b"x" * 262_145]) == [1]
    assert len(too_many([b"x" * 100_000] * 10)) == 5
    assert not is_reference(b'{"params":[]}')
    assert not is_reference(None)


@pytest.mark.parametrize(
    "response",
    [
        {"error": "x" * 3_000_000},
        {"error": {"message": "ü" * 400_000, "data": ["line"] * 300_000}},
        {"error": {f"key{n}": n for n in range(100_000)}},
        ["x" * 100] * 50_000,
    ],
)
def test_an_error_is_cut_to_fit(response):
    text = cut_error(json.dumps(response).encode())
    assert len(text) <= ERROR_BYTES_MAX
    assert json.loads(text)


def test_an_error_that_fits_is_as_it_was():
    text = b'{ "error": {"message": "no"} }'
    assert cut_error(text) is text


async def test_payloads_that_lie_one_behind_the_other_are_read_one_after_the_other(stack, monkeypatch):
    """The library says for a while after unassign() where it read, and reads nothing there."""

    class Late:
        def __init__(self, consumer) -> None:
            self._consumer, self._next = consumer, TopicPartition(PAYLOADS, 0, -1)

        def __getattr__(self, name):
            return getattr(self._consumer, name)

        def poll(self, seconds):
            message = self._consumer.poll(seconds)
            if message is not None:
                self._next = TopicPartition(PAYLOADS, message.partition(), message.offset() + 1)
            return message

        def position(self, _):
            return [self._next]

    monkeypatch.setattr(payloads, "make_consumer", lambda *given: Late(make_consumer(*given)))
    writer, reader = payloads.Payloads(stack.bootstrap_servers), payloads.Payloads(stack.bootstrap_servers)
    texts = [f'"{number}{"x" * INLINE_BYTES_MAX}"'.encode() for number in range(3)]
    references = await writer.store(texts)
    assert [await reader.load(reference) for reference in references] == texts
    await writer.stop()
    await reader.stop()
