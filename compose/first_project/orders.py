"""Orders: every step is a function, and a workflow is what its steps add while they run.

backbeat worker orders --reload     runs them, and starts anew when this file changes
"""

from backbeat import Worker, activity, current


@activity("Take order")
def take_order(customer: str, bags: int) -> str:
    """First step: takes the order and adds the others."""
    order = current()
    paid = order.add(charge, customer, bags)  # these begin once this function has returned, one after the other;
    order.add(pack, bags, paid.result)  # and the second one gets what the first one returns
    return f"{bags} bags for {customer}"


@activity("Charge", retries=5, backoff=60)
def charge(customer: str, bags: int) -> float:
    """An error is kept, and the step is tried again later, five times."""
    # A step may run twice, when a worker dies before it has answered. The node's id is the same each time: give it to
    # the bank as the key under which it keeps one payment.
    print(f"Charged: {customer}, payment {current().id}", flush=True)
    return bags * 9.5


@activity("Pack")
def pack(bags: int, paid: float) -> None:
    """Begins when `charge` is done, however long that took, with what it returned."""
    print(f"Packed: {bags} bags, {paid} paid", flush=True)


worker = Worker(activities=[take_order, charge, pack])

if __name__ == "__main__":
    worker.serve()  # without `backbeat worker`: python orders.py
