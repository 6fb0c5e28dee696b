"""The demo's six cases: each does something, waits until it has settled, and checks what worker and engine recorded."""

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta

from backbeat import Client
from backbeat.compose.demo.ledger import Span, most_at_once
from backbeat.compose.demo.setup import Stage, by_name, moment

PURCHASES = "Purchases"
SALES = "Sales"
PAYMENTS = "Payments"
PURCHASE = ["Make Purchase", "Successful Purchase", "Notify Customer", "Notify Fulfillment Center"]
PAYMENT = ["Make Payment", "Get Sold Vouchers", "Calculate Payment", "Send to Bank"]

_HUNDRED = 100
_ORDERS = 1_000
_MERCHANTS = 50
#: How many transfers the bank takes at a time.
_BANK_AT_ONCE_MAX = 3
_DECLINES = 2
_BACKOFF_SECONDS = 0.25
#: Far enough ahead that all merchants' payments are calculated when the time comes.
_PAY_IN_SECONDS = 4.0
#: How long it takes to pack an order: long enough to see that they are packed in parallel, …
_PACK_SECONDS = 0.01
#: … and where an engine is killed, long enough to be in the middle of it.
_PACK_SLOWLY_SECONDS = 0.1
_PACKED_AT_KILL = 200


async def camera(stage: Stage) -> None:
    """One purchase."""
    stage.screen.title(1, "Camera 703 is bought")
    signal = await stage.client.signal(PURCHASES, "Camera 703", "Make Purchase", args={"customer": "Ada"})
    trees = await stage.settle("Purchases: Camera 703", [signal.workflow_id], len(PURCHASE))
    noted = [entry.what for entry in stage.ledger.noted("charged") + stage.ledger.noted("purchased")]
    stage.check("the money is reserved and the camera marked purchased, once", passed=noted == ["charged", "purchased"])
    purchase, success, customer, fulfillment = (by_name(trees, name)[0] for name in PURCHASE)
    began = {span: stage.ledger.noted("begin", span, ["Camera 703"])[0].at for span in PURCHASE}
    ended = {span: stage.ledger.noted("end", span, ["Camera 703"])[0].at for span in PURCHASE}
    stage.check(
        "each child began after its parent was done",
        passed=all(
            ended[parent] < began[child]
            for parent, child in (PURCHASE[:2], (PURCHASE[1], PURCHASE[2]), (PURCHASE[1], PURCHASE[3]))
        ),
    )
    stage.check(
        "both notifications are non-blocking children of Successful Purchase",
        passed=all(one.mode == "non_blocking" and one.parent_id == success.id for one in (customer, fulfillment)),
    )
    complete = [
        moment(changes, "complete") for changes in await stage.histories([purchase, success, customer, fulfillment])
    ]
    stage.check(
        "all are complete, parents after their children", passed=complete[0] >= complete[1] >= max(complete[2:])
    )


async def declined_card(stage: Stage) -> None:
    """A purchase whose card is declined twice."""
    stage.screen.title(2, f"A card is declined {_DECLINES} times")
    signal = await stage.client.signal(
        PURCHASES,
        "Camera 704",
        "Make Purchase",
        args={"customer": "Grace", "declines": _DECLINES},
        backoff=_BACKOFF_SECONDS,
    )
    trees = await stage.settle("Purchases: Camera 704", [signal.workflow_id], len(PURCHASE))
    ours = ["Camera 704"]
    declined, charged = stage.ledger.noted("declined", None, ours), stage.ledger.noted("charged", None, ours)
    stage.check(f"it was declined {_DECLINES} times, then taken", passed=len(declined) == _DECLINES)
    stage.check("the customer was charged once", passed=len(charged) == 1)
    begins = [entry.at for entry in stage.ledger.noted("begin", "Make Purchase", ours)]
    waits = [later - earlier for earlier, later in itertools.pairwise(begins)]
    # A busy machine makes any of them longer; a backoff that doubles is what none may be shorter than.
    shortest = [_BACKOFF_SECONDS * 2**number for number in range(_DECLINES)]
    stage.check(
        f"it was tried again after {' and '.join(f'{wait:.2f} s' for wait in waits)}: the backoff doubles",
        passed=len(waits) == _DECLINES and all(wait >= least for wait, least in zip(waits, shortest, strict=False)),
    )
    (changes,) = await stage.histories(by_name(trees, "Make Purchase"))
    retries = [change for change in changes if change.to_status == "retrying"]
    stage.check("its history shows both retries", passed=len(retries) == _DECLINES)


