"""One trace from the caller through all that comes of its signal."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backbeat import activity, current
from backbeat.activities.running import transaction_id
from backbeat.observe import transaction_ids
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.worker.runner import Runner
from tests.sdk.test_runner import runner_of

View = Callable[..., Any]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """An OpenTelemetry SDK as an application sets it up, for one test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def run(runner: Runner, view: View, name: str, tid: str) -> Any:
    record = ActivityRecord(view(name=name, tid=tid, client_data=b"{}"), ActivityKind.ACTIVITY)
    return await runner.run(runner.open(record))


@activity
async def outer() -> str:
    with trace.get_tracer("bank").start_as_current_span("charge"):
        current().signal("Other", 7, "Begin")
    current().add("inner")
    return current().tid


@activity
def inner() -> None:
    raise ValueError("declined")


async def test_spans_go_from_caller_to_activity_to_child_and_signal(spans: InMemorySpanExporter, view: View) -> None:
    runner = runner_of(outer, inner)
    with trace.get_tracer("shop").start_as_current_span("order"):
        tid = transaction_id()
    signal, answer = await run(runner, view, "outer", tid)
    # What a handler, its logs and legacy clients see is the id alone, and it stays the same.
    assert (
        json.loads(answer.response)["result"]
        == transaction_ids.plain(tid)
        == transaction_ids.plain(answer.tid)
        == transaction_ids.plain(signal.tid)
    )
    assert len(transaction_ids.plain(tid)) == 16
    await run(runner, view, "inner", answer.tid)
    spans_by_name = named(spans)
    assert {span.context.trace_id for span in spans_by_name.values()} == {spans_by_name["order"].context.trace_id}
    parents = {name: span.parent and span.parent.span_id for name, span in spans_by_name.items()}
    assert parents == {
        "order": None,
        "run outer": spans_by_name["order"].context.span_id,
        "charge": spans_by_name["run outer"].context.span_id,
        "run inner": spans_by_name["run outer"].context.span_id,
    }
    assert f"{spans_by_name['run outer'].context.span_id:016x}" in signal.tid
    assert spans_by_name["run outer"].attributes["backbeat.attempt"] == 2
    assert spans_by_name["run inner"].status.description == "declined"
    assert spans_by_name["run inner"].events[0].name == "exception"


async def test_without_an_sdk_what_is_carried_is_passed_on(view: View) -> None:
    tid = "tid-1;00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    runner = runner_of(outer)
    signal, answer = await run(runner, view, "outer", tid)
    assert (signal.tid, answer.tid) == (tid, tid)
    # Also by a client that the handler uses.
    assert transaction_id() == tid


@pytest.mark.parametrize("provider", [None, "sdk_tracer_provider"])
def test_nothing_of_it_is_imported_but_where_the_environment_names_a_provider(provider: str | None) -> None:
    code = (
        "import sys, backbeat; from backbeat.observe import tracing; "
        "print(tracing.is_set_up(), any(name.startswith('opentelemetry.') for name in sys.modules))"
    )
    env = {name: value for name, value in os.environ.items() if name != "OTEL_PYTHON_TRACER_PROVIDER"}
    if provider is not None:
        env["OTEL_PYTHON_TRACER_PROVIDER"] = provider
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == ("False False\n" if provider is None else "True True\n")
