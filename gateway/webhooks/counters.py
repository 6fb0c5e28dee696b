"""Metrics of webhooks: outcomes, and outcomes and durations of single requests."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import aiohttp

from backbeat.gateway.webhooks.webhook import Webhook
from backbeat.observe.histograms import SECONDS, Buckets

_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_STATUS_OK = range(200, 300)


class WebhookMetrics:
    """Counters and durations of webhooks. Written on the event loop; read by copying."""

    def __init__(self) -> None:
        #: (kind, outcome) -> number of webhooks.
        self.settled: dict[tuple[str, str], int] = {}
        #: (kind, outcome) -> number of requests.
        self.tries: dict[tuple[str, str], int] = {}
        #: kind -> durations of answered requests.
        self.seconds: dict[str, Buckets] = {}

    def settle(self, webhook: Webhook) -> None:
        """Count a settled webhook; one left to another gateway is not counted here."""
        if webhook.outcome:
            key = (webhook.record.kind.value, webhook.outcome)
            self.settled[key] = self.settled.get(key, 0) + 1

    def timed(self, webhook: Webhook) -> TimedRequest:
        """Timing of one request, in a `with`; the caller sets `status` when there is an answer."""
        return TimedRequest(self, webhook.record.kind.value)

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a request that is over."""
        self.tries[kind, outcome] = self.tries.get((kind, outcome), 0) + 1
        if outcome in ("answered", "refused"):
            self.seconds.setdefault(kind, Buckets(SECONDS)).observe(seconds)


class TimedRequest:
    """Timing of a request in flight."""

    __slots__ = ("_began_at", "_kind", "_metrics", "status")

    def __init__(self, metrics: WebhookMetrics, kind: str) -> None:
        self._metrics = metrics
        self._kind = kind
        #: Status of the answer; None: there was none.
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
        self._metrics.note(self._kind, outcome, time.perf_counter() - self._began_at)
