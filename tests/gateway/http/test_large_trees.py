"""Large trees: few are read at a time, and a turn is given back, also by a caller who hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backbeat.gateway import engine_calls
from backbeat.gateway.api import records, waits
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.pages import LARGE_MIN
from backbeat.gateway.http.parameters import Parameters
from backbeat.payload.values import id_text
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.replies import Nodes


def make_call(**services: Any) -> Call:
    return Call(
        services=cast("Any", SimpleNamespace(**services)),
        route=cast("Any", None),
        path={"id": id_text(ids.workflow_id(b"u" * 16, "Sale", b"1"))},
        client=None,
        parameters=Parameters(),
        tid="tid",
        key=None,
        headers={},
        query="",
        body=b"",
    )


def streamed(call: Call, turns: asyncio.Semaphore) -> AsyncIterator[bytes]:
    async def pages() -> AsyncIterator[records.Page]:
        for is_end in (False, True):
            await asyncio.wait_for(call.take_turn(turns), 60)
            yield [Nodes(()), Nodes(())], is_end

    return records._stream(call, [Nodes(())], pages())


async def test_each_page_gives_back_the_turn_that_it_has_taken():
    call, turns = make_call(), asyncio.Semaphore(1)
    stream = streamed(call, turns)
    await anext(stream)
    # The handler has returned.
    call.end()
    assert [turns.locked() async for _ in stream] == [True, True]
    assert not turns.locked()


async def test_a_caller_who_hangs_up_keeps_no_turn():
    call, turns = make_call(), asyncio.Semaphore(1)
    stream = cast("Any", streamed(call, turns))
    await anext(stream)
    await anext(stream)
    assert turns.locked()
    await stream.aclose()
    assert not turns.locked()


async def test_an_outcome_of_a_large_workflow_waits_for_its_turn(monkeypatch):
    async def get_tree(*_: Any, **__: Any) -> tuple[None, list[None]]:
        return None, [None] * LARGE_MIN

    monkeypatch.setattr(engine_calls, "get_tree", get_tree)
    settings = SimpleNamespace(answer_seconds=0.01)
    call = make_call(large_answers=asyncio.Semaphore(0), settings=settings)
    call.route = cast("Any", SimpleNamespace(path="/workflows/{id}/outcome"))
    with pytest.raises(Refusal, match="Too many large trees") as refused:
        await waits.outcome(call)
    assert refused.value.status == 503
