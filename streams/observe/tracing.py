"""OpenTelemetry spans of commands, HTTP calls and webhooks, as children of the span that a caller sent along.

Only where the process runs with an OpenTelemetry SDK (`opentelemetry-instrument backbeat engine …`); the trace context
travels behind the transaction id (`backbeat.observe.transaction_ids`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from backbeat.observe import tracing, transaction_ids
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.streams.core import apply
from backbeat.streams.core.effects import Effect
from backbeat.streams.core.store import Store
from backbeat.streams.observe.counters import label_of

Rules = Callable[[AnyCommand, int, Store], list[Effect]]
#: Header of a trace context.
HEADER = "traceparent"

_SAMPLED = "-01"
_NAME = "backbeat"

is_set_up = tracing.is_set_up


@contextmanager
def span(name: str, tid: str, kind: str, attributes: Mapping[str, str | int]) -> Iterator[str]:
    """Span below the one that the transaction id carries; yields the transaction id with this span behind it.

    `kind`: internal, server or client. An exception is recorded, but not at a server, where it refuses a call. Only
    where `is_set_up()`.
    """
    from opentelemetry import trace  # noqa: PLC0415 - only where it is installed

    records_errors = kind != "server"
    with trace.get_tracer(_NAME).start_as_current_span(
        name,
        context=tracing.context_of(tid),
        kind=trace.SpanKind[kind.upper()],
        attributes=dict(attributes),
        record_exception=records_errors,
        set_status_on_exception=records_errors,
    ):
        yield tracing.carrying(tid)


def note(attributes: Mapping[str, str | int]) -> None:
    """Add attributes to the current span."""
    from opentelemetry import trace  # noqa: PLC0415 - as above

    trace.get_current_span().set_attributes(dict(attributes))


def traceparent_of(tid: str) -> str | None:
    """Trace context of a transaction id, as the header `traceparent` has it."""
    return transaction_ids.split(tid)[1]


def with_traceparent(tid: str, traceparent: str | None) -> str:
    """The transaction id with the trace context of the header `traceparent`; unchanged if there is none."""
    if traceparent is None:
        return tid
    joined = transaction_ids.joined(tid, traceparent)
    return joined if transaction_ids.split(joined)[1] is not None else tid


def rules() -> Rules:
    """The rules, traced where there is an OpenTelemetry SDK."""
    return traced(apply) if is_set_up() else apply


def traced(rules: Rules) -> Rules:
    """The rules with a span for each command whose caller samples its trace; same effects."""

    def applied(command: AnyCommand, now: int, store: Store) -> list[Effect]:
        if not command.tid.endswith(_SAMPLED) or traceparent_of(command.tid) is None:
            return rules(command, now, store)
        attributes = {"backbeat.tid": transaction_ids.plain(command.tid), "backbeat.command.id": command.id.hex()}
        with span(f"apply {label_of(type(command))}", command.tid, "internal", attributes):
            effects = rules(command, now, store)
            note({"backbeat.effects": len(effects)})
            return effects

    return applied
