"""The demo's worker, a process of its own: what a shop would write with the SDK.

It notes its actions in a ledger, so that the demo can check afterwards that each thing was done once, in order, and
never more at a time than it may.
"""

import asyncio
import logging
import sys
from datetime import datetime
from pathlib import Path

from backbeat import Worker, current
from backbeat.compose.demo.ledger import Ledger

_BANK_SECONDS = 0.1


class CardDeclinedError(Exception):
    """The bank did not take the card this time."""


def add_purchases(worker: Worker, ledger: Ledger) -> None:
    """A purchase: reserve the money, mark the camera, then tell everybody."""
    charged: set[str] = set()

    @worker.activity("Make Purchase")
    async def make_purchase(customer: str, number: int = 0, declines: int = 0) -> dict[str, str]:
        activity = current()
        with ledger.run(activity, number):
            if activity.attempt <= declines:
                ledger.note("declined", activity, number)
                raise CardDeclinedError(f"the card of {customer} was declined")
            # An activity may come twice (it is delivered at least once): its node's id makes the charge happen once.
            if activity.id not in charged:
                charged.add(activity.id)
                ledger.note("charged", activity, number)
            ledger.note("purchased", activity, number)
            activity.add("Successful Purchase", customer, number)
            return {"reserved for": customer}

    @worker.activity("Successful Purchase")
    async def successful_purchase(customer: str, number: int) -> None:
        activity = current()
        with ledger.run(activity, number):
            activity.add("Notify Customer", customer, number)
            activity.add("Notify Fulfillment Center", number)

    @worker.activity("Notify Customer", mode="non_blocking")
    async def notify_customer(customer: str, number: int) -> str:
        with ledger.run(current(), number):
            return f"Dear {customer}, it is yours."

    @worker.activity("Notify Fulfillment Center", mode="non_blocking")
    async def notify_fulfillment_center(number: int) -> None:
        with ledger.run(current(), number):
            return


def add_sale(worker: Worker, ledger: Ledger) -> None:
    """A sale: a thousand orders are packed in parallel; the summary waits for all of them."""

    @worker.activity("Hold Sale")
    async def hold_sale(orders: int, seconds: float) -> None:
        activity = current()
        with ledger.run(activity):
            activity.add("Pack Orders", orders, seconds)
            activity.add("Send Summary", orders)

    @worker.activity("Pack Orders")
    async def pack_orders(orders: int, seconds: float) -> None:
        activity = current()
        with ledger.run(activity):
            for number in range(orders):
                activity.add("Pack Order", number, seconds)

    @worker.activity("Pack Order", mode="non_blocking")
    async def pack_order(number: int, seconds: float) -> None:
        with ledger.run(current(), number):
            if seconds:
                await asyncio.sleep(seconds)

    @worker.activity("Send Summary")
    async def send_summary(orders: int) -> str:
        with ledger.run(current()):
            return f"{orders} orders packed"


def add_payments(worker: Worker, ledger: Ledger) -> None:
    """Paying merchants: the sold vouchers, the amount, and a transfer at a given time, few at once."""
    vouchers: dict[str, list[int]] = {}
    payments: dict[str, int] = {}

    @worker.activity("Make Payment")
    async def make_payment(number: int, pay_at: str) -> None:
        activity = current()
        with ledger.run(activity, number):
            activity.add("Get Sold Vouchers", number)
            activity.add("Calculate Payment", number)
            activity.add("Send to Bank", number, at=datetime.fromisoformat(pay_at))

    @worker.activity("Get Sold Vouchers")
    async def get_sold_vouchers(number: int) -> list[int]:
        activity = current()
        with ledger.run(activity, number):
            vouchers[activity.subject] = [number, 20, 30]
            return vouchers[activity.subject]

    @worker.activity("Calculate Payment")
    async def calculate_payment(number: int) -> int:
        activity = current()
        with ledger.run(activity, number):
            payments[activity.subject] = sum(vouchers[activity.subject])
            return payments[activity.subject]

    @worker.activity("Send to Bank")
    async def send_to_bank(number: int) -> int:
        activity = current()
        with ledger.run(activity, number):
            await asyncio.sleep(_BANK_SECONDS)
            return payments[activity.subject]


def main() -> None:
    """Run the worker until it is stopped (SIGTERM): `demo_worker BOOTSTRAP_SERVERS LEDGER`."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    bootstrap_servers, path = sys.argv[1:]
    worker = Worker(bootstrap_servers)
    ledger = Ledger(Path(path))
    add_purchases(worker, ledger)
    add_sale(worker, ledger)
    add_payments(worker, ledger)
    worker.serve()


if __name__ == "__main__":
    main()
