"""Payments of the load: voucher, amount, bank: four steps, and a fan-out below the vouchers.

Make payment ── Get sold vouchers ── Read voucher, three of them side by side
             ├─ Calculate amount
             └─ Send to bank: the payment is paid
"""

from __future__ import annotations

WORKFLOW = "Payments"
DECIDER = "PaymentDecider"
MAKE = "Make payment"
VOUCHERS = "Get sold vouchers"
VOUCHER = "Read voucher"
AMOUNT = "Calculate amount"
BANK = "Send to bank"
#: Nodes of a payment.
FAN_OUT = 3
NODES = 4 + FAN_OUT

#: The client application whose workers take its activities from Kafka, and the one that is served by webhooks.
CLIENT = "drill"
WEBHOOK_CLIENT = "drill-webhooks"
#: Token of the latter for its calls to gateways: processes of the load are told by this variable.
TOKEN_VARIABLE = "BACKBEAT_TOKEN"  # noqa: S105 - the name of it
#: Id of the latter: a gateway that asks for a token on every call tells nobody which name has which.
WEBHOOK_CLIENT_VARIABLE = "DRILL_WEBHOOK_CLIENT"
#: A word of the run's own, in the names of its payments: an installation has met those of earlier runs.
RUN_VARIABLE = "DRILL_RUN"
#: File that workers of the load look at before each step: how many seconds it takes. None: as long as it does.
STEPS_VARIABLE = "DRILL_STEPS"
#: How workers of the load get their activities: `group` or `share`. None: through a consumer group.
DELIVERY_VARIABLE = "DRILL_DELIVERY"
#: The client application of whoever floods.
FLOOD_CLIENT = "drill-flood"

WAYS = ("sdk", "topic", "http")
#: Retries that outlast every fault of the playbook; a second before the first, then twice as long each time.
RETRIES = 12
RETRY_SECONDS = 1


def way_of(payment: str) -> str:
    """The way in of a payment, by its name: `http-9f3b12c0-17`."""
    return payment.partition("-")[0]
