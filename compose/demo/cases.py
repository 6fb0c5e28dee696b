"""The demo's six cases: each runs workflows, waits until they settle, and checks the records of worker and engine."""

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta

from backbeat import Client
from backbeat.compose.demo.ledger import Span, most_at_once
from backbeat.compose.demo.setup import DemoSetup, by_name, moment

PURCHASES = "Purchases"
SALES = "Sales"
PAYMENTS = "Payments"
PURCHASE = ["Make Purchase", "Successful Purchase", "Notify Customer", "Notify Fulfillment Center"]
PAYMENT = ["Make Payment", "Get Sold Vouchers", "Calculate Payment", "Send to Bank"]

_HUNDRED = 100
_ORDERS = 1_000
_MERCHANTS = 50
#: Concurrency limit of the transfers to the bank.
_BANK_CONCURRENCY = 3
_DECLINES = 2
_BACKOFF_SECONDS = 0.25
_JITTER = 0.2
#: Far enough ahead that all merchants' payments are calculated when the time comes.
_PAY_IN_SECONDS = 4.0
#: Duration of packing an order: long enough to see that they are packed in parallel, …
_PACK_SECONDS = 0.01
#: … and where an engine is killed, long enough to be in the middle of it.
_PACK_SLOWLY_SECONDS = 0.1
_PACKED_AT_KILL = 200


async def camera(setup: DemoSetup) -> None:
    """A purchase."""
    setup.screen.title(1, "Camera 703 is bought")
    signal = await setup.client.signal(PURCHASES, "Camera 703", "Make Purchase", args={"customer": "Ada"})
    trees = await setup.settle("Purchases: Camera 703", [signal.workflow_id], len(PURCHASE))
    events = [entry.event for entry in setup.ledger.noted("charged") + setup.ledger.noted("purchased")]
    setup.check(
        "the money is reserved and the camera marked purchased, once", passed=events == ["charged", "purchased"]
    )
    purchase, success, customer, fulfillment = (by_name(trees, name)[0] for name in PURCHASE)
    begun_at = {span: setup.ledger.noted("begin", span, ["Camera 703"])[0].at for span in PURCHASE}
    ended_at = {span: setup.ledger.noted("end", span, ["Camera 703"])[0].at for span in PURCHASE}
    setup.check(
        "each child began after its parent was done",
        passed=all(
            ended_at[parent] < begun_at[child]
            for parent, child in (PURCHASE[:2], (PURCHASE[1], PURCHASE[2]), (PURCHASE[1], PURCHASE[3]))
        ),
    )
    setup.check(
        "both notifications are non-blocking children of Successful Purchase",
        passed=all(
            notification.mode == "non_blocking" and notification.parent_id == success.id
            for notification in (customer, fulfillment)
        ),
    )
    completed_at = [
        moment(changes, "complete") for changes in await setup.histories([purchase, success, customer, fulfillment])
    ]
    setup.check(
        "all are complete, parents after their children",
        passed=completed_at[0] >= completed_at[1] >= max(completed_at[2:]),
    )


async def declined_card(setup: DemoSetup) -> None:
    """A purchase whose card is declined twice."""
    setup.screen.title(2, f"A card is declined {_DECLINES} times")
    signal = await setup.client.signal(
        PURCHASES,
        "Camera 704",
        "Make Purchase",
        args={"customer": "Grace", "declines": _DECLINES},
        backoff=_BACKOFF_SECONDS,
    )
    trees = await setup.settle("Purchases: Camera 704", [signal.workflow_id], len(PURCHASE))
    subjects = ["Camera 704"]
    declined, charged = setup.ledger.noted("declined", None, subjects), setup.ledger.noted("charged", None, subjects)
    setup.check(f"it was declined {_DECLINES} times, then taken", passed=len(declined) == _DECLINES)
    setup.check("the customer was charged once", passed=len(charged) == 1)
    begins = [entry.at for entry in setup.ledger.noted("begin", "Make Purchase", subjects)]
    waits = [later - earlier for earlier, later in itertools.pairwise(begins)]
    # A busy machine makes any of them longer; none may be shorter than a backoff that doubles, less its jitter.
    shortest = [(1 - _JITTER) * _BACKOFF_SECONDS * 2**number for number in range(_DECLINES)]
    setup.check(
        f"it was tried again after {' and '.join(f'{wait:.2f} s' for wait in waits)}: the backoff doubles",
        passed=len(waits) == _DECLINES
        and all(wait >= shortest_wait for wait, shortest_wait in zip(waits, shortest, strict=False)),
    )
    (changes,) = await setup.histories(by_name(trees, "Make Purchase"))
    retries = [change for change in changes if change.to_status == "retrying"]
    setup.check("its history shows both retries", passed=len(retries) == _DECLINES)


