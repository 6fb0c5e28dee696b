"""A shop's worker, for tests: what it did is in `did`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backbeat import Worker, current


class Shop:
    """A worker with activities of several kinds."""

    def __init__(self, client: str = "default", **options: Any) -> None:
        self.worker = Worker(client=client, **options)
        self.did: list[Any] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        register: Callable[..., Any] = self.worker.activity
        register("Make Purchase")(self.make_purchase)
        register("Reserve money", retries=3, backoff=3600)(self.reserve_money)
        register("Notify", mode="non_blocking")(self.notify)
        self.worker.on_error(self.tell)

    async def make_purchase(self, buyer: str) -> dict[str, str]:
        self.did.append("Make Purchase")
        current().add("Reserve money", 703)
        current().add("Notify", "customer")
        current().add("Notify", "fulfillment")
        return {"buyer": buyer}

    def reserve_money(self, amount: int) -> int:
        self.did.append(f"Reserve money {current().attempt}")
        return amount

    async def notify(self, whom: str) -> str:
        self.did.append(f"Notify {whom}")
        return whom

    async def tell(self, activity: Any, error: dict[str, Any]) -> None:
        self.told.append((activity.name, error))
