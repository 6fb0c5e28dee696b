"""A client over HTTP and gateways of other versions than its own: what they answer over a real socket."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastavro
import msgspec
import pytest
from aiohttp import web

from backbeat import Client, Timeout, Unavailable
from backbeat.errors import InvalidParameters, Unauthorized
from backbeat.schemas import bodies
from backbeat.schemas.catalogue import RECORDS, Record
from backbeat.schemas.errors import DecodeError, UnknownSchemaError
from backbeat.schemas.messages.replies import Done, History, Nodes, Position
from backbeat.schemas.wire import HEADER_BYTES, MARKER
from backbeat.transport.call_slots import CallSlots
from backbeat.transport.http import HttpTransport
from tests.sdk.conftest import USER, VIEW
from tests.waiting import until_async

USERS = [{"id": str(uuid.UUID(bytes=USER)), "name": "shop"}]
NODE_ID = VIEW.id.hex()


@asynccontextmanager
async def gateway(answers: dict[str, Any], partitions: str | None = "4") -> AsyncIterator[str]:
    """Answers each path with bytes, with JSON, or by a function; any other as a gateway without it does."""

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/users":
            return web.json_response(USERS, headers={} if partitions is None else {"X-backbeat-partitions": partitions})
        answer = answers.get(request.path)
        if answer is None:
            return web.json_response({"errorClass": "Backbeat::NotFound", "message": "Not Found"}, status=404)
        if callable(answer):
            return await answer(request)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type=bodies.MEDIA_TYPE)
        return web.json_response(answer)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_gateway_that_takes_no_records_is_older() -> None:
    async with gateway({}, partitions=None) as url, Client(url, "shop") as client:
        workflow_id = VIEW.workflow_id.hex()
        for call in (client.node(NODE_ID), client.pause(workflow_id), client.tree(workflow_id), client.wait(NODE_ID)):
            with pytest.raises(Unavailable, match="older than this client's"):
                await call
        with pytest.raises(Unavailable, match="does not say how many partitions"):
            await client.limits.list()


async def test_a_gateway_that_has_not_reached_kafka_has_no_partitions_yet() -> None:
    async with gateway({}, partitions="0") as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="has not reached Kafka yet"):
            await client.jobs.list()


def reply_of(schema: dict[str, Any], more: dict[str, Any]) -> bytes:
    """VIEW as a gateway says it that has this schema of NodeReply."""
    frame = bodies.write_replies([VIEW], "t")
    body = frame[bodies.LENGTH.size + HEADER_BYTES :]
    content = fastavro.schemaless_reader(io.BytesIO(body), RECORDS["NodeReply"].parsed, None)
    target = io.BytesIO()
    record = Record(schema)
    fastavro.schemaless_writer(target, record.parsed, {**content, **more})
    reply = MARKER + record.fingerprint + target.getvalue()
    return bodies.LENGTH.pack(len(reply)) + reply


def newer(name: str) -> dict[str, Any]:
    """The schema of a reply with one more field than ours."""
    schema: dict[str, Any] = json.loads(json.dumps(RECORDS[name].schema))
    schema["fields"].append({"name": "mood", "type": "string", "default": ""})
    return schema


async def test_a_newer_gateways_replies_are_read_by_its_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    # Also beside as many calls that wait as there may be.
    monkeypatch.setattr("backbeat.transport.http._WAITS_MAX", 0)
    schema = newer("NodeReply")
    fingerprint = Record(schema).fingerprint
    reply = reply_of(schema, {"mood": "bright"})
    with pytest.raises(UnknownSchemaError):
        bodies.read_reply(reply[bodies.LENGTH.size :])
    answers = {"/queries": reply, f"/schemas/{fingerprint.hex()}": schema}
    async with gateway(answers) as url, Client(url, "shop") as client:
        assert (await client.node(NODE_ID)).view == VIEW
        del answers[f"/schemas/{fingerprint.hex()}"]
        assert (await client.node(NODE_ID)).view == VIEW


@pytest.mark.parametrize("schema", [None, 7, {"type": "record", "name": "Mood", "fields": []}])
async def test_replies_that_cannot_be_read_ask_for_a_newer_client(schema: Any) -> None:
    unknown = MARKER + b"moodmood" + b"\0"
    answers = {"/queries": bodies.LENGTH.pack(len(unknown)) + unknown}
    if schema is not None:
        answers[f"/schemas/{b'moodmood'.hex()}"] = schema
    async with gateway(answers) as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="What to do: use a newer client"):
            await client.node(NODE_ID)


@pytest.mark.parametrize("cut", [1, 4, 100, -1])
async def test_an_answer_that_breaks_off_is_no_answer(cut: int) -> None:
    whole = bodies.write_replies([VIEW], "t")
    async with gateway({"/queries": whole[:cut]}) as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="broke off"):
            await client.node(NODE_ID)


async def test_an_answer_without_its_last_part_is_none() -> None:
    parts = bodies.write_replies([VIEW, History(())], "t", is_end=False)
    async with gateway({"/queries": parts}) as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="broke off after 2 parts"):
            await client.node(NODE_ID)


async def test_what_answers_something_else_is_no_gateway() -> None:
    async with gateway({"/queries": {"hello": 1}}) as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="no gateway of Backbeat: application/json"):
            await client.node(NODE_ID)


async def test_what_is_for_all_client_applications_is_asked_over_kafka() -> None:
    async with gateway({}) as url, Client(url, "shop") as client:
        with pytest.raises(InvalidParameters, match="a client of Kafka sends it"):
            await client.jobs.start("retry", all=True, all_clients=True)
        with pytest.raises(Unavailable, match="a client of Kafka asks it"):
            await client.jobs.list(all_clients=True)


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_replies_stand_one_behind_the_other() -> None:
    answers = [VIEW, Nodes((VIEW,)), Done(changed=False)]
    body = bodies.write_replies(answers[:1], "t", is_end=False)
    body += bodies.write_replies(answers[1:], "t", first_part=1)
    read = []
    while body:
        end = bodies.LENGTH.size + bodies.LENGTH.unpack_from(body)[0]
        read.append(bodies.read_reply(body[bodies.LENGTH.size : end]))
        body = body[end:]
    assert [(reply.part, reply.last, reply.tid, reply.answer) for reply in read] == [
        (0, False, "t", answers[0]),
        (1, False, "t", answers[1]),
        (2, True, "t", answers[2]),
    ]


def test_a_record_of_another_kind_is_not_read() -> None:
    reply = bodies.write_replies([Position(1, 2)], "")[bodies.LENGTH.size :]
    for reading in (bodies.read_command, bodies.read_query):
        with pytest.raises(DecodeError, match="a PositionReply where"):
            reading(reply)
    with pytest.raises(DecodeError, match="is no record of ours"):
        bodies.learn({"type": "record", "name": "Mood", "namespace": "backbeat", "fields": []})
    assert msgspec.json.encode(bodies.find_schema(RECORDS["NodeReply"].fingerprint))


@asynccontextmanager
async def busy_gateway(refusals: int, retry_after: str) -> AsyncIterator[tuple[str, list[float]]]:
    """A gateway that answers so many calls with 429 before it takes one; and the times of all calls."""
    calls: list[float] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/users":
            return web.json_response(USERS, headers={"X-backbeat-partitions": "4"})
        calls.append(asyncio.get_running_loop().time())
        if len(calls) > refusals:
            return web.json_response([])
        body = {"errorClass": "Backbeat::TooManyRequests", "message": "client 'shop' has 32 calls at work"}
        return web.json_response(body, status=429, headers={"Retry-After": retry_after})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", calls
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("retry_after", ["1", "", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_call_that_a_busy_gateway_refuses_is_sent_again_when_it_may(retry_after: str) -> None:
    async with busy_gateway(1, retry_after) as (url, calls), Client(url, "shop", timeout=60) as client:
        assert await client.workflow_names() == []
        first, second = calls
        assert second - first >= (1.0 if retry_after == "1" else 0.25)


async def test_a_gateway_that_stays_busy_is_unavailable_within_the_timeout() -> None:
    async with busy_gateway(10**6, "3600") as (url, calls), Client(url, "shop", timeout=5) as client:
        with pytest.raises(Unavailable, match="429: client 'shop' has 32 calls at work"):
            await client.workflow_names()
        # What is asked for is longer than the call may take: nothing is waited for in vain.
        assert len(calls) == 1


async def test_of_more_calls_than_there_is_room_for_the_newest_go_first() -> None:
    slots, order = CallSlots(1), []

    async def call(number: int) -> None:
        async with slots:
            order.append(number)

    await slots.__aenter__()
    calls = [asyncio.create_task(call(number)) for number in range(4)]
    await asyncio.sleep(0)
    calls[3].cancel()
    await asyncio.wait(calls[3:])
    await slots.__aexit__()
    await asyncio.gather(*calls[:3])
    assert order == [2, 1, 0]


async def test_a_call_that_found_no_slot_says_that_it_was_not_sent() -> None:
    may_answer, begun = asyncio.Event(), 0

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal begun
        if request.path != "/users":
            begun += 1
            await may_answer.wait()
        return web.json_response(USERS, headers={"X-backbeat-partitions": "4"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = HttpTransport(f"http://127.0.0.1:{runner.addresses[0][1]}", "shop")
    await transport.start()
    under_way = [asyncio.create_task(transport.search("names", {}, 60.0)) for _ in range(64)]
    await until_async(lambda: begun == len(under_way))
    with pytest.raises(Timeout, match=r"not sent within 0\.01 s"):
        await transport.search("names", {}, 0.01)
    may_answer.set()
    await asyncio.gather(*under_way)
    await transport.stop()
    await runner.cleanup()
    assert begun == len(under_way)


async def test_engines_that_no_gateway_can_be_asked_about_are_not_silent() -> None:
    async with gateway({}) as url, Client(url, "shop") as client:
        with pytest.raises(Unavailable, match="older than this client's"):
            await client.engines()


async def test_a_person_who_asks_for_all_names_no_client_application() -> None:
    asked = []

    async def changes(request: web.BaseRequest) -> web.Response:
        asked.append("Client-Id" in request.headers)
        return web.json_response({"errorClass": "Backbeat::Forbidden", "message": "say which"}, status=403)

    path = f"/workflows/{uuid.UUID(bytes=VIEW.workflow_id)}/changes"
    async with gateway({path: changes}) as url:
        for client in ("", "shop"):
            transport = HttpTransport(url, client, "token", "kim")
            await transport.start()
            with pytest.raises(Unauthorized, match="say which"):
                await anext(transport.follow(VIEW.workflow_id, None))
            await transport.stop()
    assert asked == [False, True]


async def test_a_change_without_an_answer_may_still_be_done() -> None:
    is_over = asyncio.Event()

    async def redrive(_: web.BaseRequest) -> web.Response:
        await is_over.wait()
        return web.json_response([])

    async with gateway({"/dead-letters/redrive": redrive}) as url, Client(url, "shop", timeout=0.2) as client:
        with pytest.raises(Timeout, match="It may still be done"):
            await client.dead_letters.redrive("0@1")
        is_over.set()
