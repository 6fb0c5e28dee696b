"""The client of a worker's handlers (`current().client`): of the worker's own application, over its own connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from backbeat.activities.pending import Pending, in_a_loop
from backbeat.client.blocking.calls import Blocking
from backbeat.client.blocking.client import PlainClient
from backbeat.client.blocking.loop import Loop
from backbeat.client.client import Client
from backbeat.errors import BackbeatError
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.transport.base import Transport

T = TypeVar("T")

#: Time limit of each answer, in seconds, as a `Client` has it.
_TIMEOUT_SECONDS = 10.0
Ask = Callable[[Callable[[Transport], Awaitable[T]]], Future[T]]


def lent_client(name: str, user_id: bytes, transport: Transport, packing: PayloadCodec) -> Client:
    """A client that is connected as this client application; its `stop` leaves the transport alone."""
    client = Client(client=name, transport=transport, timeout=_TIMEOUT_SECONDS)
    session = client._session  # noqa: SLF001 - it is one of us
    session.packing = packing
    session.lend(user_id)
    return client


class LentPlainClient(PlainClient):
    """The same client for plain handlers: its calls run in the worker's event loop, and wait for their answers."""

    def __init__(self, client: Client, ask: Ask[Any], *, answers_at_once: bool) -> None:
        Blocking.__init__(self, client, _AskingLoop(ask, answers_at_once=answers_at_once))


class _AskingLoop(Loop):
    """The event loop of a worker, as `ask` reaches it."""

    def __init__(self, ask: Ask[Any], *, answers_at_once: bool) -> None:
        super().__init__()
        self._ask = ask
        self._answers_at_once = answers_at_once

    def start(self) -> bool:
        """Nothing: it runs."""
        return False

    def stop(self) -> None:
        """Nothing: it is the worker's."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The value of a coroutine. BackbeatError in an event loop, which would stand still: nothing was done."""
        if not self._answers_at_once and in_a_loop():
            coroutine.close()
            raise BackbeatError("this is an event loop: await a call of current().client instead")
        answer: Pending[T] = Pending(self._ask(lambda _: coroutine))
        return answer.result()