async def hundred_at_once(stage: Stage) -> None:
    """A hundred signals on one workflow."""
    stage.screen.title(3, f"{_HUNDRED} purchases of one camera at once")
    client, ours = stage.client, ["Camera 705"]

    async def purchase(number: int) -> None:
        customer = f"Customer {number}"
        await client.signal(PURCHASES, ours[0], "Make Purchase", args={"customer": customer, "number": number})

    began = time.monotonic()
    await asyncio.gather(*(purchase(number) for number in range(_HUNDRED)))
    accepted = time.monotonic() - began
    trees = await stage.settle(
        f"Purchases: Camera 705, {_HUNDRED} signals", [client.workflow_id(PURCHASES, ours[0])], _HUNDRED * len(PURCHASE)
    )
    stage.check(f"all {_HUNDRED} were accepted within {accepted:.2f} s", passed=True)
    spans = {name: stage.ledger.spans(name, ours) for name in PURCHASE}
    order = [span.number for span in spans["Make Purchase"]]
    stage.check("they ran in the order in which they were sent", passed=order == list(range(_HUNDRED)))
    whole = [_whole([span for name in PURCHASE for span in spans[name] if span.number == number]) for number in order]
    apart = all(earlier.end <= later.begin for earlier, later in itertools.pairwise(whole))
    stage.check("never two at the same time: each began when everything of the one before had ended", passed=apart)
    histories = await stage.histories(by_name(trees, "Make Purchase"))
    in_history = all(
        moment(earlier, "complete") <= moment(later, "started") for earlier, later in itertools.pairwise(histories)
    )
    stage.check("the engine's history says the same: each started when the one before was complete", passed=in_history)
    charged = stage.ledger.noted("charged", None, ours)
    stage.check(f"{_HUNDRED} customers were charged, each once", passed=len(charged) == _HUNDRED)


async def thousand_parallel(stage: Stage) -> None:
    """A thousand nodes in parallel, and one that waits for them."""
    stage.screen.title(4, f"{_ORDERS:,} orders are packed in parallel, then a summary is sent")
    subject = "Spring Sale"
    signal = await stage.client.signal(SALES, subject, "Hold Sale", args=[_ORDERS, _PACK_SECONDS])
    await _check_sale(stage, signal.workflow_id, subject)


async def killed_engine(stage: Stage) -> None:
    """The same, with an engine that is killed in the middle."""
    stage.screen.title(6, f"The sale again, and the engine is killed (-9) while the {_ORDERS:,} orders are packed")
    stack, ledger, subject = stage.stack, stage.ledger, "Summer Sale"
    killed_at = ready_at = 0.0
    packed = 0

    async def kill() -> None:
        nonlocal killed_at, ready_at, packed
        await stage.until(
            lambda: len(ledger.noted("end", "Pack Order", [subject])) >= _PACKED_AT_KILL, "packing for the summer sale"
        )
        stack.kill_engine()
        killed_at = time.monotonic()
        packed = len(ledger.noted("end", "Pack Order", [subject]))
        await asyncio.to_thread(stack.wait_ready)
        ready_at = time.monotonic()

    signal = await stage.client.signal(SALES, subject, "Hold Sale", args=[_ORDERS, _PACK_SLOWLY_SECONDS])
    await asyncio.gather(kill(), _check_sale(stage, signal.workflow_id, subject))
    stage.check(
        f"the engine was killed when {packed:,} of {_ORDERS:,} were packed, and ready again after "
        f"{ready_at - killed_at:.1f} s",
        passed=0 < packed < _ORDERS,
    )
    runs = len(ledger.noted("begin", "Pack Order", [subject]))
    stage.check(f"everything completed all the same ({runs - _ORDERS} of {_ORDERS:,} ran twice)", passed=True)


