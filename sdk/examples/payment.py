"""A merchant is paid: the vouchers that were sold, what that makes, and a transfer, which may take the bank hours.

    backbeat dev                           # Kafka and an engine, in one terminal
    python -m backbeat.examples.payment    # one payment, in another

Each step hands its result on by adding the next one. Its test: tests/sdk/testing/test_examples.py.
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any

from backbeat import Client, Fail, Worker, activity, current

#: What the shop has in a database, and what the bank has: a transfer is known by its key, and made once.
vouchers: dict[str, list[int]] = {"Merchant 1": [1_000, 2_550], "Merchant 2": [999]}
transfers: dict[str, tuple[str, int]] = {}
closed_accounts: set[str] = set()
#: Payments that a person has to look at.
to_do: list[str] = []


@activity("Make Payment")
async def make_payment() -> None:
    """One merchant is one workflow: a second payment waits for the first."""
    current().add(get_sold_vouchers)


@activity("Get Sold Vouchers", retries=3, backoff=10)
def get_sold_vouchers() -> list[int]:
    """Look in the shop's database."""
    codes = vouchers.get(current().subject, [])
    current().add(calculate_payment, codes)
    return codes


@activity("Calculate Payment")
async def calculate_payment(cents: list[int]) -> int:
    """Keep a tenth, and pay the rest."""
    amount = sum(cents) * 9 // 10
    current().add(send_to_bank, amount)
    return amount


async def tell_accounting(failed: Any, error: dict[str, Any]) -> None:
    """The retries of a transfer are exhausted."""
    to_do.append(f"{failed.subject}: {error['message']}")


@activity("Send to Bank", retries=8, backoff=timedelta(minutes=5), max_concurrent=3, rescue=tell_accounting)
def send_to_bank(cents: int) -> str:
    """Tried again, or run twice, it is one transfer: the node's id is its key. No account: trying again is no use."""
    transfer = current()
    if transfer.subject in closed_accounts:
        raise Fail(f"{transfer.subject} has no account")
    transfers[transfer.id] = (transfer.subject, cents)
    return f"transfer {transfer.id}"


ACTIVITIES = (make_payment, get_sold_vouchers, calculate_payment, send_to_bank)


async def main(bootstrap_servers: str = "127.0.0.1:9092", merchant: str = "Merchant 1") -> None:
    """Run a worker, pay one merchant, and show what was done."""
    worker = Worker(bootstrap_servers, activities=ACTIVITIES)
    running = asyncio.create_task(worker.run())
    async with Client(bootstrap_servers) as client:
        node = await client.signal("Payments", merchant, make_payment.name)
        await node.result(timeout=60)
        print(await client.tree(node.workflow_id))
    worker.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
