import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from backbeat.worker import os_signals

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[signal.Signals, Any]]:
    """What the program does on each signal before a worker runs in it; set back at the end."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    own: dict[signal.Signals, Any] = {signal.SIGTERM: lambda *_: None, signal.SIGINT: signal.SIG_IGN}
    for number, handler in own.items():
        signal.signal(number, handler)
    yield own
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_a_signal_does_what_it_did_before_once_nobody_listens(handlers: dict[signal.Signals, Any]) -> None:
    heard: list[str] = []
    any_heard = asyncio.Event()

    def hear(name: str) -> None:
        heard.append(name)
        any_heard.set()

    loop = asyncio.get_running_loop()
    ends = [os_signals.listen(loop, lambda name=name: hear(name)) for name in ("first", "second")]  # type: ignore[misc]  # a default of a lambda
    ends[0]()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(any_heard.wait(), 60)
    assert heard == ["second"]
    ends[1]()
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers


def test_outside_the_main_thread_nothing_is_heard() -> None:
    def listen() -> None:
        loop = asyncio.new_event_loop()
        os_signals.listen(loop, lambda: None)()
        loop.close()

    asyncio.run(asyncio.to_thread(listen))
