"""A subscription is paid every month until somebody cancels it: it waits for the world, and renews itself.

    backbeat dev                                # Kafka and an engine, in one terminal
    python -m backbeat.examples.subscription    # three months of two seconds, then the customer cancels

Its test, on `backbeat.testing`: tests/sdk/testing/test_examples.py.
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta

from backbeat import Client, Fail, Worker, activity, current

#: What a company has in a database. Written by the id of the node, so that what runs twice is done once.
charges: dict[str, tuple[str, str, int]] = {}
cards: dict[str, str] = {}
goodbyes: dict[str, str] = {}
#: Periods after which the customer of this example cancels.
SHOWN_PERIODS = 3


@dataclass
class Cancellation:
    """A customer's cancellation: the message `cancel`."""

    reason: str


@dataclass
class Plan:
    """A price, and how often it is paid."""

    price: int
    period_seconds: float = timedelta(days=30).total_seconds()


@activity("Subscription", retries=20, backoff=60)
async def subscription(plan: Plan) -> None:
    """One period: pay, then wait for its end or for a cancellation. One that came before it began is kept for it."""
    period = current()
    period.add(charge, plan.price)
    cancellation = period.wait_for("cancel", Cancellation, timeout=plan.period_seconds, default=None)
    period.add(renew_or_end, plan, cancellation.result)


@activity("Charge", retries=20, backoff=60)
def charge(price: int) -> str:
    """A plain function runs in a thread of the worker. The bank knows a repeat by the node's id."""
    customer = str(current().subject)
    if customer not in cards:
        raise RuntimeError(f"{customer} has no card yet")
    charges[current().id] = (customer, cards[customer], price)
    return cards[customer]


@activity("Renew or end", retries=20, backoff=60)
async def renew_or_end(plan: Plan, cancellation: Cancellation | None) -> None:
    """Begin the next period as a signal of its own: a workflow that goes on for years stays small."""
    if cancellation is None:
        current().continue_as(plan, name=subscription)
    else:
        current().add(say_goodbye, cancellation.reason)


@activity("Say goodbye", retries=20, backoff=60)
async def say_goodbye(reason: str) -> None:
    """A letter that comes twice is better than none."""
    goodbyes[str(current().subject)] = reason


@activity("Change card", retries=20, backoff=60)
async def change_card(card: str) -> None:
    """A signal that does not wait until the period is over: it is sent beside the others."""
    if not card.isdigit():
        raise Fail(f"{card!r} is no card")
    cards[str(current().subject)] = card


ACTIVITIES = (subscription, charge, renew_or_end, say_goodbye, change_card)


async def main(bootstrap_servers: str) -> None:
    """One customer, who pays for three periods and changes the card in between."""
    worker = Worker(bootstrap_servers, activities=ACTIVITIES)
    running = asyncio.create_task(worker.run())
    async with Client(bootstrap_servers) as client:
        cards["Ada"] = "4000"
        begun = await client.signal("Subscriptions", "Ada", subscription, Plan(12, period_seconds=2))
        paid_periods = 0
        async for change in client.follow(begun.workflow_id, after="0"):
            print(change)
            if (change.name, change.status) == ("Charge", "complete"):
                paid_periods += 1
                if paid_periods == 1:
                    await client.signal("Subscriptions", "Ada", change_card.with_options(beside=True), "5000")
                elif paid_periods == SHOWN_PERIODS:
                    await client.send("Subscriptions", "Ada", "cancel", Cancellation("too dear"))
            if (change.name, change.status) == ("Say goodbye", "complete"):
                break
        print(f"paid {len(charges)} times; the end: {goodbyes}")
    worker.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]) if sys.argv[1:] else main("127.0.0.1:9092"))
