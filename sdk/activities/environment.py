"""The environment of a running activity: defaults, client applications and the engine, by a worker or in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from backbeat.activities.retry import Retry
from backbeat.payload.payload_codec import PayloadCodec
from backbeat.payload.values import ModeWord
from backbeat.transport.base import Transport

if TYPE_CHECKING:
    from backbeat.activities.definition import Followed
    from backbeat.client.client import Client

T = TypeVar("T")


class Defaults(Protocol):
    """Defaults for children of a name, from the activity that a worker registered."""

    @property
    def name(self) -> str:
        """The activity's name."""

    @property
    def mode(self) -> ModeWord:
        """Mode of the children."""

    @property
    def retry(self) -> Retry:
        """Rule for their retries."""

    @property
    def timeout(self) -> float | timedelta | None:
        """Time that their worker has to answer, in seconds; None: the engine's default."""

    @property
    def on_failure(self) -> Followed | None:
        """Activity that handles its failure."""

    @property
    def undo(self) -> Followed | None:
        """Activity that undoes it."""

    @property
    def on_cancel(self) -> Followed | None:
        """Activity that runs when it is canceled."""


class NodeEnvironment(Protocol):
    """The worker that runs an activity, as the maker of nodes knows it."""

    def defaults(self, activity: str | Callable[..., Any]) -> Defaults | None:
        """Declaration that was registered for the activity; None: somebody else runs it."""

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own."""

    def now(self) -> float:
        """Time, in seconds since the epoch."""

    def pack(self, label: str, value: Any) -> Any:
        """A JSON value for a node's arguments; `label` names it in errors."""


class EngineEnvironment(Protocol):
    """Kafka and its registry as a `Runner` knows them, or their stand-ins in memory."""

    #: Time between two tellings of an activity's progress.
    progress_seconds: float
    #: True where `ask` has the answer once it returns: in memory, where plain handlers run in the event loop, too.
    answers_at_once: bool

    def user_id(self, client: str | None) -> bytes:
        """The id of a client application; None: the worker's own. NotFound: there is none of this name."""

    def now(self) -> float:
        """Time, in seconds since the epoch: "in two hours" counts from here. A test may move it."""

    def ask(self, question: Callable[[Transport], Awaitable[T]]) -> Future[T]:
        """Have a question asked in the event loop, with a transport that is connected. From any thread."""

    def client(self, packing: PayloadCodec) -> Client:
        """A client of the worker's own application, over the worker's connection."""


class ActivityEnvironment(NodeEnvironment, Protocol):
    """The worker that runs an activity, as the activity knows it."""

    #: What the worker's lifespan yields; None: it has none.
    state: Any

    @property
    def progress_seconds(self) -> float:
        """Time between two tellings of an activity's progress."""

    @property
    def answers_at_once(self) -> bool:
        """True where `ask` has the answer once it returns."""

    @property
    def client(self) -> Client:
        """A client of the worker's own application."""

    def ask(self, question: Callable[[Transport], Awaitable[T]]) -> Future[T]:
        """Have a question asked in the event loop, with a transport that is connected. From any thread."""