async def hundred_at_once(setup: DemoSetup) -> None:
    """A hundred signals on one workflow."""
    setup.screen.title(3, f"{_HUNDRED} purchases of one camera at once")
    client, subjects = setup.client, ["Camera 705"]

    async def purchase(number: int) -> None:
        customer = f"Customer {number}"
        await client.signal(PURCHASES, subjects[0], "Make Purchase", args={"customer": customer, "number": number})

    began_at = time.monotonic()
    await asyncio.gather(*(purchase(number) for number in range(_HUNDRED)))
    accept_seconds = time.monotonic() - began_at
    trees = await setup.settle(
        f"Purchases: Camera 705, {_HUNDRED} signals",
        [client.workflow_id(PURCHASES, subjects[0])],
        _HUNDRED * len(PURCHASE),
    )
    setup.check(f"all {_HUNDRED} were accepted within {accept_seconds:.2f} s", passed=True)
    spans = {name: setup.ledger.spans(name, subjects) for name in PURCHASE}
    order = [span.number for span in spans["Make Purchase"]]
    setup.check("they ran in the order in which they were sent", passed=order == list(range(_HUNDRED)))
    runs = [
        _whole_run([span for name in PURCHASE for span in spans[name] if span.number == number]) for number in order
    ]
    are_apart = all(earlier.end <= later.begin for earlier, later in itertools.pairwise(runs))
    setup.check("never two at the same time: each began when everything of the one before had ended", passed=are_apart)
    histories = await setup.histories(by_name(trees, "Make Purchase"))
    is_in_order = all(
        moment(earlier, "complete") <= moment(later, "started") for earlier, later in itertools.pairwise(histories)
    )
    setup.check("the engine's history says the same: each started when the one before was complete", passed=is_in_order)
    charged = setup.ledger.noted("charged", None, subjects)
    setup.check(f"{_HUNDRED} customers were charged, each once", passed=len(charged) == _HUNDRED)


async def thousand_parallel(setup: DemoSetup) -> None:
    """A thousand nodes in parallel, and one that waits for them."""
    setup.screen.title(4, f"{_ORDERS:,} orders are packed in parallel, then a summary is sent")
    subject = "Spring Sale"
    signal = await setup.client.signal(SALES, subject, "Hold Sale", args=[_ORDERS, _PACK_SECONDS])
    await _check_sale(setup, signal.workflow_id, subject)


async def killed_engine(setup: DemoSetup) -> None:
    """The same sale, with an engine that is killed in the middle."""
    setup.screen.title(6, f"The sale again, and the engine is killed (-9) while the {_ORDERS:,} orders are packed")
    stack, ledger, subject = setup.stack, setup.ledger, "Summer Sale"
    killed_at = ready_at = 0.0
    packed_count = 0

    async def kill() -> None:
        nonlocal killed_at, ready_at, packed_count
        await setup.until(
            lambda: len(ledger.noted("end", "Pack Order", [subject])) >= _PACKED_AT_KILL, "packing for the summer sale"
        )
        stack.kill_engine()
        killed_at = time.monotonic()
        packed_count = len(ledger.noted("end", "Pack Order", [subject]))
        await asyncio.to_thread(stack.wait_ready)
        ready_at = time.monotonic()

    signal = await setup.client.signal(SALES, subject, "Hold Sale", args=[_ORDERS, _PACK_SLOWLY_SECONDS])
    await asyncio.gather(kill(), _check_sale(setup, signal.workflow_id, subject))
    setup.check(
        f"the engine was killed when {packed_count:,} of {_ORDERS:,} were packed, and ready again after "
        f"{ready_at - killed_at:.1f} s",
        passed=0 < packed_count < _ORDERS,
    )
    run_count = len(ledger.noted("begin", "Pack Order", [subject]))
    setup.check(f"everything completed all the same ({run_count - _ORDERS} of {_ORDERS:,} ran twice)", passed=True)