async def _check_sale(stage: Stage, workflow: str, subject: str) -> None:
    trees = await stage.settle(f"Sales: {subject}", [workflow], _ORDERS + 3)
    packs = stage.ledger.spans("Pack Order", [subject])
    numbers = {span.number for span in packs}
    stage.check(f"all {_ORDERS:,} orders are packed", passed=numbers == set(range(_ORDERS)))
    most = most_at_once(packs)
    stage.check(f"up to {most} of them at the same time", passed=most > 1)
    summary = stage.ledger.spans("Send Summary", [subject])
    first_ends = {span.number: span.end for span in sorted(packs, key=lambda span: -span.end)}
    stage.check(
        "the summary was sent once, after the last order was packed",
        passed=len(summary) == 1 and summary[0].begin > max(first_ends.values()),
    )
    parent, last = await stage.histories(by_name(trees, "Pack Orders") + by_name(trees, "Send Summary"))
    join = moment(parent, "complete") - moment(parent, "processing_children")
    stage.check(
        f"the join took {join:.2f} s: from the start of {_ORDERS:,} children to the completion of their parent",
        passed=moment(parent, "complete") <= moment(last, "started"),
    )


async def payments(stage: Stage) -> None:
    """Fifty merchants are paid at a given time."""
    stage.screen.title(
        5, f"{_MERCHANTS} merchants are paid, {_PAY_IN_SECONDS:.0f} seconds from now, {_BANK_AT_ONCE_MAX} at a time"
    )
    # The engine holds back what is too much: the worker knows nothing of it, nor would a hundred of them.
    await stage.client.limits.set("Send to Bank", concurrency=_BANK_AT_ONCE_MAX)
    merchants = [f"Merchant {number}" for number in range(_MERCHANTS)]
    pay_at = datetime.now(UTC) + timedelta(seconds=_PAY_IN_SECONDS)
    due = time.monotonic() + _PAY_IN_SECONDS
    await asyncio.gather(*(_pay(stage.client, number, pay_at) for number in range(_MERCHANTS)))
    await stage.settle(
        f"Payments: {_MERCHANTS} merchants",
        [stage.client.workflow_id(PAYMENTS, merchant) for merchant in merchants],
        _MERCHANTS * len(PAYMENT),
    )
    spans = {name: stage.ledger.spans(name, merchants) for name in PAYMENT}
    stage.check(
        f"every one of the {_MERCHANTS} merchants was paid once",
        passed=sorted(str(span.subject) for span in spans["Send to Bank"]) == sorted(merchants),
    )
    at = {name: {span.subject: span for span in spans[name]} for name in PAYMENT}
    stage.check(
        "for each of them: " + " → ".join(PAYMENT[1:]) + ", one after another",
        passed=all(
            at[earlier][merchant].end <= at[later][merchant].begin
            for merchant in merchants
            for earlier, later in itertools.pairwise(PAYMENT)
        ),
    )
    first = min(span.begin for span in spans["Send to Bank"])
    stage.check(
        f"the bank heard nothing before the time, and the first transfer {first - due:.2f} s after it",
        passed=first >= due,
    )
    most = most_at_once(spans["Send to Bank"])
    stage.check(f"at most {most} transfers at a time", passed=most == _BANK_AT_ONCE_MAX)
    limit = await stage.client.limits.get("Send to Bank")
    stage.check("every slot came back", passed=limit is not None and (limit.out, limit.waiting) == (0, 0))


async def _pay(client: Client, number: int, pay_at: datetime) -> None:
    await client.signal(PAYMENTS, f"Merchant {number}", "Make Payment", args=[number, pay_at.isoformat()])


def _whole(spans: list[Span]) -> Span:
    """From the begin of the first to the end of the last."""
    return Span(min(span.begin for span in spans), max(span.end for span in spans), spans[0].number, spans[0].subject)


CASES = [camera, declined_card, hundred_at_once, thousand_parallel, payments, killed_engine]
