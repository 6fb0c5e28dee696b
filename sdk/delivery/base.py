"""Delivery of activities to a worker: the two ways, and the interface that a worker needs of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol, TypeAlias

from backbeat.delivery.consumer import GroupConsumer
from backbeat.delivery.kafka import make_member
from backbeat.delivery.records import ConsumerState, Delivery, Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.errors import BackbeatError
from backbeat.schemas.kafka.topics import activities_topic

#: `group`: a consumer group; each partition is one worker's. `share`: a share group; every worker takes from all.
DeliveryWay: TypeAlias = Literal["group", "share"]

#: Activities that a worker of a consumer group holds beside those that it runs: enough that none waits for the next
#: fetch.
_AHEAD = 1_000


class ActivityConsumer(Protocol):
    """Source of activities, and the way of their answers."""

    async def start(self) -> None:
        """Connect, join the group, begin to take."""

    def send(self, answers: Sequence[tuple[bytes, bytes]], delivery: Delivery) -> None:
        """Send a delivery's answer: commands, each with its route, in order. It is settled once Kafka has them."""

    def settle(self, delivery: Delivery, *, answered: bool) -> None:
        """Settle a delivery that needs no answer, or that is given up: then another worker gets it."""

    def set_aside(self, delivery: Delivery) -> None:
        """Have a delivery take none of the room for others until it is settled."""

    def has_room(self, count: int) -> None:
        """Allow so many more to begin at once."""

    def drain(self) -> None:
        """Take nothing more."""

    def state(self) -> ConsumerState:
        """Counts and times for reports, from any thread."""

    def lag(self) -> Mapping[int, int | None]:
        """Partition -> records that are not done; None: not known. May block: not from the worker's loop."""

    async def stop(self) -> None:
        """Settle everything that is held and leave the group."""


#: Port of the way that activities come: makes the consumer of a worker, which connects when it is started.
MakeConsumer: TypeAlias = Callable[[Owner[Delivery]], ActivityConsumer]


def make_consumer(
    delivery: DeliveryWay,
    bootstrap_servers: str,
    client: str,
    owner: Owner[Delivery],
    *,
    concurrency: int,
    session_timeout_seconds: float,
) -> ActivityConsumer:
    """The consumer of a worker. BackbeatError: there is no such delivery, or what it needs is not installed."""
    if delivery == "group":
        return GroupConsumer(
            client,
            partial(make_member, bootstrap_servers, session_timeout_seconds),
            ResultProducer(bootstrap_servers),
            owner,
            held_max=concurrency + _AHEAD,
        )
    if delivery != "share":
        raise BackbeatError(f'delivery is {delivery!r}; it must be "group" or "share"')
    try:
        # It needs the extra `share`.
        from backbeat.delivery.share.consumer import ShareConsumer  # noqa: PLC0415
        from backbeat.delivery.share.group import ShareGroup  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BackbeatError(
            f"delivery=\"share\" needs the package {error.name}. What to do: pip install 'backbeat[share]'"
        ) from error
    # Activities that wait for a slot of their name are held while others could run them: no more than can run at once.
    return ShareConsumer(
        activities_topic(client),
        ShareGroup(bootstrap_servers, client),
        ResultProducer(bootstrap_servers),
        owner,
        held_max=2 * concurrency,
    )
