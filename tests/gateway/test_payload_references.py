"""References to payloads: what a client has made up is no payload, and a read that takes long holds up nobody else."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from backbeat.errors import CodecError
from backbeat.gateway.payloads import PAYLOAD_BYTES_MAX, Payloads, _Reference, is_reference, size_of

GENUINE = {"$backbeat": "kept", "sha256": "0" * 64, "bytes": 600_000, "partition": 0, "offsets": [17]}


def reference(**changes: Any) -> bytes:
    return json.dumps(GENUINE | changes, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"partition": 99_999_999_999},
        {"partition": -1},
        {"offsets": [2**63]},
        {"offsets": [-1]},
        {"offsets": list(range(1_000))},
        {"bytes": -1},
        {"bytes": 0},
        {"bytes": PAYLOAD_BYTES_MAX + 1},
        {"sha256": "x"},
        {"offsets": "17"},
    ],
    ids=str,
)
async def test_a_reference_that_no_gateway_has_written_is_no_payload(changes):
    text = reference(**changes)
    assert is_reference(text)
    with pytest.raises(CodecError, match="damaged"):
        await Payloads("127.0.0.1:1").load(text)
    assert size_of(text) == len(text)


async def test_who_reads_holds_up_nobody_who_has_read(monkeypatch):
    payloads = Payloads("127.0.0.1:1")
    began, may_end = threading.Event(), threading.Event()

    def read(reference: _Reference) -> bytes:
        with payloads._reading:
            began.set()
            assert may_end.wait(60)
        raise CodecError("it is lost")

    monkeypatch.setattr(payloads, "_read", read)
    reading = asyncio.create_task(payloads.load(reference()))
    assert await asyncio.to_thread(began.wait, 60)
    payloads._cache_payload("1" * 64, b"read by another")
    assert await payloads.load(reference(sha256="1" * 64)) == b"read by another"
    may_end.set()
    with pytest.raises(CodecError):
        await reading
