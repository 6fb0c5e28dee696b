"""An order: goods are reserved, the customer is charged, the parcel leaves; or all of it is taken back.

    backbeat dev                         # Kafka and an engine, in one terminal
    python -m backbeat.examples.order    # one order, in another

A saga. Its test draws faults from seeds: none leaves a customer charged without goods or refund (test_examples.py).
"""

import asyncio
import sys

from backbeat import Client, Worker, activity, current


class Book:
    """Books of a warehouse or bank: an entry for each key, which is made once, and never again once taken back."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self._taken_back: set[str] = set()

    def enter(self, key: str, text: str) -> None:
        """Make the entry, unless it is there."""
        if key in self._taken_back:
            raise LookupError(f"{text}: it was taken back")
        self.entries[key] = text

    def take_back(self, key: str) -> bool:
        """Take the entry back, for good; false: there was none."""
        self._taken_back.add(key)
        return self.entries.pop(key, None) is not None


reservations, charges, parcels = Book(), Book(), Book()


@activity("Release", retries=30, backoff=10)
def release(reservation: str) -> None:
    """Undo a reservation. It may run twice, as every activity."""
    reservations.take_back(reservation)


@activity("Keep In Stock", retries=30, backoff=10)
def keep_in_stock() -> None:
    """A reservation has failed, as far as anybody knows: the node that failed, this one's parent, has its key."""
    reservations.take_back(current().parent_id or "")
    current().give_up()


@activity("Reserve", retries=2, backoff=5, timeout=60, on_failure=keep_in_stock, undo=release)
def reserve(sku: str) -> str:
    """Reserve one of it. The node's id is the key: tried again, or run twice, it is one reservation."""
    reservations.enter(current().id, sku)
    return current().id


@activity("Refund", retries=30, backoff=10)
def refund(charge: str) -> None:
    """Undo a charge."""
    charges.take_back(charge)


@activity("Do Not Charge", retries=30, backoff=10)
def do_not_charge() -> None:
    """A charge has failed, and the bank may have booked it all the same: it is taken back, and the order given up."""
    charges.take_back(current().parent_id or "")
    current().give_up()


@activity("Charge", retries=2, backoff=5, timeout=60, on_failure=do_not_charge, undo=refund)
def charge(customer: str, cents: int) -> str:
    """Charge the customer once."""
    charges.enter(current().id, f"{customer} {cents}")
    return current().id


@activity("Look For Parcel", retries=30, backoff=10)
def look_for_parcel() -> str:
    """Shipping has failed: either the parcel has left after all, or it never does, and the order is given up."""
    key = current().parent_id or ""
    if key not in parcels.entries:
        parcels.take_back(key)
        current().give_up()
    return key


@activity("Ship", retries=2, backoff=5, timeout=60, on_failure=look_for_parcel)
def ship(customer: str) -> str:
    """Hand the parcel over."""
    parcels.enter(current().id, customer)
    return current().id


@activity("Order", retries=30, backoff=10)
def order(customer: str, skus: list[str], cents: int) -> None:
    """Three kinds of steps, one after the other: what a later one gives up, the earlier ones undo."""
    for sku in skus:
        current().add(reserve, sku)
    current().add(charge, customer, cents)
    current().returns(current().add(ship, customer).result)


ACTIVITIES = (order, reserve, release, keep_in_stock, charge, refund, do_not_charge, ship, look_for_parcel)


async def main(bootstrap_servers: str = "127.0.0.1:9092", customer: str = "Ada") -> None:
    """Run a worker, order once, and show what was done."""
    worker = Worker(bootstrap_servers, activities=ACTIVITIES)
    running = asyncio.create_task(worker.run())
    async with Client(bootstrap_servers) as client:
        node = await client.signal("Orders", customer, order, customer, ["camera", "lens"], 70_300)
        await node.result(timeout=60)  # NodeFailed: a step was given up
        print(await client.tree(node.workflow_id))
    worker.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
