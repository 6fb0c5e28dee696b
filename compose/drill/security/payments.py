"""Payments through a secured installation: over the SDK, a topic and HTTPS, by workers and webhooks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.load.account import Account, Totals
from backbeat.compose.drill.load.payments import (
    DELIVERY_VARIABLE,
    RUN_VARIABLE,
    TOKEN_VARIABLE,
    WAYS,
    WEBHOOK_CLIENT,
    WEBHOOK_CLIENT_VARIABLE,
)
from backbeat.compose.drill.security.installation import GENERATOR, SHARE_WORKER, WORKER, SecuredInstallation
from backbeat.compose.drill.waiting import until
from backbeat.compose.local.ports import LOOPBACK, free_port

_LOAD = "backbeat.compose.drill.load"
_PER_SECOND = 3.0
#: Of each way in, by each delivery.
_PAYMENTS = 3
_PAID_SECONDS_MAX = 180.0
_STOP_SECONDS_MAX = 75.0


def run_payments(installation: SecuredInstallation, folder: Path) -> Totals:
    """Ask for payments until some of each way are paid by each delivery, and wait for all. SetupError."""
    journal = folder / "journal"
    account = Account(journal)
    access = installation.clients[WEBHOOK_CLIENT]
    env = {TOKEN_VARIABLE: access.token, WEBHOOK_CLIENT_VARIABLE: access.id, RUN_VARIABLE: "secured"}
    place = [access.id, LOOPBACK, str(installation.endpoint_port)]
    words = [f"{_LOAD}.endpoint", *place, str(journal / "endpoint.jsonl"), str(folder / "knob"), installation.url]
    # It knows no broker: any user will do.
    installation.start_part("endpoint", words, "endpoint ready", user=GENERATOR, env=env)
    words = [f"{_LOAD}.generator", installation.broker.users_at, str(journal / "generator.jsonl"), str(folder / "rate")]
    generator = installation.start_part(
        GENERATOR, [*words, str(_PER_SECOND), installation.url], "generator ready", user=GENERATOR, env=env
    )
    generator.stop_seconds = _STOP_SECONDS_MAX
    for user, delivery in ((WORKER, "group"), (SHARE_WORKER, "share")):
        if WORKER in installation.parts:
            installation.parts[WORKER].stop()
        words = [f"{_LOAD}.worker", installation.broker.users_at, str(journal / f"{user}.jsonl"), str(free_port())]
        installation.start_part(user, words, "", user=user, env={DELIVERY_VARIABLE: delivery})
        if not _wait_paid(account):
            raise SetupError(f"payments were not paid within {_PAID_SECONDS_MAX:.0f} s: {dict(_paid(account))}")
    generator.stop()
    until(lambda: not _totals(account).lost, _PAID_SECONDS_MAX)
    return _totals(account)


def _wait_paid(account: Account) -> bool:
    """Wait until some more of each way in are paid. False: they are not in time."""
    before = _paid(account)
    return until(lambda: all(_paid(account)[way] - before[way] >= _PAYMENTS for way in WAYS), _PAID_SECONDS_MAX)


def _paid(account: Account) -> Counter[str]:
    """Payments that are paid, by their way in."""
    account.read()
    return Counter(payment.way for payment in account.payments.values() if payment.paid_at)


def _totals(account: Account) -> Totals:
    account.read()
    return account.totals()
