"""Spans of the engine's commands, the gateway's calls and webhooks, below the span that the caller sent along."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.http import errors
from backbeat.gateway.http.app import Gateway
from backbeat.gateway.settings import GatewaySettings
from backbeat.gateway.webhooks.webhook import headers_of
from backbeat.observe import transaction_ids
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.streams.core import apply
from backbeat.streams.core import effects as fx
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.observe import tracing
from tests.streams.core.rig import CAMERA, CAMERA_ID, new
from tests.streams.core.world import USER

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans(monkeypatch):
    """An OpenTelemetry SDK, for one test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter.get_finished_spans
    provider.shutdown()


def signal(tid):
    node = new("buy")
    return c.Signal(id=b"i" * 16, user_id=USER, tid=tid, workflow_id=CAMERA_ID, workflow=CAMERA, node=node)


def is_below(span):
    return (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


def test_a_sampled_command_has_a_span_and_does_the_same(spans):
    command = signal(f"t1;{SAMPLED}")
    assert tracing.rules()(command, 1, MemoryStore()) == apply(command, 1, MemoryStore())
    (span,) = spans()
    assert span.name == "apply signal"
    assert is_below(span)
    assert span.attributes["backbeat.tid"] == "t1"


@pytest.mark.parametrize("tid", ["", "t1", "ends-01", f"t1;{SAMPLED[:-1]}0"])
def test_what_nobody_samples_has_none(spans, tid):
    tracing.rules()(signal(tid), 1, MemoryStore())
    assert spans() == ()


def test_without_an_sdk_the_rules_are_the_rules():
    assert tracing.rules() is apply


def test_a_process_without_opentelemetry_imports_nothing_of_it():
    imports = "import sys; import backbeat.streams.process.lifecycle, backbeat.gateway.http.app"
    code = f"{imports}; print('opentelemetry.trace' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def gateway():
    return Gateway(GatewaySettings(), SimpleNamespace())


ROUTE = next(route for route in ROUTES if route.path == "/health")


async def test_a_call_is_below_its_caller_and_what_comes_of_it_below_the_call(spans, monkeypatch):
    sent = []

    async def answered(_self, _request, name, *_):
        sent.append(name)
        return SimpleNamespace(status=201)

    monkeypatch.setattr(Gateway, "_answer", answered)
    request = SimpleNamespace(headers={"traceparent": SAMPLED})
    await gateway()._answer_traced(request, "t1", ROUTE, {}, "")
    (span,) = spans()
    assert span.name == "GET /health"
    assert is_below(span)
    assert span.attributes["http.response.status_code"] == 201
    assert sent == [f"t1;00-{TRACE}-{span.context.span_id:016x}-01"]


async def test_a_refused_call_is_no_error_of_the_server(spans, monkeypatch):
    async def refused(*_):
        raise errors.not_found()

    monkeypatch.setattr(Gateway, "_answer", refused)
    with pytest.raises(errors.Refusal):
        await gateway()._answer_traced(SimpleNamespace(headers={}), "t1", ROUTE, {}, "")
    (span,) = spans()
    assert span.attributes["http.response.status_code"] == 404
    assert span.status.is_ok
    assert span.events == ()


def test_a_header_that_is_no_trace_context_is_passed_over():
    assert tracing.with_traceparent("t1", "nonsense") == "t1"
    assert tracing.with_traceparent("t1", None) == "t1"
    assert transaction_ids.split(tracing.with_traceparent("t1", SAMPLED)) == ("t1", SAMPLED)


def test_a_webhook_passes_the_trace_on():
    store = MemoryStore()
    (node,) = [effect.node for effect in apply(signal(f"t1;{SAMPLED}"), 1, store) if isinstance(effect, fx.Dispatch)]
    headers = headers_of(ActivityRecord(node, ActivityKind.ACTIVITY), node.tid)
    assert headers["traceparent"] == SAMPLED
    assert headers["X-backbeat-tid"] == "t1"
    assert "traceparent" not in headers_of(ActivityRecord(node, ActivityKind.ACTIVITY), "t1")
