"""Transport of commands and queries from a client to an engine: the common interface.

Over Kafka (`kafka`), over a gateway's HTTP API (`http`), or to a core in the same process (`backbeat.testing`).
A `Client` makes the same calls on all of them, and gets the same answers and errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from backbeat.errors import InvalidParameters, rejected
from backbeat.schemas.errors import EncodeError
from backbeat.schemas.messages.commands import AnyCommand, Signal
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.values import ReplyTo

if TYPE_CHECKING:
    from backbeat.delivery.changes import Change

T = TypeVar("T")

#: Return address of a query until the transport has put its own there.
NOBODY = ReplyTo(0, bytes(16), 0)


def written(encode: Callable[[T], bytes], value: T) -> bytes:
    """Bytes of a command or query. InvalidParameters: a value that does not fit the schema."""
    try:
        return encode(value)
    except EncodeError as error:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, str(error), "another kind of value", "one that fits"
        ) from error


def checked(answers: list[Any]) -> list[Any]:
    """The parts of an answer. A Rejected of the reason's kind where the engine refuses."""
    # The last part may be a rejection: the workflow or node was removed while it was read.
    if isinstance(answers[-1], Rejection):
        raise rejected(answers[-1])
    return answers


async def every_answer(requests: Iterable[Awaitable[T]]) -> list[T]:
    """The answers of all requests; the first error, once all have answered or failed: none is left half asked."""
    answers = await asyncio.gather(*requests, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


async def to_every_partition(partitions: Iterable[int], send: Callable[[bytes], Awaitable[T]]) -> T:
    """The answer to a command that every partition gets, once all have applied it. `send` takes the record's route."""
    answers = await every_answer(send(partition.to_bytes(4, "big")) for partition in partitions)
    return answers[0]


class Transport(Protocol):
    """The way to an engine. Used from one event loop."""

    async def start(self) -> None:
        """Connect. Unavailable; NotFound: the caller's client application is unknown."""

    async def stop(self) -> None:
        """Send published signals, and disconnect. Pending requests get Unavailable."""

    def now(self) -> float:
        """Seconds since the epoch, from which relative times count. A test may move it."""

    @property
    def partitions(self) -> int:
        """Number of answers to a query that goes to every partition. Unavailable before the start."""

    def user_id(self, client: str) -> bytes:
        """The id of a client application, 16 bytes, by its name. NotFound; Unavailable before the start."""

    def users(self) -> Mapping[str, bytes]:
        """Ids of the known client applications by name."""

    async def refresh(self) -> None:
        """Reload the client applications, where they are not followed all the time."""

    async def command(self, command: AnyCommand, timeout: float, operation: str, *, key: str | None = None) -> Any:
        """Send a command and give the core's answer: WorkflowView, NodeView, Done or Made.

        `reply_to` is the transport's to set. `operation` names the call in errors, `timeout` is in seconds. `key` is
        the caller's idempotency key, from which the command's id was made; the command then has a body hash.
        A command without a route (ChangeSettings, ChangeRetention) goes to every partition, and is answered when all
        have applied it. A `Rejected` of the reason's kind where the core refuses; Timeout; Unavailable.
        """

    async def query(self, query: AnyQuery, timeout: float, operation: str) -> list[Any]:
        """Ask, and give all parts of the answer. `reply_to` is the transport's to set (`NOBODY` stands there).

        A `deadline` of 0 becomes the end of the timeout; a `partition` of ALL_PARTITIONS is asked of each, and the
        parts come in their order. Errors as of `command`.
        """

    def publish(self, command: Signal, *, key: str | None = None) -> bytes:
        """Send a signal without awaiting its answer. Returns the id of its node.

        BufferError: too many are under way; try again a little later.
        """

    def under_way(self) -> int:
        """Number of published signals that have not been acknowledged."""

    async def flush(self, timeout: float) -> None:
        """Wait until all published signals are acknowledged. Unavailable: one was refused. Timeout."""

    def follow(self, workflow_id: bytes, after: str | None) -> AsyncIterator[Change]:
        """The changes of a workflow as they come, from now on, or behind the place `after`. Names may be missing.

        Unavailable: some were missed, or it cannot be followed here.
        """

    async def search(self, call: str, filters: Mapping[str, Any], timeout: float) -> Any:
        """A page of a gateway's search (`workflows` or `activities`), as a list of WorkflowView or NodeView.

        `filters` are the API's own parameters. Unavailable, which says what to do, where there is no gateway.
        """
