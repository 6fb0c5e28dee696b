"""OpenTelemetry spans: one trace from the caller through signal, activities and their children to the last one.

Only where opentelemetry-api is installed (extra `tracing`); else nothing is imported and nothing spent. Where the
application has set up no SDK of it, no spans are made, and what is carried is passed on.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from backbeat.observe import transaction_ids
from backbeat.worker.responses import text_of

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from backbeat.client.views import NodeValue

_HEADER = "traceparent"
_NAME = "backbeat"
_PROVIDER_VARIABLE = "OTEL_PYTHON_TRACER_PROVIDER"
_logger = logging.getLogger(_NAME)


def is_installed() -> bool:
    """True where opentelemetry-api is installed.

    >>> is_installed() in (True, False)
    True
    """
    # The first name alone is a namespace that other packages share.
    return all(importlib.util.find_spec(name) is not None for name in ("opentelemetry", "opentelemetry.trace"))


class Traced:
    """Span of one attempt of an activity, from `Tracing.begin` until `end`."""

    __slots__ = ("_span", "_token", "tid")

    def __init__(self, span: Span, token: Token[Context], tid: str) -> None:
        self._span = span
        self._token = token
        #: The transaction id to send, with the span behind it.
        self.tid = tid

    def failed(self, error: BaseException | str) -> None:
        """The attempt failed."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - only where it is installed

        if isinstance(error, BaseException):
            try:
                self._span.record_exception(error)
            except Exception:
                _logger.debug("an error cannot be recorded in its span", exc_info=True)
            error = text_of(error)
        self._span.set_status(Status(StatusCode.ERROR, error))

    def end(self) -> None:
        """The attempt is over; in the same context in which it began."""
        from opentelemetry import context  # noqa: PLC0415 - as above

        context.detach(self._token)
        self._span.end()


class Tracing:
    """Makes the spans of a worker. Only where `is_installed()`."""

    def __init__(self) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - as above

        self._tracer: Tracer = trace.get_tracer(_NAME)

    def begin(self, node: NodeValue, tid: str) -> Traced:
        """Begin the span of an attempt, below the span that its transaction id carries, and make it the current one."""
        from opentelemetry import context, trace  # noqa: PLC0415 - as above

        span = self._tracer.start_span(
            f"run {node.name}",
            context=context_of(tid),
            kind=trace.SpanKind.CONSUMER,
            attributes={
                "backbeat.workflow.id": node.workflow_id,
                "backbeat.workflow.name": node.workflow_name,
                "backbeat.node.id": node.id,
                "backbeat.node.name": node.name,
                "backbeat.attempt": node.attempt,
                "backbeat.tid": node.tid,
            },
        )
        token = context.attach(trace.set_span_in_context(span))
        return Traced(span, token, carrying(tid))


def carrying(tid: str) -> str:
    """A transaction id with the current span behind it, where there is one that is recorded or sampled elsewhere."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    carrier: dict[str, Any] = {}
    TraceContextTextMapPropagator().inject(carrier)
    traceparent = carrier.get(_HEADER)
    return tid if traceparent is None else transaction_ids.joined(tid, traceparent)


def context_of(tid: str) -> Context:
    """The trace context that a transaction id carries; without one, an empty one."""
    from opentelemetry.context import Context  # noqa: PLC0415 - as above
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    traceparent = transaction_ids.split(tid)[1]
    carrier = {} if traceparent is None else {_HEADER: traceparent}
    # Not the worker's own context: a task may have been made within somebody's span.
    return TraceContextTextMapPropagator().extract(carrier, Context())


def is_set_up() -> bool:
    """True where the application has set up an OpenTelemetry SDK, so that spans go somewhere."""
    # Asked for each activity. Whoever sets one up imports this; to ask the library costs a look at the environment.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not _INSTALLED:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def new(tid: str) -> str:
    """A caller's transaction id, with its current span behind it where there is one."""
    return carrying(tid) if is_set_up() else tid


_INSTALLED = is_installed()
if _INSTALLED and _PROVIDER_VARIABLE in os.environ:
    # The library sets up the provider of this name when it is asked.
    importlib.import_module("opentelemetry.trace")