async def _check_sale(setup: DemoSetup, workflow: str, subject: str) -> None:
    trees = await setup.settle(f"Sales: {subject}", [workflow], _ORDERS + 3)
    packs = setup.ledger.spans("Pack Order", [subject])
    numbers = {span.number for span in packs}
    setup.check(f"all {_ORDERS:,} orders are packed", passed=numbers == set(range(_ORDERS)))
    concurrency_max = most_at_once(packs)
    setup.check(f"up to {concurrency_max} of them at the same time", passed=concurrency_max > 1)
    summary = setup.ledger.spans("Send Summary", [subject])
    first_ends = {span.number: span.end for span in sorted(packs, key=lambda span: -span.end)}
    setup.check(
        "the summary was sent once, after the last order was packed",
        passed=len(summary) == 1 and summary[0].begin > max(first_ends.values()),
    )
    parent, last = await setup.histories(by_name(trees, "Pack Orders") + by_name(trees, "Send Summary"))
    join = moment(parent, "complete") - moment(parent, "processing_children")
    setup.check(
        f"the join took {join:.2f} s: from the start of {_ORDERS:,} children to the completion of their parent",
        passed=moment(parent, "complete") <= moment(last, "started"),
    )


async def payments(setup: DemoSetup) -> None:
    """Fifty merchants are paid at a given time."""
    setup.screen.title(
        5, f"{_MERCHANTS} merchants are paid, {_PAY_IN_SECONDS:.0f} seconds from now, {_BANK_CONCURRENCY} at a time"
    )
    # The engine holds back the transfers above the limit: the worker knows nothing of it, nor would a hundred of them.
    await setup.client.limits.set("Send to Bank", concurrency=_BANK_CONCURRENCY)
    merchants = [f"Merchant {number}" for number in range(_MERCHANTS)]
    pay_at = datetime.now(UTC) + timedelta(seconds=_PAY_IN_SECONDS)
    due_at = time.monotonic() + _PAY_IN_SECONDS
    await asyncio.gather(*(_pay(setup.client, number, pay_at) for number in range(_MERCHANTS)))
    await setup.settle(
        f"Payments: {_MERCHANTS} merchants",
        [setup.client.workflow_id(PAYMENTS, merchant) for merchant in merchants],
        _MERCHANTS * len(PAYMENT),
    )
    spans = {name: setup.ledger.spans(name, merchants) for name in PAYMENT}
    setup.check(
        f"every one of the {_MERCHANTS} merchants was paid once",
        passed=sorted(str(span.subject) for span in spans["Send to Bank"]) == sorted(merchants),
    )
    spans_by_subject = {name: {span.subject: span for span in spans[name]} for name in PAYMENT}
    setup.check(
        "for each of them: " + " → ".join(PAYMENT[1:]) + ", one after another",
        passed=all(
            spans_by_subject[earlier][merchant].end <= spans_by_subject[later][merchant].begin
            for merchant in merchants
            for earlier, later in itertools.pairwise(PAYMENT)
        ),
    )
    first = min(span.begin for span in spans["Send to Bank"])
    setup.check(
        f"the bank heard nothing before the time, and the first transfer {first - due_at:.2f} s after it",
        passed=first >= due_at,
    )
    concurrency_max = most_at_once(spans["Send to Bank"])
    setup.check(f"at most {concurrency_max} transfers at a time", passed=concurrency_max == _BANK_CONCURRENCY)
    limit = await setup.client.limits.get("Send to Bank")
    setup.check("every slot came back", passed=limit is not None and (limit.out, limit.waiting) == (0, 0))


async def _pay(client: Client, number: int, pay_at: datetime) -> None:
    await client.signal(PAYMENTS, f"Merchant {number}", "Make Payment", args=[number, pay_at.isoformat()])


def _whole_run(spans: list[Span]) -> Span:
    """A run from the begin of the first span to the end of the last."""
    return Span(min(span.begin for span in spans), max(span.end for span in spans), spans[0].number, spans[0].subject)


CASES = [camera, declined_card, hundred_at_once, thousand_parallel, payments, killed_engine]
