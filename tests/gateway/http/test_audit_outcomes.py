"""The audit of a call that was answered, and of which not all was done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from aiohttp.web import Response

from backbeat.gateway.api.operations import letters
from backbeat.gateway.http.access.person import carry_out
from backbeat.gateway.http.call import Call
from backbeat.gateway.http.parameters import Parameters
from backbeat.gateway.letters.resolve import Outcome
from backbeat.gateway.letters.topic import DeadLetter, Position
from backbeat.gateway.people.audit import Entry
from backbeat.gateway.people.visitor import DEVELOPER


async def test_letters_that_still_wait_are_not_done(monkeypatch):
    entries: list[Entry] = []
    dead = [DeadLetter(position=Position(0, number), at=0, key=None, value=b"", headers=[]) for number in range(3)]

    async def write(entry: Entry) -> None:
        entries.append(entry)

    async def find(*_: Any) -> list[DeadLetter]:
        return dead

    async def settle(_: Any, given: list[DeadLetter], __: str) -> list[Outcome]:
        sent, *refused = given
        errors = (Outcome(letter=letter, error="its topic is gone") for letter in refused)
        return [Outcome(letter=sent, went_to="0@1"), *errors]

    async def handler(call: Call) -> Response:
        return await letters._settle(call, settle)

    monkeypatch.setattr(letters, "_letters", find)
    call = Call(
        services=cast("Any", SimpleNamespace(audit=SimpleNamespace(write=write), letters=None)),
        route=cast("Any", SimpleNamespace(method="POST", path="/dead-letters/redrive", takes_record=False)),
        path={},
        client=None,
        parameters=Parameters.of_json(b'{"positions": ["0@0", "0@1", "0@2"]}'),
        tid="tid",
        key=None,
        headers={"X-backbeat-reason": "a test"},
        query="",
        body=b"",
        person=DEVELOPER,
    )
    await carry_out(call, "127.0.0.1", "a test", handler)
    assert [entry.outcome for entry in entries] == ["", "refused 2 of 3: its topic is gone"]
    assert {entry.command_id for entry in entries} == {call.command_id.hex()}
