"""What is counted of webhooks: what came of them, and of every single request."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import aiohttp

from backbeat.gateway.webhooks.webhook import Webhook
from backbeat.observe.histograms import SECONDS, Buckets

_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_STATUS_OK = range(200, 300)


class WebhookFigures:
    """Counted on the event loop; read by copying."""

    def __init__(self) -> None:
        #: (kind, outcome) -> how many webhooks
        self.settled: dict[tuple[str, str], int] = {}
        #: (kind, outcome) -> how many requests
        self.tries: dict[tuple[str, str], int] = {}
        #: kind -> how long requests took that were answered
        self.seconds: dict[str, Buckets] = {}

    def settle(self, webhook: Webhook) -> None:
        """Nothing more is to be done about it; one that another gateway has is not counted here."""
        if webhook.outcome:
            key = (webhook.record.kind.value, webhook.outcome)
            self.settled[key] = self.settled.get(key, 0) + 1

    def timed(self, webhook: Webhook) -> TimedRequest:
        """One request, in a `with`; whoever makes it sets `status` when there is an answer."""
        return TimedRequest(self, webhook.record.kind.value)

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        """A request is over."""
        self.tries[kind, outcome] = self.tries.get((kind, outcome), 0) + 1
        if outcome in ("answered", "refused"):
            self.seconds.setdefault(kind, Buckets(SECONDS)).observe(seconds)


class TimedRequest:
    """A request while it goes on."""

    __slots__ = ("_began_at", "_figures", "_kind", "status")

    def __init__(self, figures: WebhookFigures, kind: str) -> None:
        self._figures = figures
        self._kind = kind
        #: of the answer; null: there was none
        self.status: int | None = None
        self._began_at = 0.0

    def __enter__(self) -> Self:
        self._began_at = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.status is not None:
            outcome = "answered" if self.status in _STATUS_OK else "refused"
        else:
            outcome = "unreachable" if isinstance(error, _UNREACHABLE) else "broken"
        self._figures.note(self._kind, outcome, time.perf_counter() - self._began_at)
