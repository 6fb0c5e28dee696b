"""A camera is bought: money is reserved, the camera is marked as sold, then customer and fulfillment are told.

    backbeat dev                          # Kafka and an engine, in one terminal
    python -m backbeat.examples.camera    # one purchase, in another

Its test, on `backbeat.testing`: tests/sdk/testing/test_examples.py.
"""

import asyncio
import sys
from typing import Any

from backbeat import Client, Fail, Worker, activity, current

#: What a shop has in a database. Written by the id of the node, so that what runs twice is done once.
reserved: dict[str, tuple[str, int]] = {}
sold: dict[str, str] = {}
messages: list[str] = []


class SoldAlready(Fail):
    """Somebody else was quicker."""


@activity("Make Purchase", retries=0)
async def make_purchase(customer: str, price: int) -> dict[str, Any]:
    """Decide what is to be done, one after the other: children run once this has returned."""
    purchase = current()
    purchase.add(reserve_money, customer, price)
    purchase.add(mark_as_sold, customer)
    purchase.add(successful_purchase, customer)
    return {"camera": purchase.subject, "customer": customer}


@activity("Reserve money", retries=5, backoff=30)
def reserve_money(customer: str, price: int) -> int:
    """A plain function runs in a thread of the worker. The bank knows a repeat by the node's id."""
    reserved[current().id] = (customer, price)
    return price


@activity("Mark as sold")
def mark_as_sold(customer: str) -> None:
    """Sell it once: whoever comes later fails for good."""
    camera = current().subject
    if sold.setdefault(camera, customer) != customer:
        raise SoldAlready(f"{camera} belongs to {sold[camera]}")


@activity("Successful Purchase")
async def successful_purchase(customer: str) -> None:
    """Tell both at the same time."""
    current().spread(notify, [f"{customer}: it is yours", "fulfillment: send it"])


@activity("Notify", retries=10, backoff=60)
async def notify(message: str) -> None:
    """A mail that comes twice is better than none."""
    messages.append(message)


ACTIVITIES = (make_purchase, reserve_money, mark_as_sold, successful_purchase, notify)


async def main(bootstrap_servers: str = "127.0.0.1:9092", camera: str = "Camera 703") -> None:
    """Run a worker, buy one camera, and show what was done."""
    worker = Worker(bootstrap_servers, activities=ACTIVITIES)
    running = asyncio.create_task(worker.run())
    async with Client(bootstrap_servers) as client:
        node = await client.signal("Purchases", camera, make_purchase.name, args=["Ada", 499])
        print(await node.result(timeout=60))
        print(await client.tree(node.workflow_id))
    worker.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
