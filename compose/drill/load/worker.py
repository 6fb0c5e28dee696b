"""Worker of the load, a process of its own: `python -m backbeat.compose.drill.load.worker SERVERS JOURNAL PORT`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from backbeat import Worker, current
from backbeat.compose.drill.load.journal import Journal
from backbeat.compose.drill.load.payments import (
    AMOUNT,
    BANK,
    CLIENT,
    DELIVERY_VARIABLE,
    FAN_OUT,
    MAKE,
    RETRIES,
    RETRY_SECONDS,
    STEPS_VARIABLE,
    VOUCHER,
    VOUCHERS,
)
from backbeat.delivery.base import DeliveryWay


def make_worker(servers: str, journal: Journal, status_port: int) -> Worker:
    """A worker that runs payments and notes each step that it begins."""
    delivery: DeliveryWay = "share" if os.environ.get(DELIVERY_VARIABLE) == "share" else "group"
    worker = Worker(servers, client=CLIENT, status_port=status_port, delivery=delivery)

    async def begin() -> None:
        node = current()
        journal.note("begun", str(node.subject), step=node.name, node=str(node.id), attempt=node.attempt)
        await asyncio.sleep(_step_seconds())

    @worker.activity(MAKE, retries=RETRIES, backoff=RETRY_SECONDS)
    async def make_payment(payment: str) -> None:
        await begin()
        node = current()
        node.add(VOUCHERS, payment)
        node.add(AMOUNT, payment)
        node.add(BANK, payment)

    @worker.activity(VOUCHERS, retries=RETRIES, backoff=RETRY_SECONDS)
    async def get_sold_vouchers(payment: str) -> None:
        await begin()
        for number in range(FAN_OUT):
            current().add(VOUCHER, payment, number, mode="non_blocking")

    @worker.activity(VOUCHER, retries=RETRIES, backoff=RETRY_SECONDS)
    async def read_voucher(payment: str, number: int) -> int:
        del payment
        await begin()
        return 10 * number

    @worker.activity(AMOUNT, retries=RETRIES, backoff=RETRY_SECONDS)
    async def calculate_amount(payment: str) -> int:
        del payment
        await begin()
        return sum(10 * number for number in range(FAN_OUT))

    @worker.activity(BANK, retries=RETRIES, backoff=RETRY_SECONDS)
    async def send_to_bank(payment: str) -> None:
        await begin()
        node = current()
        journal.note("paid", payment, step=node.name, node=str(node.id), attempt=node.attempt)

    return worker


def _step_seconds() -> float:
    """Seconds that each step takes longer at the moment, as a play has set it."""
    try:
        return float(Path(os.environ[STEPS_VARIABLE]).read_text())
    except (KeyError, FileNotFoundError):
        return 0.0


def main() -> None:
    """Run it until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    servers, journal, port = sys.argv[1:]
    make_worker(servers, Journal(Path(journal)), int(port)).serve()


if __name__ == "__main__":
    main()
