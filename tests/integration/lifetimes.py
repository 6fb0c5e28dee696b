"""Clients that are used after a fork, in another loop, twice, and while the interpreter ends: a process of its own."""

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import Client, PlainClient, Unavailable

ADDRESS, NAME = sys.argv[1:]


def in_child(call: Callable[[], Any]) -> str:
    """How a call ends in a forked process: its value, or its error; an alarm ends one that hangs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            text = str(call())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as end:
        text = end.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}: it hung"
    return text


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())


def forks(client: PlainClient) -> None:
    for call in (
        lambda: client.signal("W", "child", "X"),
        lambda: client.publish("W", "child", "X"),
        client.flush,
        lambda: list(client.search_nodes()),
    ):
        assert in_child(call).startswith("Unavailable: this client was connected before a fork"), call
    assert in_child(client.stop) == "None"

    def connect_anew() -> str:
        client.start()
        return client.signal("W", "child", "X").status

    assert in_child(connect_anew) == "ready"
    child = os.fork()
    if child == 0:
        # All that it has of the parent's is freed, as when a server's process ends.
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    # The parent's goes on.
    assert client.signal("W", "parent", "X").status == "ready"


async def loops() -> None:
    client = Client(ADDRESS, NAME)
    async with client:
        before = threads()
        await client.start()
        assert threads() == before

        def use_elsewhere() -> None:
            for call in (lambda: client.signal("W", "s", "X"), client.flush, client.start):
                with pytest.raises(Unavailable, match="in another event loop"):
                    asyncio.run(call())

        await asyncio.to_thread(use_elsewhere)
        await client.signal("W", "s", "X")

        def use_in_child() -> None:
            asyncio._set_running_loop(None)
            asyncio.run(client.signal("W", "s", "X"))

        assert in_child(use_in_child).startswith("Unavailable: this client was connected before a fork")


def end(client: PlainClient) -> None:
    client.publish("W", "late", "X")
    client.flush()
    assert client.signal("W", "later", "X").status == "ready"
    client.stop()
    print("ended")


if __name__ == "__main__":
    plain = PlainClient(ADDRESS, NAME)
    plain.start()
    running = threads()
    plain.start()
    assert threads() == running
    forks(plain)
    asyncio.run(loops())
    atexit.register(end, plain)
